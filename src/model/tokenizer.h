/* tokenizer.h: text to tokens and back, for byte-level BPE vocabularies.
 *
 * Any bytes are accepted; runs of bytes that are not UTF-8 are words of their own. Text is taken as
 * it is: nothing is normalised (Qwen's own tools bring text to NFC first, so text that is not in
 * NFC gets other tokens there; files that we write still ask them to). */
#ifndef MSA_MODEL_TOKENIZER_H
#define MSA_MODEL_TOKENIZER_H

#include "model/vocab.h"
#include "msa/model.h"

typedef struct tokenizer tokenizer; /* read-only once created; threads may share it */

typedef struct tokenizer_params { /* everything is copied */
    const vocab_text *tokens;
    const int32_t *types; /* vocab_type of each token; NULL: all normal */
    size_t n_tokens;
    const vocab_text *merges; /* "left right", best first */
    size_t n_merges;
    vocab_text pre;                  /* name of the pre-tokeniser */
    int32_t bos, eos, eot, unk, pad; /* -1: none */
    int add_bos, add_eos;            /* 0, 1, or -1: as usual for this pre-tokeniser */
    int ignore_merges; /* 1 where a word that is a token as a whole is taken without merging; 0, -1
                          likewise */
    bool nfc;          /* other programs bring text to NFC first: remembered, not done */
} tokenizer_params;

/* Errors name the token, merge, id or pre-tokeniser that is wrong. */
msa_status tokenizer_create(tokenizer **t, const tokenizer_params *params, msa_error *err);
/* The vocabulary that needs no training: token i is byte i, and behind them these special tokens,
 * the first of which ends a text. Every program that reads byte-level vocabularies takes it: no
 * merges, pre-tokeniser gpt-2. names NULL: "<|endoftext|>" alone. */
msa_status tokenizer_create_bytes(tokenizer **t, const vocab_text *names, size_t n_names,
                                  msa_error *err);
void tokenizer_free(tokenizer *t); /* NULL is fine */

/* As msa_tokenize. */
msa_status tokenizer_encode(const tokenizer *t, const char *text, size_t n, int flags,
                            msa_tokens *out, msa_error *err);

/* Bytes from .. to - 1 of a text. */
typedef struct tokenizer_range {
    size_t from, to;
} tokenizer_range;

/* The same, but names of control tokens that reach into one of these ranges, ascending, are letters
 * there: strangers' text in a prompt of ours. */
msa_status tokenizer_encode_around(const tokenizer *t, const char *text, size_t n, int flags,
                                   const tokenizer_range *plain, size_t n_plain, msa_tokens *out,
                                   msa_error *err);

/* The bytes of one token; valid as long as the tokenizer. Control tokens give none, unless
 * MSA_PARSE_SPECIAL is in flags. MSA_E_ARG for an id outside the vocabulary. */
msa_status tokenizer_decode(const tokenizer *t, int32_t id, int flags, vocab_text *piece,
                            msa_error *err);

/* As msa_detokenize. */
msa_status tokenizer_decode_all(const tokenizer *t, const int32_t *ids, size_t n, int flags,
                                char **text, size_t *n_bytes, msa_error *err);

/* What it was made of, for those who write it into files. Lives with the tokenizer. */
typedef struct tokenizer_parts {
    const vocab *vocab;
    const struct bpe *bpe; /* its merges by the ids of their tokens */
    const char *pre;       /* name of the pre-tokeniser */
    int32_t bos, eos, eot, unk, pad;
    bool add_bos, add_eos;
    bool ignore_merges, usual_merges; /* the second: as is usual for this pre-tokeniser */
    bool nfc;
} tokenizer_parts;
tokenizer_parts tokenizer_get_parts(const tokenizer *t);

int32_t tokenizer_size(const tokenizer *t);
/* -1 where there is none. */
int32_t tokenizer_bos(const tokenizer *t);
int32_t tokenizer_eos(const tokenizer *t);
/* Id of the token spelt so in the file, or -1. */
int32_t tokenizer_find(const tokenizer *t, const char *text, size_t n);
/* End of text, of turn or of message. */
bool tokenizer_is_end(const tokenizer *t, int32_t id);

#endif
