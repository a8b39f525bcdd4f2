/* score.c: a block's scores for a tile of rows, and the scores of everything for looking at. */
#include "attn/score.h"

#include <math.h>
#include <omp.h>

#include "attn/panels.h"

#define TILE_QUERIES 32 /* of msa_score_run */

void score_tile_block(const msa_plan *plan, const float *qi, const msa_lane *ki,
                      const score_tile *tile, int64_t block, int32_t from, float *space,
                      float *scores) {
    const msa_shape *shape = &plan->shape;
    int32_t n_heads = tile->n_heads, dim = shape->index_dim;
    int64_t row_stride = n_heads == 1 ? (int64_t)shape->n_index_heads * dim : dim;
    int64_t first_token = block * shape->block, last_token = first_token + shape->block - 1;
    int64_t position = tile->request->position + tile->q_first; /* of query 0 of the tile */
    int32_t whole = score_first_query(tile, last_token);        /* sees all of the block */
    if (whole < from) whole = from;
    int64_t n_wanted =
        (whole < tile->n_q ? last_token : position + tile->n_q - 1) - first_token + 1;
    int32_t key_head = shape->n_index_keys == 1 ? 0 : tile->head;
    stored_keys panels = panels_of(plan, ki, tile->request, key_head, block, (int32_t)n_wanted, dim,
                                   (tile->n_q - from) * n_heads, space);
    score_block_fn *score_block = attn_kernels_get()->score_block;
    const float *q =
        qi + ((tile->request->q_start + tile->q_first) * shape->n_index_heads + tile->head) * dim;
    int64_t query_stride = (int64_t)shape->n_index_heads * dim;
    for (int32_t i = from; i < whole; i++, scores += n_heads)
        score_block(q + i * query_stride, row_stride, n_heads, dim, &panels,
                    (int)(position + i - first_token + 1), scores);
    if (whole < tile->n_q)
        score_block(q + whole * query_stride, row_stride, (tile->n_q - whole) * n_heads, dim,
                    &panels, shape->block, scores);
}

/* All blocks of one tile into out[g, t, b]. */
static void score_tile_all(const msa_plan *plan, const float *qi, const msa_lane *ki,
                           const score_tile *tile, int64_t n_blocks, float *out, float *space) {
    const msa_shape *shape = &plan->shape;
    float *scores = space + (size_t)shape->block * shape->index_dim;
    int64_t t_first = tile->request->q_start + tile->q_first;
    for (int64_t b = 0; b < n_blocks; b++) {
        int32_t from = score_first_query(tile, b * shape->block);
        if (from < tile->n_q) score_tile_block(plan, qi, ki, tile, b, from, space, scores);
        for (int32_t i = 0; i < tile->n_q; i++)
            for (int32_t h = 0; h < tile->n_heads; h++) {
                int64_t row = (tile->head + h) * plan->total_q + t_first + i;
                out[row * n_blocks + b] =
                    i < from ? -INFINITY : scores[(i - from) * tile->n_heads + h];
            }
    }
}

static void score_all(const msa_plan *plan, const float *qi, const msa_lane *ki, int64_t n_blocks,
                      float *out) {
    int32_t n_heads = plan->shape.n_index_heads;
    for (int32_t r = 0; r < plan->n_requests; r++) {
        const plan_request *request = &plan->requests[r];
        int64_t n_tiles = (request->q_len + TILE_QUERIES - 1) / TILE_QUERIES * n_heads;
#pragma omp parallel for schedule(dynamic, 1) num_threads(plan->n_threads) if (n_tiles > 1)
        for (int64_t i = 0; i < n_tiles; i++) {
            int64_t q_first = i / n_heads * TILE_QUERIES, left = request->q_len - q_first;
            score_tile tile = {.request = request,
                               .q_first = q_first,
                               .n_q = (int32_t)(left < TILE_QUERIES ? left : TILE_QUERIES),
                               .head = (int32_t)(i % n_heads),
                               .n_heads = 1};
            score_tile_all(plan, qi, ki, &tile, n_blocks, out,
                           plan_thread_space(plan, omp_get_thread_num()));
        }
    }
}

static msa_status check_arguments(const msa_plan *plan, const float *qi, const msa_lane *ki,
                                  int64_t n_blocks, const float *scores, msa_error *err) {
    const msa_shape *shape = &plan->shape;
    if (plan->total_q == 0) return MSA_OK;
    if (!qi || !ki || !scores)
        return error_set(err, MSA_E_ARG, "%s is NULL", !qi ? "qi" : !ki ? "ki" : "scores");
    int64_t needed = (plan->max_kv_len + shape->block - 1) / shape->block;
    if (n_blocks < needed)
        return error_set(err, MSA_E_ARG, "n_blocks is %lld; the longest request has %lld blocks",
                         (long long)n_blocks, (long long)needed);
    return plan_check_lane(plan, ki, "ki", shape->n_index_keys, shape->index_dim, true, err);
}

msa_status msa_score_run(const msa_shape *shape, const msa_batch *batch, const float *qi,
                         const msa_lane *ki, int64_t n_blocks, float *scores, msa_error *err) {
    msa_plan *plan = NULL;
    msa_status status = plan_prepare(&plan, PLAN_INDEX, shape, batch, NULL, err);
    if (status) return status;
    size_t floats = (size_t)shape->block * (size_t)shape->index_dim + TILE_QUERIES;
    if (!(status = check_arguments(plan, qi, ki, n_blocks, scores, err)) &&
        !(status = plan_reserve_workspace(plan, floats * sizeof(float), 0, err)))
        score_all(plan, qi, ki, n_blocks, scores);
    msa_plan_free(plan);
    return status;
}
