/* means.c: see means.h. First the means of all whole blocks, then tiles of queries against them. A
 * mean is scored as a block of one token, by the kernel of score.h. */
#include "attn/means.h"

#include <omp.h>
#include <string.h>

#include "attn/panels.h"
#include "attn/select.h"
#include "base/carve.h"

#define TILE_QUERIES 32
#define PANEL        16

typedef struct means_space {
    float *keys;   /* a block widened */
    float *mean;   /* [d] */
    float *panel;  /* [d][16]: a mean, and zeros */
    float *column; /* [TILE_QUERIES] scores of one block */
    float *scores; /* [TILE_QUERIES][n_blocks] */
    int64_t n_blocks;
} means_space;

static size_t lay_out(means_space *w, const msa_plan *plan, char *base) {
    const msa_shape *s = &plan->shape;
    carver c = {.base = base};
    size_t dim = (size_t)s->head_dim;
    w->n_blocks = (plan->max_kv_len + s->block - 1) / s->block;
    w->keys = carve(&c, (size_t)s->block * dim, sizeof(float));
    w->mean = carve(&c, dim, sizeof(float));
    w->panel = carve(&c, PANEL * dim, sizeof(float));
    w->column = carve(&c, TILE_QUERIES, sizeof(float));
    w->scores = carve(&c, (size_t)w->n_blocks, TILE_QUERIES * sizeof(float));
    return c.used;
}

/* ---- plan */

msa_status means_plan(msa_plan **plan, const msa_shape *shape, const msa_batch *batch,
                      const msa_plan_options *options, msa_error *err) {
    msa_status status = plan_prepare(plan, PLAN_MEANS, shape, batch, options, err);
    if (status) return status;
    msa_plan *p = *plan;
    size_t key = (size_t)shape->n_kv_heads * (size_t)shape->head_dim * sizeof(float);
    p->n_blocks = 0;
    for (int32_t r = 0; r < p->n_requests; r++) {
        p->requests[r].first_block = p->n_blocks;
        p->n_blocks += p->requests[r].kv_len / shape->block;
    }
    means_space space;
    size_t means;
    if (!size_mul((size_t)p->n_blocks, key, &means))
        return error_set(err, MSA_E_NOMEM, "the means of %lld blocks are beyond any memory",
                         (long long)p->n_blocks);
    status = plan_make_tiles(p, TILE_QUERIES, err);
    return status ? status : plan_reserve_workspace(p, lay_out(&space, p, NULL), means, err);
}

/* ---- run */

/* The mean of n keys in panels. */
static void take_mean(const float *panels, int32_t n, int32_t dim, float *mean) {
    for (int32_t c = 0; c < dim; c++) {
        float sums[PANEL] = {0}, sum = 0;
        const float *row = panels + c * PANEL;
        for (int32_t j = 0; j < n; j += PANEL, row += dim * PANEL)
            for (int32_t lane = 0; lane < PANEL && j + lane < n; lane++) sums[lane] += row[lane];
        for (int32_t lane = 0; lane < PANEL; lane++) sum += sums[lane];
        mean[c] = sum / (float)n;
    }
}

static float *mean_at(const msa_plan *plan, const plan_request *r, int64_t block, int32_t head) {
    const msa_shape *s = &plan->shape;
    return (float *)plan_shared_space(plan) +
           ((r->first_block + block) * s->n_kv_heads + head) * s->head_dim;
}

static void find_means(const msa_plan *plan, const means_args *args, const means_space *w) {
    const msa_shape *s = &plan->shape;
    for (int32_t i = 0; i < plan->n_requests; i++) {
        const plan_request *r = &plan->requests[i];
#pragma omp for schedule(static) nowait
        for (int64_t at = 0; at < r->kv_len / s->block * s->n_kv_heads; at++) {
            int64_t block = at / s->n_kv_heads;
            int32_t head = (int32_t)(at % s->n_kv_heads);
            const float *keys =
                panels_widened(plan, &args->k, r, head, block, s->block, s->head_dim, w->keys);
            take_mean(keys, s->block, s->head_dim, mean_at(plan, r, block, head));
        }
    }
#pragma omp barrier
}

static void score_mean(const means_space *w, const float *mean, const float *q, int64_t stride,
                       int32_t n_rows, int32_t dim) {
    for (int32_t c = 0; c < dim; c++) w->panel[c * PANEL] = mean[c];
    stored_keys panel = panels_packed(w->panel);
    attn_kernels_get()->score_block(q, stride, n_rows, dim, &panel, 1, w->column);
}

/* The first query of the item at or behind `position`; n_q if there is none. */
static int32_t first_query(const plan_request *r, const plan_item *item, int64_t position) {
    int64_t i = position - r->position - item->q_first;
    return (int32_t)(i < 0 ? 0 : i < item->n_q ? i : item->n_q);
}

/* The own block competes where nothing local is forced: what each query sees of it. */
static void score_own(const msa_plan *plan, const means_args *args, const plan_item *item,
                      const means_space *w, int32_t query, const float *q) {
    const plan_request *r = &plan->requests[item->request];
    int32_t dim = plan->shape.head_dim, block = plan->shape.block;
    int64_t position = r->position + item->q_first + query, own = position / block;
    int32_t n = (int32_t)(position % block) + 1;
    const float *keys = panels_widened(plan, &args->k, r, item->head, own, n, dim, w->keys);
    take_mean(keys, n, dim, w->mean);
    score_mean(w, w->mean, q, dim, 1, dim);
    w->scores[query * w->n_blocks + own] = w->column[0];
}

static void run_item(const msa_plan *plan, const means_args *args, const plan_item *item,
                     const means_space *w) {
    const msa_shape *s = &plan->shape;
    const plan_request *r = &plan->requests[item->request];
    int64_t position = r->position + item->q_first, n_blocks = (position + item->n_q) / s->block;
    int64_t t = r->q_start + item->q_first, stride = (int64_t)s->n_kv_heads * s->head_dim;
    const float *q = args->q + t * stride + (int64_t)item->head * s->head_dim;
    int32_t scored = first_query(r, item, (int64_t)s->topk * s->block), near = s->local;
    if (near == 0) near = 1; /* a block behind which the query stands is whole */
    for (int64_t b = s->init; b < n_blocks; b++) {
        int32_t from = first_query(r, item, (b + near) * s->block);
        if (from < scored) from = scored;
        if (from == item->n_q) break;
        score_mean(w, mean_at(plan, r, b, item->head), q + from * stride, stride, item->n_q - from,
                   s->head_dim);
        for (int32_t i = from; i < item->n_q; i++)
            w->scores[i * w->n_blocks + b] = w->column[i - from];
    }
    for (int32_t i = 0; i < item->n_q; i++) {
        if (s->local == 0 && i >= scored) score_own(plan, args, item, w, i, q + i * stride);
        select_row(s, position + i, w->scores + i * w->n_blocks, MSA_ASCENDING,
                   args->ids + ((t + i) * s->n_kv_heads + item->head) * s->topk);
    }
}

static msa_status check_arguments(const msa_plan *plan, const means_args *args, msa_error *err) {
    msa_status status = plan_check(plan, PLAN_MEANS, err);
    if (status) return status;
    if (!args) return error_set(err, MSA_E_ARG, "args is NULL");
    if (plan->total_q && (!args->q || !args->ids))
        return error_set(err, MSA_E_ARG, "%s is NULL", !args->q ? "q" : "ids");
    return plan_check_lane(plan, &args->k, "k", plan->shape.n_kv_heads, plan->shape.head_dim, true,
                           err);
}

msa_status means_run(msa_plan *plan, const means_args *args, msa_error *err) {
    msa_status status = check_arguments(plan, args, err);
    if (status || plan->n_items == 0) return status;
    int64_t n_items = (int64_t)plan->n_items;
#pragma omp parallel num_threads(plan->n_threads)
    {
        means_space w;
        lay_out(&w, plan, plan_thread_space(plan, omp_get_thread_num()));
        memset(w.panel, 0, PANEL * (size_t)plan->shape.head_dim * sizeof *w.panel);
        find_means(plan, args, &w);
#pragma omp for schedule(dynamic)
        for (int64_t i = 0; i < n_items; i++) run_item(plan, args, &plan->items[i], &w);
    }
    return MSA_OK;
}
