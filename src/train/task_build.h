/* task_build.h: what the makers of the tasks share, see task.h: a sample is put together from
 * facts, filler and a tail of questions. */
#ifndef MSA_TRAIN_TASK_BUILD_H
#define MSA_TRAIN_TASK_BUILD_H

#include "train/task.h"

/* Tokens with marks; grows. The first failure to get memory sticks. */
typedef struct task_tokens {
    msa_tokens ids;
    bool *answer;
    size_t answer_capacity;
} task_tokens;

struct task_maker {
    const tokenizer *tokenizer;
    const corpus *text;
    int32_t symbol[128]; /* token of each printable ASCII character */
    task_tokens facts, tail, filler, whole;
    int64_t *fact_end; /* [n_facts] in `facts` */
    size_t fact_capacity;
    int64_t n_facts;
    int64_t *cuts; /* [n_facts] where the filler is cut */
    size_t cuts_capacity;
    int32_t *order; /* keys, and in which order they are asked */
    size_t order_capacity;
};

/* Appends; all give MSA_E_NOMEM only, but for encoding. */
msa_status task_put_symbols(task_maker *m, task_tokens *to, const char *text, bool answer,
                            msa_error *err); /* one token a character */
msa_status task_put_text(task_maker *m, task_tokens *to, const char *text, bool answer,
                         msa_error *err);
msa_status task_put_ids(task_tokens *to, const int32_t *ids, int64_t n, bool answer,
                        msa_error *err);
msa_status task_end_fact(task_maker *m, msa_error *err); /* of what was put into m->facts */

/* A random order of 0 .. n - 1 in m->order. */
msa_status task_shuffle(task_maker *m, int64_t n, draw *d, msa_error *err);

/* Tokens that filler has to take; MSA_E_ARG where facts and tail are too much for the length. */
msa_status task_room(const task_maker *m, const char *name, const task_size *size, int64_t *n,
                     msa_error *err);

/* The makers fill facts, tail and filler. */
msa_status task_make_recall(task_maker *m, const task_size *size, draw *d, msa_error *err);
msa_status task_make_copy(task_maker *m, const task_size *size, draw *d, msa_error *err);
msa_status task_make_passkey(task_maker *m, const task_size *size, draw *d, msa_error *err);
msa_status task_make_needle(task_maker *m, const task_size *size, draw *d, msa_error *err);

#endif
