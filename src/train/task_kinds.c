/* task_kinds.c: what each task tells and asks, see task.h. */
#include <stdio.h>
#include <string.h>

#include "train/task_build.h"

static int64_t least(int64_t a, int64_t b) {
    return a < b ? a : b;
}

/* ---- recall --------------------------------------------------------------------------------- */

static const char KEY_LETTERS[] = "abcdefghijklmnopqrstuvwxyz0123456789";
enum { N_KEY_LETTERS = sizeof KEY_LETTERS - 1 };

static int key_length(int64_t n_keys) {
    return n_keys <= N_KEY_LETTERS ? 1 : n_keys <= N_KEY_LETTERS * N_KEY_LETTERS ? 2 : 3;
}

/* " kV" in front of the value: a blank and `length` letters that spell `key`. */
static void spell_key(char *out, int32_t key, int length) {
    out[0] = ' ';
    for (int i = length; i > 0; i--, key /= N_KEY_LETTERS)
        out[i] = KEY_LETTERS[key % N_KEY_LETTERS];
    out[length + 1] = 0;
}

static msa_status fill_noise(task_maker *m, int64_t n, draw *d, msa_error *err) {
    static const char NOISE[] = ".,;:-+*/=!";
    msa_status status = MSA_OK;
    for (int64_t i = 0; i < n && status == MSA_OK; i++) {
        char c[2] = {NOISE[draw_below(d, sizeof NOISE - 1)], 0};
        status = task_put_symbols(m, &m->filler, c, false, err);
    }
    return status;
}

msa_status task_make_recall(task_maker *m, const task_size *size, draw *d, msa_error *err) {
    int length = key_length(size->items);
    int64_t n_spellings = N_KEY_LETTERS, room = 0;
    uint64_t salt = draw_next(d); /* a key's value is drawn from it, so that none is stored */
    for (int i = 1; i < length; i++) n_spellings *= N_KEY_LETTERS;
    msa_status status = task_shuffle(m, n_spellings, d, err);
    for (int pass = 0; pass < 2 && status == MSA_OK; pass++) {
        task_tokens *to = pass ? &m->tail : &m->facts;
        int64_t n = pass ? size->questions : size->items;
        bool again = size->questions > size->items; /* any key may be asked more than once */
        for (int64_t i = 0; i < n && status == MSA_OK; i++) {
            char key[8], value[2] = {0, 0};
            int64_t from = pass && again ? 0 : i;
            int64_t asked = from + (pass ? draw_below(d, size->items - from) : 0);
            int32_t k = m->order[asked];
            m->order[asked] = m->order[from], m->order[from] = k;
            spell_key(key, k, length);
            value[0] = (char)('A' + hash_u64(salt + (uint64_t)k) % 26);
            status = task_put_symbols(m, to, key, false, err);
            if (status == MSA_OK) status = task_put_symbols(m, to, value, pass == 1, err);
            if (status == MSA_OK && pass == 0) status = task_end_fact(m, err);
        }
    }
    if (status == MSA_OK) status = task_room(m, "recall", size, &room, err);
    return status == MSA_OK ? fill_noise(m, room, d, err) : status;
}

/* ---- copy ----------------------------------------------------------------------------------- */

enum { CUE = 4 };

/* Whether the cue at `at` occurs nowhere else among the n letters. */
static bool occurs_once(const int32_t *letters, int64_t n, int64_t at) {
    for (int64_t i = 0; i + CUE <= n; i++)
        if (i != at && memcmp(letters + i, letters + at, CUE * sizeof *letters) == 0) return false;
    return true;
}

msa_status task_make_copy(task_maker *m, const task_size *size, draw *d, msa_error *err) {
    int64_t n = size->length - size->questions * (1 + CUE + size->items);
    msa_status status = MSA_OK;
    if (n < CUE + size->items)
        return error_set(err, MSA_E_ARG,
                         "tasks.copy: %lld questions about %lld letters leave %lld tokens of a "
                         "sample's %lld for what is copied; expected fewer of them, or a larger "
                         "length (or start_length)",
                         (long long)size->questions, (long long)size->items, (long long)n,
                         (long long)size->length);
    for (int64_t i = 0; i < n && status == MSA_OK; i++) {
        char c[2] = {(char)('a' + draw_below(d, 26)), 0};
        status = task_put_symbols(m, &m->filler, c, false, err);
    }
    for (int64_t q = 0; q < size->questions && status == MSA_OK; q++) {
        const int32_t *letters = m->filler.ids.ids;
        int64_t at = 0;
        for (int attempt = 0; attempt < 64; attempt++) {
            at = draw_below(d, n - CUE - size->items + 1);
            if (occurs_once(letters, n, at)) break;
        }
        status = task_put_symbols(m, &m->tail, "?", false, err);
        if (status == MSA_OK) status = task_put_ids(&m->tail, letters + at, CUE, false, err);
        if (status == MSA_OK)
            status = task_put_ids(&m->tail, letters + at + CUE, size->items, true, err);
    }
    return status;
}

/* ---- passkey -------------------------------------------------------------------------------- */

/* n digits, the first not 0. */
static void draw_digits(draw *d, int64_t n, char *out) {
    for (int64_t i = 0; i < n; i++)
        out[i] = (char)('0' + (i ? draw_below(d, 10) : 1 + draw_below(d, 9)));
    out[n] = 0;
}

static msa_status fill_sentences(task_maker *m, int64_t n, msa_error *err) {
    msa_status status = MSA_OK;
    while ((int64_t)m->filler.ids.n < n && status == MSA_OK)
        status = task_put_text(m, &m->filler,
                               "The grass is green. The sky is blue. The sun is yellow. Here we "
                               "go. There and back again.\n",
                               false, err);
    m->filler.ids.n = (size_t)n;
    return status;
}

msa_status task_make_passkey(task_maker *m, const task_size *size, draw *d, msa_error *err) {
    char key[32], text[160];
    int64_t room = 0;
    draw_digits(d, size->items, key + 1);
    key[0] = ' ';
    snprintf(text, sizeof text, "The pass key is%s. Remember it.%s is the pass key.\n", key, key);
    msa_status status = task_put_text(m, &m->facts, text, false, err);
    if (status == MSA_OK) status = task_end_fact(m, err);
    if (status == MSA_OK)
        status = task_put_text(m, &m->tail, "\nWhat is the pass key? The pass key is", false, err);
    if (status == MSA_OK) status = task_put_text(m, &m->tail, key, true, err);
    if (status == MSA_OK) status = task_room(m, "passkey", size, &room, err);
    return status == MSA_OK ? fill_sentences(m, room, err) : status;
}

/* ---- needle --------------------------------------------------------------------------------- */

enum { N_SYLLABLES = 75 };

/* "Kedori" for a number below 75^2; the last syllable follows from the others. */
static void spell_name(char *out, int32_t number) {
    static const char CONSONANTS[] = "bdfghklmnprstvz", VOWELS[] = "aeiou";
    int32_t syllables[3] = {number / N_SYLLABLES, number % N_SYLLABLES, 0};
    syllables[2] = (int32_t)(hash_u64((uint64_t)number) % N_SYLLABLES);
    for (int i = 0; i < 3; i++) {
        out[2 * i] = CONSONANTS[syllables[i] / 5];
        out[2 * i + 1] = VOWELS[syllables[i] % 5];
    }
    out[0] = (char)(out[0] - 'a' + 'A');
    out[6] = 0;
}

static void spell_code(char *out, uint64_t salt, int32_t name) {
    uint64_t x = hash_u64(salt + (uint64_t)name);
    snprintf(out, 8, " %d", 1000 + (int)(x % 9000));
}

static msa_status tell_needles(task_maker *m, const task_size *size, uint64_t salt,
                               msa_error *err) {
    msa_status status = MSA_OK;
    for (int64_t i = 0; i < size->items && status == MSA_OK; i++) {
        char name[8], code[8], text[64];
        spell_name(name, m->order[i]);
        spell_code(code, salt, m->order[i]);
        snprintf(text, sizeof text, "\nThe code of %s is%s.\n", name, code);
        status = task_put_text(m, &m->facts, text, false, err);
        if (status == MSA_OK) status = task_end_fact(m, err);
    }
    return status;
}

static msa_status ask_needles(task_maker *m, const task_size *size, uint64_t salt, draw *d,
                              msa_error *err) {
    msa_status status = MSA_OK;
    int64_t n = least(size->questions, size->items);
    for (int64_t i = 0; i < n && status == MSA_OK; i++) {
        char name[8], code[8], text[64];
        int64_t asked = i + draw_below(d, size->items - i);
        int32_t k = m->order[asked];
        m->order[asked] = m->order[i], m->order[i] = k;
        spell_name(name, k);
        spell_code(code, salt, k);
        snprintf(text, sizeof text, "%sThe code of %s is", i ? ".\n" : "\n", name);
        status = task_put_text(m, &m->tail, text, false, err);
        if (status == MSA_OK) status = task_put_text(m, &m->tail, code, true, err);
    }
    return status;
}

static msa_status fill_text(task_maker *m, int64_t n, draw *d, msa_error *err) {
    msa_status status = MSA_OK;
    while ((int64_t)m->filler.ids.n < n && status == MSA_OK) {
        const int32_t *ids;
        int64_t part = n - (int64_t)m->filler.ids.n;
        part = corpus_stretch(m->text, draw_next(d), part, &ids);
        status = task_put_ids(&m->filler, ids, part, false, err);
    }
    return status;
}

msa_status task_make_needle(task_maker *m, const task_size *size, draw *d, msa_error *err) {
    int64_t room = 0;
    uint64_t salt = draw_next(d);
    if (!m->text)
        return error_set(err, MSA_E_ARG, "tasks.needle: expected data.text to hide facts in");
    msa_status status = task_shuffle(m, N_SYLLABLES * N_SYLLABLES, d, err);
    if (status == MSA_OK) status = tell_needles(m, size, salt, err);
    if (status == MSA_OK) status = ask_needles(m, size, salt, d, err);
    if (status == MSA_OK) status = task_room(m, "needle", size, &room, err);
    return status == MSA_OK ? fill_text(m, room, d, err) : status;
}
