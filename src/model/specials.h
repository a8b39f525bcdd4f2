/* specials.h: finds tokens that are written as a whole in a text: the leftmost, of these the
 * longest. */
#ifndef MSA_MODEL_SPECIALS_H
#define MSA_MODEL_SPECIALS_H

#include "model/vocab.h"

typedef struct specials {
    const vocab *vocab; /* borrowed */
    int32_t *ids;       /* sorted by their bytes */
    size_t n;
    bool starts[256]; /* whether one begins with this byte */
} specials;

/* User-defined tokens; with `hidden` also control and unknown tokens. */
msa_status specials_create(specials *s, const vocab *v, bool hidden, msa_error *err);
void specials_free(specials *s);

typedef struct specials_match {
    size_t start, end;
    int32_t id;
} specials_match;

/* First match in text[at .. n); {n, n, -1} where there is none. */
specials_match specials_find(const specials *s, const char *text, size_t at, size_t n);

#endif
