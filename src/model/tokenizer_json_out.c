/* tokenizer_json_out.c: writing the tokenizer's JSON files. See tokenizer_json.h. */
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "base/utf8.h"
#include "model/bpe.h"
#include "model/json_file.h"
#include "model/pretok_json.h"
#include "model/tokenizer_json.h"

typedef struct writer {
    tokenizer_parts p;
    bool failed; /* for want of memory */
    bytes key;   /* scratch */
    msa_error *err;
} writer;

/* Tokens whose text is found as a whole, outside of the merging. */
static bool is_added(const vocab *v, int32_t id) {
    return v->types[id] == VOCAB_CONTROL || v->types[id] == VOCAB_USER_DEFINED ||
           v->types[id] == VOCAB_UNKNOWN;
}

static json_t *text_of(const writer *w, int32_t id) {
    vocab_text text = vocab_text_of(w->p.vocab, id);
    return json_stringn(text.data, text.n);
}

/* The same as a key, valid until the next. */
static const char *key_of(writer *w, int32_t id) {
    vocab_text text = vocab_text_of(w->p.vocab, id);
    w->key.n = 0;
    bytes_append(&w->key, text.data, text.n);
    bytes_terminate(&w->key);
    w->failed |= w->key.failed;
    return w->key.failed ? "" : w->key.data;
}

/* Every token is UTF-8 (control tokens are taken literally, the others spelt so). */
static msa_status check_tokens(const writer *w) {
    const vocab *v = w->p.vocab;
    for (int32_t id = 0; id < v->n; id++) {
        vocab_text text = vocab_text_of(v, id);
        char quoted[128];
        if (utf8_valid_prefix(text.data, text.n) != text.n || memchr(text.data, 0, text.n))
            return error_set(w->err, MSA_E_ARG, "token %d, '%s', is no UTF-8 that JSON can hold",
                             id, utf8_quote(quoted, sizeof quoted, text.data, text.n));
    }
    return MSA_OK;
}

static void put(writer *w, json_t *object, const char *key, json_t *value) {
    if (json_object_set_new(object, key, value) != 0) w->failed = true;
}
static void append(writer *w, json_t *list, json_t *value) {
    if (json_array_append_new(list, value) != 0) w->failed = true;
}

static json_t *added_tokens(writer *w) {
    const vocab *v = w->p.vocab;
    json_t *list = json_array();
    for (int32_t id = 0; id < v->n; id++)
        if (is_added(v, id))
            append(w, list,
                   json_pack("{s:i, s:o, s:b, s:b, s:b, s:b, s:b}", "id", (int)id, "content",
                             text_of(w, id), "single_word", 0, "lstrip", 0, "rstrip", 0,
                             "normalized", 0, "special", v->types[id] != VOCAB_USER_DEFINED));
    return list;
}

/* All tokens, the added ones too: those that are left out here are numbered anew by readers. */
static json_t *model(writer *w) {
    const vocab *v = w->p.vocab;
    const bpe *b = w->p.bpe;
    json_t *tokens = json_object(), *merges = json_array();
    for (int32_t id = 0; id < v->n; id++) {
        put(w, tokens, key_of(w, id), json_integer(id));
    }
    for (size_t i = 0; i < b->n_merges; i++)
        append(w, merges, json_pack("[o, o]", text_of(w, b->left[i]), text_of(w, b->right[i])));
    return json_pack("{s:s, s:n, s:n, s:n, s:n, s:b, s:b, s:b, s:o, s:o}", "type", "BPE", "dropout",
                     "unk_token", "continuing_subword_prefix", "end_of_word_suffix", "fuse_unk", 0,
                     "byte_fallback", 0, "ignore_merges", w->p.ignore_merges, "vocab", tokens,
                     "merges", merges);
}

/* A text between the tokens that frame it, at the end of a list of pieces. */
static void append_framed(writer *w, json_t *list, const char *text, int type_id) {
    json_t *sequence = json_pack("{s:{s:s, s:i}}", "Sequence", "id", text, "type_id", type_id);
    if (w->p.add_bos)
        append(w, list,
               json_pack("{s:{s:o, s:i}}", "SpecialToken", "id", text_of(w, w->p.bos), "type_id",
                         type_id));
    append(w, list, sequence);
    if (w->p.add_eos)
        append(w, list,
               json_pack("{s:{s:o, s:i}}", "SpecialToken", "id", text_of(w, w->p.eos), "type_id",
                         type_id));
}

static void put_framing_token(writer *w, json_t *object, int32_t id) {
    json_t *entry = json_pack("{s:o, s:[i], s:[o]}", "id", text_of(w, id), "ids", (int)id, "tokens",
                              text_of(w, id));
    put(w, object, key_of(w, id), entry);
}

static json_t *post_processor(writer *w) {
    json_t *offsets = json_pack("{s:s, s:b, s:b, s:b}", "type", "ByteLevel", "add_prefix_space", 1,
                                "trim_offsets", 0, "use_regex", 1);
    if (!w->p.add_bos && !w->p.add_eos) return offsets;
    json_t *single = json_array(), *pair = json_array(), *used = json_object();
    append_framed(w, single, "A", 0);
    append_framed(w, pair, "A", 0);
    append_framed(w, pair, "B", 1);
    if (w->p.add_bos) put_framing_token(w, used, w->p.bos);
    if (w->p.add_eos) put_framing_token(w, used, w->p.eos);
    return json_pack("{s:s, s:[o, {s:s, s:o, s:o, s:o}]}", "type", "Sequence", "processors",
                     offsets, "type", "TemplateProcessing", "single", single, "pair", pair,
                     "special_tokens", used);
}

static json_t *tokenizer_json(writer *w) {
    json_t *root = json_object();
    put(w, root, "version", json_string("1.0"));
    put(w, root, "truncation", json_null());
    put(w, root, "padding", json_null());
    put(w, root, "added_tokens", added_tokens(w));
    put(w, root, "normalizer", w->p.nfc ? json_pack("{s:s}", "type", "NFC") : json_null());
    put(w, root, "pre_tokenizer", pretok_json_create(w->p.pre));
    put(w, root, "post_processor", post_processor(w));
    put(w, root, "decoder",
        json_pack("{s:s, s:b, s:b, s:b}", "type", "ByteLevel", "add_prefix_space", 1,
                  "trim_offsets", 1, "use_regex", 1));
    put(w, root, "model", model(w));
    return root;
}

static json_t *tokenizer_config(writer *w, const vocab_text *chat, int32_t n_ctx) {
    json_t *root = json_object();
    const struct {
        const char *key;
        int32_t id;
    } ids[] = {{"bos_token", w->p.bos},
               {"eos_token", w->p.eos},
               {"unk_token", w->p.unk},
               {"pad_token", w->p.pad}};
    put(w, root, "tokenizer_class", json_string("PreTrainedTokenizerFast"));
    for (size_t i = 0; i < sizeof ids / sizeof *ids; i++)
        if (ids[i].id >= 0) put(w, root, ids[i].key, text_of(w, ids[i].id));
    put(w, root, "add_bos_token", json_boolean(w->p.add_bos));
    put(w, root, "add_eos_token", json_boolean(w->p.add_eos));
    put(w, root, "add_prefix_space", json_false());
    put(w, root, "clean_up_tokenization_spaces", json_false());
    put(w, root, "model_max_length", json_integer(n_ctx));
    if (chat) put(w, root, "chat_template", json_stringn(chat->data, chat->n));
    return root;
}

static json_t *generation_config(writer *w) {
    json_t *root = json_object(), *ends = json_array();
    if (w->p.bos >= 0) put(w, root, "bos_token_id", json_integer(w->p.bos));
    if (w->p.eos >= 0) append(w, ends, json_integer(w->p.eos));
    if (w->p.eot >= 0 && w->p.eot != w->p.eos) append(w, ends, json_integer(w->p.eot));
    if (json_array_size(ends) == 1)
        put(w, root, "eos_token_id", json_integer(w->p.eos >= 0 ? w->p.eos : w->p.eot));
    else if (json_array_size(ends))
        put(w, root, "eos_token_id", json_incref(ends));
    json_decref(ends);
    if (w->p.pad >= 0) put(w, root, "pad_token_id", json_integer(w->p.pad));
    return root;
}

/* Writes `root`, which is freed, as a file of the set. */
static msa_status save(writer *w, json_t *root, const char *folder, const char *name,
                       file_out_set *set) {
    bytes path = {0}, text = {0};
    file_out *file;
    bytes_append_text(&path, folder);
    bytes_append_text(&path, "/");
    bytes_append_text(&path, name);
    bytes_terminate(&path);
    json_file_append(&text, root, JSON_INDENT(2));
    bytes_append_text(&text, "\n");
    json_decref(root);
    msa_status status = w->failed || path.failed || text.failed
                            ? error_set(w->err, MSA_E_NOMEM, "no memory for %s", name)
                            : file_out_set_add(set, &file, path.data, w->err);
    if (status == MSA_OK) {
        file_out_write(file, text.data, text.n);
        status = file_out_finish(file, w->err);
    }
    bytes_free(&path);
    bytes_free(&text);
    return status;
}

msa_status tokenizer_to_json(const tokenizer *t, const vocab_text *chat, int32_t n_ctx,
                             const char *folder, file_out_set *set, msa_error *err) {
    writer w = {.p = tokenizer_get_parts(t), .err = err};
    msa_status status = check_tokens(&w);
    if (!status) status = save(&w, tokenizer_json(&w), folder, "tokenizer.json", set);
    if (!status)
        status = save(&w, tokenizer_config(&w, chat, n_ctx), folder, "tokenizer_config.json", set);
    if (!status) status = save(&w, generation_config(&w), folder, "generation_config.json", set);
    bytes_free(&w.key);
    return status;
}
