/* certify.c: see certify.h. */
#include "attn/certify.h"
#include "attn/panels.h"

#include "base/carve.h"

/* Below so many blocks the copy of a short request is not worth its rescoring: measured in
 * docs/certified-index.md, "In use". */
#define FEWEST_BLOCKS 64

/* ---- room */

size_t certify_divide(const msa_shape *shape, size_t rows, char *at, certify_space *space) {
    size_t capacity = (size_t)certify_capacity(shape);
    carver c = {.base = at};
    space->lower = carve(&c, rows, sizeof *space->lower);
    space->keys = carve(&c, rows * (size_t)select_capacity(shape->topk), sizeof *space->keys);
    space->upper = carve(&c, rows * capacity, sizeof *space->upper);
    space->panels = carve(&c, rows * capacity, sizeof *space->panels);
    space->n = carve(&c, rows, sizeof *space->n);
    space->token = carve(&c, (size_t)INDEX8_ROWS * (size_t)shape->block, sizeof *space->token);
    return c.used;
}

/* A slot: topk canonical keys, topk lower bounds, then the candidates. */
typedef struct slot_parts {
    uint64_t *scores, *lower, *upper;
    uint16_t *panels;
    int32_t *n;
} slot_parts;

static slot_parts divide_slot(const msa_shape *shape, const char *slot) {
    uint64_t *scores = (uint64_t *)slot, *upper = scores + 2 * shape->topk;
    uint16_t *panels = (uint16_t *)(upper + certify_capacity(shape));
    return (slot_parts){scores, scores + shape->topk, upper, panels,
                        (int32_t *)(panels + certify_capacity(shape))};
}

size_t certify_slot_bytes(const msa_shape *shape) {
    size_t capacity = (size_t)certify_capacity(shape);
    return size_round_up(16 * (size_t)shape->topk + 10 * capacity + sizeof(int32_t), MEM_ALIGN);
}

int64_t certify_end(const msa_shape *shape, const plan_request *request, int64_t q_first,
                    int64_t first) {
    int64_t position = request->position + q_first;
    select_range range = select_range_at(shape, position);
    int64_t whole = (position + 1) / shape->block, end = range.end < whole ? range.end : whole;
    bool pays = range.want > 0 && end - first >= FEWEST_BLOCKS && end - first >= 4 * range.want;
    return pays ? end : first;
}

/* ---- queries */

typedef struct rounded_queries {
    index8_query *query; /* [total_q * Hi] */
    int16_t *numbers;    /* [total_q * Hi][dim] */
} rounded_queries;

static size_t divide_queries(const msa_plan *plan, char *at, rounded_queries *out) {
    size_t rows = (size_t)plan->total_q * (size_t)plan->shape.n_index_heads;
    carver c = {.base = at};
    out->query = carve(&c, rows, sizeof *out->query);
    out->numbers = carve(&c, rows * (size_t)plan->shape.index_dim, sizeof *out->numbers);
    return c.used;
}

size_t certify_query_bytes(const msa_plan *plan) {
    rounded_queries measured;
    return divide_queries(plan, NULL, &measured);
}

static rounded_queries queries_of(const msa_plan *plan) {
    rounded_queries q;
    divide_queries(plan, (char *)plan_shared_space(plan) + plan->queries_at, &q);
    return q;
}

void certify_round_query(const msa_plan *plan, const msa_index_args *args, int64_t row) {
    rounded_queries q = queries_of(plan);
    int32_t dim = plan->shape.index_dim;
    index8_round_query(args->qi + row * dim, dim, &q.query[row], q.numbers + row * dim);
}

/* The batch's row of a tile's row, and how far apart neighbours are. */
static int64_t batch_row(const certify_tile *t, int32_t row) {
    const score_tile *tile = t->tile;
    int64_t query = tile->request->q_start + tile->q_first + row / tile->n_heads;
    return query * t->plan->shape.n_index_heads + tile->head + row % tile->n_heads;
}

static int64_t row_stride(const certify_tile *t) {
    return t->tile->n_heads == 1 ? t->plan->shape.n_index_heads : 1;
}

static int32_t key_head(const certify_tile *t) {
    return t->plan->shape.n_index_keys == 1 ? 0 : t->tile->head;
}

/* ---- canonical scores of what is left */

/* The greatest score of n panels of a block from panel p on. */
static float score_panels(const certify_tile *t, const float *q, int64_t block, int p, int n) {
    int32_t dim = t->plan->shape.index_dim;
    const msa_lane *ki = &t->args->ki;
    const attn_kernels *kernels = attn_kernels_get();
    stored_keys keys = plan_stored(t->plan, ki, t->tile->request, key_head(t), block);
    int64_t panel = 16 * (ki->layout == MSA_PANELS ? dim : ki->stride_token);
    keys.data = (const char *)keys.data + p * panel * msa_dtype_size(ki->dtype);
    if (ki->layout != MSA_PANELS) {
        kernels->pack_panels(&keys, 16 * n, dim, t->widened);
        keys = panels_packed(t->widened);
    }
    float score;
    kernels->score_block(q, 0, 1, dim, &keys, 16 * n, &score);
    return score;
}

static void rescore(certify_tile *t, int32_t row, uint64_t candidate, uint32_t panels) {
    const msa_shape *shape = &t->plan->shape;
    const float *q = t->args->qi + batch_row(t, row) * shape->index_dim;
    int32_t block = select_key_id(candidate), n_panels = __builtin_popcount(panels);
    float best = -INFINITY;
    while (panels) {
        int p = __builtin_ctz(panels), n = __builtin_ctz(~(panels >> p));
        float score = score_panels(t, q, block, p, n);
        if (score > best) best = score;
        panels &= ~(((1u << n) - 1) << p);
    }
    select_list_push(&t->lists[row], select_key(best, block));
    t->stats.rescored += 16 * n_panels;
    t->stats.rescored_blocks++;
    t->stats.bytes += 16 * n_panels * shape->index_dim * (int64_t)msa_dtype_size(t->args->ki.dtype);
}

/* ---- bounds */

/* T: -inf while there are not yet `want` lower bounds. */
static float threshold_of(const select_list *lower) {
    return lower->bar ? select_key_score(lower->bar) : -INFINITY;
}

/* Drops the row's candidates that T has overtaken. */
static void prune(const certify_tile *t, int32_t row) {
    const certify_space *s = t->space;
    int64_t at = (int64_t)row * certify_capacity(&t->plan->shape);
    uint64_t *upper = s->upper + at;
    uint16_t *panels = s->panels + at;
    select_list_cut(&s->lower[row]);
    float threshold = threshold_of(&s->lower[row]);
    int32_t n = 0;
    for (int32_t i = 0; i < s->n[row]; i++) {
        if (select_key_score(upper[i]) < threshold) continue;
        upper[n] = upper[i];
        panels[n++] = panels[i];
    }
    s->n[row] = n;
}

static void rescore_all(certify_tile *t, int32_t row) {
    const certify_space *s = t->space;
    int64_t at = (int64_t)row * certify_capacity(&t->plan->shape);
    for (int32_t i = 0; i < s->n[row]; i++) rescore(t, row, s->upper[at + i], s->panels[at + i]);
    s->n[row] = 0;
}

/* The cut of a list of bounds sets T: done often, as a good T spares candidates. */
void certify_start(const certify_tile *t, int32_t row, int32_t want) {
    const certify_space *s = t->space;
    select_list_start(&s->lower[row], s->keys + (int64_t)row * select_capacity(t->plan->shape.topk),
                      want);
    s->lower[row].capacity = want + 16;
    s->n[row] = 0;
}

/* A block whose upper bound is not below T becomes a candidate. */
static void take(certify_tile *t, int32_t row, int32_t block, uint64_t upper, float lower,
                 uint32_t panels) {
    const certify_space *s = t->space;
    int32_t capacity = certify_capacity(&t->plan->shape);
    select_list_push(&s->lower[row], select_key(lower, block));
    if (s->n[row] == capacity) {
        prune(t, row);
        if (s->n[row] > capacity / 2) rescore_all(t, row);
    }
    int64_t at = (int64_t)row * capacity + s->n[row]++;
    s->upper[at] = upper;
    s->panels[at] = (uint16_t)panels;
}

/* Rows [first, first + rows->n) of the tile meet one block. */
static void scan_rows(certify_tile *t, int32_t first, const index8_rows *rows, int32_t block,
                      const char *copy, const char *next) {
    const msa_shape *shape = &t->plan->shape;
    const attn_kernels *kernels = attn_kernels_get();
    const index8_tail *tail = index8_tail_of(copy, shape->index_dim, shape->block);
    float upper[INDEX8_ROWS], lower[INDEX8_ROWS], *token = t->space->token;
    kernels->index8_bound(rows, shape->index_dim, shape->block, copy, next, upper, lower, token);
    for (int32_t i = 0; i < rows->n; i++, token += shape->block) {
        if (upper[i] < threshold_of(&t->space->lower[first + i])) continue;
        float slack = index8_slack(rows->query + i * rows->stride, tail, shape->index_dim);
        take(t, first + i, block, select_key(upper[i], block), lower[i],
             kernels->index8_panels(token, shape->block, slack, lower[i]));
    }
}

void certify_scan(certify_tile *t, int64_t first, int64_t end) {
    const msa_shape *shape = &t->plan->shape;
    const plan_request *request = t->tile->request;
    rounded_queries q = queries_of(t->plan);
    int64_t stride = row_stride(t);
    int32_t n_rows = t->tile->n_q * t->tile->n_heads;
    for (int64_t b = first; b < end; b++) {
        char *copy = index8_copy(t->plan, t->args->ki8, request, key_head(t), b);
        char *next =
            b + 1 < end ? index8_copy(t->plan, t->args->ki8, request, key_head(t), b + 1) : copy;
        for (int32_t row = 0; row < n_rows; row += INDEX8_ROWS) {
            int64_t at = batch_row(t, row);
            index8_rows rows = {.query = q.query + at,
                                .numbers = q.numbers + at * shape->index_dim,
                                .stride = stride,
                                .n = n_rows - row < INDEX8_ROWS ? n_rows - row : INDEX8_ROWS};
            scan_rows(t, row, &rows, (int32_t)b, copy, next);
        }
        t->stats.bounded += (int64_t)n_rows * shape->block;
        t->stats.keys += shape->block;
        t->stats.bytes += (int64_t)index8_bytes(shape);
    }
}

void certify_finish(certify_tile *t, int32_t row) {
    prune(t, row);
    rescore_all(t, row);
}

/* ---- splits */

static void store_keys(select_list *list, int32_t k, uint64_t *out) {
    select_list_cut(list);
    for (int32_t i = 0; i < k; i++) out[i] = i < list->n ? list->keys[i] : 0;
}

void certify_store(certify_tile *t, int32_t row, char *slot) {
    const certify_space *s = t->space;
    const msa_shape *shape = &t->plan->shape;
    slot_parts out = divide_slot(shape, slot);
    int64_t at = (int64_t)row * certify_capacity(shape);
    prune(t, row);
    store_keys(&t->lists[row], shape->topk, out.scores);
    store_keys(&s->lower[row], shape->topk, out.lower);
    *out.n = s->n[row];
    for (int32_t i = 0; i < s->n[row]; i++) {
        out.upper[i] = s->upper[at + i];
        out.panels[i] = s->panels[at + i];
    }
}

void certify_merge(certify_tile *t, int32_t row, const char *slots, size_t stride,
                   int32_t n_splits) {
    const msa_shape *shape = &t->plan->shape;
    select_list *lower = &t->space->lower[row];
    for (int32_t split = 0; split < n_splits; split++) {
        slot_parts in = divide_slot(shape, slots + (size_t)split * stride);
        for (int32_t i = 0; i < shape->topk; i++) {
            select_list_push(lower, in.lower[i]);
            select_list_push(&t->lists[row], in.scores[i]);
        }
    }
    select_list_cut(lower);
    float threshold = threshold_of(lower);
    for (int32_t split = 0; split < n_splits; split++) {
        slot_parts in = divide_slot(shape, slots + (size_t)split * stride);
        for (int32_t i = 0; i < *in.n; i++)
            if (!(select_key_score(in.upper[i]) < threshold))
                rescore(t, row, in.upper[i], in.panels[i]);
    }
}
