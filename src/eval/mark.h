/* mark.h: what an answer is worth, 0 to 1, as RULER counts it: substrings, whatever the case of
 * ASCII letters. A number inside a longer one counts too; that is RULER's rule. */
#ifndef MSA_EVAL_MARK_H
#define MSA_EVAL_MARK_H

#include "eval/quiz.h"

double mark(quiz_marking marking, const prompt *p, const char *answer);
/* Whether no more text behind this answer can change its worth. */
bool mark_is_settled(quiz_marking marking, const prompt *p, const char *answer);

#endif
