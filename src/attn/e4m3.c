/* e4m3.c: see e4m3.h. */
#include "attn/e4m3.h"

#include <float.h>
#include <math.h>
#include <string.h>

#include "attn/gather.h"
#include "attn/row_sums.h"

typedef struct e4m3_job {
    block_walk walk;
    const attend_run *run;
    int group, dim, padded;
    row_sums sums; /* of width Hq */
    float *o;      /* [n_parts][chunk_q][Hq][padded] */
} e4m3_job;

/* A thread's space, and the part it walks. */
typedef struct e4m3_worker {
    e4m3_job *job;
    int32_t part;
    gather_keys k, v;
    gather_rows rows;
    float *max, *lse; /* [GRAD_ROWS] */
    float **o;
    float *scratch;
} e4m3_worker;

static void lay_out_worker(e4m3_worker *w, const msa_shape *s, carver *c) {
    size_t rows = GRAD_ROWS;
    gather_keys_lay_out(&w->k, s, s->head_dim, GATHER_PANELS, c);
    gather_keys_lay_out(&w->v, s, s->head_dim, GATHER_ROWS, c);
    gather_rows_lay_out(&w->rows, s->n_q_heads, s->n_q_heads / s->n_kv_heads, s->head_dim, 1, c);
    w->max = carve(c, rows, sizeof(float));
    w->lse = carve(c, rows, sizeof(float));
    w->o = carve(c, rows, sizeof *w->o);
    w->scratch = carve(c, grad_scratch_floats(), sizeof(float));
}

static void lay_out_job(e4m3_job *j, const msa_plan *plan, carver *c) {
    const msa_shape *s = &plan->shape;
    j->dim = s->head_dim;
    j->padded = grad_stride(j->dim) - 16;
    j->group = s->n_q_heads / s->n_kv_heads;
    walk_lay_out(&j->walk, plan, c);
    row_sums_lay_out(&j->sums, plan, s->n_q_heads, c);
    j->o = carve(c, (size_t)(plan->n_parts * plan->chunk_q * s->n_q_heads) * (size_t)j->padded,
                 sizeof(float));
}

static e4m3_worker worker_of(e4m3_job *j, int thread, int32_t part) {
    e4m3_worker w = {.job = j, .part = part};
    carver c = {.base = plan_thread_space(j->walk.plan, thread)};
    lay_out_worker(&w, &j->walk.plan->shape, &c);
    w.rows.walk = &j->walk;
    w.rows.from[0] = j->run->args->q;
    w.rows.scale_log2 = j->run->scale * 1.44269504f;
    return w;
}

static void visit_sums(void *worker, const plan_request *r, int32_t head, int64_t block,
                       const int32_t *queries, int32_t n) {
    e4m3_worker *w = worker;
    const e4m3_job *j = w->job;
    const int64_t *row = w->rows.row;
    int64_t part = row_sums_at(&j->sums, j->walk.plan, w->part, 0, 0);
    gather_visit v = gather_visit_of(&j->walk, r, head, block, queries, n);
    gather_keys_open(&w->k, j->walk.plan, &j->run->args->k, &v, head);
    for (int32_t first = 0; first < n * j->group; first += GRAD_ROWS) {
        seen_rows rows = gather_rows_take(&w->rows, &v, first, n * j->group);
        for (int32_t i = 0; i < rows.n; i++) {
            w->max[i] = j->sums.m[part + row[i]];
            w->lse[i] = j->sums.l[part + row[i]];
        }
        j->run->kernels->loss_lse(&rows, w->k.panels, v.n_keys, w->max, w->lse, w->scratch);
        for (int32_t i = 0; i < rows.n; i++) {
            j->sums.m[part + row[i]] = w->max[i];
            j->sums.l[part + row[i]] = w->lse[i];
        }
    }
}

static void sum_part(void *job, int thread, int32_t head, int32_t part) {
    e4m3_job *j = job;
    e4m3_worker w = worker_of(j, thread, part);
    row_sums_clear(&j->sums, j->walk.plan, part, j->walk.n, head * j->group, j->group);
    walk_part(&j->walk, head, part, visit_sums, &w);
}

static void merge_query(void *job, int32_t query) {
    e4m3_job *j = job;
    row_sums_merge(&j->sums, j->walk.plan, query);
}

static void visit_values(void *worker, const plan_request *r, int32_t head, int64_t block,
                         const int32_t *queries, int32_t n) {
    e4m3_worker *w = worker;
    const e4m3_job *j = w->job;
    const msa_plan *plan = j->walk.plan;
    const int64_t *row = w->rows.row;
    int64_t part = (int64_t)w->part * plan->chunk_q * plan->shape.n_q_heads;
    gather_visit v = gather_visit_of(&j->walk, r, head, block, queries, n);
    gather_keys_open(&w->k, plan, &j->run->args->k, &v, head);
    gather_keys_open(&w->v, plan, &j->run->args->v, &v, head);
    for (int32_t first = 0; first < n * j->group; first += GRAD_ROWS) {
        seen_rows rows = gather_rows_take(&w->rows, &v, first, n * j->group);
        for (int32_t i = 0; i < rows.n; i++) {
            w->max[i] = j->sums.max[row[i]];
            w->lse[i] = j->sums.lse[row[i]];
            w->o[i] = j->o + (part + row[i]) * j->padded;
        }
        j->run->kernels->e4m3_values(&rows, w->k.panels, w->v.rows, v.n_keys, w->max, w->lse, w->o,
                                     w->scratch);
    }
}

static void value_part(void *job, int thread, int32_t head, int32_t part) {
    e4m3_job *j = job;
    const msa_plan *plan = j->walk.plan;
    e4m3_worker w = worker_of(j, thread, part);
    for (int64_t q = 0; q < j->walk.n; q++) {
        int64_t row = (part * plan->chunk_q + q) * plan->shape.n_q_heads + head * j->group;
        memset(j->o + row * j->padded, 0, (size_t)(j->group * j->padded) * sizeof(float));
    }
    walk_part(&j->walk, head, part, visit_values, &w);
}

static void finish_query(void *job, int32_t query) {
    e4m3_job *j = job;
    const msa_plan *plan = j->walk.plan;
    int64_t heads = plan->shape.n_q_heads, t = j->walk.queries[query].t;
    for (int64_t h = 0; h < heads; h++) {
        int64_t row = query * heads + h;
        float lse = j->sums.lse[row];
        walk_sum_parts(j->o + row * j->padded, plan->chunk_q * heads * j->padded, plan->n_parts,
                       j->dim, j->run->args->out + (t * heads + h) * j->dim);
        if (j->run->args->lse)
            j->run->args->lse[t * heads + h] = lse == FLT_MAX ? -INFINITY : lse * 0.693147181f;
    }
}

msa_status e4m3_plan(msa_plan *plan, msa_error *err) {
    const msa_shape *s = &plan->shape;
    size_t padded = size_round_up((size_t)s->head_dim, 16);
    walk_plan(plan, s->n_kv_heads, (size_t)s->n_q_heads * padded + row_sums_floats(s->n_q_heads));
    plan->n_splits = 1;
    e4m3_worker w;
    e4m3_job j;
    carver thread = {0}, shared = {0};
    lay_out_worker(&w, s, &thread);
    lay_out_job(&j, plan, &shared);
    return plan_reserve_workspace(plan, thread.used, shared.used, err);
}

msa_status e4m3_run(const attend_run *run, msa_error *err) {
    const msa_plan *plan = run->plan;
    if (run->args->max_score || (plan->total_q && !run->args->out))
        return error_set(err, MSA_E_ARG, "%s: with p_e4m3 there is out and no max_score",
                         run->args->max_score ? "max_score" : "out is NULL");
    e4m3_job j = {.run = run};
    carver c = {.base = plan_shared_space(plan)};
    lay_out_job(&j, plan, &c);
    walk_begin(&j.walk, plan, run->args->selection, plan->shape.n_kv_heads);
    static const walk_pass passes[] = {{sum_part, merge_query}, {value_part, finish_query}};
    walk_run(&j.walk, NULL, passes, 2, &j);
    return MSA_OK;
}
