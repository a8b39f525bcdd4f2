/* train.h: training a model, from a configuration to a file that the rest of this library, and
 * other programs, run.
 *
 *     msa_trainer *t;
 *     msa_train_params params = {.config = text, .n_bytes = n, .name = "miniature.json"};
 *     msa_trainer_create(&t, &params, &err);     checks everything, makes the texts into tokens
 *     msa_trainer_run(t, &err);                  trains, writes the model
 *     msa_trainer_free(t);
 *
 * A configuration is JSON; msa_train_help lists its keys. Everything a run writes lies in run.out:
 * checkpoints, log.jsonl, the model, and the texts as tokens.
 *
 * Caveats first:
 *   - A stopped run (a watcher that asked for it, a kill, a power cut) is resumed from its newest
 *     whole checkpoint and gives the same bits as an unbroken one, on the same instruction set, for
 *     any number of threads.
 *   - A directory that holds checkpoints is not trained into again, unless it is resumed.
 *   - A loss that is no number ends the run; the last checkpoint is from before it. */
#ifndef MSA_TRAIN_H
#define MSA_TRAIN_H

#include "msa/msa.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct msa_trainer msa_trainer;

typedef enum msa_train_event_kind {
    MSA_TRAIN_PREPARE = 0, /* texts become tokens: n_done of n_total bytes */
    MSA_TRAIN_STEP = 1,    /* a step is done */
    MSA_TRAIN_RECORD = 2,  /* a step is done, and its record is in the log */
    MSA_TRAIN_EXAM = 3,    /* an evaluation is being made: n_done of n_total micro-batches */
    MSA_TRAIN_NOTE = 4     /* something a person wants to read once: `text` */
} msa_train_event_kind;

/* What a watcher is told. Fields without a meaning for the kind are 0 or NULL; pointers live until
 * it returns. */
typedef struct msa_train_event {
    msa_train_event_kind kind;
    int64_t n_done, n_total;
    const char *phase; /* of the step: "dense", "warm-up", "sparse", "index" */
    double loss;       /* mean of the micro-batches' means, nats; of a record since the last one */
    double kl;         /* mean over layers and groups */
    double tokens_per_s, fma_share; /* of late; 0..1 of the machine's measured peak */
    double seconds_left;
    const char *text;
} msa_train_event;

/* Return 0 to go on, anything else to stop: the step in hand is finished, a checkpoint written, and
 * msa_trainer_run returns MSA_E_CANCELLED. */
typedef int msa_train_watch_fn(void *user, const msa_train_event *event);

typedef struct msa_train_params {
    const char *config; /* JSON, n_bytes of it; NULL: defaults and assignments alone */
    size_t n_bytes;
    const char *name;               /* of the configuration, for messages; NULL: "configuration" */
    const char *const *assignments; /* "key=value", applied in order on top */
    size_t n_assignments;
    int resume;                /* 1: go on from the newest checkpoint in run.out */
    msa_train_watch_fn *watch; /* or NULL */
    void *user;
} msa_train_params;

/* MSA_E_ARG names the key, what was found and what is allowed, before any work is done. */
MSA_API msa_status msa_trainer_create(msa_trainer **trainer, const msa_train_params *params,
                                      msa_error *err);
/* Trains to the last step and writes the model. MSA_E_FORMAT where a loss is no number: the text
 * says in which step, from which source, and the first tensor that holds one.
 * After MSA_E_CANCELLED call it again to go on where it stopped, to the bits of a run that nobody
 * stopped, or free the trainer and resume from the checkpoint later. After MSA_OK it writes the
 * model once more; after any other failure a trainer is only good for msa_trainer_free. */
MSA_API msa_status msa_trainer_run(msa_trainer *trainer, msa_error *err);
MSA_API void msa_trainer_free(msa_trainer *trainer); /* NULL is fine */

typedef struct msa_train_info {
    int64_t n_parameters, n_index_parameters;
    int64_t step, n_steps;
    int64_t n_text_tokens, n_valid_tokens;
    const char *folder; /* run.out */
    const char *model;  /* the file or folder that the end writes, "" for none */
    const char *base;   /* the model that `model` is the index branch of; "": it is whole */
    const char *log;    /* the log */
    const char *phases; /* a line for each phase: steps, what is trained, what attends how */
    double peak_gflops; /* the most measured so far; what fma_share is a share of */
    int32_t n_threads;
} msa_train_info;
MSA_API const msa_train_info *msa_trainer_get_info(const msa_trainer *trainer); /* lives with it */

/* The last evaluation: NaN where there was none of its kind. Shares 0..1, losses in nats. */
typedef struct msa_train_exam {
    const char *source;   /* "text", "recall", ... */
    double dense, sparse; /* text: loss; tasks: share of the answers that are right */
    int64_t n;            /* tokens of the text, answers of a task */
    /* The text's loss at positions from the middle of data.context on; n_late of them. */
    double dense_late, sparse_late;
    int64_t n_late;
    int64_t n_pieces; /* of text, or samples of a task */
} msa_train_exam;
/* *n of them, living until the next run. */
MSA_API const msa_train_exam *msa_trainer_get_exams(const msa_trainer *trainer, size_t *n);

/* Every key of a configuration: range, default, meaning. NULL without memory; freed with
 * msa_train_text_free. */
MSA_API char *msa_train_help(void);
MSA_API void msa_train_text_free(char *text);

#ifdef __cplusplus
}
#endif
#endif
