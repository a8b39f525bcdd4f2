/* dense.c: causal GQA attention over everything visible, and the proxy pass. */
#include "attn/dense.h"

#include <math.h>
#include <omp.h>

#include "attn/attend.h"
#include "attn/e4m3.h"
#include "attn/panels.h"

/* Many queries make enough tiles to share out; few leave only the keys to cut. By lengths alone. */
static int32_t splits_of(const msa_plan *plan, const plan_request *r, int32_t asked) {
    int64_t n_blocks = (r->kv_len + plan->shape.block - 1) / plan->shape.block;
    int64_t n = asked;
    if (!n) n = r->q_len > 16 ? 1 : n_blocks / DENSE_SPLIT_BLOCKS;
    if (!asked && n > DENSE_MOST_SPLITS) n = DENSE_MOST_SPLITS;
    return plan_clamp_splits(n, n_blocks);
}

msa_status msa_dense_plan(msa_plan **plan, const msa_shape *shape, const msa_batch *batch,
                          const msa_plan_options *options, msa_error *err) {
    msa_status status = plan_prepare(plan, PLAN_DENSE, shape, batch, options, err);
    if (status) return status;
    if ((*plan)->p_e4m3) return e4m3_plan(*plan, err);
    for (int32_t r = 0; r < (*plan)->n_requests; r++)
        (*plan)->requests[r].n_splits =
            splits_of(*plan, &(*plan)->requests[r], options ? options->n_splits : 0);
    return attend_plan_items(*plan, err);
}

/* Proxy pass of one item: block maxima alone, no exponentials and no values. */
static void take_max_scores(attend_worker *w, const plan_item *item) {
    const attend_run *run = w->run;
    const msa_plan *plan = run->plan;
    const msa_shape *s = &plan->shape;
    const msa_lane *k = &run->args->k;
    int64_t B = s->block, group = s->n_q_heads / s->n_kv_heads;
    int64_t n_blocks = (w->request->kv_len + B - 1) / B;
    int64_t first = n_blocks * item->split / item->n_splits;
    int64_t last = n_blocks * (item->split + 1) / item->n_splits;
    for (int64_t b = first; b < last; b++) {
        int64_t filled = w->request->kv_len - b * B;
        stored_keys keys =
            panels_of(plan, k, w->request, w->head, b, (int)(filled < B ? filled : B), s->head_dim,
                      (int32_t)group * w->n_queries, w->k_panels);
        for (int32_t i = 0; i < w->n_queries; i++) {
            int64_t sees = w->position[i] - b * B + 1;
            if (sees <= 0) continue;
            run->kernels->score_block(w->tile.q + i * group * s->head_dim, s->head_dim, (int)group,
                                      s->head_dim, &keys, (int)(sees < B ? sees : B), w->block_max);
            int64_t t = w->request->q_start + w->q_index[i];
            for (int64_t h = 0; h < group; h++) {
                int64_t row = (w->head * group + h) * run->args->n_blocks + b;
                run->args->max_score[row * plan->total_q + t] = w->block_max[h] * run->scale;
            }
        }
    }
}

static void run_max_scores(const attend_run *run) {
    const msa_plan *plan = run->plan;
#pragma omp parallel num_threads(plan->n_threads) if (plan->n_items > 1)
    {
        attend_worker w = attend_worker_make(run, omp_get_thread_num());
#pragma omp for schedule(dynamic)
        for (size_t i = 0; i < plan->n_items; i++) {
            const plan_item *item = &plan->items[i];
            for (int32_t q = 0; q < item->n_q; q++) w.q_index[q] = item->q_first + q;
            attend_tile_begin(&w, &plan->requests[item->request], item->head, item->n_q);
            take_max_scores(&w, item);
        }
    }
}

static void clear_max_scores(const msa_plan *plan, const msa_attn_args *args) {
    int64_t n = plan->shape.n_q_heads * args->n_blocks * plan->total_q;
#pragma omp parallel for num_threads(plan->n_threads) schedule(static) if (n > 65536)
    for (int64_t i = 0; i < n; i++) args->max_score[i] = -INFINITY;
}

msa_status msa_dense_run(msa_plan *plan, const msa_attn_args *args, msa_error *err) {
    attend_run run;
    msa_status status;
    if ((status = plan_check(plan, PLAN_DENSE, err)) ||
        (status = attend_run_begin(&run, plan, args, err)))
        return status;
    if (args->selection)
        return error_set(err, MSA_E_ARG, "dense takes no selection; msa_sparse_run does");
    if (plan->p_e4m3) return e4m3_run(&run, err);
    if (!args->out && !args->lse && !args->max_score)
        return error_set(err, MSA_E_ARG, "out, lse and max_score are all NULL: nothing to compute");
    int64_t B = plan->shape.block;
    if (args->max_score && args->n_blocks < (plan->max_kv_len + B - 1) / B)
        return error_set(err, MSA_E_ARG, "n_blocks is %lld; the longest request has %lld",
                         (long long)args->n_blocks, (long long)((plan->max_kv_len + B - 1) / B));
    if (args->max_score) clear_max_scores(plan, args);
    if (args->out || args->lse)
        attend_run_items(&run, attend_take_dense);
    else
        run_max_scores(&run);
    return MSA_OK;
}
