/* attend_grad_simd.c: the gradients of attention for one block of keys and the rows that meet it.
 *
 * Five products by the register tile: the scores and dP, from which P and dS are made where they
 * lie, and dv += P^T dO, dk += dS^T Q, dq += dS K. GRAD_ROWS rows at a time, so that P and dS stay
 * near; the block's keys, values and sums fit the second-level cache. */
#include <math.h>

#include "attn/kernels.h"
#include "attn/product.h"

attend_grad_fn SIMD_NAME(attend_grad);
e4m3_bounds_fn SIMD_NAME(e4m3_bounds);
e4m3_grad_fn SIMD_NAME(e4m3_grad);
e4m3_values_fn SIMD_NAME(e4m3_values);

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

static void add_products(const grad_keys *k, const grad_rows *r, const float *p, const float *ds) {
    product_to_keys(p, r->d_out, r->n, k->dim, k->stride, k->n, k->dv);
    product_to_keys(ds, r->q, r->n, k->dim, k->stride, k->n, k->dk);
    product_to_rows(ds, r->n, k->dim, k->stride, k->k_rows, k->n, r->dq);
}

void SIMD_NAME(attend_grad)(const grad_keys *k, const grad_rows *r, float scale, float *scratch) {
    float *s = scratch, *dp = scratch + (GRAD_ROWS + 3) * GRAD_S_STRIDE;
    product_scores(r->q, r->n, k->dim, k->stride, k->k_panels, k->n, s);
    product_scores(r->d_out, r->n, k->dim, k->stride, k->v_panels, k->n, dp);
    probabilities(r, (k->n + 15) / 16, scale, s, dp);
    add_products(k, r, s, dp);
}

/* ---- probabilities through E4M3 ---- */

void SIMD_NAME(e4m3_bounds)(const grad_keys *k, const grad_rows *r, float scale, float *max,
                            float *delta, float *scratch) {
    float *s = scratch, *dp = scratch + (GRAD_ROWS + 3) * GRAD_S_STRIDE;
    vf scale_log2 = v_set1(scale * 1.44269504f), minus_inf = v_set1(-INFINITY), zero = v_zero();
    product_scores(r->q, r->n, k->dim, k->stride, k->k_panels, k->n, s);
    product_scores(r->d_out, r->n, k->dim, k->stride, k->v_panels, k->n, dp);
    for (int i = 0; i < r->n; i++) {
        vf best = minus_inf, sum = zero, lse = v_set1(r->lse_log2[i]);
        for (int j = 0; j < r->sees[i]; j += 16) {
            int n = r->sees[i] - j < 16 ? r->sees[i] - j : 16;
            vf x = v_mul(v_load(s + i * GRAD_S_STRIDE + j), scale_log2);
            vf p = v_exp2(v_min(v_set1(127.0f), v_sub(x, lse)));
            vf term = v_mul(p, v_load(dp + i * GRAD_S_STRIDE + j));
            best = v_max(v_first(n, x, minus_inf), best);
            sum = v_add(sum, v_first(n, term, zero));
        }
        float greatest = v_maxof(best);
        if (greatest > max[i]) max[i] = greatest;
        delta[i] += v_sum(sum);
    }
}

/* x = log2 of what is rounded, not above log2(448). */
SIMD_INLINE vf rounded(vf x, vf unit) {
    return v_mul(v_round_e4m3(v_exp2(v_min(v_set1(8.80735492f), x))), unit);
}

/* The rounded probabilities of a row of scores; out may be s. */
static void round_row(const float *s, float *out, int sees, int n_panels, float max, float lse,
                      float scale_log2) {
    vf unit = v_set1(exp2f(max - lse) / 448), top = v_set1(8.80735492f), vm = v_set1(max);
    vf scale = v_set1(scale_log2);
    for (int j = 0; j < n_panels * 16; j += 16) {
        vf x = v_add(v_sub(v_mul(v_load(s + j), scale), vm), top), p = v_zero();
        if (sees > j) p = v_first(sees - j < 16 ? sees - j : 16, rounded(x, unit), p);
        v_store(out + j, p);
    }
}

void SIMD_NAME(e4m3_grad)(const grad_keys *k, const grad_rows *r, const float *max_log2,
                          float scale, float *scratch) {
    float *s = scratch, *dp = s + (GRAD_ROWS + 3) * GRAD_S_STRIDE;
    float *p = dp + (GRAD_ROWS + 3) * GRAD_S_STRIDE;
    int n_panels = (k->n + 15) / 16;
    product_scores(r->q, r->n, k->dim, k->stride, k->k_panels, k->n, s);
    product_scores(r->d_out, r->n, k->dim, k->stride, k->v_panels, k->n, dp);
    for (int i = 0; i < r->n; i++)
        round_row(s + i * GRAD_S_STRIDE, p + i * GRAD_S_STRIDE, r->sees[i], n_panels, max_log2[i],
                  r->lse_log2[i], scale * 1.44269504f);
    probabilities(r, n_panels, scale, s, dp);
    add_products(k, r, p, dp);
}

void SIMD_NAME(e4m3_values)(const seen_rows *r, const float *panels, const float *v_rows,
                            int n_keys, const float *max_log2, const float *lse_log2,
                            float *const *o, float *scratch) {
    product_scores(r->q, r->n, r->dim, r->stride, panels, n_keys, scratch);
    for (int i = 0; i < r->n; i++)
        round_row(scratch + i * GRAD_S_STRIDE, scratch + i * GRAD_S_STRIDE, r->sees[i],
                  (n_keys + 15) / 16, max_log2[i], lse_log2[i], r->scale_log2);
    /* rows that see equally much together: a NaN ahead of a row must not meet its zero */
    for (int i = 0, next; i < r->n; i = next) {
        for (next = i + 1; next < r->n && r->sees[next] == r->sees[i];) next++;
        product_to_rows(scratch + i * GRAD_S_STRIDE, next - i, r->dim, r->stride, v_rows,
                        r->sees[i], o + i);
    }
}
