/* grad.c: gradients of dense and sparse attention: see grad.h. */
#include "attn/grad.h"

#include <float.h>
#include <math.h>

#include "attn/selection.h"

/* ---- what the index loss shares ---- */

msa_status grad_check_batch(const msa_plan *plan, msa_error *err) {
    if (plan->paged)
        return error_set(err, MSA_E_ARG,
                         "batch: page_table is set; gradients need contiguous keys");
    int64_t end = 0;
    for (int32_t r = 0; r < plan->n_requests; r++) {
        if (plan->requests[r].kv_start < end)
            return error_set(err, MSA_E_ARG,
                             "batch: kv_start[%d] is %lld; expected at least %lld: gradients need "
                             "requests in ascending order that share no token",
                             r, (long long)plan->requests[r].kv_start, (long long)end);
        end = plan->requests[r].kv_start + plan->requests[r].kv_len;
    }
    return MSA_OK;
}

void grad_block_lay_out(grad_block *b, const msa_shape *s, int dim, int what, carver *c) {
    size_t B = (size_t)s->block;
    b->dim = dim;
    b->stride = grad_stride(dim);
    b->panels = what & GRAD_PANELS ? carve(c, B * (size_t)dim, sizeof(float)) : NULL;
    b->rows = what & GRAD_ROWS_OF_KEYS ? carve(c, B * (size_t)b->stride, sizeof(float)) : NULL;
}

void grad_block_open(grad_block *b, const msa_plan *plan, const msa_lane *lane,
                     const plan_request *r, int32_t head, int64_t block, int n) {
    const attn_kernels *kernels = attn_kernels_get();
    const char *from = plan_block(plan, lane, r, head, block);
    int64_t token_bytes = lane->stride_token * msa_dtype_size(lane->dtype);
    if (b->panels)
        kernels->pack_panels(from, lane->dtype, lane->stride_token, n, b->dim, b->panels);
    for (int64_t j = 0; j < n && b->rows; j++)
        kernels->pack_rows(from + j * token_bytes, lane->dtype, lane->stride_token, 1, b->dim,
                           b->rows + j * b->stride);
}

void grad_sum_parts(const float *part, int64_t stride, int n_parts, int dim, float *out) {
    memcpy(out, part, (size_t)dim * sizeof(float));
    for (int p = 1; p < n_parts; p++)
        for (int c = 0; c < dim; c++) out[c] += part[p * stride + c];
}

/* ---- a run ---- */

/* A thread's space. */
typedef struct grad_worker {
    grad_block k, v;
    float *dk, *dv;   /* [B][stride] sums of the block at hand */
    float *q, *d_out; /* [GRAD_ROWS + 3][stride] gathered rows */
    float *lse, *delta;
    float **dq;
    int32_t *sees;
    float *scratch;
    float *part;      /* [chunk_q][G][padded] dq of the part at hand */
    float *max;       /* [GRAD_ROWS] p_e4m3 */
    int64_t *row;     /* [GRAD_ROWS] query * Hq + head */
    int64_t part_row; /* p_e4m3: of the part at hand in max_parts and delta_parts */
    const struct grad_job *job;
} grad_worker;

typedef struct grad_job {
    block_walk walk;
    const msa_grad_args *args;
    const attn_kernels *kernels;
    float scale;
    int dim, padded, stride, group;
    float *delta, *lse; /* [chunk_q][Hq]; lse in base 2 */
    float *parts;       /* [Hkv][n_parts][chunk_q][G][padded] */
    float *max;         /* p_e4m3: [chunk_q][Hq] greatest score, base 2; and of each part, */
    float *max_parts, *delta_parts; /* [n_parts][chunk_q][Hq] its maximum and sum of P dP */
} grad_job;

static void lay_out_worker(grad_worker *w, const msa_shape *s, carver *c) {
    size_t stride = (size_t)grad_stride(s->head_dim), rows = GRAD_ROWS + 3, B = (size_t)s->block;
    grad_block_lay_out(&w->k, s, s->head_dim, GRAD_PANELS | GRAD_ROWS_OF_KEYS, c);
    grad_block_lay_out(&w->v, s, s->head_dim, GRAD_PANELS, c);
    w->dk = carve(c, B * stride, sizeof(float));
    w->dv = carve(c, B * stride, sizeof(float));
    w->q = carve(c, rows * stride, sizeof(float));
    w->d_out = carve(c, rows * stride, sizeof(float));
    w->lse = carve(c, GRAD_ROWS, sizeof(float));
    w->delta = carve(c, GRAD_ROWS, sizeof(float));
    w->dq = carve(c, GRAD_ROWS, sizeof *w->dq);
    w->sees = carve(c, GRAD_ROWS, sizeof(int32_t));
    w->max = carve(c, GRAD_ROWS, sizeof(float));
    w->row = carve(c, GRAD_ROWS, sizeof(int64_t));
    w->scratch = carve(c, grad_scratch_floats(), sizeof(float));
}

static size_t part_floats(const msa_shape *s) { /* of one query */
    return (size_t)(s->n_q_heads / s->n_kv_heads) * size_round_up((size_t)s->head_dim, 16);
}

static void lay_out_job(grad_job *j, const msa_plan *plan, carver *c) {
    const msa_shape *s = &plan->shape;
    size_t chunk = (size_t)plan->chunk_q, heads = (size_t)s->n_q_heads;
    walk_lay_out(&j->walk, plan, c);
    j->delta = carve(c, chunk * heads, sizeof(float));
    j->lse = carve(c, chunk * heads, sizeof(float));
    j->parts =
        carve(c, (size_t)(s->n_kv_heads * plan->n_parts) * chunk * part_floats(s), sizeof(float));
    if (!plan->p_e4m3) return;
    size_t rows = chunk * heads, parts = (size_t)plan->n_parts;
    j->max = carve(c, rows, sizeof(float));
    j->max_parts = carve(c, parts * rows, sizeof(float));
    j->delta_parts = carve(c, parts * rows, sizeof(float));
}

/* ---- passes ---- */

static void zero_keys(void *job, int64_t first, int64_t n) {
    const grad_job *j = job;
    int64_t row = (int64_t)j->walk.plan->shape.n_kv_heads * j->dim;
    memset(j->args->dk + first * row, 0, (size_t)(n * row) * sizeof(float));
    memset(j->args->dv + first * row, 0, (size_t)(n * row) * sizeof(float));
}

static void take_delta(void *job, int32_t query) {
    grad_job *j = job;
    int64_t heads = j->walk.plan->shape.n_q_heads, row = j->walk.queries[query].t * heads;
    for (int64_t h = 0; h < heads; h++) {
        const float *o = j->args->out + (row + h) * j->dim,
                    *d = j->args->d_out + (row + h) * j->dim;
        float lanes[8] = {0}, lse = j->args->lse[row + h];
        for (int c = 0; c < j->dim; c += 8)
            for (int i = 0; i < 8; i++) lanes[i] += o[c + i] * d[c + i];
        for (int half = 4; half > 0; half /= 2)
            for (int i = 0; i < half; i++) lanes[i] += lanes[i + half];
        j->delta[query * heads + h] = lanes[0];
        /* a row that saw only -inf keeps probabilities of 0, where -inf - -inf would be NaN */
        j->lse[query * heads + h] = lse == -INFINITY ? FLT_MAX : lse * 1.44269504f;
    }
}

/* Rows first.. of the block's queries, G to the query, as many as a call takes; what they see of
 * n_keys keys from `token` on. Returns how many. */
static int32_t gather(grad_worker *w, int32_t head, int64_t token, int32_t n_keys,
                      const int32_t *queries, int32_t first, int32_t n_rows) {
    const grad_job *j = w->job;
    int64_t heads = j->walk.plan->shape.n_q_heads, left = n_rows - first;
    int32_t n = left < GRAD_ROWS ? (int32_t)left : GRAD_ROWS, group = j->group;
    grad_place p = grad_place_of(first, group), ahead = grad_place_of(first + n, group);
    for (int32_t i = 0; i < n; i++, grad_place_step(&p, group), grad_place_step(&ahead, group)) {
        const walk_query *query = &j->walk.queries[queries[p.at]];
        int64_t at = head * group + p.head, row = query->t * heads + at;
        grad_copy_row(w->q + i * j->stride, j->args->q + row * j->dim, j->dim);
        grad_copy_row(w->d_out + i * j->stride, j->args->d_out + row * j->dim, j->dim);
        w->row[i] = queries[p.at] * heads + at;
        w->lse[i] = j->lse[w->row[i]];
        w->delta[i] = j->delta[w->row[i]];
        w->sees[i] = walk_sees(query->position, token, n_keys);
        w->dq[i] = w->part + ((int64_t)queries[p.at] * group + p.head) * j->padded;
        grad_ask_ahead(w->dq[i], j->padded);
        if (first + n + i >= n_rows) continue;
        row = j->walk.queries[queries[ahead.at]].t * heads + head * group + ahead.head;
        grad_ask_ahead(j->args->q + row * j->dim, j->dim);
        grad_ask_ahead(j->args->d_out + row * j->dim, j->dim);
    }
    return n;
}

/* Adds the block's sums to its rows of dk and dv. */
static void add_block(const grad_worker *w, const plan_request *r, int32_t head, int64_t token,
                      int32_t n) {
    const grad_job *j = w->job;
    for (int32_t i = 0; i < n; i++) {
        int64_t row = (r->kv_start + token + i) * j->walk.plan->shape.n_kv_heads + head;
        float *dk = j->args->dk + row * j->dim, *dv = j->args->dv + row * j->dim;
        for (int c = 0; c < j->dim; c++) dk[c] += w->dk[i * j->stride + c];
        for (int c = 0; c < j->dim; c++) dv[c] += w->dv[i * j->stride + c];
    }
}

/* What is done with gathered rows of a block. */
typedef void take_rows_fn(grad_worker *w, const grad_keys *keys, const grad_rows *rows);

static void take_gradients(grad_worker *w, const grad_keys *keys, const grad_rows *rows) {
    const grad_job *j = w->job;
    if (!j->max) {
        j->kernels->attend_grad(keys, rows, j->scale, w->scratch);
        return;
    }
    for (int32_t i = 0; i < rows->n; i++) w->max[i] = j->max[w->row[i]];
    j->kernels->e4m3_grad(keys, rows, w->max, j->scale, w->scratch);
}

static void take_bounds(grad_worker *w, const grad_keys *keys, const grad_rows *rows) {
    const grad_job *j = w->job;
    float *max = j->max_parts + w->part_row, *delta = j->delta_parts + w->part_row;
    for (int32_t i = 0; i < rows->n; i++) {
        w->max[i] = max[w->row[i]];
        w->delta[i] = delta[w->row[i]];
    }
    j->kernels->e4m3_bounds(keys, rows, j->scale, w->max, w->delta, w->scratch);
    for (int32_t i = 0; i < rows->n; i++) {
        max[w->row[i]] = w->max[i];
        delta[w->row[i]] = w->delta[i];
    }
}

/* Opens the first n keys of a block and lets the queries' rows, GRAD_ROWS at a time, take them. */
static void meet_block(grad_worker *w, const plan_request *r, int32_t head, int64_t block,
                       int32_t n_keys, const int32_t *queries, int32_t n, take_rows_fn *take) {
    const grad_job *j = w->job;
    const msa_plan *plan = j->walk.plan;
    grad_block_open(&w->k, plan, &j->args->k, r, head, block, n_keys);
    grad_block_open(&w->v, plan, &j->args->v, r, head, block, n_keys);
    grad_keys keys = {.dim = j->dim, .stride = j->stride, .k_panels = w->k.panels};
    keys.v_panels = w->v.panels, keys.k_rows = w->k.rows, keys.dk = w->dk, keys.dv = w->dv;
    grad_rows rows = {.q = w->q, .d_out = w->d_out, .lse_log2 = w->lse, .delta = w->delta};
    rows.sees = w->sees, rows.dq = w->dq;
    for (int32_t first = 0; first < n * j->group; first += GRAD_ROWS) {
        rows.n = gather(w, head, block * plan->shape.block, n_keys, queries, first, n * j->group);
        keys.n = w->sees[rows.n - 1]; /* ascending: the last sees most */
        take(w, &keys, &rows);
    }
}

static int32_t keys_met(const grad_job *j, int64_t block, int32_t last_query) {
    int32_t B = j->walk.plan->shape.block;
    return walk_sees(j->walk.queries[last_query].position, block * B, B);
}

static void visit_block(void *worker, const plan_request *r, int32_t head, int64_t block,
                        const int32_t *queries, int32_t n) {
    grad_worker *w = worker;
    const grad_job *j = w->job;
    int32_t n_keys = keys_met(j, block, queries[n - 1]);
    memset(w->dk, 0, (size_t)(n_keys * j->stride) * sizeof(float));
    memset(w->dv, 0, (size_t)(n_keys * j->stride) * sizeof(float));
    meet_block(w, r, head, block, n_keys, queries, n, take_gradients);
    add_block(w, r, head, block * j->walk.plan->shape.block, n_keys);
}

static void visit_bounds(void *worker, const plan_request *r, int32_t head, int64_t block,
                         const int32_t *queries, int32_t n) {
    grad_worker *w = worker;
    meet_block(w, r, head, block, keys_met(w->job, block, queries[n - 1]), queries, n, take_bounds);
}

static grad_worker worker_of(grad_job *j, int thread, int32_t set, int32_t part) {
    const msa_plan *plan = j->walk.plan;
    grad_worker w = {.job = j};
    carver c = {.base = plan_thread_space(plan, thread)};
    lay_out_worker(&w, &plan->shape, &c);
    w.part = j->parts + ((size_t)(set * plan->n_parts + part) * (size_t)plan->chunk_q) *
                            part_floats(&plan->shape);
    w.part_row = (int64_t)part * plan->chunk_q * plan->shape.n_q_heads;
    return w;
}

static void take_part(void *job, int thread, int32_t set, int32_t part) {
    grad_job *j = job;
    grad_worker w = worker_of(j, thread, set, part);
    size_t floats = (size_t)j->walk.n * part_floats(&j->walk.plan->shape);
    memset(w.part, 0, floats * sizeof(float));
    walk_part(&j->walk, set, part, visit_block, &w);
}

static void bound_part(void *job, int thread, int32_t set, int32_t part) {
    grad_job *j = job;
    grad_worker w = worker_of(j, thread, set, part);
    int64_t heads = j->walk.plan->shape.n_q_heads;
    for (int64_t q = 0; q < j->walk.n; q++)
        for (int64_t h = set * j->group; h < (set + 1) * j->group; h++) {
            j->max_parts[w.part_row + q * heads + h] = -INFINITY;
            j->delta_parts[w.part_row + q * heads + h] = 0;
        }
    walk_part(&j->walk, set, part, visit_bounds, &w);
}

/* In the order of parts. */
static void merge_bounds(void *job, int32_t query) {
    grad_job *j = job;
    const msa_plan *plan = j->walk.plan;
    int64_t heads = plan->shape.n_q_heads, step = plan->chunk_q * heads;
    for (int64_t i = query * heads; i < (query + 1) * heads; i++) {
        j->max[i] = -INFINITY;
        j->delta[i] = 0;
        for (int32_t p = 0; p < plan->n_parts; p++) {
            if (j->max_parts[p * step + i] > j->max[i]) j->max[i] = j->max_parts[p * step + i];
            j->delta[i] += j->delta_parts[p * step + i];
        }
        if (j->max[i] == -INFINITY) j->max[i] = 0; /* scores of -inf alone weigh nothing */
    }
}

static void sum_query(void *job, int32_t query) {
    grad_job *j = job;
    const msa_plan *plan = j->walk.plan;
    int64_t row = (int64_t)part_floats(&plan->shape), stride = plan->chunk_q * row;
    float *dq = j->args->dq + j->walk.queries[query].t * plan->shape.n_q_heads * j->dim;
    for (int32_t h = 0; h < plan->shape.n_q_heads; h++) {
        const float *part = j->parts + (h / j->group) * plan->n_parts * stride + query * row +
                            (h % j->group) * j->padded;
        grad_sum_parts(part, stride, plan->n_parts, j->dim, dq + h * j->dim);
    }
}

/* ---- entries ---- */

static msa_status plan_grad(msa_plan **plan, plan_op op, const msa_shape *shape,
                            const msa_batch *batch, const msa_plan_options *options,
                            msa_error *err) {
    msa_status status = plan_prepare(plan, op, shape, batch, options, err);
    if (!status) status = grad_check_batch(*plan, err);
    if (status) return status;
    walk_plan(*plan, shape->n_kv_heads, part_floats(shape) * (size_t)shape->n_kv_heads);
    grad_worker w;
    grad_job j;
    carver thread = {0}, shared = {0};
    lay_out_worker(&w, shape, &thread);
    lay_out_job(&j, *plan, &shared);
    return plan_reserve_workspace(*plan, thread.used, shared.used, err);
}

static msa_status check_args(const msa_plan *plan, const msa_grad_args *a, msa_error *err) {
    const msa_shape *s = &plan->shape;
    const struct {
        const char *name;
        const void *data;
    } arrays[] = {{"q", a->q},   {"out", a->out}, {"lse", a->lse}, {"d_out", a->d_out},
                  {"dq", a->dq}, {"dk", a->dk},   {"dv", a->dv}};
    for (size_t i = 0; i < sizeof arrays / sizeof *arrays; i++)
        if (!arrays[i].data && plan->n_blocks)
            return error_set(err, MSA_E_ARG, "%s is NULL", arrays[i].name);
    msa_status status;
    if ((status = plan_check_lane(plan, &a->k, "k", s->n_kv_heads, s->head_dim, false, err)) ||
        (status = plan_check_lane(plan, &a->v, "v", s->n_kv_heads, s->head_dim, false, err)))
        return status;
    return MSA_OK;
}

static msa_status run_grad(msa_plan *plan, const msa_grad_args *args, msa_error *err) {
    grad_job j = {.args = args, .kernels = attn_kernels_get()};
    msa_status status;
    if ((status = check_args(plan, args, err)) ||
        (status = plan_check_scale(&plan->shape, args->scale, &j.scale, err)))
        return status;
    j.dim = plan->shape.head_dim;
    j.padded = (j.dim + 15) / 16 * 16;
    j.stride = grad_stride(j.dim);
    j.group = plan->shape.n_q_heads / plan->shape.n_kv_heads;
    carver c = {.base = plan_shared_space(plan)};
    lay_out_job(&j, plan, &c);
    j.walk.plan = plan;
    j.walk.selection = args->selection;
    j.walk.n_rows = plan->total_q;
    j.walk.n_sets = plan->shape.n_kv_heads;
    static const walk_pass plain[] = {{NULL, take_delta}, {take_part, sum_query}};
    static const walk_pass rounded[] = {
        {NULL, take_delta}, {bound_part, merge_bounds}, {take_part, sum_query}};
    walk_run(&j.walk, zero_keys, plan->p_e4m3 ? rounded : plain, plan->p_e4m3 ? 3 : 2, &j);
    return MSA_OK;
}

msa_status msa_dense_grad_plan(msa_plan **plan, const msa_shape *shape, const msa_batch *batch,
                               const msa_plan_options *options, msa_error *err) {
    return plan_grad(plan, PLAN_DENSE_GRAD, shape, batch, options, err);
}

msa_status msa_sparse_grad_plan(msa_plan **plan, const msa_shape *shape, const msa_batch *batch,
                                const msa_plan_options *options, msa_error *err) {
    return plan_grad(plan, PLAN_SPARSE_GRAD, shape, batch, options, err);
}

msa_status msa_dense_grad_run(msa_plan *plan, const msa_grad_args *args, msa_error *err) {
    msa_status status = plan_check(plan, PLAN_DENSE_GRAD, err);
    if (status) return status;
    if (!args) return error_set(err, MSA_E_ARG, "args is NULL");
    if (args->selection)
        return error_set(err, MSA_E_ARG, "dense takes no selection; msa_sparse_grad_run does");
    return run_grad(plan, args, err);
}

msa_status msa_sparse_grad_run(msa_plan *plan, const msa_grad_args *args, msa_error *err) {
    msa_status status = plan_check(plan, PLAN_SPARSE_GRAD, err);
    if (status) return status;
    if (!args) return error_set(err, MSA_E_ARG, "args is NULL");
    status = selection_check(plan, args->selection, err);
    return status ? status : run_grad(plan, args, err);
}
