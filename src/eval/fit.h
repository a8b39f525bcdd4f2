/* fit.h: how much haystack fills a length. */
#ifndef MSA_EVAL_FIT_H
#define MSA_EVAL_FIT_H

#include "eval/quiz.h"

/* Tokens of a finished prompt as the model gets it. */
typedef msa_status fit_count_fn(void *user, const prompt *p, int64_t *n_tokens, msa_error *err);

/* Makes the largest prompt of at most `limit` tokens that the search finds; the last call of
 * `count` was for it. MSA_E_ARG, with both numbers, where the smallest one is longer. */
msa_status fit_prompt(const quiz *q, const quiz_case *c, int64_t limit, fit_count_fn *count,
                      void *user, prompt *p, msa_error *err);

/* Makes the smallest prompt, or fails as fit_prompt would. */
msa_status fit_smallest(const quiz *q, const quiz_case *c, int64_t limit, fit_count_fn *count,
                        void *user, prompt *p, msa_error *err);

#endif
