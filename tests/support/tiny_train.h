/* tiny_train.h: training runs of a second: a small M3 with experts on the licence's text. */
#ifndef MSA_TESTS_TINY_TRAIN_H
#define MSA_TESTS_TINY_TRAIN_H

#include <stddef.h>

#include "msa/train.h"

/* JSON of the run; 12 steps, 4 of them warm-up, a checkpoint every 3. `text` is the path of one. */
char *tiny_train_config(const char *text); /* free() */

/* Creates a trainer of it that writes into `out`, with "a=1 b=2" on top. */
msa_status tiny_train_create(msa_trainer **t, const char *out, const char *settings, int resume,
                             msa_train_watch_fn *watch, void *user, msa_error *err);

#endif
