/* task.h: samples of the synthetic tasks, made from random numbers when they are needed.
 *
 * Every sample is `length` tokens, told first and asked at the end:
 *
 *   filler fact filler fact ... filler | question answer question answer ...
 *
 *   recall   facts " kV": a key of lower-case letters and digits, a value of one capital; asked
 *            again in another order; filler of punctuation. Where there are more questions than
 *            items each is about any of them, so that no answer can be told by elimination (MQAR);
 *            the later ones then repeat questions answered close by: only the first about a key has
 *            to be found among the facts. For short samples to begin with, not for examinations
 *   copy     letters; a question is a cue of 4 that occurred once, the answer goes on as it did
 *   passkey  "The pass key is 71432. Remember it. 71432 is the pass key." in a filler of sentences
 *   needle   "The code of Kedori is 5823." inside real text
 *
 * Symbols of recall and copy are single tokens in any byte-level vocabulary. An answer is a run of
 * tokens marked as such; it counts as right when every token of it is. */
#ifndef MSA_TRAIN_TASK_H
#define MSA_TRAIN_TASK_H

#include "model/tokenizer.h"
#include "train/config.h"
#include "train/corpus.h"
#include "train/draw.h"

typedef struct task_size {
    int64_t length, items, questions; /* as in config_task */
} task_size;

/* The size at a step of a settled configuration, and the final one. */
task_size task_size_at(const config_task *t, int64_t step);
/* The size of one sample at a step: the present one and nothing drawn, or, where sizes are mixed, a
 * length and a number of items between the first and the present, the length uniform in its
 * logarithm. */
task_size task_size_draw(const config_task *t, int64_t step, draw *d);
/* The least that a run can ask for, and the most. */
task_size task_size_first(const config_task *t);
task_size task_size_final(const config_task *t);

typedef struct task_maker task_maker; /* makes samples; one thread at a time */

/* `text` is what needles are hidden in, NULL where no needle is asked for; both must outlive it.
 * MSA_E_UNSUPPORTED where the vocabulary has no token for a symbol. */
msa_status task_maker_create(task_maker **out, const tokenizer *t, const corpus *text,
                             msa_error *err);
void task_maker_free(task_maker *m); /* NULL is fine */

typedef struct task_sample { /* the maker's, until the next sample */
    const int32_t *ids;      /* [n] */
    const bool *answer;      /* [n] the token is part of an answer */
    int64_t n;
} task_sample;

/* MSA_E_ARG where what is told and asked takes more than the length: the text says how much. */
msa_status task_make(task_maker *m, config_task_kind kind, const task_size *size, draw *d,
                     task_sample *out, msa_error *err);

#endif
