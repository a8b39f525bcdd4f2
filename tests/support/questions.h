/* questions.h: what questions of an evaluation are made of, without a model. */
#ifndef MSA_TESTS_QUESTIONS_H
#define MSA_TESTS_QUESTIONS_H

#include "eval/quizzes.h"

/* Thirty documents of one sentence as squad.json, in SQuAD's format, and as hotpot.json, in
 * HotpotQA's: "What is the capital of Land07?", "City07". */
void questions_write(const char *folder);

/* The prompt of a task with so many units of haystack, noise where it may be a text; prompt_free.
 */
prompt questions_make(const char *task, int64_t n_units, double depth, uint64_t seed);

#endif
