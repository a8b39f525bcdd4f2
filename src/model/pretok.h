/* pretok.h: pre-tokenisers: how a text is cut into words before byte-pair encoding. */
#ifndef MSA_MODEL_PRETOK_H
#define MSA_MODEL_PRETOK_H

#include <stdbool.h>

#include "base/error.h"

typedef struct pretok pretok; /* read-only once created; threads may share it */

/* Names as in tokenizer.ggml.pre: smollm, gpt-2, llama-bpe (also llama3, llama-v3), qwen2, gpt-4o
 * (also minimax-m2, which MiniMax-M3's files say). Anything else is MSA_E_UNSUPPORTED and named. */
msa_status pretok_create(pretok **p, const char *name, size_t name_length, msa_error *err);
void pretok_free(pretok *p); /* NULL is fine */

/* As in the list above; static storage. */
const char *pretok_name(const pretok *p);
/* 1 where a word that is a token as a whole is taken without merging, unless a file says otherwise
 * (llama-bpe). */
bool pretok_ignores_merges(const pretok *p);
/* 1 where models of this kind begin a text with the begin-of-text token unless their file says
 * otherwise (llama-bpe). */
bool pretok_adds_bos(const pretok *p);

/* Walks over the words of a text: they follow each other without gap and cover it. Runs of bytes
 * that are not UTF-8 are words of their own. */
typedef struct pretok_walk {
    const pretok *pretok;
    const char *text;
    size_t n;
    size_t at;        /* where the next word starts */
    size_t run_start; /* the run of valid UTF-8 it is in */
    size_t run_end;   /* == at: none */
    void *match;      /* pcre2_match_data */
    void *limits;     /* pcre2_match_context */
} pretok_walk;

/* The text is borrowed. On failure there is nothing to end. */
msa_status pretok_walk_begin(pretok_walk *w, const pretok *p, msa_error *err);
void pretok_walk_text(pretok_walk *w, const char *text, size_t n);
/* *length = 0 at the end of the text, else the next word is text[*start .. *start + *length). */
msa_status pretok_walk_next(pretok_walk *w, size_t *start, size_t *length, msa_error *err);
void pretok_walk_end(pretok_walk *w);

#endif
