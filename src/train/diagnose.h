/* diagnose.h: how well the selection stands for the attention it replaces, measured on a few query
 * rows while a network trains, and where gradients are large.
 *
 * For a sampled query and group, with m[b] the attention mass of block b, the mean over the heads
 * of the group of softmax over everything visible: S the blocks the selection takes (in a dense
 * phase those that the index branch would take), S* the k blocks with the most mass,
 *
 *   recall    |S and S*| / k
 *   captured  sum of m over S          oracle  sum of m over S*
 *
 * captured / oracle is what a layer is accepted by. Rows that see no more than k blocks say nothing
 * and are passed over. The cost is that of n_rows rows of dense attention in each layer. */
#ifndef MSA_TRAIN_DIAGNOSE_H
#define MSA_TRAIN_DIAGNOSE_H

#include "train/net.h"

typedef struct diagnose diagnose;

/* n_rows: of each micro-batch. The network must outlive it. */
msa_status diagnose_create(diagnose **out, const net *n, int32_t n_rows, msa_error *err);
void diagnose_free(diagnose *d); /* NULL is fine; detach it from the network first */

/* From now on net_step and net_evaluate also add to d; NULL: no more. */
void net_watch(net *n, diagnose *d);

/* Forgets what was added. */
void diagnose_reset(diagnose *d);

typedef struct diagnose_means {
    int64_t n_rows;                  /* measured since the reset; 0: all means are 0 */
    double recall, captured, oracle; /* over the layers with an index */
    const double *recall_of;         /* [n_layers * n_kv_heads] each; 0 in layers without */
    const double *captured_of, *oracle_of;
} diagnose_means;

/* Valid until d is added to, reset or freed. */
diagnose_means diagnose_read(diagnose *d);

/* Norms of the gradients in p->g: of each layer's index branch, of the rest of each layer, and at
 * [n_layers] of what belongs to no layer (of_index[n_layers] is 0). Arrays of n_layers + 1. */
void diagnose_gradients(const params *p, double *of_index, double *of_rest, int n_threads);

/* For the forward pass: measures layer `layer`, whose attention has just run. */
msa_status diagnose_layer(net *n, int32_t layer, msa_error *err);

#endif
