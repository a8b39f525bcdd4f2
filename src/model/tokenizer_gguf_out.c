/* tokenizer_gguf_out.c: the keys of a tokenizer into a GGUF file. See tokenizer_gguf.h. */
#include <stdio.h>
#include <string.h>

#include "base/bytes.h"
#include "base/mem.h"
#include "model/bpe.h"
#include "model/tokenizer_gguf.h"

#define PREFIX "tokenizer.ggml."

enum { FILLER = 24 }; /* bytes for "[PAD123]" */

/* Tokens and types, with fillers up to n_vocab. */
static msa_status write_tokens(const vocab *v, int32_t n_vocab, gguf_out *out, msa_error *err) {
    size_t n = (size_t)n_vocab, n_fill = n - (size_t)v->n;
    gguf_string *strings = mem_alloc(n, sizeof *strings);
    int32_t *types = mem_alloc(n, sizeof *types);
    char(*fillers)[FILLER] = mem_alloc(n_fill, sizeof *fillers);
    msa_status status = MSA_OK;
    if (!strings || !types || !fillers) {
        status = error_set(err, MSA_E_NOMEM, "no memory to write %zu tokens", n);
    } else {
        for (int32_t i = 0; i < n_vocab; i++) {
            if (i < v->n) {
                vocab_text text = vocab_text_of(v, i);
                strings[i] = (gguf_string){text.data, text.n};
                types[i] = v->types[i];
                continue;
            }
            char *name = fillers[i - v->n];
            snprintf(name, FILLER, "[PAD%d]", i);
            strings[i] = (gguf_string){name, strlen(name)};
            types[i] = VOCAB_UNUSED;
        }
        gguf_out_strings(out, PREFIX "tokens", n, strings);
        gguf_out_array(out, PREFIX "token_type", GGUF_I32, n, types);
    }
    mem_free(strings);
    mem_free(types);
    mem_free(fillers);
    return status;
}

static msa_status write_merges(const vocab *v, const bpe *b, gguf_out *out, msa_error *err) {
    bytes text = {0};
    gguf_string *strings = mem_alloc(b->n_merges, sizeof *strings);
    for (size_t i = 0; i < b->n_merges; i++) {
        vocab_text left = vocab_text_of(v, b->left[i]), right = vocab_text_of(v, b->right[i]);
        bytes_append(&text, left.data, left.n);
        bytes_append(&text, " ", 1);
        bytes_append(&text, right.data, right.n);
        if (strings) strings[i].n = left.n + 1 + right.n;
    }
    msa_status status = MSA_OK;
    if (!strings || text.failed) {
        status = error_set(err, MSA_E_NOMEM, "no memory to write %zu merges", b->n_merges);
    } else {
        const char *at = text.data;
        for (size_t i = 0; i < b->n_merges; at += strings[i++].n) strings[i].data = at;
        gguf_out_strings(out, PREFIX "merges", b->n_merges, strings);
    }
    mem_free(strings);
    bytes_free(&text);
    return status;
}

msa_status tokenizer_to_gguf(const tokenizer *t, const vocab_text *chat, int32_t n_vocab,
                             gguf_out *out, msa_error *err) {
    tokenizer_parts p = tokenizer_get_parts(t);
    if (n_vocab < p.vocab->n)
        return error_set(err, MSA_E_ARG,
                         "the tokenizer has %d tokens, the model's embedding %d rows; expected as "
                         "many or more",
                         p.vocab->n, n_vocab);
    gguf_out_text(out, PREFIX "model", "gpt2");
    gguf_out_text(out, PREFIX "pre", p.pre);
    msa_status status = write_tokens(p.vocab, n_vocab, out, err);
    if (status == MSA_OK) status = write_merges(p.vocab, p.bpe, out, err);
    if (status != MSA_OK) return status;
    const struct {
        const char *key;
        int32_t id;
    } ids[] = {{PREFIX "bos_token_id", p.bos},
               {PREFIX "eos_token_id", p.eos},
               {PREFIX "eot_token_id", p.eot},
               {PREFIX "unknown_token_id", p.unk},
               {PREFIX "padding_token_id", p.pad}};
    for (size_t i = 0; i < sizeof ids / sizeof *ids; i++)
        if (ids[i].id >= 0) gguf_out_u32(out, ids[i].key, (uint32_t)ids[i].id);
    gguf_out_bool(out, PREFIX "add_bos_token", p.add_bos);
    gguf_out_bool(out, PREFIX "add_eos_token", p.add_eos);
    if (chat) gguf_out_string(out, "tokenizer.chat_template", (gguf_string){chat->data, chat->n});
    return MSA_OK;
}
