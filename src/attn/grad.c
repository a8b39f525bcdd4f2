/* grad.c: gradients of dense and sparse attention: see grad.h. */
#include "attn/grad.h"

#include <float.h>
#include <math.h>
#include <string.h>

#include "attn/gather.h"
#include "attn/selection.h"

/* ---- a run ---- */

/* A thread's space. */
typedef struct grad_worker {
    gather_keys k, v;
    gather_rows rows; /* of q and d_out */
    float *dk, *dv;   /* [B][stride] sums of the block at hand */
    float *lse, *delta;
    float **dq;
    float *scratch;
    float *part;      /* [chunk_q][G][padded] dq of the part at hand */
    float *max;       /* [GRAD_ROWS] p_e4m3 */
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
    size_t stride = (size_t)grad_stride(s->head_dim), B = (size_t)s->block;
    gather_keys_lay_out(&w->k, s, s->head_dim, GATHER_PANELS | GATHER_ROWS, c);
    gather_keys_lay_out(&w->v, s, s->head_dim, GATHER_PANELS, c);
    gather_rows_lay_out(&w->rows, s->n_q_heads, s->n_q_heads / s->n_kv_heads, s->head_dim, 2, c);
    w->dk = carve(c, B * stride, sizeof(float));
    w->dv = carve(c, B * stride, sizeof(float));
    w->lse = carve(c, GRAD_ROWS, sizeof(float));
    w->delta = carve(c, GRAD_ROWS, sizeof(float));
    w->dq = carve(c, GRAD_ROWS, sizeof *w->dq);
    w->max = carve(c, GRAD_ROWS, sizeof(float));
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

/* Rows of a visit from the first-th on, as many as a call takes, with all that goes with them. */
static grad_rows gather(grad_worker *w, const gather_visit *v, int32_t first) {
    const grad_job *j = w->job;
    seen_rows seen = gather_rows_take(&w->rows, v, first, v->n * j->group);
    gather_place p = gather_place_of(first, j->group);
    for (int32_t i = 0; i < seen.n; i++, gather_place_step(&p, j->group)) {
        w->lse[i] = j->lse[w->rows.row[i]];
        w->delta[i] = j->delta[w->rows.row[i]];
        w->dq[i] = w->part + ((int64_t)v->queries[p.at] * j->group + p.head) * j->padded;
        gather_ask_ahead(w->dq[i], j->padded);
    }
    return (grad_rows){seen.n, seen.q, w->rows.to[1], w->lse, w->delta, seen.sees, w->dq};
}

/* Adds the block's sums to its rows of dk and dv. */
static void add_block(const grad_worker *w, const gather_visit *v) {
    const grad_job *j = w->job;
    int64_t heads = j->walk.plan->shape.n_kv_heads;
    for (int32_t i = 0; i < v->n_keys; i++) {
        int64_t row = (v->request->kv_start + v->token + i) * heads + v->head;
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
    for (int32_t i = 0; i < rows->n; i++) w->max[i] = j->max[w->rows.row[i]];
    j->kernels->e4m3_grad(keys, rows, w->max, j->scale, w->scratch);
}

static void take_bounds(grad_worker *w, const grad_keys *keys, const grad_rows *rows) {
    const grad_job *j = w->job;
    float *max = j->max_parts + w->part_row, *delta = j->delta_parts + w->part_row;
    for (int32_t i = 0; i < rows->n; i++) {
        w->max[i] = max[w->rows.row[i]];
        w->delta[i] = delta[w->rows.row[i]];
    }
    j->kernels->e4m3_bounds(keys, rows, j->scale, w->max, w->delta, w->scratch);
    for (int32_t i = 0; i < rows->n; i++) {
        max[w->rows.row[i]] = w->max[i];
        delta[w->rows.row[i]] = w->delta[i];
    }
}

/* Opens the keys of a visit and lets its rows, GRAD_ROWS at a time, take them. */
static void meet_block(grad_worker *w, const gather_visit *v, take_rows_fn *take) {
    const grad_job *j = w->job;
    gather_keys_open(&w->k, j->walk.plan, &j->args->k, v, v->head);
    gather_keys_open(&w->v, j->walk.plan, &j->args->v, v, v->head);
    grad_keys keys = {.dim = j->dim, .stride = j->stride, .k_panels = w->k.panels};
    keys.v_panels = w->v.panels, keys.k_rows = w->k.rows, keys.dk = w->dk, keys.dv = w->dv;
    for (int32_t first = 0; first < v->n * j->group; first += GRAD_ROWS) {
        grad_rows rows = gather(w, v, first);
        keys.n = rows.sees[rows.n - 1]; /* ascending: the last sees most */
        take(w, &keys, &rows);
    }
}

static void visit_block(void *worker, const plan_request *r, int32_t head, int64_t block,
                        const int32_t *queries, int32_t n) {
    grad_worker *w = worker;
    const grad_job *j = w->job;
    gather_visit v = gather_visit_of(&j->walk, r, head, block, queries, n);
    memset(w->dk, 0, (size_t)(v.n_keys * j->stride) * sizeof(float));
    memset(w->dv, 0, (size_t)(v.n_keys * j->stride) * sizeof(float));
    meet_block(w, &v, take_gradients);
    add_block(w, &v);
}

static void visit_bounds(void *worker, const plan_request *r, int32_t head, int64_t block,
                         const int32_t *queries, int32_t n) {
    grad_worker *w = worker;
    gather_visit v = gather_visit_of(&w->job->walk, r, head, block, queries, n);
    meet_block(w, &v, take_bounds);
}

static grad_worker worker_of(grad_job *j, int thread, int32_t set, int32_t part) {
    const msa_plan *plan = j->walk.plan;
    grad_worker w = {.job = j};
    carver c = {.base = plan_thread_space(plan, thread)};
    lay_out_worker(&w, &plan->shape, &c);
    w.rows.walk = &j->walk;
    w.rows.from[0] = j->args->q;
    w.rows.from[1] = j->args->d_out;
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
        walk_sum_parts(part, stride, plan->n_parts, j->dim, dq + h * j->dim);
    }
}

/* ---- entries ---- */

static msa_status plan_grad(msa_plan **plan, plan_op op, const msa_shape *shape,
                            const msa_batch *batch, const msa_plan_options *options,
                            msa_error *err) {
    msa_status status = plan_prepare(plan, op, shape, batch, options, err);
    if (!status) status = walk_check_batch(*plan, err);
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
    walk_begin(&j.walk, plan, args->selection, plan->shape.n_kv_heads);
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
