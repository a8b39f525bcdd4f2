/* bpe.h: byte-pair encoding: a word's bytes become tokens, then the adjacent pair whose merge comes
 * first in the list is joined, again and again, the leftmost first among equals. */
#ifndef MSA_MODEL_BPE_H
#define MSA_MODEL_BPE_H

#include "model/vocab.h"
#include "msa/model.h"

typedef struct bpe {
    int32_t byte_token[256];        /* -1 where the vocabulary has no token for the byte */
    int32_t *left, *right, *result; /* of each merge, best first */
    size_t n_merges;
    uint64_t *pairs; /* left << 32 | right -> rank, open addressing */
    uint32_t *ranks;
    size_t mask;
} bpe;

/* merges: "left right", one space between, spelt in the byte alphabet. MSA_E_FORMAT names a merge
 * that is malformed, doubled, or speaks of tokens the vocabulary lacks. On failure *b is {0}. */
msa_status bpe_create(bpe *b, const vocab *v, const vocab_text *merges, size_t n_merges,
                      msa_error *err);
void bpe_free(bpe *b);

/* Scratch memory of one thread; start from {0}. */
typedef struct bpe_work {
    struct bpe_symbol *symbols;
    uint64_t *heap;
    size_t symbols_capacity, heap_capacity;
} bpe_work;
void bpe_work_free(bpe_work *w);

/* Appends the tokens of a word of n bytes, in O(n log n). A byte without a token becomes U+FFFD (is
 * dropped where that has none either) and is counted in out->n_replaced.
 * False: no memory, *out as it was. */
bool bpe_encode(const bpe *b, bpe_work *w, const char *word, size_t n, msa_tokens *out);

/* Room for `more` ids behind those in *out. False where memory can't be had. */
bool bpe_reserve(msa_tokens *out, size_t more);

#endif
