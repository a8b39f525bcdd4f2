/* trial.h: one question put to a model with one kind of attention. */
#ifndef MSA_EVAL_TRIAL_H
#define MSA_EVAL_TRIAL_H

#include "eval/asker.h"

typedef struct trial {          /* start from {0}; reused */
    double score;               /* 0..1 */
    bytes answer;               /* text; with QUIZ_TOKENS a mark for each answer, "+" or "-" */
    int64_t n_prompt, n_answer; /* tokens */
    double keys, keys_dense;    /* a query of the prompt: read, and what dense would have read */
} trial;
void trial_free(trial *t);

/* Reads the prompt once and generates greedily until the answer ends or is settled; a session of
 * its own. `params` with n_ctx as given. MSA_E_CANCELLED where `progress`, told of the tokens read
 * and said, wanted to stop. */
msa_status trial_run(const msa_model *model, const msa_session_params *params, const question *q,
                     msa_progress_fn *progress, void *user, trial *out, msa_error *err);

#endif
