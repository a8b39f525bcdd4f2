/* rope_simd.c: y[i] = x[i] * own[i] +- x[partner of i] * partner[i] over some tokens. */
#include "base/simd.h"
#include "nn/rope.h"

/* sign: 1, or -1 to turn back. */
SIMD_INLINE vf turn(vf x, vf other, const float *own, const float *partner, vf sign, int n) {
    return v_muladd(x, v_load_part(own, n), v_mul(v_mul(sign, other), v_load_part(partner, n)));
}

SIMD_INLINE void turn_split(float *x, const float *own, const float *partner, vf sign, int n_rot) {
    int half = n_rot / 2;
    for (int i = 0; i < half; i += 16) {
        int n = half - i < 16 ? half - i : 16;
        vf a = v_load_part(x + i, n), b = v_load_part(x + half + i, n);
        v_store_part(x + i, turn(a, b, own + i, partner + i, sign, n), n);
        v_store_part(x + half + i, turn(b, a, own + half + i, partner + half + i, sign, n), n);
    }
}

SIMD_INLINE void turn_adjacent(float *x, const float *own, const float *partner, vf sign,
                               int n_rot) {
    for (int i = 0; i < n_rot; i += 16) {
        int n = n_rot - i < 16 ? n_rot - i : 16;
        vf a = v_load_part(x + i, n);
        v_store_part(x + i, turn(a, v_swap_pairs(a), own + i, partner + i, sign, n), n);
    }
}

extern rope_apply_fn SIMD_NAME(rope_apply);
void SIMD_NAME(rope_apply)(const rope_rows *rows, int64_t from, int64_t to) {
    vf sign = v_set1(rows->back ? -1 : 1);
    for (int64_t t = from; t < to; t++) {
        const float *own = rows->table + t * 2 * rows->n_rot, *partner = own + rows->n_rot;
        float *x = rows->x + t * rows->token_stride;
        for (int h = 0; h < rows->n_heads; h++, x += rows->head_dim) {
            if (rows->pairs == ROPE_SPLIT)
                turn_split(x, own, partner, sign, rows->n_rot);
            else
                turn_adjacent(x, own, partner, sign, rows->n_rot);
        }
    }
}
