/* index_loss_simd.c: teacher, student and their difference for one block of keys and the rows that
 * meet it. Scores come from the register tile; everything between them is a few passes over rows
 * that are still in the first-level cache. Exponents are of base 2 throughout. */
#include <float.h>
#include <math.h>

#include "attn/kernels.h"
#include "attn/product.h"

loss_lse_fn SIMD_NAME(loss_lse);
loss_teacher_fn SIMD_NAME(loss_teacher);
loss_student_fn SIMD_NAME(loss_student);

static void scores(const seen_rows *r, const float *panels, int n_keys, float *out) {
    product_scores(r->q, r->n, r->dim, r->stride, panels, n_keys, out);
}

/* ---- log-sum-exp ---- */

SIMD_INLINE vf seen_or(const float *s, int at, int sees, vf otherwise) {
    vf x = v_load(s + at);
    return at + 16 <= sees ? x : v_first(sees - at, x, otherwise);
}

static void take_row(const float *s, int sees, float scale_log2, float *m, float *l) {
    vf minus_inf = v_set1(-INFINITY), best = minus_inf, scale = v_set1(scale_log2), sum = v_zero();
    for (int j = 0; j < sees; j += 16) best = v_max(seen_or(s, j, sees, minus_inf), best);
    float block = v_maxof(best) * scale_log2, old = *m;
    *m = block > old ? block : old;
    float finite = *m > -FLT_MAX ? *m : -FLT_MAX; /* -inf - -inf would be NaN */
    vf vm = v_set1(finite);
    for (int j = 0; j < sees; j += 16) {
        vf x = v_sub(v_mul(seen_or(s, j, sees, minus_inf), scale), vm);
        sum = v_add(sum, v_exp2(v_min(v_set1(1.0f), x))); /* above 0 by rounding only; not NaN */
    }
    *l = *l * exp2f(old - finite) + v_sum(sum);
}

void SIMD_NAME(loss_lse)(const seen_rows *r, const float *panels, int n_keys, float *m, float *l,
                         float *scratch) {
    scores(r, panels, n_keys, scratch);
    for (int i = 0; i < r->n; i++)
        take_row(scratch + i * GRAD_S_STRIDE, r->sees[i], r->scale_log2, m + i, l + i);
}

/* ---- teacher ---- */

void SIMD_NAME(loss_teacher)(const seen_rows *r, const float *panels, int n_keys,
                             const float *lse_log2, int first_row, int group, float *p,
                             float *scratch) {
    vf scale = v_set1(r->scale_log2), most = v_set1(127.0f);
    scores(r, panels, n_keys, scratch);
    for (int i = 0; i < r->n; i++) {
        const float *s = scratch + i * GRAD_S_STRIDE;
        float *sum = p + (first_row + i) / group * GRAD_S_STRIDE;
        vf lse = v_set1(lse_log2[i]);
        for (int j = 0; j < r->sees[i]; j += 16) {
            vf x = v_sub(v_mul(v_load(s + j), scale), lse);
            v_store(sum + j, v_add(v_load(sum + j), v_exp2(v_min(most, x))));
        }
    }
}

/* ---- student ---- */

/* s becomes scale (Pi - P); returns the row's sum of P (log2 P - log2 Pi). A P of 0 counts 0. */
static double compare_row(const loss_student *a, int row, float *s) {
    vf share = v_set1(a->share), scale = v_set1(a->scale), lse = v_set1(a->lse_log2[row]);
    vf scale_log2 = v_set1(a->rows.scale_log2), sum = v_zero(), zero = v_zero();
    const float *teacher = a->p + row * GRAD_S_STRIDE;
    int sees = a->rows.sees[row], j = 0;
    for (; j < sees; j += 16) {
        vf p = v_mul(v_load(teacher + j), share);
        vf log_pi = v_sub(v_mul(v_load(s + j), scale_log2), lse);
        vf pi = v_exp2(v_min(v_set1(127.0f), log_pi));
        vf kl = v_mul(p, v_sub(v_log2(v_max(v_set1(FLT_MIN), p)), log_pi));
        vf ds = v_mul(v_sub(pi, p), scale);
        if (sees - j < 16) {
            kl = v_first(sees - j, kl, zero);
            ds = v_first(sees - j, ds, zero);
        }
        sum = v_add(sum, kl);
        v_store(s + j, ds);
    }
    for (; j < a->n_keys; j += 16) v_store(s + j, zero);
    return v_sum(sum);
}

void SIMD_NAME(loss_student)(const loss_student *a, float *scratch) {
    const seen_rows *r = &a->rows;
    scores(r, a->k_panels, a->n_keys, scratch);
    for (int i = 0; i < r->n; i++) a->kl[i] += compare_row(a, i, scratch + i * GRAD_S_STRIDE);
    if (!a->dq) return;
    product_to_keys(scratch, r->q, r->n, r->dim, r->stride, a->n_keys, a->dk);
    product_to_rows(scratch, r->n, r->dim, r->stride, a->k_rows, a->n_keys, a->dq);
}
