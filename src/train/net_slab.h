/* net_slab.h: the memory of a network. */
#ifndef MSA_TRAIN_NET_SLAB_H
#define MSA_TRAIN_NET_SLAB_H

#include "train/net_state.h"

/* Places everything that a step writes. n->arch, n->shape, n->max_tokens, n->keep and the
 * layers' roles are set. */
msa_status slab_create(net *n, msa_error *err);
void slab_free(net *n);

#endif
