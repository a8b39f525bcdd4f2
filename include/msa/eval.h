/* eval.h: what a model finds in a long text: questions made here, the same for dense attention and
 * for every selection, so that each can be held against dense on the same weights.
 *
 *     msa_eval_params params = msa_eval_defaults(model);
 *     params.tasks = (const char *[]){"niah_single_1", "vt"};  params.n_tasks = 2;
 *     params.lengths = (int64_t[]){2048, 4096};                params.n_lengths = 2;
 *     params.selectors = (const char *[]){"dense", "proxy"};   params.n_selectors = 2;
 *     msa_eval_create(&eval, model, &params, &err);      checks everything, makes no question
 *     msa_eval_run(eval, &err);                          asks what is not answered yet
 *     rows = msa_eval_get_rows(eval, &n);                scores, and differences to dense
 *
 * Caveats first:
 *   - A length is of tokens of the model at hand, prompt and room for the answer together; no
 *     sample is longer. One that can't hold even the smallest question is MSA_E_ARG.
 *   - A sample is a function of seed, task, length, depth, number and text alone; an answer besides
 *     of the model and its attention, not of threads, chunks or what was asked before.
 *   - The tasks are RULER's (arXiv 2404.06654), but words come from lists of our own, and a task
 *     that hides its needles in essays takes a text of yours ("niah_multivalue/text") or noise
 *     ("niah_multivalue/noise"): scores are not to be compared with published ones.
 *   - Where dense attention does not solve a task itself, a difference to it says nothing, and is
 *     NaN. */
#ifndef MSA_EVAL_H
#define MSA_EVAL_H

#include "msa/model.h"

#ifdef __cplusplus
extern "C" {
#endif

/* ---- tasks ----------------------------------------------------------------------------------- */

typedef struct msa_eval_task {
    const char *name;   /* as params.tasks names it: "niah_multivalue", "passkey", "recall" */
    const char *suite;  /* "ruler", "passkey", "needle", "mqar", "trainer" */
    const char *about;  /* half a line */
    int32_t n_generate; /* tokens of an answer; 0: nothing is generated, every token of the answers
                           must be the likeliest, given what stands before it */
    int32_t uses_text;  /* 1: hides needles in params.text, or in noise; 2: needs the text */
    int32_t uses_questions; /* 1: needs params.squad or params.hotpotqa */
} msa_eval_task;

/* The i-th of all there are, RULER's thirteen first; NULL behind the last. */
MSA_API const msa_eval_task *msa_eval_get_task(size_t i);

/* ---- an evaluation --------------------------------------------------------------------------- */

typedef struct msa_eval msa_eval;

/* Work is counted in tokens of prompts read. `selector` is NULL while questions are prepared. */
typedef struct msa_eval_event {
    int64_t n_done, n_total;
    const char *task, *selector;
    int64_t length, sample;
} msa_eval_event;

/* Return 0 to go on, anything else to stop: answers that were given stay. */
typedef int msa_eval_watch_fn(void *user, const msa_eval_event *event);

typedef struct msa_eval_params { /* everything is copied, but for the model */
    const char *const *tasks;    /* names */
    size_t n_tasks;
    const int64_t *lengths; /* tokens, prompt and answer */
    size_t n_lengths;
    const double *depths; /* of the task "needle": where it is hidden, 0..100 % of the text */
    size_t n_depths;
    int64_t n_samples;            /* of each task and length (and depth) */
    const char *const *selectors; /* "dense", or a selector's name; dense is added where missing */
    size_t n_selectors;
    uint64_t seed;
    const char *text;             /* file or folder to hide needles in; NULL: noise */
    const char *squad, *hotpotqa; /* JSON files of questions as these sets are published */
    int64_t n_items;     /* mqar and the trainer's tasks: pairs, letters, digits, facts; 0: fits */
    int64_t n_questions; /* of these, asked in a sample; 0: fits */
    int plain;           /* 1: no chat template, even where the model has one */
    double void_below;   /* dense scores below this make differences NaN; 0..100 */
    const char *out; /* JSON lines: answers are kept there, and not asked again; NULL: nowhere */
    msa_session_params session; /* block, topk, local, init, formats, allow_past_context; attn,
                                   selector, n_ctx and kv_pages are set for each run */
    msa_eval_watch_fn *watch;   /* or NULL */
    void *user;
} msa_eval_params;

/* One sample of each, seed 42, void below 50, dense and what AUTO means for the model, the depths
 * 0, 10, ... 100, the session's defaults. No task and no length. */
MSA_API msa_eval_params msa_eval_defaults(const msa_model *model);

/* MSA_E_ARG names what can't be; MSA_E_FORMAT, nothing changed, where `out` holds answers of
 * another model, seed, text or setting, and says which. The model must outlive it. */
MSA_API msa_status msa_eval_create(msa_eval **eval, const msa_model *model,
                                   const msa_eval_params *params, msa_error *err);
/* Asks every question that has no answer yet; each selector reads each prompt once, one session at
 * a time. MSA_E_CANCELLED where a watcher stopped it: call again to go on. */
MSA_API msa_status msa_eval_run(msa_eval *eval, msa_error *err);
MSA_API void msa_eval_free(msa_eval *eval); /* NULL is fine */

/* ---- questions ------------------------------------------------------------------------------- */

typedef struct msa_eval_question { /* the evaluation's, until the next one */
    const char *task;              /* "niah_multivalue/text" */
    int64_t length, sample;
    double depth;       /* NaN where the task has none */
    const char *prompt; /* what the model is to continue, as text; NUL-terminated */
    size_t n_prompt_bytes;
    const int32_t *ids; /* the same in tokens: [n_ids] */
    size_t n_ids;
    const char *const *expected; /* [n_expected] what the answer must hold */
    size_t n_expected;
    int32_t n_generate;
} msa_eval_question;

MSA_API size_t msa_eval_n_questions(const msa_eval *eval);
/* Question i, whether it is answered or not. MSA_E_ARG where its length can't hold it. */
MSA_API msa_status msa_eval_get_question(msa_eval *eval, size_t i, msa_eval_question *question,
                                         msa_error *err);

/* ---- results --------------------------------------------------------------------------------- */

/* One task, length and depth with one selector, over the samples answered so far. Scores are 0..100
 * and NaN without samples. All intervals are of 95 %:
 *   score       Wilson's, taking the mean of fractions for a proportion, which is on the safe side
 *   difference  Agresti and Min's (2005) for matched pairs, its variance that of the differences;
 *               never of width zero, however few the samples
 * p_value is of McNemar's exact test: of the samples whose scores differ from dense, as many or
 * more on one side by chance. */
typedef struct msa_eval_row {
    const char *task; /* "average" for the mean of a length's tasks, where there are several; a
                         task asked at several depths counts once for each */
    int64_t length;
    double depth; /* NaN: none */
    const char *selector;
    int64_t n;
    double score, score_low, score_high;
    double difference, difference_low, difference_high; /* to dense on the samples both answered */
    int64_t n_better, n_worse;
    double p_value;
    double prompt_tokens, keys_per_query, keys_per_query_dense; /* means of the prompts' queries */
} msa_eval_row;

/* *n of them, tasks, then lengths, depths and selectors in the order given; until the next call
 * that takes the evaluation. */
MSA_API const msa_eval_row *msa_eval_get_rows(msa_eval *eval, size_t *n);

typedef struct msa_eval_info {
    const char *chat;             /* template in use: "chatml", or "none" */
    const char *haystack;         /* "text" or "noise" */
    int64_t n_trials, n_answered; /* question times selector; those with an answer */
    int64_t n_found;              /* of these found in `out` at the beginning */
    const char *const *selectors; /* [n_selectors] as they run, dense first, AUTO by its name */
    size_t n_selectors;
} msa_eval_info;
MSA_API const msa_eval_info *msa_eval_get_info(const msa_eval *eval); /* lives with it */

#ifdef __cplusplus
}
#endif
#endif
