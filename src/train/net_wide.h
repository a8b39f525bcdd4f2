/* net_wide.h: the ablation in which the index learns from the loss of the model alone.
 *
 * Selection has no gradient, so the index score joins the logits of the main branch, softly
 * weighting what was selected: logit[t,h,j] = q.k / sqrt(d) + qi.ki / sqrt(di). That is attention
 * of heads d + di wide: (q, qi sqrt(d / di)) against (k, ki) at scale 1 / sqrt(d), values padded
 * with zeros. Its gradient reaches qi and ki through the logits; nothing else trains them. */
#ifndef MSA_TRAIN_NET_WIDE_H
#define MSA_TRAIN_NET_WIDE_H

#include "train/net_state.h"

msa_shape wide_shape(const net *n);

/* Allocates on first use. MSA_E_UNSUPPORTED where d + di is beyond the widest head. */
msa_status wide_prepare(net *n, msa_error *err);
void wide_free(net *n);

/* acts.out and acts.lse from q, k, v, qi, ki; then scratch.dq, dk, dv from d_out; then what reached
 * qi and ki, added to scratch.dqi and dki. Backward packs the inputs again: one set of buffers
 * serves all layers. */
msa_status wide_forward(net *n, const net_attn_acts *a, bool sparse, msa_error *err);
msa_status wide_backward(net *n, const net_attn_acts *a, bool sparse, msa_error *err);
void wide_index_backward(net *n);

#endif
