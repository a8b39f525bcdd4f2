/* net_attn.h: the attention half of a layer, forward and backward, with its index branch. */
#ifndef MSA_TRAIN_NET_ATTN_H
#define MSA_TRAIN_NET_ATTN_H

#include "train/net_state.h"

/* Plans of the step: shapes and lengths of its documents. */
msa_status attn_plan(net *n, msa_error *err);
void attn_free_plans(net *n);

/* mid = x + attention(norm(x)), in two parts: what the index branch's loss needs, and the rest. */
msa_status attn_attend(net *n, int32_t layer, msa_error *err);
msa_status attn_add(net *n, int32_t layer, msa_error *err);
msa_status attn_forward(net *n, int32_t layer, msa_error *err);

/* KL of the layer's index branch into n->kl; with n->with_grad its gradient too, and what the
 * ablations add to it. scratch.d_normed is what the gradient by the normalised input so far is; it
 * receives the index branch's where the mode does not detach. */
msa_status attn_index_backward(net *n, int32_t layer, msa_error *err);

/* scratch.dx holds the gradient by mid on entry, by x on return. Runs attn_index_backward. */
msa_status attn_backward(net *n, int32_t layer, msa_error *err);

#endif
