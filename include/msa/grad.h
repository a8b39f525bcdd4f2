/* grad.h: gradients of the operators in attn.h, and the loss that trains an index.
 *
 * Caveats first:
 *   - Plan, then run, as in attn.h: a plan per step, a run per layer; a run allocates nothing, and
 *     gives the same bits whatever the number of threads.
 *   - Keys, values and index keys are contiguous here, MSA_TOKENS in any stored format; pages are
 *     refused. Token j of request r is row kv_start[r] + j of dk, dv and dki. Requests follow each
 *     other in order of kv_start and share no token: a row of a gradient belongs to one of them.
 *   - Gradients are written, not added to what is there; rows of tokens and queries that nothing
 *     reaches are 0. Rows of dk, dv and dki that belong to no request are left alone.
 *   - Gradients are those of the stored values: rounding to f16 or bf16 counts as the identity.
 *   - A NaN or an infinity in a request may reach any gradient of that request, and none of
 *     another.
 *   - No output may overlap an input or another output.
 *
 * Memory is O(tokens): nothing is kept for a pair of tokens. The workspace of a plan is 128 MiB
 * at most for the partial sums of dq (more only with heads in the hundreds, or n_splits), a few
 * hundred KiB for each thread, and a few integers for each block. */
#ifndef MSA_GRAD_H
#define MSA_GRAD_H

#include "msa/attn.h"

#ifdef __cplusplus
extern "C" {
#endif

/* ---- attention --------------------------------------------------------------------------------
 * With P[t,h,j] = exp(scale q[t,h] . k[j] - lse[t,h]) for visible j (of the selected blocks):
 *   delta = sum over c of d_out * out        dP = d_out . v[j]        dS = P (dP - delta)
 *   dq[t,h] = scale * sum over j of dS k[j]
 *   dk[j]   = scale * sum over t, h of dS q[t,h]        dv[j] = sum over t, h of P d_out[t,h] */

/* With option p_e4m3, as in the forward plan, the rounding counts as the identity
 * (straight-through): dv takes the rounded probabilities, dS the exact ones, delta is the sum of
 * P dP, whatever out holds. It takes two products more. */

typedef struct msa_grad_args {
    const float *q;                 /* [total_q, Hq, d] */
    msa_lane k, v;                  /* Hkv heads of d, contiguous */
    float scale;                    /* as in the forward run: 0 stands for 1/sqrt(d) */
    const msa_selection *selection; /* sparse: that of the forward run; NULL in dense */
    const float *out;               /* [total_q, Hq, d] what the forward run wrote, */
    const float *lse;               /* [total_q, Hq] and its lse */
    const float *d_out;             /* [total_q, Hq, d] gradient of the loss by out */
    float *dq;                      /* [total_q, Hq, d] */
    float *dk, *dv;                 /* [tokens, Hkv, d] */
} msa_grad_args;

/* Gradient of msa_dense_run. */
MSA_API msa_status msa_dense_grad_plan(msa_plan **plan, const msa_shape *shape,
                                       const msa_batch *batch, const msa_plan_options *options,
                                       msa_error *err);
MSA_API msa_status msa_dense_grad_run(msa_plan *plan, const msa_grad_args *args, msa_error *err);

/* Gradient of msa_sparse_run. The selection itself has no gradient. */
MSA_API msa_status msa_sparse_grad_plan(msa_plan **plan, const msa_shape *shape,
                                        const msa_batch *batch, const msa_plan_options *options,
                                        msa_error *err);
MSA_API msa_status msa_sparse_grad_run(msa_plan *plan, const msa_grad_args *args, msa_error *err);

/* ---- index loss -------------------------------------------------------------------------------
 * How far the index is from the attention it stands for, on a support of tokens:
 *   teacher  P[t,g,j]  = mean over the heads h of group g of softmax_j(scale q[t,h] . k[j])
 *   student  Pi[t,g,j] = softmax_j(qi[t,g] . ki[j] / sqrt(di))
 *   kl[g]    = sum over t of sum over j of P (ln P - ln Pi)
 * and its gradient, the teacher being a constant:
 *   ds = loss_scale / sqrt(di) (Pi - P)       dqi[t,g] = sum over j of ds ki[j]
 *   dki[j] = sum over t, g of ds qi[t,g]
 * For lambda times the mean over queries and groups loss_scale is lambda / (n_rows * Hkv). */

typedef enum msa_support {
    MSA_SUPPORT_VISIBLE = 0,  /* all j <= pos(t): the warm-up */
    MSA_SUPPORT_SELECTED = 1, /* those in the blocks of the list of (t, g): the sparse phase */
    MSA_SUPPORT_FAR = 2,      /* those outside the forced blocks (shape.local trailing, shape.init
                                 leading): what a choice decides. Both sides sum to 1 there; a query
                                 with no such token contributes nothing */
    /* The same tokens, each head by the attention it has there: P is the mean of softmaxes over
     * everything visible, m[t,g] its sum over the support; kl = sum of P (ln P/m - ln Pi), ds by
     * m Pi - P. A query that attends to its neighbourhood alone hardly counts. */
    MSA_SUPPORT_FAR_MASS = 3
} msa_support;

typedef struct msa_index_loss_args {
    const float *q;  /* [total_q, Hq, d] the teacher's */
    msa_lane k;      /* Hkv heads of d, contiguous */
    float scale;     /* of the main branch: 0 stands for 1/sqrt(d) */
    const float *qi; /* [total_q, Hi, di] the student's */
    msa_lane ki;     /* Hik heads of di, contiguous */
    /* [total_q, Hq] the main branch's: of msa_dense_run if VISIBLE or FAR_MASS, of msa_sparse_run
     * with the same lists if SELECTED. NULL: computed, which costs about half the loss again; but
     * for FAR_MASS, which asks for it. FAR always computes its own and does not read it. */
    const float *lse;
    const msa_selection *selection; /* SELECTED; else NULL */
    /* The query rows the loss is taken over: n_rows numbers in [0, total_q), ascending, none twice;
     * NULL: all of them. A few hundred of some thousand do. */
    const int32_t *rows;
    int64_t n_rows;
    float loss_scale; /* gradients are those of loss_scale * sum over g of kl[g] */
    double *kl;       /* [Hkv] */
    float *dqi;       /* [total_q, Hi, di]; 0 in rows that were not taken */
    float *dki;       /* [tokens, Hik, di]; dqi and dki both NULL: the loss alone */
} msa_index_loss_args;

MSA_API msa_status msa_index_loss_plan(msa_plan **plan, const msa_shape *shape,
                                       const msa_batch *batch, msa_support support,
                                       const msa_plan_options *options, msa_error *err);
MSA_API msa_status msa_index_loss_run(msa_plan *plan, const msa_index_loss_args *args,
                                      msa_error *err);

#ifdef __cplusplus
}
#endif
#endif
