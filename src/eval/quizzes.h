/* quizzes.h: the table of tasks. */
#ifndef MSA_EVAL_QUIZZES_H
#define MSA_EVAL_QUIZZES_H

#include "eval/quiz.h"

const quiz *quizzes_all(size_t *n);
/* MSA_E_ARG names the nearest one where there is none of this name. */
msa_status quizzes_find(const quiz **out, const char *name, msa_error *err);

/* Bytes of a name with its variant, NUL included. */
enum { QUIZ_NAME = 48 };
/* "niah_multivalue/noise" where the content is not that of the published task. */
void quiz_full_name(const quiz *q, bool with_text, char out[QUIZ_NAME]);

#endif
