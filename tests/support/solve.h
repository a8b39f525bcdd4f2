/* solve.h: answers to the questions of an evaluation, by reading them: what a model that attends to
 * the right places would say. */
#ifndef MSA_TESTS_SOLVE_H
#define MSA_TESTS_SOLVE_H

#include <stddef.h>
#include <stdint.h>

enum { SOLVED = 8192 };

/* The answer to `prompt`, a question of RULER's, passkey or needle; "" where it is not found. */
void solve(const char *task, const char *prompt, char answer[SOLVED]);

/* The token behind n others as an induction head has it: what stood behind the longest earlier
 * repetition of the end, of which at least `least` tokens; -1 without one. Looks no further back
 * than `window`. */
int32_t solve_token(const int32_t *ids, size_t n, size_t least, size_t window);

#endif
