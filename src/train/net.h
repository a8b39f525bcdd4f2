/* net.h: forward and backward of a whole model over one micro-batch. */
#ifndef MSA_TRAIN_NET_H
#define MSA_TRAIN_NET_H

#include <stddef.h>

#include "train/batch.h"
#include "train/params.h"

typedef enum net_kl {
    NET_KL_OFF,
    NET_KL_VISIBLE,
    NET_KL_SELECTED,
    NET_KL_FAR,
    NET_KL_FAR_MASS /* as FAR, each row by the attention that is there; the main branch dense */
} net_kl;
typedef enum net_selection {
    NET_SELECT_INDEX,       /* what the index branch chooses */
    NET_SELECT_SINK_WINDOW, /* the fixed control: first blocks and the neighbourhood */
    NET_SELECT_RANDOM       /* forced blocks and random others, by seed, layer and position */
} net_selection;

/* What a phase of a recipe does, and the switches of the ablations. Layers without an index are
 * dense in every mode. The loss is
 *
 *     lm * LM + lambda * mean over the layers with an index of KL,
 *     LM = mean over the targets,  KL = mean over the query rows taken and the groups.
 *
 * LM never moves the index branch and KL moves nothing else, but for three ablations: without
 * `detach` KL reaches what the index branch reads; with index_value or lm_index LM trains the index
 * branch (lm_index: its scores join the logits of the main branch, q.k / sqrt(d) + qi.ki /
 * sqrt(di), over what was selected). */
typedef struct net_mode {
    bool sparse; /* main branch of the layers with an index: selected blocks, else dense */
    bool lm;     /* the language-model loss; off with a frozen backbone */
    net_kl kl;
    net_selection selection;
    float lambda;     /* weight of the mean KL of the layers */
    bool detach;      /* the index branch reads stop-gradient(X); off only as an ablation */
    bool index_value; /* ablation: the index branch also attends and adds its own output */
    bool lm_index;    /* ablation: the index branch learns from the LM loss alone */
    bool fp8_p;       /* probabilities of the main branch through E4M3, straight-through; the
                         teacher's stay exact */
    int32_t kl_rows;  /* query rows sampled per document for the KL; 0: all */
    uint64_t seed;    /* of what is sampled in this step */
} net_mode;

typedef struct net_losses {
    double lm; /* mean over targets, nats */
    double kl; /* mean over layers with an index */
    int64_t n_targets;
    double *kl_layer;   /* [n_layers * n_kv_heads], caller's, or NULL */
    int32_t *predicted; /* [n_tokens], caller's, or NULL: the likeliest token (lowest id of equals)
                           wherever a target is asked, -1 elsewhere; for accuracies */
    float *nll;         /* [n_tokens], caller's, or NULL: loss of each target, 0 elsewhere */
} net_losses;

/* What a network keeps of a forward pass. */
typedef enum net_memory {
    NET_KEEP_ALL,    /* what the way back reads */
    NET_KEEP_INPUTS, /* the layers' inputs: forward runs again in the backward pass: the same bits,
                        a third more work, and far less memory; for evaluation too */
    NET_KEEP_INDEX   /* their inputs and the teachers of their index branches: for steps that train
                        the branches alone, and for evaluation */
} net_memory;

typedef struct net net;

/* max_tokens: of a micro-batch. Everything that a step needs is allocated here, but for the plans,
 * which grow with what they meet, and what lm_index adds, at its first use. p must outlive the
 * network; its weights and what is frozen may change between steps. MSA_E_ARG, MSA_E_UNSUPPORTED:
 * shapes that the operators of attention refuse. */
msa_status net_create(net **out, params *p, int64_t max_tokens, net_memory keep, int n_threads,
                      msa_error *err);
void net_free(net *n); /* NULL is fine */
/* Bytes it holds, plans left out. */
size_t net_bytes(const net *n);

/* Adds scale * gradient of the loss to p->g, fills *losses (never NULL). A mode or batch that makes
 * no sense is refused before anything is touched: lm in a network that keeps what the index needs,
 * index_value without tensors for it, lm_index with a KL, ... A loss that is no number is no error
 * here; the gradients are worthless then. */
msa_status net_step(net *n, const train_batch *batch, const net_mode *mode, float scale,
                    net_losses *losses, msa_error *err);
/* Another step on the documents of the last net_step, which trained the index branch alone in a
 * NET_KEEP_INDEX network with dense attention, from what it left behind: the KL of other rows, by
 * the mode's seed, with the index branch as it is now. The same bits as net_step, without its
 * forward pass. The batch must still be there, mode.kl the same, and nothing but the index branch
 * may have changed; MSA_E_ARG where there is nothing to go on from (net_evaluate overwrites it). */
msa_status net_step_again(net *n, const net_mode *mode, float scale, net_losses *losses,
                          msa_error *err);
/* Losses alone: nothing is added to the gradients. */
msa_status net_evaluate(net *n, const train_batch *batch, const net_mode *mode, net_losses *losses,
                        msa_error *err);

/* Tokens that net_step has sent to each expert: [n_layers, n_experts], the network's; set it to 0
 * where a count begins. */
int64_t *net_load(net *n);

/* Floating point operations (a multiply and an add are two) of net_step on this batch: forward
 * once, backward twice that for products with weights, 2.5 times for attention; docs/training.md
 * has the formula. What is computed again to save memory and what fp8_p adds are not counted. */
double net_flops(const net *n, const train_batch *batch, const net_mode *mode);
/* The same of net_step_again. */
double net_flops_again(const net *n, const train_batch *batch, const net_mode *mode);

#endif
