/* eval_exam.h: what msa eval ruler, needle, passkey, mqar and task share: flags, the work with its
 * progress, the results. */
#ifndef MSA_CLI_EVAL_EXAM_H
#define MSA_CLI_EVAL_EXAM_H

#include "cli/settings.h"
#include "msa/eval.h"

typedef struct exam_args {
    model_args model;
    settings_args attention;
    const char *tasks, *selectors; /* "a,b" */
    const char *text, *squad, *hotpotqa, *out, *picture;
    option_ints lengths, depths;
    int64_t samples, seed, items, questions, show;
    double void_below;
    bool raw, json;
} exam_args;

exam_args exam_unset(void);
/* The flags of all of them. */
option_group exam_group(exam_args *args);
/* Flags that some have: their tables are here, so that each is described once. */
option_group exam_group_ruler(exam_args *args);   /* --tasks --text --squad --hotpotqa */
option_group exam_group_needle(exam_args *args);  /* --depths --text --output */
option_group exam_group_pairs(exam_args *args);   /* --items --questions */
option_group exam_group_trainer(exam_args *args); /* --tasks --text */

/* Prints the rows, where --json is not given, and what else there is to make of them. */
typedef msa_status exam_print_fn(const exam_args *args, const msa_eval_row *rows, size_t n,
                                 const msa_eval_info *info, msa_error *err);

/* Asks everything and prints what there is, also after Ctrl-C; tasks that args->tasks does not name
 * are `usual`, comma-separated. print NULL: a line for each row. */
msa_status exam_run(const exam_args *args, const char *name, const char *usual,
                    exam_print_fn *print, msa_error *err);

/* A line for each row. */
msa_status exam_print_rows(const exam_args *args, const msa_eval_row *rows, size_t n,
                           const msa_eval_info *info, msa_error *err);

#endif
