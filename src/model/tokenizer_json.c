/* tokenizer_json.c: a tokenizer from the contents of its JSON files. See tokenizer_json.h. */
#include "model/tokenizer_json.h"

#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "base/utf8.h"
#include "model/pretok_json.h"

typedef struct reader {
    const json_t *root, *settings, *config, *generation;
    size_t n; /* tokens */
    vocab_text *tokens, *merges;
    int32_t *types; /* 0: no token has this id yet */
    bytes fillers, joined;
    tokenizer_params p;
    msa_error *err;
} reader;

static msa_status no_memory(const reader *r) {
    return error_set(r->err, MSA_E_NOMEM, "no memory for a vocabulary of %zu tokens", r->n);
}

static vocab_text text_of(const json_t *value) {
    return (vocab_text){json_string_value(value), json_string_length(value)};
}

/* A text as it may stand in a message. */
typedef struct quoted {
    char text[100];
} quoted;
static quoted quote(const json_t *value) {
    quoted q = {"?"};
    if (json_is_string(value))
        utf8_quote(q.text, sizeof q.text, json_string_value(value), json_string_length(value));
    return q;
}

static bool is_off(const json_t *object, const char *key) {
    const json_t *value = json_object_get(object, key);
    return !value || json_is_null(value) || json_is_false(value) ||
           (json_is_string(value) && json_string_length(value) == 0);
}

/* ---- tokens ---- */

static msa_status set_token(reader *r, const json_t *text, const json_t *id, int32_t type) {
    json_int_t at = json_integer_value(id);
    if (!json_is_integer(id) || at < 0 || (uint64_t)at >= r->n)
        return error_set(r->err, MSA_E_FORMAT,
                         "token '%s' has id %lld; the model's embedding has rows 0 to %zu",
                         quote(text).text, json_is_integer(id) ? (long long)at : -1LL, r->n - 1);
    bool again = r->types[at] != 0;
    if (again && (r->tokens[at].n != json_string_length(text) ||
                  memcmp(r->tokens[at].data, json_string_value(text), r->tokens[at].n) != 0))
        return error_set(r->err, MSA_E_FORMAT, "token '%s' has id %lld, as another token has",
                         quote(text).text, (long long)at);
    r->tokens[at] = text_of(text);
    r->types[at] = type;
    return MSA_OK;
}

static msa_status read_vocabulary(reader *r, const json_t *model) {
    const json_t *vocabulary = json_object_get(model, "vocab");
    const char *text;
    json_t *id;
    if (!json_is_object(vocabulary))
        return error_set(r->err, MSA_E_FORMAT, "\"model\" has no \"vocab\" of tokens and ids");
    json_object_foreach((json_t *)vocabulary, text, id) {
        /* The key itself, not a copy: it lives as long as the object. */
        json_int_t at = json_integer_value(id);
        char quoted_text[100];
        if (!json_is_integer(id) || at < 0 || (uint64_t)at >= r->n || r->types[at])
            return error_set(r->err, MSA_E_FORMAT, "token '%s' has id %lld, %s",
                             utf8_quote(quoted_text, sizeof quoted_text, text, strlen(text)),
                             json_is_integer(id) ? (long long)at : -1LL,
                             json_is_integer(id) && at >= 0 && (uint64_t)at < r->n
                                 ? "as another token has"
                                 : "beyond the rows of the model's embedding");
        r->tokens[at] = (vocab_text){text, strlen(text)};
        r->types[at] = VOCAB_NORMAL;
    }
    return MSA_OK;
}

static msa_status read_added(reader *r) {
    const json_t *added = json_object_get(r->root, "added_tokens"), *entry;
    size_t i;
    if (added && !json_is_array(added))
        return error_set(r->err, MSA_E_FORMAT, "\"added_tokens\" is no list");
    json_array_foreach((json_t *)added, i, entry) {
        static const char *const strips[] = {"lstrip", "rstrip", "single_word"};
        const json_t *text = json_object_get(entry, "content");
        if (!json_is_string(text))
            return error_set(r->err, MSA_E_FORMAT, "added token %zu has no \"content\"", i);
        for (int s = 0; s < 3; s++)
            if (!is_off(entry, strips[s]))
                return error_set(r->err, MSA_E_UNSUPPORTED,
                                 "added token '%s' has \"%s\" on; supported is off",
                                 quote(text).text, strips[s]);
        bool special = json_is_true(json_object_get(entry, "special"));
        msa_status status = set_token(r, text, json_object_get(entry, "id"),
                                      special ? VOCAB_CONTROL : VOCAB_USER_DEFINED);
        if (status != MSA_OK) return status;
    }
    return MSA_OK;
}

enum { FILLER = 32 };

/* Names for the ids that no token has, as other converters make them. */
static msa_status fill_gaps(reader *r) {
    size_t n_gaps = 0;
    for (size_t i = 0; i < r->n; i++) n_gaps += r->types[i] == 0;
    char(*names)[FILLER] = mem_alloc(n_gaps, sizeof *names);
    r->fillers.data = (char *)names;
    if (!names) return no_memory(r);
    for (size_t i = 0; i < r->n; i++) {
        if (r->types[i]) continue;
        snprintf(*names, FILLER, "[PAD%zu]", i);
        r->tokens[i] = (vocab_text){*names, strlen(*names)};
        r->types[i] = VOCAB_UNUSED;
        names++;
    }
    return MSA_OK;
}

/* ---- merges: "a b", or ["a", "b"] ---- */

static msa_status read_merges(reader *r, const json_t *model) {
    const json_t *list = json_object_get(model, "merges"), *merge;
    size_t i, n = json_array_size(list);
    if (!json_is_array(list)) return error_set(r->err, MSA_E_FORMAT, "\"model\" has no \"merges\"");
    r->merges = mem_alloc(n, sizeof *r->merges);
    if (!r->merges) return no_memory(r);
    json_array_foreach((json_t *)list, i, merge) {
        const json_t *left = json_array_get(merge, 0), *right = json_array_get(merge, 1);
        bool pair = json_array_size(merge) == 2 && json_is_string(left) && json_is_string(right);
        if (!pair && !json_is_string(merge))
            return error_set(r->err, MSA_E_FORMAT,
                             "merge %zu is neither \"left right\" nor [\"left\", \"right\"]", i);
        r->merges[i] = text_of(merge);
        if (!pair) continue;
        r->merges[i].n = json_string_length(left) + 1 + json_string_length(right);
        bytes_append(&r->joined, json_string_value(left), json_string_length(left));
        bytes_append(&r->joined, " ", 1);
        bytes_append(&r->joined, json_string_value(right), json_string_length(right));
    }
    if (r->joined.failed) return no_memory(r);
    const char *at = r->joined.data;
    json_array_foreach((json_t *)list, i, merge) {
        if (json_is_string(merge)) continue;
        r->merges[i].data = at;
        at += r->merges[i].n;
    }
    r->p.n_merges = n;
    return MSA_OK;
}

static msa_status read_model(reader *r, const json_t *model) {
    static const char *const off[] = {"dropout", "continuing_subword_prefix", "end_of_word_suffix",
                                      "byte_fallback"};
    const json_t *type = json_object_get(model, "type");
    if (!json_is_object(model)) return error_set(r->err, MSA_E_FORMAT, "there is no \"model\"");
    if (type && (!json_is_string(type) || strcmp(json_string_value(type), "BPE") != 0))
        return error_set(r->err, MSA_E_UNSUPPORTED,
                         "\"model\" has type '%s'; supported is BPE over bytes", quote(type).text);
    for (size_t i = 0; i < sizeof off / sizeof *off; i++)
        if (!is_off(model, off[i]))
            return error_set(r->err, MSA_E_UNSUPPORTED, "\"model\" has \"%s\" on; supported is off",
                             off[i]);
    const json_t *normalizer = json_object_get(r->root, "normalizer");
    const json_t *form = json_object_get(normalizer, "type");
    if (!is_off(r->root, "normalizer") &&
        (!json_is_string(form) || strcmp(json_string_value(form), "NFC") != 0))
        return error_set(r->err, MSA_E_UNSUPPORTED,
                         "\"normalizer\" has type '%s'; supported are none and NFC",
                         quote(form).text);
    r->p.nfc = json_is_string(form);
    const json_t *ignore = json_object_get(model, "ignore_merges");
    if (ignore && !json_is_boolean(ignore) && !json_is_null(ignore))
        return error_set(r->err, MSA_E_FORMAT, "\"ignore_merges\" is neither true nor false");
    r->p.ignore_merges = json_is_true(ignore);
    return MSA_OK;
}

/* ---- the tokens that frame a text ---- */

/* The id of a text, by bytes: there are few to look up. -1 where no token has it. */
static int32_t find_id(const reader *r, const json_t *text) {
    vocab_text wanted = text_of(text);
    for (size_t i = 0; wanted.data && i < r->n; i++)
        if (r->tokens[i].n == wanted.n && memcmp(r->tokens[i].data, wanted.data, wanted.n) == 0)
            return (int32_t)i;
    return -1;
}

/* A token of tokenizer_config.json, by text or as an object; else by id in config.json. */
static msa_status read_special(const reader *r, const char *name, int32_t *out) {
    char key[32];
    const json_t *value = json_object_get(r->settings, name);
    if (json_is_object(value)) value = json_object_get(value, "content");
    *out = -1;
    if (json_is_string(value)) {
        *out = find_id(r, value);
        if (*out >= 0) return MSA_OK;
        return error_set(r->err, MSA_E_FORMAT,
                         "\"%s\" of tokenizer_config.json is '%s', which is no token", name,
                         quote(value).text);
    }
    snprintf(key, sizeof key, "%s_id", name);
    value = json_object_get(r->config, key);
    if (!value) value = json_object_get(json_object_get(r->config, "text_config"), key);
    if (json_is_array(value)) value = json_array_get(value, 0);
    if (!json_is_integer(value)) return MSA_OK;
    json_int_t id = json_integer_value(value);
    if (id < 0 || (uint64_t)id >= r->n)
        return error_set(r->err, MSA_E_FORMAT,
                         "\"%s\" of config.json is %lld; the embedding has rows 0 to %zu", key,
                         (long long)id, r->n - 1);
    *out = (int32_t)id;
    return MSA_OK;
}

/* A step of the post-processor: of those that add tokens, the template with bos before a text and
 * eos behind it. */
static msa_status read_step(reader *r, const json_t *step) {
    static const char *const known[] = {"ByteLevel", "TemplateProcessing", "Sequence"};
    const json_t *type = json_object_get(step, "type"), *piece;
    const char *name = json_string_value(type);
    size_t i;
    bool found = false, seen = false;
    for (i = 0; name && i < sizeof known / sizeof *known; i++) found |= strcmp(name, known[i]) == 0;
    if (!found)
        return error_set(r->err, MSA_E_UNSUPPORTED,
                         "\"post_processor\" has type '%s'; supported are ByteLevel, "
                         "TemplateProcessing and sequences of them",
                         quote(type).text);
    json_array_foreach(json_object_get(step, "single"), i, piece) {
        const json_t *id = json_object_get(json_object_get(piece, "SpecialToken"), "id");
        if (json_object_get(piece, "Sequence")) seen = true;
        if (!json_object_get(piece, "SpecialToken")) continue;
        int32_t at = find_id(r, id), expected = seen ? r->p.eos : r->p.bos;
        if (at < 0 || at != expected)
            return error_set(r->err, MSA_E_UNSUPPORTED,
                             "\"post_processor\" puts token '%s' %s a text; supported is \"%s\" "
                             "of tokenizer_config.json",
                             quote(id).text, seen ? "behind" : "before",
                             seen ? "eos_token" : "bos_token");
        if (seen)
            r->p.add_eos = 1;
        else
            r->p.add_bos = 1;
    }
    return MSA_OK;
}

/* Which tokens frame a text. */
static msa_status read_frame(reader *r) {
    const json_t *processor = json_object_get(r->root, "post_processor"), *step;
    size_t i;
    r->p.add_bos = r->p.add_eos = 0;
    if (is_off(r->root, "post_processor")) return MSA_OK;
    msa_status status = read_step(r, processor);
    json_array_foreach(json_object_get(processor, "processors"), i, step) {
        if (!status) status = read_step(r, step);
    }
    return status;
}

/* Of the tokens that generation_config.json says end an answer, the first besides eos. */
static msa_status read_eot(reader *r) {
    const json_t *ends = json_object_get(r->generation, "eos_token_id"), *end;
    size_t i;
    r->p.eot = -1;
    json_array_foreach(ends, i, end) {
        json_int_t id = json_integer_value(end);
        if (!json_is_integer(end) || id < 0 || (uint64_t)id >= r->n)
            return error_set(r->err, MSA_E_FORMAT,
                             "\"eos_token_id\" of generation_config.json has %lld at %zu; the "
                             "embedding has rows 0 to %zu",
                             json_is_integer(end) ? (long long)id : -1LL, i, r->n - 1);
        if (r->p.eot < 0 && id != r->p.eos) r->p.eot = (int32_t)id;
    }
    return MSA_OK;
}

static msa_status read_specials(reader *r) {
    msa_status status = read_special(r, "bos_token", &r->p.bos);
    if (!status) status = read_special(r, "eos_token", &r->p.eos);
    if (!status) status = read_special(r, "unk_token", &r->p.unk);
    if (!status) status = read_special(r, "pad_token", &r->p.pad);
    if (!status) status = read_eot(r);
    return status ? status : read_frame(r);
}

/* ---- all of it ---- */

static msa_status parse(reader *r, tokenizer **t) {
    const json_t *model = json_object_get(r->root, "model");
    const char *pre = NULL;
    msa_status status = read_model(r, model);
    if (!status) status = pretok_json_find(json_object_get(r->root, "pre_tokenizer"), &pre, r->err);
    if (status != MSA_OK) return status;
    r->tokens = mem_calloc(r->n, sizeof *r->tokens);
    r->types = mem_calloc(r->n, sizeof *r->types);
    if (!r->tokens || !r->types) return no_memory(r);
    status = read_vocabulary(r, model);
    if (!status) status = read_added(r);
    if (!status) status = read_specials(r);
    if (!status) status = fill_gaps(r);
    if (!status) status = read_merges(r, model);
    if (status != MSA_OK) return status;
    r->p.tokens = r->tokens;
    r->p.types = r->types;
    r->p.n_tokens = r->n;
    r->p.merges = r->merges;
    r->p.pre = (vocab_text){pre, strlen(pre)};
    return tokenizer_create(t, &r->p, r->err);
}

msa_status tokenizer_parse_json(tokenizer **t, const tokenizer_jsons *from, int32_t n_vocab,
                                msa_error *err) {
    const json_t *root = from->tokenizer;
    *t = NULL;
    reader r = {.root = root,
                .settings = from->settings,
                .config = from->config,
                .generation = from->generation,
                .n = (size_t)n_vocab,
                .err = err};
    /* More ids than tokens are listed would be names made up by the million. */
    size_t n_listed = json_object_size(json_object_get(json_object_get(root, "model"), "vocab")) +
                      json_array_size(json_object_get(root, "added_tokens"));
    if (n_vocab < 1 || n_listed == 0 || (size_t)n_vocab > 2 * n_listed + 65536)
        return error_set(err, MSA_E_FORMAT,
                         "the files list %zu tokens; the model's embedding has %d rows", n_listed,
                         n_vocab);
    msa_status status = parse(&r, t);
    mem_free(r.tokens);
    mem_free(r.types);
    mem_free(r.merges);
    bytes_free(&r.fillers);
    bytes_free(&r.joined);
    return status;
}
