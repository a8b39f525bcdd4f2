/* forward.h: the forward pass of the Llama and M3 families, a step of tokens at a time, and the
 * memory it works in.
 *
 * A forward owns the cache, the plans and the activations of a family of forked sessions: they work
 * one at a time, so one set is enough, and a fork costs a page table. Everything is allocated when
 * it is created, for steps of up to max_tokens; a step allocates nothing but what the plans still
 * grow by. */
#ifndef MSA_ENGINE_FORWARD_H
#define MSA_ENGINE_FORWARD_H

#include "engine/attention.h"
#include "engine/feed_forward.h"
#include "model/model.h"

typedef struct forward {
    const msa_model *model;
    msa_kv *kv;
    attention attention;
    int n_users; /* sessions */
    int n_threads;
    int64_t max_tokens;
    float *x, *normed;   /* [max_tokens, n_embd] the residual stream; what a projection reads */
    float *q, *attended; /* [max_tokens, Hq * d] */
    float *k, *v;        /* [max_tokens, Hkv * d] */
    float *qi, *ki;      /* [max_tokens, Hkv * di] of the index branch, [max_tokens, di] of the
                            third lane; of no size where there is none */
    feed_forward feed_forward;
    float *rope;           /* table of the step's positions */
    float *gemm_workspace; /* for weights of the greatest n_in, or NULL */
    double attention_s;    /* of the last step: wall seconds in selection and attention */
} forward;

typedef struct forward_watch {
    msa_watch_fn *fn; /* or NULL */
    void *user;
    msa_mass_fn *mass_fn; /* or NULL */
    void *mass_user;
} forward_watch;

/* params must be resolved (no zeros left) and in range. One user, the caller. */
msa_status forward_create(forward **f, const msa_model *model, const msa_session_params *params,
                          msa_error *err);
/* One user less; the last one frees it. NULL is fine. */
void forward_release(forward *f);

/* Takes n <= max_tokens tokens, reserved in seq, through all layers, writes their keys and values
 * and commits them. On failure nothing is committed. f->x then holds the stream of the n tokens. */
msa_status forward_step(forward *f, msa_kv_seq *seq, const int32_t *ids, int64_t n,
                        const forward_watch *watch, msa_error *err);
/* Logits [n_rows, n_vocab] of rows first .. first + n_rows - 1 of the last step. */
void forward_logits(forward *f, int64_t first, int64_t n_rows, float *logits);

#endif
