/* train_watch.h: what is seen of a training run: a line for each fact before it, then a bar; and
 * Ctrl-C. */
#ifndef MSA_CLI_TRAIN_WATCH_H
#define MSA_CLI_TRAIN_WATCH_H

#include "cli/progress.h"
#include "msa/train.h"

typedef struct train_watcher { /* start from {.showing = MSA_TRAIN_NOTE} */
    progress bar;
    char label[128];
    msa_train_event_kind showing;
} train_watcher;

/* A msa_train_watch_fn for a train_watcher; asks to stop after Ctrl-C. progress_end(&w.bar) behind
 * the run. */
int train_watch(void *user, const msa_train_event *event);

/* Model, text, phases, machine and folder, on standard error. */
void train_announce(const msa_train_info *info);

#endif
