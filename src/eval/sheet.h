/* sheet.h: an evaluation: what is asked of whom, the answers so far, and the rows made of them.
 *
 * A cell is a task at one length and depth. Question i is sample i % n_samples of cell
 * i / n_samples; trial t is question t / n_selectors with selector t % n_selectors. */
#ifndef MSA_EVAL_SHEET_H
#define MSA_EVAL_SHEET_H

#include "eval/asker.h"
#include "eval/ledger.h"

typedef struct sheet_cell {
    const quiz *quiz;
    char name[QUIZ_NAME];
    int64_t length;
    double depth; /* NaN: none */
} sheet_cell;

enum { SHEET_SELECTORS = 16 };

typedef struct sheet_answer {
    bool given;
    double score; /* 0..1 */
    double n_prompt, keys, keys_dense;
} sheet_answer;

struct msa_eval {
    const msa_model *model;
    asker asker;
    const quiz **quizzes;
    size_t n_tasks;
    sheet_cell *cells;
    size_t n_cells;
    int64_t n_samples;
    const char *selectors[SHEET_SELECTORS]; /* dense first */
    size_t n_selectors;
    sheet_answer *answers; /* [n_cells * n_samples * n_selectors] */
    msa_session_params session;
    double void_below; /* 0..1 */
    uint64_t seed;
    char *out;
    ledger ledger;
    question question; /* the last one made */
    const char **expected;
    size_t expected_capacity;
    msa_eval_row *rows;
    msa_eval_watch_fn *watch;
    void *user;
    msa_eval_info info;
};

/* The parameters of a session for selector s. */
msa_session_params sheet_session(const msa_eval *e, size_t s, const sheet_cell *cell,
                                 int64_t sample);
sheet_answer *sheet_at(const msa_eval *e, size_t cell, int64_t sample, size_t selector);

/* sheet_plan.c: what is to be asked, checked. */
msa_status sheet_plan(msa_eval *e, const msa_eval_params *params, msa_error *err);
/* The name of a selector as it runs; NULL where there is none of this name. */
const char *sheet_selector(const msa_model *model, const char *name);

/* sheet_record.c: answers as records of the ledger. */
/* The number that is read again where x was written. Scores are compared, some read and some just
 * given: a third must be the same third. */
double sheet_kept(double x);
msa_status sheet_open_ledger(msa_eval *e, const msa_eval_params *params, msa_error *err);
msa_status sheet_record(msa_eval *e, size_t cell, int64_t sample, size_t selector,
                        const char *answer, int64_t n_answer, msa_error *err);

#endif
