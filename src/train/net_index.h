/* net_index.h: the loss of a layer's index branch, and the branch learning alone: with the rest of
 * the model frozen and attention dense, what it learns from depends on the layer's input, not on
 * the branch itself. Then it is projected where the loss asks for it, for the sampled query rows
 * alone, as often as there are steps on the same documents. */
#ifndef MSA_TRAIN_NET_INDEX_H
#define MSA_TRAIN_NET_INDEX_H

#include "train/net_state.h"

/* Whether the layer's branch is projected by index_learn, not with Q, K and V. */
bool index_alone(const net *n, const net_layer *l);

/* KL of the layer into n->kl, from acts.q, .k, .qi, .ki; with n->with_grad scratch.dqi and .dki. */
msa_status index_loss(net *n, int32_t layer, msa_error *err);

/* The whole of a layer's branch where it learns alone: projections from acts.normed, the loss, with
 * n->with_grad the gradients of its weights. */
msa_status index_learn(net *n, int32_t layer, msa_error *err);
/* The same for a layer whose forward pass was that of an earlier step: acts.normed is made again
 * from the layer's input. */
msa_status index_learn_again(net *n, int32_t layer, msa_error *err);

/* Gathers what the sampled rows of a step share in all layers. */
void index_begin(net *n);

#endif
