/* prompt.h: a question as text: what the user says, how the answer begins, and what it must hold.
 *
 * The opening is RULER's answer prefix: it stands behind the chat template, so that the model goes
 * on with it instead of asking back. */
#ifndef MSA_EVAL_PROMPT_H
#define MSA_EVAL_PROMPT_H

#include "base/bytes.h"
#include "base/error.h"

typedef struct prompt { /* start from {0} */
    bytes input, opening;
    bytes expected; /* n_expected texts, each with its NUL */
    size_t n_expected;
} prompt;

/* Empties it, keeping its memory. */
void prompt_clear(prompt *p);
void prompt_free(prompt *p);
/* MSA_E_NOMEM where an append failed; terminates input and opening. */
msa_status prompt_finish(prompt *p, msa_error *err);

void prompt_expect(prompt *p, const char *text);
/* The text behind `text` in p->expected; the first for NULL. */
const char *prompt_next_expected(const prompt *p, const char *text);

/* Appends at most 1,023 bytes. */
__attribute__((format(printf, 2, 3))) void put(bytes *b, const char *format, ...);

#endif
