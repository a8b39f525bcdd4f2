/* means_ref.c: the truth of means: the formula in double. */
#include <math.h>

#include "attn/means.h"
#include "attn/ref.h"

static double score_of(const msa_shape *s, const msa_batch *b, const means_args *a, int32_t request,
                       int64_t t, int32_t g, int64_t first, int64_t end) {
    double score = 0;
    for (int64_t j = first; j < end; j++) {
        ref_vector key = ref_vector_of(s, b, &a->k, s->head_dim, request, j, g);
        for (int32_t c = 0; c < s->head_dim; c++)
            score += (double)a->q[(t * s->n_kv_heads + g) * s->head_dim + c] * ref_element(key, c) /
                     (double)(end - first);
    }
    return score;
}

void means_ref(const msa_shape *s, const msa_batch *b, const means_args *a, int64_t n_blocks,
               double *scores) {
    for (int32_t r = 0; r < b->n_requests; r++)
        for (int64_t i = 0; i < ref_q_len(b, r); i++)
            for (int32_t g = 0; g < s->n_kv_heads; g++) {
                int64_t t = b->cu_seqlens_q[r] + i, visible = ref_position(b, r) + i + 1;
                double *row = scores + (t * s->n_kv_heads + g) * n_blocks;
                for (int64_t block = 0; block < n_blocks; block++) {
                    int64_t first = block * s->block, end = first + s->block;
                    if (end > visible) end = visible;
                    row[block] = first < end ? score_of(s, b, a, r, t, g, first, end) : -INFINITY;
                }
            }
}
