/* tokenizer_gguf.c: see tokenizer_gguf.h. */
#include "model/tokenizer_gguf.h"

#include <string.h>

#include "base/mem.h"
#include "base/utf8.h"

#define PREFIX "tokenizer.ggml."

static vocab_text text_of(gguf_string s) {
    return (vocab_text){s.data, (size_t)s.n};
}

/* An array of strings as a list, freed by the caller. */
static msa_status read_texts(const gguf_file *file, const char *key, vocab_text **list, size_t *n,
                             msa_error *err) {
    gguf_array array;
    msa_status status = gguf_get_array(file, key, GGUF_STRING, &array, err);
    if (status != MSA_OK) return status;
    *n = (size_t)array.n;
    *list = mem_alloc(*n, sizeof **list);
    if (!*list) return error_set(err, MSA_E_NOMEM, "no memory for %zu strings of %s", *n, key);
    const uint8_t *cursor = array.data;
    for (size_t i = 0; i < *n; i++) (*list)[i] = text_of(gguf_string_next(&cursor));
    return MSA_OK;
}

static msa_status read_types(const gguf_file *file, int32_t **types, size_t n_tokens,
                             msa_error *err) {
    const char *key = PREFIX "token_type";
    gguf_array array;
    if (!gguf_find(file, key)) return MSA_OK;
    msa_status status = gguf_get_array(file, key, GGUF_I32, &array, err);
    if (status != MSA_OK) return status;
    if (array.n != n_tokens)
        return error_set(err, MSA_E_FORMAT, "%s has %llu elements, " PREFIX "tokens has %zu", key,
                         (unsigned long long)array.n, n_tokens);
    *types = mem_alloc(n_tokens, sizeof **types);
    if (!*types) return error_set(err, MSA_E_NOMEM, "no memory for %zu token types", n_tokens);
    memcpy(*types, array.data, n_tokens * sizeof **types);
    return MSA_OK;
}

/* Ids and switches that may be missing: -1. */
static msa_status read_optional(const gguf_file *file, tokenizer_params *p, msa_error *err) {
    const struct {
        const char *key;
        int32_t *id;
    } ids[] = {{PREFIX "bos_token_id", &p->bos},
               {PREFIX "eos_token_id", &p->eos},
               {PREFIX "eot_token_id", &p->eot},
               {PREFIX "unknown_token_id", &p->unk},
               {PREFIX "padding_token_id", &p->pad}};
    for (size_t i = 0; i < sizeof ids / sizeof *ids; i++) {
        uint32_t id;
        msa_status status = gguf_get_u32_or(file, ids[i].key, UINT32_MAX, &id, err);
        if (status != MSA_OK) return status;
        if (id != UINT32_MAX && id >= p->n_tokens)
            return error_set(err, MSA_E_FORMAT, "%s is %u, but " PREFIX "tokens has %zu elements",
                             ids[i].key, id, p->n_tokens);
        *ids[i].id = id == UINT32_MAX ? -1 : (int32_t)id;
    }
    const struct {
        const char *key;
        int *flag;
    } flags[] = {{PREFIX "add_bos_token", &p->add_bos}, {PREFIX "add_eos_token", &p->add_eos}};
    for (size_t i = 0; i < sizeof flags / sizeof *flags; i++) {
        bool flag;
        *flags[i].flag = -1;
        if (!gguf_find(file, flags[i].key)) continue;
        msa_status status = gguf_get_bool(file, flags[i].key, &flag, err);
        if (status != MSA_OK) return status;
        *flags[i].flag = flag;
    }
    return MSA_OK;
}

static msa_status check_model(const gguf_file *file, msa_error *err) {
    gguf_string model;
    msa_status status = gguf_get_string(file, PREFIX "model", &model, err);
    if (status != MSA_OK || gguf_string_is(model, "gpt2")) return status;
    char quoted[80];
    return error_set(err, MSA_E_UNSUPPORTED,
                     PREFIX "model is '%s'; this version reads byte-level BPE vocabularies, 'gpt2'",
                     utf8_quote(quoted, sizeof quoted, model.data, (size_t)model.n));
}

static msa_status read_chat(const gguf_file *file, chat_template *c, msa_error *err) {
    const char *key = "tokenizer.chat_template";
    gguf_string text = {0};
    msa_status status = gguf_find(file, key) ? gguf_get_string(file, key, &text, err) : MSA_OK;
    return status != MSA_OK ? status : chat_template_create(c, text.data, (size_t)text.n, err);
}

msa_status tokenizer_from_gguf(tokenizer **t, chat_template *c, const gguf_file *file,
                               msa_error *err) {
    tokenizer_params p = {.ignore_merges = -1};
    vocab_text *tokens = NULL, *merges = NULL;
    int32_t *types = NULL;
    gguf_string pre = {0};
    *t = NULL;
    *c = (chat_template){0};
    msa_status status = check_model(file, err);
    if (!status) status = gguf_get_string(file, PREFIX "pre", &pre, err);
    if (!status) status = read_texts(file, PREFIX "tokens", &tokens, &p.n_tokens, err);
    if (!status) status = read_texts(file, PREFIX "merges", &merges, &p.n_merges, err);
    if (!status) status = read_types(file, &types, p.n_tokens, err);
    if (!status) status = read_optional(file, &p, err);
    if (!status) status = read_chat(file, c, err);
    p.pre = text_of(pre);
    p.tokens = tokens;
    p.merges = merges;
    p.types = types;
    if (!status) status = tokenizer_create(t, &p, err);
    mem_free(tokens);
    mem_free(merges);
    mem_free(types);
    if (status == MSA_OK) return MSA_OK;
    chat_template_free(c);
    return error_prefix(err, status, "%s: ", gguf_name(file));
}
