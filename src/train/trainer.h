/* trainer.h: what the parts of the trainer share. */
#ifndef MSA_TRAIN_TRAINER_H
#define MSA_TRAIN_TRAINER_H

#include "msa/train.h"
#include "train/checkpoint.h"
#include "train/diagnose.h"
#include "train/log.h"
#include "train/mixture.h"
#include "train/net.h"
#include "train/optimiser.h"
#include "train/schedule.h"

/* Sums over the steps since the last record of the log. */
typedef struct trainer_window {
    double loss[MIXTURE_SOURCES]; /* sums of micro-batch means */
    int64_t n[MIXTURE_SOURCES];
    double kl, grad, index_grad, flops, seconds;
    double *kl_layer; /* [n_layers * n_kv_heads] */
    int64_t n_steps, n_micro, tokens, n_spikes;
} trainer_window;

/* What the index branch makes of text that is held out, attention being dense. */
typedef struct trainer_survey {
    double *kl; /* [n_layers * n_kv_heads], means over the rows taken */
    bool has_kl, has_blocks;
    diagnose_means blocks; /* lives until the next diagnosis */
} trainer_survey;

struct msa_trainer {
    train_config config;
    recipe recipe;
    msa_train_watch_fn *watch;
    void *user;

    arch arch;
    bool from_index; /* its index branch was there, in model.from or beside it */
    uint64_t frozen; /* hash of the weights that checkpoints don't hold, part of state.data; or 0 */
    tokenizer *tokenizer;
    bytes chat;              /* template of the model of model.from, for the file that is written */
    tokens text, valid_text; /* zeros where there is none */
    corpus *corpus;          /* or NULL */
    mixture *mixture;
    train_batch batch;

    params *params;
    net *net;
    diagnose *diagnose; /* NULL without an index branch */
    optimiser optimiser;
    train_state state;
    const recipe_phase *phase; /* the one whose parts are frozen now; NULL: none yet */

    train_log log;
    trainer_window window;
    double *kl_layer;   /* [n_layers * n_kv_heads] of a micro-batch */
    double *grad_layer; /* [2 * (n_layers + 1)] */
    int32_t *predicted; /* [max_tokens] */
    float *nll;         /* [max_tokens] */
    int64_t max_tokens;
    int64_t kept; /* number of the micro-batch whose forward pass batch and net hold; -1: none */
    int kept_source;
    bool stopping;
    bool resumed;       /* from a checkpoint */
    double rate, share; /* of late, for the watcher */
    double peak_due;    /* when the machine's peak is measured again, by trainer_clock */

    trainer_survey survey; /* of the last exam */
    msa_train_exam exams[MIXTURE_SOURCES];
    size_t n_exams;
    msa_train_info info;
    char *phases, *model_path, *log_path;
};

/* Whether nothing but the index branch is ever trained. */
bool trainer_is_frozen(const msa_trainer *t);
/* Weights that the run trains: those with gradients and moments. */
int64_t trainer_floats(const msa_trainer *t);
/* Seconds of a clock that only goes forward. */
double trainer_clock(void);
/* Tells the watcher, and remembers when it wants to stop. */
void trainer_tell(msa_trainer *t, msa_train_event event);
void trainer_note(msa_trainer *t, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* trainer_setup.c: texts, tokenizer, weights; everything that is made before the first step. */
msa_status trainer_open_data(msa_trainer *t, msa_error *err);
msa_status trainer_open_model(msa_trainer *t, msa_error *err);
msa_status trainer_describe(msa_trainer *t, msa_error *err);

/* trainer_resume.c */
msa_status trainer_save(msa_trainer *t, msa_error *err);
msa_status trainer_resume(msa_trainer *t, msa_error *err);
msa_status trainer_refuse_used_folder(const msa_trainer *t, msa_error *err);

/* trainer_exam.c: losses and accuracies on what no step learns from, dense and sparse. */
msa_status trainer_examine(msa_trainer *t, msa_error *err);

/* trainer_report.c: records of the log. */
double report_loss(const trainer_window *w); /* mean of the micro-batches' means; NaN: of none */
void report_start(msa_trainer *t, int64_t resumed_from);
void report_step(msa_trainer *t, double lr, double index_lr);
void report_spike(msa_trainer *t, const char *what, double value, double usual, bool skipped);
void report_diagnosis(msa_trainer *t);
void report_exams(msa_trainer *t);
void report_event(msa_trainer *t, const char *event, const char *text);

/* trainer_export.c: the model as files. */
msa_status trainer_export(msa_trainer *t, msa_error *err);
/* Whether run.format has a place for it: asked before the run. */
msa_status trainer_check_export(msa_trainer *t, msa_error *err);
/* Reads the weights of model.from; the rest of the arch is set by it too. */
msa_status trainer_arch_from(msa_trainer *t, msa_error *err);
msa_status trainer_weights_from(msa_trainer *t, msa_error *err);

#endif
