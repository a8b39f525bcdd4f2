/* net_mlp.h: the feed-forward half of a layer: one MLP, or a router, experts and a shared one. */
#ifndef MSA_TRAIN_NET_MLP_H
#define MSA_TRAIN_NET_MLP_H

#include "train/net_state.h"

/* y = mid + mlp(norm(mid)). */
void mlp_forward(net *n, int32_t layer, float *y);

/* scratch.dx holds the gradient by y on entry, by mid on return. */
void mlp_backward(net *n, int32_t layer);

#endif
