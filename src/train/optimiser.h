/* optimiser.h: what a step does with its gradients: norms, clipping, spikes, AdamW for the index
 * branch and for everything else, the routers' bias. */
#ifndef MSA_TRAIN_OPTIMISER_H
#define MSA_TRAIN_OPTIMISER_H

#include "train/checkpoint.h"
#include "train/params.h"

typedef struct optimiser {
    params *p;
    const train_config *config;
    float *m, *v; /* [p->n_floats - p->trained] */
    int n_threads;
} optimiser;

msa_status optimiser_create(optimiser *o, params *p, const train_config *c, int n_threads,
                            msa_error *err);
void optimiser_free(optimiser *o); /* zeros are fine */

/* Norm of the gradients of the index branch, or of all else; what is frozen left out. Sums in
 * double over pieces of fixed size, so any number of threads gives the same bits. */
double optimiser_norm(const optimiser *o, bool index);

/* Whether x stands out: more than `times` the recent mean (0: never), once there is one. Adds x to
 * the mean, of one that stands out no more than `times` it: a single spike hardly moves it, a new
 * level is a level after some steps, and a run that skips spikes goes on. */
bool optimiser_spike(train_average *mean, double x, double times);

/* AdamW with these rates; norms are those of optimiser_norm, for clipping, each part by its own.
 * Frozen parts and their counters of steps are left alone. */
void optimiser_step(optimiser *o, train_state *state, double lr, double index_lr, double norm,
                    double index_norm);

/* Moves each router's bias by `rate` against the sign of its expert's load error; load [n_layers,
 * n_experts] counts tokens, layers without experts have none. */
void optimiser_balance(params *p, const int64_t *load, double rate);

/* The first tensor with a number that is none, in weights or gradients; NULL: all are numbers. */
const param *optimiser_find_bad(const params *p, bool gradients);

#endif
