/* tokens.h: what the tests of tokenizers share. */
#ifndef MSA_TESTS_TOKENS_H
#define MSA_TESTS_TOKENS_H

#include "model/tokenizer.h"
#include "support/support.h"

/* The tokens of a text, freed with msa_tokens_free; fails where there are none to be had. */
msa_tokens encode(const tokenizer *t, const char *text, size_t n, int flags);
/* Fails, printing what came, unless the text gives exactly the expected tokens. */
void assert_tokens(const tokenizer *t, const char *text, int flags, const int32_t *expected,
                   size_t n);
/* Fails unless the text comes back byte for byte, with nothing replaced. */
void assert_round_trip(const tokenizer *t, const char *text, size_t n, int flags);

#endif
