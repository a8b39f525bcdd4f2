/* haystack.h: a text of the user's that needles are hidden in: its words, one blank between them.
 * Any white space counts as a blank, as in RULER's essays. */
#ifndef MSA_EVAL_HAYSTACK_H
#define MSA_EVAL_HAYSTACK_H

#include <stdint.h>

#include "base/bytes.h"
#include "base/error.h"

typedef struct haystack { /* start from {0} */
    bytes text;
    int64_t *starts; /* [n_words + 1] of each word in `text`; the last is its end and a blank */
    size_t capacity;
    int64_t n_words;
    uint64_t fingerprint;
} haystack;

/* A file, or all files below a folder by name. Those with a NUL in them are no text and left out.
 * MSA_E_IO and MSA_E_ARG name the path. */
msa_status haystack_open(haystack *h, const char *path, msa_error *err);
/* The words of n bytes at hand, behind those there are. */
msa_status haystack_add(haystack *h, const char *text, size_t n, msa_error *err);
void haystack_free(haystack *h);

/* Words are numbered round and round: word n_words is word 0. */
void haystack_put(const haystack *h, int64_t word, bytes *out);
/* Whether it ends a sentence: with a full stop, exclamation or question mark, and what may close
 * behind these. */
bool haystack_ends(const haystack *h, int64_t word);
/* The first word at or behind `word` that begins a sentence. */
int64_t haystack_beginning(const haystack *h, int64_t word);

#endif
