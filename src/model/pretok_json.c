/* pretok_json.c: see pretok_json.h. */
#include "model/pretok_json.h"

#include <string.h>

#include "base/utf8.h"

#define SPLIT_LLAMA3(digits)                                                                       \
    "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|" digits                           \
    "| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"
#define O200K_START "[^\\r\\n\\p{L}\\p{N}]?"
#define O200K_UPPER "[\\p{Lu}\\p{Lt}\\p{Lm}\\p{Lo}\\p{M}]"
#define O200K_LOWER "[\\p{Ll}\\p{Lm}\\p{Lo}\\p{M}]"
#define O200K_END   "(?i:'s|'t|'re|'ve|'m|'ll|'d)?"
#define SPLIT_O200K                                                                                \
    O200K_START O200K_UPPER                                                                        \
        "*" O200K_LOWER "+" O200K_END "|" O200K_START O200K_UPPER "+" O200K_LOWER "*" O200K_END    \
        "|\\p{N}{1,3}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n/]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"

/* digits: each alone, before the pattern of ByteLevel. split: instead of that pattern. */
static const struct form {
    const char *name;
    bool digits;
    const char *split;
} FORMS[] = {
    {"gpt-2", false, NULL},
    {"smollm", true, NULL},
    {"llama-bpe", false, SPLIT_LLAMA3("\\p{N}{1,3}")},
    {"qwen2", false, SPLIT_LLAMA3("\\p{N}")},
    {"gpt-4o", false, SPLIT_O200K},
};
enum { N_FORMS = sizeof FORMS / sizeof *FORMS };

json_t *pretok_json_create(const char *name) {
    const struct form *form = NULL;
    for (int i = 0; i < N_FORMS; i++)
        if (strcmp(name, FORMS[i].name) == 0) form = &FORMS[i];
    if (strcmp(name, "llama3") == 0 || strcmp(name, "llama-v3") == 0) form = &FORMS[2];
    if (strcmp(name, "minimax-m2") == 0) form = &FORMS[4];
    if (!form) return NULL;
    json_t *bytes = json_pack("{s:s, s:b, s:b, s:b}", "type", "ByteLevel", "add_prefix_space", 0,
                              "trim_offsets", 1, "use_regex", form->split == NULL);
    if (form->digits)
        return json_pack("{s:s, s:[{s:s, s:b}, o]}", "type", "Sequence", "pretokenizers", "type",
                         "Digits", "individual_digits", 1, bytes);
    if (form->split)
        return json_pack("{s:s, s:[{s:s, s:{s:s}, s:s, s:b}, o]}", "type", "Sequence",
                         "pretokenizers", "type", "Split", "pattern", "Regex", form->split,
                         "behavior", "Isolated", "invert", 0, bytes);
    return bytes;
}

static bool is_text(const json_t *object, const char *key, const char *text) {
    const char *value = json_string_value(json_object_get(object, key));
    return value && strcmp(value, text) == 0;
}

/* A switch, or what it is where it is left out. */
static bool is_on(const json_t *object, const char *key, bool otherwise) {
    const json_t *value = json_object_get(object, key);
    return value ? json_is_true(value) : otherwise;
}

/* The pieces of the settings: NULL where there is none of the kind. */
typedef struct steps {
    const json_t *digits, *split, *bytes;
    bool others;
} steps;

static void sort_step(const json_t *step, steps *s) {
    const json_t **place = is_text(step, "type", "Digits")      ? &s->digits
                           : is_text(step, "type", "Split")     ? &s->split
                           : is_text(step, "type", "ByteLevel") ? &s->bytes
                                                                : NULL;
    if (!place || *place || (place != &s->bytes && s->bytes))
        s->others = true;
    else
        *place = step;
}

msa_status pretok_json_find(const json_t *pre_tokenizer, const char **name, msa_error *err) {
    steps s = {0};
    const json_t *list = json_object_get(pre_tokenizer, "pretokenizers"), *step;
    size_t i;
    if (!is_text(pre_tokenizer, "type", "Sequence"))
        sort_step(pre_tokenizer, &s);
    else
        json_array_foreach((json_t *)list, i, step) sort_step(step, &s);
    bool plain = s.bytes && !s.others && !is_on(s.bytes, "add_prefix_space", true);
    bool pattern = is_on(s.bytes, "use_regex", true);
    const json_t *regex = json_object_get(json_object_get(s.split, "pattern"), "Regex");
    for (i = 0; plain && i < N_FORMS; i++) {
        const struct form *f = &FORMS[i];
        bool split = f->split ? s.split && json_is_string(regex) &&
                                    strcmp(json_string_value(regex), f->split) == 0 &&
                                    is_text(s.split, "behavior", "Isolated") &&
                                    !is_on(s.split, "invert", false) && !pattern
                              : !s.split && pattern;
        bool digits = f->digits ? is_on(s.digits, "individual_digits", false) : !s.digits;
        if (!split || !digits) continue;
        *name = f->name;
        return MSA_OK;
    }
    char quoted[160] = "";
    if (json_is_string(regex))
        utf8_quote(quoted, sizeof quoted, json_string_value(regex), json_string_length(regex));
    return error_set(
        err, MSA_E_UNSUPPORTED,
        "\"pre_tokenizer\" has settings this version does not know%s%s; known are "
        "byte-level ones with the patterns of GPT-2, SmolLM, Llama 3, Qwen2 and GPT-4o",
        quoted[0] ? ", pattern " : "", quoted);
}
