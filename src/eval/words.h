/* words.h: words for keys and lists, written for this project. No word is part of another, nor of
 * the tasks' sentences, so that an answer that holds one holds it on purpose. */
#ifndef MSA_EVAL_WORDS_H
#define MSA_EVAL_WORDS_H

#include <stdint.h>

enum { WORDS_MOST = 32 }; /* bytes of a word, NUL included */

/* "harbor", "clever": numbers 0 .. n - 1. */
uint64_t words_n_single(void);
void words_single(uint64_t i, char out[WORDS_MOST]);

/* "clever-harbor". */
uint64_t words_n_pairs(void);
void words_pair(uint64_t i, char out[WORDS_MOST]);

#endif
