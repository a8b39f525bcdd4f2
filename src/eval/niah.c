/* niah.c: RULER's needles in a haystack: facts hidden in noise, in a text, or among facts like
 * them, and asked for behind it.
 *
 * Keys and values are numbered, needles first, the haystack's behind them, and spelt by a random
 * order of all spellings: none occurs twice. Sentences are RULER's (Apache-2.0, see NOTICE). */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "eval/order.h"
#include "eval/quiz.h"
#include "eval/words.h"

enum { SPELLING = 40, FIRST_NUMBER = 1000000, N_NUMBERS = 9000000, N_DEPTHS = 40 };

typedef struct hiding {
    const quiz *quiz;
    const quiz_case *at;
    uint64_t keys, values, places; /* orders */
    int32_t shuffled[NIAH_MOST];   /* needles by place */
    int n_needles;
    prompt *p;
} hiding;

/* ---- spelling -------------------------------------------------------------------------------- */

static void spell_uuid(uint64_t order, uint64_t i, char out[SPELLING]) {
    uint64_t a = hash_u64(order + 2 * i), b = hash_u64(order ^ (2 * i + 1));
    snprintf(out, SPELLING, "%08x-%04x-4%03x-%04x-%012llx", (unsigned)(a >> 32),
             (unsigned)(a >> 16 & 0xffff), (unsigned)(a & 0xfff),
             (unsigned)(0x8000 | (b >> 48 & 0x3fff)), (unsigned long long)(b & 0xffffffffffff));
}

static void spell(niah_kind kind, uint64_t order, int64_t i, char out[SPELLING]) {
    uint64_t at = (uint64_t)i;
    switch (kind) {
    case NIAH_WORDS: words_pair(order_at(order, words_n_pairs(), at), out); return;
    case NIAH_NUMBERS:
        snprintf(out, SPELLING, "%d", FIRST_NUMBER + (int)order_at(order, N_NUMBERS, at));
        return;
    case NIAH_UUIDS: spell_uuid(order, at, out); return;
    }
}

static const char *type_name(niah_kind kind) {
    static const char *const NAMES[] = {"words", "numbers", "uuids"};
    return NAMES[kind];
}

static void put_fact(const hiding *h, int64_t key, int64_t value) {
    char k[SPELLING], v[SPELLING];
    spell(h->quiz->niah.key, h->keys, key, k);
    spell(h->quiz->niah.value, h->values, value, v);
    put(&h->p->input, "One of the special magic %s for %s is: %s.", type_name(h->quiz->niah.value),
        k, v);
}

/* The needle at the i-th place. */
static void put_needle(const hiding *h, int i) {
    int needle = h->shuffled[i];
    put_fact(h, needle / h->quiz->niah.n_values, needle);
}

/* ---- haystacks ------------------------------------------------------------------------------- */

static int by_value(const void *a, const void *b) {
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return (x > y) - (x < y);
}

/* Lines of the haystack, numbered, that needles go in front of; ascending. */
static void choose_lines(const hiding *h, int64_t n_lines, int64_t places[NIAH_MOST]) {
    for (int i = 0; i < h->n_needles; i++)
        places[i] = isnan(h->at->depth)
                        ? (int64_t)order_at(h->places, (uint64_t)n_lines, (uint64_t)i)
                        : (int64_t)((double)n_lines * h->at->depth / 100);
    qsort(places, (size_t)h->n_needles, sizeof *places, by_value);
}

static void put_lines(const hiding *h, int64_t n_lines) {
    int64_t places[NIAH_MOST];
    int next = 0;
    choose_lines(h, n_lines, places);
    for (int64_t line = 0; line <= n_lines; line++) {
        for (; next < h->n_needles && places[next] == line; next++) {
            put_needle(h, next);
            bytes_append_text(&h->p->input, "\n");
        }
        if (line == n_lines) break;
        if (h->quiz->niah.hay == NIAH_NEEDLES)
            put_fact(h, h->quiz->niah.n_keys + line, h->n_needles + line);
        else
            bytes_append_text(&h->p->input, QUIZ_NOISE);
        bytes_append_text(&h->p->input, "\n");
    }
    if (h->p->input.n) h->p->input.n--; /* the last line's end */
}

/* Sentences that needles go behind: at depths of RULER's forty, 0 to 100 %. */
static void choose_sentences(const hiding *h, int64_t n_sentences, int64_t places[NIAH_MOST]) {
    for (int i = 0; i < h->n_needles; i++) {
        double depth = h->at->depth;
        if (isnan(depth))
            depth = round((double)order_at(h->places, N_DEPTHS, (uint64_t)i) * 100 / 39);
        places[i] = (int64_t)((double)n_sentences * depth / 100);
    }
    qsort(places, (size_t)h->n_needles, sizeof *places, by_value);
}

static int64_t count_sentences(const haystack *text, int64_t first, int64_t n_words) {
    int64_t n = 0;
    for (int64_t i = 0; i < n_words; i++) n += haystack_ends(text, first + i) || i + 1 == n_words;
    return n;
}

static void put_text(const hiding *h, int64_t first, int64_t n_words) {
    const haystack *text = h->at->text;
    int64_t places[NIAH_MOST], sentence = 0;
    int next = 0;
    first = haystack_beginning(text, first);
    choose_sentences(h, count_sentences(text, first, n_words), places);
    for (int64_t i = 0; i <= n_words; i++) {
        bool begins = i == 0 || i == n_words || haystack_ends(text, first + i - 1);
        for (; begins && next < h->n_needles && places[next] == sentence; next++) {
            put_needle(h, next);
            bytes_append_text(&h->p->input, " ");
        }
        if (i == n_words) break;
        haystack_put(text, first + i, &h->p->input);
        bytes_append_text(&h->p->input, " ");
        sentence += haystack_ends(text, first + i) || i + 1 == n_words;
    }
    if (h->p->input.n) h->p->input.n--; /* the last blank */
}

/* ---- the question ---------------------------------------------------------------------------- */

/* "a, b, and c" */
static void ask(const hiding *h, uint64_t order, char *query, size_t size) {
    int n_queries = h->quiz->niah.n_queries, n_values = h->quiz->niah.n_values;
    size_t n = 0;
    for (int i = 0; i < n_queries && n < size; i++) {
        char text[SPELLING];
        int64_t key = (int64_t)order_at(order, (uint64_t)h->quiz->niah.n_keys, (uint64_t)i);
        const char *between = i == 0 ? "" : i + 1 == n_queries ? ", and " : ", ";
        spell(h->quiz->niah.key, h->keys, key, text);
        n += (size_t)snprintf(query + n, size - n, "%s%s", between, text);
        for (int v = 0; v < n_values; v++) {
            spell(h->quiz->niah.value, h->values, key * n_values + v, text);
            prompt_expect(h->p, text);
        }
    }
}

void niah_make(const quiz *q, const quiz_case *c, int64_t n_units, prompt *p) {
    draw d = c->draw;
    hiding h = {.quiz = q, .at = c, .p = p};
    h.keys = draw_next(&d), h.values = draw_next(&d), h.places = draw_next(&d);
    uint64_t queries = draw_next(&d), first = draw_next(&d);
    bool one = q->niah.n_queries * q->niah.n_values == 1;
    char type[16], query[NIAH_MOST * (SPELLING + 8)];
    h.n_needles = q->niah.n_keys * q->niah.n_values;
    for (int i = 0; i < h.n_needles; i++) h.shuffled[i] = i;
    order_shuffle(h.shuffled, h.n_needles, &d);
    snprintf(type, sizeof type, "%s", type_name(q->niah.value));
    if (one) type[strlen(type) - 1] = 0;
    ask(&h, queries, query, sizeof query);
    put(&p->input,
        "%s special magic %s %s hidden within the following text. Make sure to memorize it. I will "
        "quiz you about the %s afterwards.\n",
        one ? "A" : "Some", type, one ? "is" : "are", type);
    if (q->niah.hay == NIAH_TEXT && c->text)
        put_text(&h, (int64_t)(first % (uint64_t)c->text->n_words), n_units);
    else
        put_lines(&h, n_units);
    put(&p->input, "\nWhat %s the special magic %s for %s mentioned in the provided text?",
        one ? "is" : "are all", type, query);
    put(&p->opening, " The special magic %s for %s mentioned in the provided text %s", type, query,
        one ? "is" : "are");
}

void niah_range(const quiz *q, const quiz_case *c, int64_t *least, int64_t *most) {
    *least = q->niah.n_keys * q->niah.n_values;
    *most = INT64_MAX / 1024;
    if (q->niah.hay == NIAH_TEXT && c->text) *least = 20;
    if (q->niah.hay == NIAH_NEEDLES)
        *most = (q->niah.key == NIAH_WORDS ? (int64_t)words_n_pairs() : N_NUMBERS) - NIAH_MOST;
}

void quiz_put_noise(bytes *b, int64_t n) {
    for (int64_t i = 0; i < n; i++) bytes_append_text(b, QUIZ_NOISE "\n");
}
