/* mass_ref.c: the truth of mass: the formula in double. */
#include <math.h>

#include "attn/mass.h"
#include "attn/ref.h"

/* scale q . k_j of head h of row t. */
static double score_of(const msa_shape *s, const msa_batch *b, const mass_args *a, int32_t request,
                       int64_t t, int32_t h, int64_t j) {
    int32_t d = s->head_dim, g = h / (s->n_q_heads / s->n_kv_heads);
    const float *q = a->q + (t * s->n_q_heads + h) * d;
    ref_vector key = ref_vector_of(s, b, &a->k, d, request, j, g);
    double dot = 0;
    for (int32_t c = 0; c < d; c++) dot += (double)q[c] * ref_element(key, c);
    return (a->scale > 0 ? a->scale : 1 / sqrt(d)) * dot;
}

/* Without the greatest score taken off: a double holds exponentials of scores up to 700. */
static void add_head(const msa_shape *s, const msa_batch *b, const mass_args *a, int32_t request,
                     int64_t t, int32_t h, int64_t visible, double *mass) {
    double sum = 0, share = (double)s->n_kv_heads / s->n_q_heads;
    for (int64_t j = 0; j < visible; j++) sum += exp(score_of(s, b, a, request, t, h, j));
    for (int64_t j = 0; j < visible; j++)
        mass[j / s->block] += share * exp(score_of(s, b, a, request, t, h, j)) / sum;
}

void mass_ref(const msa_shape *s, const msa_batch *b, const mass_args *a, double *mass) {
    int32_t group = s->n_q_heads / s->n_kv_heads;
    for (int32_t r = 0; r < b->n_requests; r++)
        for (int64_t i = 0; i < ref_q_len(b, r); i++)
            for (int32_t g = 0; g < s->n_kv_heads; g++) {
                int64_t t = b->cu_seqlens_q[r] + i;
                double *row = mass + (t * s->n_kv_heads + g) * a->n_blocks;
                for (int64_t block = 0; block < a->n_blocks; block++) row[block] = 0;
                for (int32_t h = g * group; h < (g + 1) * group; h++)
                    add_head(s, b, a, r, t, h, ref_position(b, r) + i + 1, row);
            }
}
