/* mass.c: see mass.h. A tile of queries of one group meets every block once; two floats remain of
 * each row and block, from which the softmax over the blocks follows. */
#include "attn/mass.h"

#include <math.h>
#include <omp.h>
#include <string.h>

#include "attn/panels.h"
#include "attn/select.h"
#include "base/carve.h"

#define TILE_ROWS 64 /* queries x heads: their scores of a block and the block stay near */

typedef struct mass_space {
    float *keys; /* a block in f32 panels */
    float *q;    /* [rows][d] */
    float *m, *l;
    float *mass; /* [n_blocks] of one query */
    int64_t n_blocks;
} mass_space;

static int32_t group_of(const msa_shape *s) {
    return s->n_q_heads / s->n_kv_heads;
}

static int32_t tile_queries(const msa_shape *s) {
    int32_t group = group_of(s);
    return group >= TILE_ROWS ? 1 : TILE_ROWS / group;
}

static size_t lay_out(mass_space *w, const msa_plan *plan, char *base) {
    const msa_shape *s = &plan->shape;
    carver c = {.base = base};
    size_t rows = (size_t)tile_queries(s) * (size_t)group_of(s), dim = (size_t)s->head_dim;
    w->n_blocks = (plan->max_kv_len + s->block - 1) / s->block;
    w->keys = carve(&c, (size_t)s->block * dim, sizeof(float));
    w->q = carve(&c, rows * dim, sizeof(float));
    w->m = carve(&c, (size_t)w->n_blocks, rows * sizeof(float));
    w->l = carve(&c, (size_t)w->n_blocks, rows * sizeof(float));
    w->mass = carve(&c, (size_t)w->n_blocks, sizeof(float));
    return c.used;
}

/* ---- plan */

msa_status mass_plan(msa_plan **plan, const msa_shape *shape, const msa_batch *batch,
                     const msa_plan_options *options, msa_error *err) {
    msa_status status = plan_prepare(plan, PLAN_MASS, shape, batch, options, err);
    if (status) return status;
    mass_space space;
    status = plan_make_tiles(*plan, tile_queries(shape), err);
    if (!status) status = plan_reserve_workspace(*plan, lay_out(&space, *plan, NULL), 0, err);
    return status;
}

/* ---- run */

typedef struct mass_job {
    const msa_plan *plan;
    const mass_args *args;
    const attn_kernels *kernels;
    float scale_log2;
} mass_job;

static void load_queries(const mass_job *job, const plan_item *item, const mass_space *w) {
    const msa_shape *s = &job->plan->shape;
    size_t n = (size_t)group_of(s) * (size_t)s->head_dim;
    int64_t t = job->plan->requests[item->request].q_start + item->q_first;
    for (int32_t i = 0; i < item->n_q; i++)
        memcpy(w->q + (size_t)i * n,
               job->args->q + ((t + i) * s->n_q_heads + item->head * group_of(s)) * s->head_dim,
               n * sizeof(float));
}

/* The queries from `from` on, `n` of them, see n_keys of the block. */
static void take_keys(const mass_job *job, const mass_space *w, mass_keys keys, int64_t block,
                      int32_t from, int32_t n, int32_t n_keys) {
    int32_t group = group_of(&job->plan->shape);
    int64_t row = (int64_t)from * group, at = row * w->n_blocks + block;
    keys.n = n_keys;
    job->kernels->mass_block(&keys, w->q + row * keys.dim, keys.dim, n * group, w->m + at,
                             w->l + at, w->n_blocks);
}

/* All who see the whole block at once; those inside it one by one. */
static void take_block(const mass_job *job, const plan_item *item, const mass_space *w,
                       int64_t block) {
    const msa_shape *s = &job->plan->shape;
    const plan_request *r = &job->plan->requests[item->request];
    int64_t before = block * s->block - r->position - item->q_first; /* queries in front of it */
    int32_t from = (int32_t)(before < 0 ? 0 : before);
    int64_t inside = before + s->block - 1; /* queries that see less than all of it, or none */
    int32_t whole = (int32_t)(inside < from ? from : inside < item->n_q ? inside : item->n_q);
    int64_t n_keys = whole < item->n_q ? s->block : item->n_q - before;
    stored_keys k = panels_of(job->plan, &job->args->k, r, item->head, block, (int32_t)n_keys,
                              s->head_dim, PANELS_WIDEN_ROWS, w->keys);
    mass_keys keys = {
        .panels = k.data, .dtype = k.dtype, .dim = s->head_dim, .scale_log2 = job->scale_log2};
    for (int32_t i = from; i < whole; i++)
        take_keys(job, w, keys, block, i, 1, (int32_t)(i - before + 1));
    if (whole < item->n_q) take_keys(job, w, keys, block, whole, item->n_q - whole, s->block);
}

static void finish_query(const mass_job *job, const plan_item *item, const mass_space *w,
                         int32_t query) {
    const msa_shape *s = &job->plan->shape;
    const plan_request *r = &job->plan->requests[item->request];
    int32_t group = group_of(s);
    int64_t position = r->position + item->q_first + query, n_visible = position / s->block + 1;
    int64_t row = (r->q_start + item->q_first + query) * s->n_kv_heads + item->head;
    memset(w->mass, 0, (size_t)n_visible * sizeof(float));
    for (int32_t h = 0; h < group; h++) {
        int64_t at = ((int64_t)query * group + h) * w->n_blocks;
        job->kernels->mass_share(w->m + at, w->l + at, n_visible, 1.0f / (float)group, w->mass);
    }
    if (job->args->ids)
        select_row(s, position, w->mass, MSA_ASCENDING, job->args->ids + row * s->topk);
    if (!job->args->mass) return;
    float *out = job->args->mass + row * job->args->n_blocks;
    memcpy(out, w->mass, (size_t)n_visible * sizeof(float));
    memset(out + n_visible, 0, (size_t)(job->args->n_blocks - n_visible) * sizeof(float));
}

static void run_item(const mass_job *job, const plan_item *item, const mass_space *w) {
    const plan_request *r = &job->plan->requests[item->request];
    int64_t last = (r->position + item->q_first + item->n_q - 1) / job->plan->shape.block;
    load_queries(job, item, w);
    for (int64_t b = 0; b <= last; b++) take_block(job, item, w, b);
    for (int32_t i = 0; i < item->n_q; i++) finish_query(job, item, w, i);
}

static msa_status check_arguments(const msa_plan *plan, const mass_args *args, float *scale,
                                  msa_error *err) {
    msa_status status = plan_check(plan, PLAN_MASS, err);
    if (status) return status;
    if (!args) return error_set(err, MSA_E_ARG, "args is NULL");
    const msa_shape *s = &plan->shape;
    int64_t needed = (plan->max_kv_len + s->block - 1) / s->block;
    if (plan->total_q && !args->q) return error_set(err, MSA_E_ARG, "q is NULL");
    if (args->mass && args->n_blocks < needed)
        return error_set(err, MSA_E_ARG, "n_blocks is %lld; the longest request has %lld blocks",
                         (long long)args->n_blocks, (long long)needed);
    status = plan_check_lane(plan, &args->k, "k", s->n_kv_heads, s->head_dim, true, err);
    return status ? status : plan_check_scale(s, args->scale, scale, err);
}

msa_status mass_run(msa_plan *plan, const mass_args *args, msa_error *err) {
    float scale;
    msa_status status = check_arguments(plan, args, &scale, err);
    if (status || plan->n_items == 0) return status;
    mass_job job = {plan, args, attn_kernels_get(), (float)(scale * 1.4426950408889634)};
    int64_t n_items = (int64_t)plan->n_items;
#pragma omp parallel num_threads(plan->n_threads) if (n_items > 1)
    {
        mass_space w;
        lay_out(&w, plan, plan_thread_space(plan, omp_get_thread_num()));
#pragma omp for schedule(dynamic)
        for (int64_t i = 0; i < n_items; i++) run_item(&job, &plan->items[i], &w);
    }
    return MSA_OK;
}
