/* e4m3.h: card of dense and sparse attention with probabilities through FP8 E4M3.
 *
 *   m[t,h] = max over visible j of scale q.k      l = sum of exp(scale q.k - m)
 *   P8[j]  = E4M3(448 exp(scale q.k - m))         O[t,h] = sum_j P8[j] v[j] / (448 l)
 *   LSE[t,h] = m + ln l
 *
 * as GPU kernels with FP8 products compute it, but m is that of the whole row, so that nothing
 * depends on the order of blocks. The gradient (grad.c) passes straight through the rounding:
 * dv = sum P8 / (448 l) d_out, dS = P (dP - sum P dP) with the exact P.
 *
 * Two sweeps over the blocks (walk.h): m and l, then O. Contiguous keys, f32; a score within an ulp
 * of where rounding turns may round the other way than in exact arithmetic. For training runs that
 * prepare a model for FP8, not for speed. The reference is e4m3_ref.c. */
#ifndef MSA_ATTN_E4M3_H
#define MSA_ATTN_E4M3_H

#include "attn/attend.h"
#include "msa/grad.h"

/* The rest of planning, in the place of dense's or sparse's own; and the run. */
msa_status e4m3_plan(msa_plan *plan, msa_error *err);
msa_status e4m3_run(const attend_run *run, msa_error *err);

/* The truth, in double: O, and how much of each element hangs on scores that lie within 1e-4 of a
 * turning point of the rounding. */
void e4m3_ref(const msa_shape *shape, const msa_batch *batch, const msa_attn_args *args,
              double *out, double *slack);
/* Its gradient: dq, dk, dv and the slack of dv; what is added to must be 0. */
void e4m3_grad_ref(const msa_shape *shape, const msa_batch *batch, const msa_grad_args *args,
                   double *dq, double *dk, double *dv, double *slack);

#endif
