/* pretok.c: see pretok.h.
 *
 * The patterns are those the models were trained with, with three changes that change no word:
 * \s is spelt out, because PCRE2 counts U+180E as space and Unicode no longer does; every pattern
 * ends in a branch for lone spaces, so that the words cover the text; and SmolLM's two steps (each
 * digit alone, then GPT-2's pattern on what lies between) are one: spaces before a digit end a
 * piece there, so the look-ahead for "no more text" also accepts a digit.
 * Which characters are letters and digits is decided by the Unicode version of PCRE2. */
#include "model/pretok.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>
#include <string.h>

#include "base/mem.h"
#include "base/utf8.h"

/* White_Space of Unicode, inside a character class. */
#define SPACE                                                                                      \
    "\\x{9}-\\x{d}\\x{20}\\x{85}\\x{a0}\\x{1680}\\x{2000}-\\x{200a}\\x{2028}\\x{2029}\\x{202f}"    \
    "\\x{205f}\\x{3000}"

#define ENGLISH_ENDINGS "'s|'t|'re|'ve|'m|'ll|'d"

static const char gpt2[] = ENGLISH_ENDINGS "| ?\\p{L}+| ?\\p{N}+| ?[^" SPACE "\\p{L}\\p{N}]+"
                                           "|[" SPACE "]+(?![^" SPACE "])|[" SPACE "]+";
static const char smollm[] = ENGLISH_ENDINGS "| ?\\p{L}+|\\p{N}| ?[^" SPACE "\\p{L}\\p{N}]+"
                                             "|[" SPACE "]+(?![^" SPACE "\\p{N}])|[" SPACE "]+";
#define LLAMA3_WITH(digits)                                                                        \
    "(?i:" ENGLISH_ENDINGS ")|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|" digits "| ?[^" SPACE                 \
    "\\p{L}\\p{N}]+[\\r\\n]*|[" SPACE "]*[\\r\\n]+|[" SPACE "]+(?![^" SPACE "])|[" SPACE "]+"
static const char llama3[] = LLAMA3_WITH("\\p{N}{1,3}");
static const char qwen2[] = LLAMA3_WITH("\\p{N}");
/* GPT-4o's: a word begins at a capital, and keeps its English ending. Marks go with letters. */
#define O200K_START "[^\\r\\n\\p{L}\\p{N}]?"
#define O200K_UPPER "[\\p{Lu}\\p{Lt}\\p{Lm}\\p{Lo}\\p{M}]"
#define O200K_LOWER "[\\p{Ll}\\p{Lm}\\p{Lo}\\p{M}]"
#define O200K_END   "(?i:" ENGLISH_ENDINGS ")?"
static const char o200k[] = O200K_START O200K_UPPER
    "*" O200K_LOWER "+" O200K_END "|" O200K_START O200K_UPPER "+" O200K_LOWER "*" O200K_END
    "|\\p{N}{1,3}| ?[^" SPACE "\\p{L}\\p{N}]+[\\r\\n/]*|[" SPACE "]*[\\r\\n]+|[" SPACE
    "]+(?![^" SPACE "])|[" SPACE "]+";

static const struct family {
    const char *name, *pattern;
    bool ignores_merges, adds_bos;
} families[] = {
    {"smollm", smollm, false, false},  {"gpt-2", gpt2, false, false},
    {"llama-bpe", llama3, true, true}, {"llama3", llama3, true, true},
    {"llama-v3", llama3, true, true},  {"qwen2", qwen2, false, false},
    {"gpt-4o", o200k, false, false},   {"minimax-m2", o200k, false, false},
};

struct pretok {
    const struct family *family;
    pcre2_general_context *memory;
    pcre2_code *code;
};

static void *pcre_alloc(size_t n, void *user) {
    (void)user;
    return mem_alloc(n, 1);
}

static void pcre_free(void *p, void *user) {
    (void)user;
    mem_free(p);
}

static const struct family *find_family(const char *name, size_t n) {
    for (size_t i = 0; i < sizeof families / sizeof *families; i++)
        if (strlen(families[i].name) == n && memcmp(families[i].name, name, n) == 0)
            return &families[i];
    return NULL;
}

msa_status pretok_create(pretok **out, const char *name, size_t name_length, msa_error *err) {
    *out = NULL;
    const struct family *family = find_family(name, name_length);
    if (!family) {
        char quoted[80];
        return error_set(err, MSA_E_UNSUPPORTED,
                         "the pre-tokeniser '%s' is not known; known are smollm, gpt-2, llama-bpe "
                         "(llama3, llama-v3), qwen2, gpt-4o and minimax-m2",
                         utf8_quote(quoted, sizeof quoted, name, name_length));
    }
    pretok *p = mem_calloc(1, sizeof *p);
    if (!p) return error_set(err, MSA_E_NOMEM, "no memory for the pre-tokeniser");
    p->family = family;
    p->memory = pcre2_general_context_create(pcre_alloc, pcre_free, NULL);
    int code = 0;
    PCRE2_SIZE where = 0;
    if (p->memory) {
        pcre2_compile_context *context = pcre2_compile_context_create(p->memory);
        if (context)
            p->code = pcre2_compile((PCRE2_SPTR)family->pattern, PCRE2_ZERO_TERMINATED,
                                    PCRE2_UTF | PCRE2_ANCHORED, &code, &where, context);
        pcre2_compile_context_free(context);
    }
    if (!p->code) {
        pretok_free(p);
        if (code == 0 || code == PCRE2_ERROR_HEAP_FAILED || code == PCRE2_ERROR_NOMEMORY)
            return error_set(err, MSA_E_NOMEM, "no memory for the pre-tokeniser");
        return error_set(err, MSA_E_UNSUPPORTED,
                         "this PCRE2 cannot compile the pre-tokeniser's pattern (error %d at %zu); "
                         "it must be built with Unicode support",
                         code, (size_t)where);
    }
    /* Where there is no JIT, or the system forbids it, the interpreter gives the same words. */
    (void)pcre2_jit_compile(p->code, PCRE2_JIT_COMPLETE);
    *out = p;
    return MSA_OK;
}

void pretok_free(pretok *p) {
    if (!p) return;
    pcre2_code_free(p->code);
    pcre2_general_context_free(p->memory);
    mem_free(p);
}

const char *pretok_name(const pretok *p) {
    return p->family->name;
}

bool pretok_ignores_merges(const pretok *p) {
    return p->family->ignores_merges;
}

bool pretok_adds_bos(const pretok *p) {
    return p->family->adds_bos;
}

msa_status pretok_walk_begin(pretok_walk *w, const pretok *p, msa_error *err) {
    *w = (pretok_walk){.pretok = p};
    w->match = pcre2_match_data_create(1, p->memory);
    w->limits = pcre2_match_context_create(p->memory);
    if (w->match && w->limits) return MSA_OK;
    pretok_walk_end(w);
    return error_set(err, MSA_E_NOMEM, "no memory for the pre-tokeniser");
}

void pretok_walk_text(pretok_walk *w, const char *text, size_t n) {
    w->text = text;
    w->n = n;
    w->at = w->run_start = w->run_end = 0;
}

void pretok_walk_end(pretok_walk *w) {
    pcre2_match_data_free(w->match);
    pcre2_match_context_free(w->limits);
    *w = (pretok_walk){0};
}

/* Enters the run of valid UTF-8 at w->at. Returns the length of the run of other bytes there, which
 * is 0 when there is a valid run. */
static size_t enter_run(pretok_walk *w) {
    size_t valid = utf8_valid_prefix(w->text + w->at, w->n - w->at);
    if (valid == 0) {
        size_t end = w->at + 1;
        while (end < w->n && utf8_decode(w->text + end, w->n - end, NULL) == 0) end++;
        w->run_start = w->run_end = end;
        return end - w->at;
    }
    w->run_start = w->at;
    w->run_end = w->at + valid;
    /* No pattern steps over a character more than a few times, so a linear limit is never met by an
     * honest text, and one that runs away is an error instead of a hang. */
    uint64_t limit = 1000000 + 32 * (uint64_t)valid;
    pcre2_set_match_limit(w->limits, limit > UINT32_MAX ? UINT32_MAX : (uint32_t)limit);
    return 0;
}

msa_status pretok_walk_next(pretok_walk *w, size_t *start, size_t *length, msa_error *err) {
    *start = w->at;
    *length = 0;
    if (w->at == w->n) return MSA_OK;
    if (w->at == w->run_end && (*length = enter_run(w)) > 0) {
        w->at += *length;
        return MSA_OK;
    }
    int code = pcre2_match(w->pretok->code, (PCRE2_SPTR)(w->text + w->run_start),
                           w->run_end - w->run_start, w->at - w->run_start, PCRE2_NO_UTF_CHECK,
                           w->match, w->limits);
    PCRE2_SIZE *ends = pcre2_get_ovector_pointer(w->match);
    if (code <= 0 || ends[1] <= ends[0]) {
        if (code == PCRE2_ERROR_NOMEMORY || code == PCRE2_ERROR_HEAPLIMIT)
            return error_set(err, MSA_E_NOMEM, "no memory to cut the text into words at byte %zu",
                             w->at);
        return error_set(err, MSA_E_UNSUPPORTED,
                         "the text could not be cut into words at byte %zu: PCRE2 gave up (%d)",
                         w->at, code);
    }
    *length = ends[1] - ends[0];
    w->at += *length;
    return MSA_OK;
}
