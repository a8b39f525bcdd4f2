/* eval_case.h: evaluations of a tiny model, in a folder of their own. */
#ifndef MSA_TESTS_EVAL_CASE_H
#define MSA_TESTS_EVAL_CASE_H

#include "msa/eval.h"

/* From eval_case_open to eval_case_close, cmocka's setup and teardown. */
extern msa_model *eval_model, *eval_other; /* of one shape */
extern char *eval_folder;
int eval_case_open(void **state);
int eval_case_close(void **state);

/* Two tasks, one that is generated and one that is not, at two lengths. */
msa_eval_params eval_case_params(void);
/* Answers all of it into a file. */
void eval_case_run(msa_eval_params *p, const char *path);
/* The file of an unbroken run, whole.jsonl in the folder; static storage. */
const char *eval_case_whole(void);
/* What creating it with this file comes to; fails with err set. */
msa_status eval_case_try(const msa_model *m, msa_eval_params p, const char *path, msa_error *err);

#endif
