/* score_ref.c: the truth of a block score: the canonical sum, and beside it the one in double. */
#include <math.h>

#include "attn/ref.h"
#include "attn/score.h"

/* Scores of one row: query `q` of a request at `position`, index head g. */
static void score_row(const msa_shape *shape, const msa_batch *batch, const msa_lane *ki,
                      int32_t request, int64_t position, int32_t g, const float *q,
                      int64_t n_blocks, float *scores, double *exact) {
    for (int64_t b = 0; b < n_blocks; b++) {
        float best = -INFINITY;
        double best_exact = -INFINITY;
        for (int64_t j = b * shape->block; j < (b + 1) * shape->block && j <= position; j++) {
            ref_vector key = ref_vector_of(shape, batch, ki, shape->index_dim, request, j,
                                           shape->n_index_keys == 1 ? 0 : g);
            float s = 0;
            double s_exact = 0;
            for (int32_t c = 0; c < shape->index_dim; c++) {
                s = fmaf(q[c], ref_element(key, c), s);
                s_exact += (double)q[c] * ref_element(key, c);
            }
            if (s > best) best = s;
            if (s_exact > best_exact) best_exact = s_exact;
        }
        scores[b] = best == 0 ? 0 : best;
        if (exact) exact[b] = best_exact;
    }
}

void score_ref(const msa_shape *shape, const msa_batch *batch, const float *qi, const msa_lane *ki,
               int64_t n_blocks, float *scores, double *exact) {
    int64_t total_q = batch->n_requests ? batch->cu_seqlens_q[batch->n_requests] : 0;
    for (int32_t r = 0; r < batch->n_requests; r++)
        for (int64_t i = 0; i < ref_q_len(batch, r); i++)
            for (int32_t g = 0; g < shape->n_index_heads; g++) {
                int64_t t = batch->cu_seqlens_q[r] + i, row = (g * total_q + t) * n_blocks;
                const float *q = qi + (t * shape->n_index_heads + g) * shape->index_dim;
                score_row(shape, batch, ki, r, ref_position(batch, r) + i, g, q, n_blocks,
                          scores + row, exact ? exact + row : NULL);
            }
}
