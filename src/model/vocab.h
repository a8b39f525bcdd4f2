/* vocab.h: the tokens of a byte-level vocabulary: their text as the file spells it, the bytes they
 * stand for, their types, and the way back from text to id. */
#ifndef MSA_MODEL_VOCAB_H
#define MSA_MODEL_VOCAB_H

#include <stdbool.h>

#include "base/error.h"

/* Text that is not NUL-terminated, and not owned. */
typedef struct vocab_text {
    const char *data;
    size_t n;
} vocab_text;

typedef enum vocab_type { /* as GGUF numbers them */
                          VOCAB_NORMAL = 1,
                          VOCAB_UNKNOWN = 2,
                          VOCAB_CONTROL = 3,      /* seen in text only when asked, not shown */
                          VOCAB_USER_DEFINED = 4, /* always seen in text as a whole, and shown */
                          VOCAB_UNUSED = 5,
                          VOCAB_BYTE = 6
} vocab_type;

typedef struct vocab {
    int32_t n;
    uint8_t *types;               /* [n] */
    char *text, *piece;           /* all tokens one after the other */
    uint64_t *text_at, *piece_at; /* [n + 1] */
    int32_t *slots;               /* text -> id, -1 empty */
    size_t mask;
} vocab;

/* Copies the tokens; types may be NULL (all normal). MSA_E_FORMAT names an empty or doubled token,
 * an unknown type, or a count outside 1 .. 2^24. On failure *v is {0}. */
msa_status vocab_create(vocab *v, const vocab_text *tokens, const int32_t *types, size_t n,
                        msa_error *err);
void vocab_free(vocab *v);

/* Id of the token spelt so in the file, or -1. */
int32_t vocab_find(const vocab *v, const char *text, size_t n);

static inline vocab_text vocab_text_of(const vocab *v, int32_t id) {
    return (vocab_text){v->text + v->text_at[id], (size_t)(v->text_at[id + 1] - v->text_at[id])};
}
/* The bytes the token stands for. */
static inline vocab_text vocab_piece_of(const vocab *v, int32_t id) {
    return (vocab_text){v->piece + v->piece_at[id],
                        (size_t)(v->piece_at[id + 1] - v->piece_at[id])};
}
/* Control tokens and the unknown token: names that are no part of the text. */
static inline bool vocab_is_hidden(const vocab *v, int32_t id) {
    return v->types[id] == VOCAB_CONTROL || v->types[id] == VOCAB_UNKNOWN;
}

#endif
