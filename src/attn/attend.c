/* attend.c: see attend.h. */
#include "attn/attend.h"

#include <math.h>
#include <omp.h>
#include <string.h>

#include "attn/selection.h"
#include "base/carve.h"

#define ATTEND_ROWS                                                                                \
    128 /* rows of a tile: enough to use a block well, few enough for the L2 cache */

int32_t attend_tile_queries(const msa_shape *shape) {
    int32_t group = shape->n_q_heads / shape->n_kv_heads;
    return group >= ATTEND_ROWS ? 1 : ATTEND_ROWS / group;
}

/* ---- workers ---- */

static void lay_out(attend_worker *w, const msa_shape *s, carver *c) {
    size_t queries = (size_t)attend_tile_queries(s), group = (size_t)(s->n_q_heads / s->n_kv_heads);
    size_t rows = queries * group, dim = (size_t)s->head_dim, padded = size_round_up(dim, 16);
    w->tile.dim = (int)dim;
    w->tile.padded = (int)padded;
    w->tile.q = carve(c, (rows + 8) * dim, sizeof(float));
    w->tile.o = carve(c, rows * padded, sizeof(float));
    w->tile.m = carve(c, rows, sizeof(float));
    w->tile.l = carve(c, rows, sizeof(float));
    w->tile.scratch = carve(c, attend_scratch_floats((int)dim), sizeof(float));
    w->block_max = carve(c, rows, sizeof(float));
    w->k_panels = carve(c, (size_t)s->block * dim, sizeof(float));
    w->v_rows = carve(c, (size_t)s->block * padded, sizeof(float));
    w->rows = carve(c, rows, sizeof(int32_t));
    w->q_index = carve(c, queries, sizeof(int64_t));
    w->position = carve(c, queries, sizeof(int64_t));
    w->lists = carve(c, queries * (size_t)s->topk, sizeof(int32_t));
    w->cursors = carve(c, 3 * queries, sizeof(int32_t));
}

size_t attend_thread_bytes(const msa_shape *shape) {
    attend_worker w;
    carver c = {0};
    lay_out(&w, shape, &c);
    return c.used;
}

attend_worker attend_worker_make(const attend_run *run, int thread) {
    attend_worker w = {.run = run};
    carver c = {.base = plan_thread_space(run->plan, thread)};
    lay_out(&w, &run->plan->shape, &c);
    w.tile.scale_log2 = run->scale_log2;
    return w;
}

/* ---- a tile ---- */

void attend_tile_begin(attend_worker *w, const plan_request *request, int32_t head, int32_t n) {
    const msa_shape *s = &w->run->plan->shape;
    size_t dim = (size_t)s->head_dim, group = (size_t)(s->n_q_heads / s->n_kv_heads);
    w->request = request;
    w->head = head;
    w->n_queries = n;
    for (int32_t i = 0; i < n; i++) {
        w->position[i] = request->position + w->q_index[i];
        const float *q =
            w->run->args->q + ((size_t)(request->q_start + w->q_index[i]) * (size_t)s->n_q_heads +
                               (size_t)head * group) *
                                  dim;
        memcpy((float *)w->tile.q + (size_t)i * group * dim, q, group * dim * sizeof(float));
    }
    size_t rows = (size_t)n * group;
    memset(w->tile.o, 0, rows * (size_t)w->tile.padded * sizeof(float));
    for (size_t i = 0; i < rows; i++) {
        w->tile.m[i] = -INFINITY;
        w->tile.l[i] = 0;
    }
}

/* 16-bit keys are widened as they are read, which costs the products a tenth; a block that meets
 * this many rows is cheaper widened once. Narrow formats always are. */
#define WIDEN_ROWS 48

static int is_widened(msa_dtype dtype, int n_rows) {
    return format_is_narrow(dtype) || (dtype != MSA_F32 && n_rows >= WIDEN_ROWS);
}

/* Where the n first keys of a block can be streamed from, for n_rows rows: where they lie, or
 * widened, or packed if they lie otherwise. */
static attend_keys open_block(attend_worker *w, int64_t block, int n, int n_rows) {
    const attend_run *run = w->run;
    const msa_lane *k_lane = &run->args->k, *v_lane = &run->args->v;
    stored_keys k = plan_stored(run->plan, k_lane, w->request, w->head, block);
    stored_keys v = plan_stored(run->plan, v_lane, w->request, w->head, block);
    attend_keys keys = {
        .k = k.data, .v = v.data, .k_dtype = k.dtype, .v_dtype = v.dtype, .v_stride = v.stride};
    if (k_lane->layout == MSA_TOKENS || is_widened(k.dtype, n_rows)) {
        bool packed = k_lane->layout == MSA_TOKENS;
        (packed ? run->kernels->pack_panels : run->kernels->widen_panels)(&k, n, w->tile.dim,
                                                                          w->k_panels);
        keys.k = w->k_panels;
        keys.k_dtype = MSA_F32;
    }
    if (w->tile.dim != w->tile.padded || is_widened(v.dtype, n_rows)) {
        run->kernels->pack_rows(&v, n, w->tile.dim, w->v_rows);
        keys.v = w->v_rows;
        keys.v_dtype = MSA_F32;
        keys.v_stride = w->tile.padded;
    }
    return keys;
}

/* Keys [first, n) of the opened block for the tile rows[from, to). first is a multiple of 16. */
static void take_keys(attend_worker *w, attend_keys keys, int first, int n, int from, int to) {
    keys.k = (const char *)keys.k + (int64_t)first * w->tile.dim * msa_dtype_size(keys.k_dtype);
    keys.v = (const char *)keys.v + (int64_t)first * keys.v_stride * msa_dtype_size(keys.v_dtype);
    keys.n = n - first;
    w->run->kernels->attend_block(&w->tile, w->rows + from, to - from, &keys, w->block_max + from);
}

/* What all queries see goes in at once; in the block where they end, the rest goes query by query
 * (those that see equally much together), so that no key is ever computed and then masked. */
void attend_take_opened(attend_worker *w, const attend_keys *keys, int64_t block,
                        const int32_t *queries, int32_t n) {
    const msa_shape *s = &w->run->plan->shape;
    int32_t group = s->n_q_heads / s->n_kv_heads;
    int64_t first = block * s->block;
    for (int32_t i = 0; i < n; i++)
        for (int32_t h = 0; h < group; h++) {
            w->rows[i * group + h] = queries[i] * group + h;
            w->block_max[i * group + h] = -INFINITY;
        }
    int64_t least = w->position[queries[0]] - first + 1;
    int64_t most = w->position[queries[n - 1]] - first + 1;
    if (least > s->block) least = s->block;
    if (most > s->block) most = s->block;
    int common = (int)(least == most ? least : least & ~15);
    if (common) take_keys(w, *keys, 0, common, 0, n * group);
    if (least == most) return;
    for (int32_t i = 0, next; i < n; i = next) {
        int64_t sees = w->position[queries[i]] - first + 1;
        if (sees > s->block) sees = s->block;
        for (next = i + 1; next < n; next++)
            if (w->position[queries[next]] - first + 1 != sees &&
                !(sees == s->block && w->position[queries[next]] - first + 1 > sees))
                break;
        if (sees > common) take_keys(w, *keys, common, (int)sees, i * group, next * group);
    }
}

attend_keys attend_open_block(attend_worker *w, int64_t block, int64_t next_block,
                              const int32_t *queries, int32_t n) {
    const msa_plan *plan = w->run->plan;
    int32_t group = plan->shape.n_q_heads / plan->shape.n_kv_heads;
    int64_t most = w->position[queries[n - 1]] - block * plan->shape.block + 1;
    if (most > plan->shape.block) most = plan->shape.block;
    attend_keys keys = open_block(w, block, (int)most, n * group);
    keys.next_k = keys.v;
    if (next_block >= 0)
        keys.next_k = plan_block(plan, &w->run->args->k, w->request, w->head, next_block);
    return keys;
}

void attend_take_block(attend_worker *w, int64_t block, int64_t next_block, const int32_t *queries,
                       int32_t n) {
    int64_t first = block * w->run->plan->shape.block;
    while (n > 0 && w->position[queries[0]] < first) queries++, n--;
    if (n == 0) return;
    attend_keys keys = attend_open_block(w, block, next_block, queries, n);
    attend_take_opened(w, &keys, block, queries, n);
}

void attend_tile_finish(const attend_worker *w, int32_t query, float *out, int64_t out_stride,
                        float *lse) {
    const attend_tile *t = &w->tile;
    const msa_shape *s = &w->run->plan->shape;
    int32_t group = s->n_q_heads / s->n_kv_heads;
    for (int32_t h = 0; h < group; h++) {
        int64_t row = (int64_t)query * group + h;
        const float *o = t->o + row * t->padded;
        float l = t->l[row], inverse = l == 0 ? 0 : 1 / l;
        if (out)
            for (int c = 0; c < t->dim; c++) out[h * out_stride + c] = o[c] * inverse;
        if (lse) lse[h] = l == 0 ? -INFINITY : t->m[row] * w->run->scale + logf(l);
    }
}

/* ---- which blocks ---- */

static void store_max_scores(const attend_worker *w, int64_t block, int32_t from) {
    const attend_run *run = w->run;
    const msa_shape *s = &run->plan->shape;
    int32_t group = s->n_q_heads / s->n_kv_heads;
    for (int32_t i = from; i < w->n_queries; i++)
        for (int32_t h = 0; h < group; h++) {
            int64_t t = w->request->q_start + w->q_index[i], head = w->head * group + h;
            run->args->max_score[(head * run->args->n_blocks + block) * run->plan->total_q + t] =
                w->block_max[(i - from) * group + h] * run->scale;
        }
}

void attend_take_dense(attend_worker *w, const plan_item *item) {
    const plan_request *r = w->request;
    int64_t B = w->run->plan->shape.block, n_blocks = (r->kv_len + B - 1) / B;
    int64_t first = n_blocks * item->split / item->n_splits;
    int64_t last = n_blocks * (item->split + 1) / item->n_splits;
    int32_t *queries = w->cursors, from = 0;
    for (int32_t i = 0; i < w->n_queries; i++) queries[i] = i;
    for (int64_t b = first; b < last && b * B <= w->position[w->n_queries - 1]; b++) {
        while (w->position[from] < b * B) from++;
        attend_take_block(w, b, b + 1 < last ? b + 1 : -1, queries + from, w->n_queries - from);
        if (w->run->args->max_score) store_max_scores(w, b, from);
    }
}

/* The least id any list stands at; -1 at the end of all. */
static int32_t least_id(const attend_worker *w, const int32_t *cursor, const int32_t *end) {
    int32_t least = INT32_MAX;
    for (int32_t i = 0; i < w->n_queries; i++)
        if (cursor[i] < end[i] && w->lists[cursor[i]] < least) least = w->lists[cursor[i]];
    return least == INT32_MAX ? -1 : least;
}

/* Walks the union of the lists in ascending order: the next block is the least any list stands at,
 * and goes to all queries whose list stands there. */
void attend_take_selected(attend_worker *w, const plan_item *item) {
    const msa_plan *plan = w->run->plan;
    int32_t k = plan->shape.topk, n = w->n_queries;
    int32_t *cursor = w->cursors, *end = cursor + n, *takers = end + n;
    for (int32_t i = 0; i < n; i++) {
        int64_t t = w->request->q_start + w->q_index[i];
        const int32_t *ids =
            selection_list(w->run->args->selection, &plan->shape, plan->total_q, t, w->head);
        int32_t count = selection_sort(ids, k, w->lists + (int64_t)i * k);
        cursor[i] = i * k + (int32_t)((int64_t)count * item->split / item->n_splits);
        end[i] = i * k + (int32_t)((int64_t)count * (item->split + 1) / item->n_splits);
    }
    for (int32_t block = least_id(w, cursor, end), next; block >= 0; block = next) {
        int32_t n_takers = 0;
        for (int32_t i = 0; i < n; i++)
            if (cursor[i] < end[i] && w->lists[cursor[i]] == block) {
                takers[n_takers++] = i;
                cursor[i]++;
            }
        next = least_id(w, cursor, end);
        attend_take_block(w, block, next, takers, n_takers);
    }
}

msa_status attend_check_sparse(const msa_plan *plan, const msa_attn_args *args, msa_error *err) {
    if (plan->total_q == 0) return MSA_OK;
    if (!args->out) return error_set(err, MSA_E_ARG, "out is NULL");
    if (args->max_score)
        return error_set(err, MSA_E_ARG, "max_score is an output of msa_dense_run alone");
    return selection_check(plan, args->selection, err);
}

/* ---- plan and run ---- */

msa_status attend_plan_items(msa_plan *plan, msa_error *err) {
    int64_t tile = attend_tile_queries(&plan->shape), heads = plan->shape.n_kv_heads;
    size_t n = 0;
    int32_t most = 1;
    for (int32_t r = 0; r < plan->n_requests; r++) {
        const plan_request *q = &plan->requests[r];
        n += (size_t)((q->q_len + tile - 1) / tile * heads * q->n_splits);
        if (q->n_splits > most) most = q->n_splits;
    }
    plan->n_splits = most;
    msa_status status = plan_reserve_items(plan, n, err);
    if (status) return status;
    size_t parts = 0;
    if (most > 1) /* o and lse of every split; checked: total_q is an int32 by cu_seqlens_q */
        parts = (size_t)most * (size_t)plan->total_q * (size_t)plan->shape.n_q_heads *
                ((size_t)plan->shape.head_dim + 1) * sizeof(float);
    status = plan_reserve_workspace(plan, attend_thread_bytes(&plan->shape), parts, err);
    if (status) return status;
    plan_item *item = plan->items;
    for (int32_t r = 0; r < plan->n_requests; r++) {
        const plan_request *q = &plan->requests[r];
        for (int64_t first = (q->q_len - 1) / tile * tile; first >= 0 && q->q_len; first -= tile)
            for (int32_t head = 0; head < heads; head++)
                for (int32_t split = 0; split < q->n_splits; split++)
                    *item++ = (plan_item){
                        .request = r,
                        .head = head,
                        .q_first = first,
                        .n_q = (int32_t)(q->q_len - first < tile ? q->q_len - first : tile),
                        .split = split,
                        .n_splits = q->n_splits};
    }
    plan->n_items = n;
    return MSA_OK;
}

static void run_item(attend_worker *w, const plan_item *item, attend_take_fn *take) {
    const attend_run *run = w->run;
    const msa_shape *s = &run->plan->shape;
    const plan_request *r = &run->plan->requests[item->request];
    int64_t d = s->head_dim, heads = s->n_q_heads, group = heads / s->n_kv_heads;
    for (int32_t i = 0; i < item->n_q; i++) w->q_index[i] = item->q_first + i;
    attend_tile_begin(w, r, item->head, item->n_q);
    take(w, item);
    for (int32_t i = 0; i < item->n_q; i++) {
        int64_t row = (r->q_start + item->q_first + i) * heads + item->head * group;
        if (item->n_splits == 1) {
            attend_tile_finish(w, i, run->args->out ? run->args->out + row * d : NULL, d,
                               run->args->lse ? run->args->lse + row : NULL);
        } else {
            row += item->split * run->plan->total_q * heads;
            attend_tile_finish(w, i, run->part_o + row * d, d, run->part_lse + row);
        }
    }
}

/* Pieces of each row in split order. */
static void merge_splits(const attend_run *run, const plan_request *r, int64_t query) {
    const msa_shape *s = &run->plan->shape;
    int64_t d = s->head_dim, heads = s->n_q_heads, rows = run->plan->total_q * heads;
    float unused, *out = run->args->out, *lse = run->args->lse;
    for (int64_t h = 0; h < heads; h++) {
        int64_t row = (r->q_start + query) * heads + h;
        run->kernels->merge_parts(
            r->n_splits, (int)d, run->part_o + row * d, rows * d, run->part_lse + row, rows,
            out ? out + row * d : run->part_o + row * d, lse ? lse + row : &unused);
    }
}

void attend_run_items(const attend_run *run, attend_take_fn *take) {
    const msa_plan *plan = run->plan;
#pragma omp parallel num_threads(plan->n_threads) if (plan->n_items > 1)
    {
        attend_worker w = attend_worker_make(run, omp_get_thread_num());
#pragma omp for schedule(dynamic)
        for (size_t i = 0; i < plan->n_items; i++) run_item(&w, &plan->items[i], take);
        for (int32_t r = 0; r < plan->n_requests && plan->n_splits > 1; r++) {
            if (plan->requests[r].n_splits == 1) continue;
#pragma omp for schedule(static)
            for (int64_t i = 0; i < plan->requests[r].q_len; i++)
                merge_splits(run, &plan->requests[r], i);
        }
    }
}

msa_status attend_run_begin(attend_run *run, const msa_plan *plan, const msa_attn_args *args,
                            msa_error *err) {
    if (!args) return error_set(err, MSA_E_ARG, "args is NULL");
    const msa_shape *s = &plan->shape;
    if (plan->total_q && !args->q) return error_set(err, MSA_E_ARG, "q is NULL");
    msa_status status;
    float scale;
    if ((status = plan_check_lane(plan, &args->k, "k", s->n_kv_heads, s->head_dim, true, err)) ||
        ((args->out || args->lse) && /* the proxy pass reads no values */
         (status = plan_check_lane(plan, &args->v, "v", s->n_kv_heads, s->head_dim, false, err))) ||
        (status = plan_check_scale(s, args->scale, &scale, err)))
        return status;
    *run = (attend_run){.plan = plan,
                        .args = args,
                        .kernels = attn_kernels_get(),
                        .scale = scale,
                        .scale_log2 = (float)(scale * 1.4426950408889634),
                        .part_o = plan_shared_space(plan)};
    run->part_lse = run->part_o + (size_t)plan->n_splits * (size_t)plan->total_q *
                                      (size_t)s->n_q_heads * (size_t)s->head_dim;
    return MSA_OK;
}
