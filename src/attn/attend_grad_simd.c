/* attend_grad_simd.c: the gradients of attention for one block of keys and the rows that meet it.
 *
 * Five products by the register tile: the scores and dP, from which P and dS are made where they
 * lie, and dv += P^T dO, dk += dS^T Q, dq += dS K. GRAD_ROWS rows at a time, so that P and dS stay
 * near; the block's keys, values and sums fit the second-level cache. */
#include <math.h>

#include "attn/kernels.h"
#include "attn/product.h"

attend_grad_fn SIMD_NAME(attend_grad);

/* s becomes P, dp becomes scale * dS. Beyond what the row sees both become 0, whatever lies there.
 * 127 keeps exp2 in its range where lse is not that of these scores; NaN passes. */
SIMD_INLINE void one_panel(float *s, float *dp, int sees, vf scale, vf scale_log2, vf lse,
                           vf delta) {
    vf x = v_sub(v_mul(v_load(s), scale_log2), lse);
    vf p = v_exp2(v_min(v_set1(127.0f), x));
    vf ds = v_mul(v_mul(p, v_sub(v_load(dp), delta)), scale);
    if (sees < 16) {
        p = v_first(sees, p, v_zero());
        ds = v_first(sees, ds, v_zero());
    }
    v_store(s, p);
    v_store(dp, ds);
}

static void probabilities(const grad_rows *rows, int n_panels, float scale, float *s, float *dp) {
    vf vscale = v_set1(scale), scale_log2 = v_set1(scale * 1.44269504f);
    for (int i = 0; i < rows->n; i++) {
        vf lse = v_set1(rows->lse_log2[i]), delta = v_set1(rows->delta[i]);
        float *s_row = s + i * GRAD_S_STRIDE, *dp_row = dp + i * GRAD_S_STRIDE;
        for (int p = 0; p < n_panels; p++) {
            int sees = rows->sees[i] - p * 16;
            one_panel(s_row + p * 16, dp_row + p * 16,
                      sees < 0    ? 0
                      : sees > 16 ? 16
                                  : sees,
                      vscale, scale_log2, lse, delta);
        }
    }
}

void SIMD_NAME(attend_grad)(const grad_keys *k, const grad_rows *r, float scale, float *scratch) {
    float *s = scratch, *dp = scratch + (GRAD_ROWS + 3) * GRAD_S_STRIDE;
    product_scores(r->q, r->n, k->dim, k->stride, k->k_panels, k->n, s);
    product_scores(r->d_out, r->n, k->dim, k->stride, k->v_panels, k->n, dp);
    probabilities(r, (k->n + 15) / 16, scale, s, dp);
    product_to_keys(s, r->d_out, r->n, k->dim, k->stride, k->n, k->dv);
    product_to_keys(dp, r->q, r->n, k->dim, k->stride, k->n, k->dk);
    product_to_rows(dp, r->n, k->dim, k->stride, k->k_rows, k->n, r->dq);
}
