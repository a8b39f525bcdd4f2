/* chain.c: RULER's variable tracking: "VAR B = VAR A" through noise, and which variables hold a
 * number in the end. A solved example of the same kind stands in front.
 *
 * Names are distinct, and none is in the sentences around them. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "eval/order.h"
#include "eval/quiz.h"

enum { LINKS = 5, NAME = 8, N_VALUES = 89999 };

typedef struct chain {
    char names[LINKS][NAME];
    int value;
    int64_t places[LINKS]; /* lines of noise that its own go in front of, ascending */
} chain;

/* `order` of all names of `letters` letters. */
static void spell(char *out, int letters, uint64_t order, uint64_t i) {
    uint64_t n = 1;
    for (int k = 0; k < letters; k++) n *= 26;
    uint64_t number = order_at(order, n, i);
    for (int k = 0; k < letters; k++, number /= 26) out[k] = (char)('A' + number % 26);
    out[letters] = 0;
}

/* Five-letter words of the sentences around: a name that is one would be found in any answer that
 * repeats them. */
static bool is_taken(const char *name) {
    static const char *const WORDS[] = {"GRASS", "GREEN", "THERE", "AGAIN", "CHAIN", "VALUE",
                                        "ABOVE", "GIVEN", "TRACK", "THEIR", "VAR",   "THE",
                                        "SKY",   "SUN",   "AND",   "ARE",   "TEXT",  "FIND"};
    for (size_t i = 0; i < sizeof WORDS / sizeof *WORDS; i++)
        if (strcmp(name, WORDS[i]) == 0) return true;
    return false;
}

static int by_value(const void *a, const void *b) {
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return (x > y) - (x < y);
}

static chain chain_draw(int letters, int64_t n_lines, draw *d) {
    chain c = {.value = 0};
    uint64_t names = draw_next(d), places = draw_next(d);
    c.value = 10000 + (int)draw_below(d, N_VALUES);
    uint64_t next = 0;
    for (int i = 0; i < LINKS; i++) {
        do spell(c.names[i], letters, names, next++);
        while (is_taken(c.names[i]));
        c.places[i] = (int64_t)order_at(places, (uint64_t)n_lines, (uint64_t)i);
    }
    qsort(c.places, LINKS, sizeof *c.places, by_value);
    return c;
}

static void put_chain(bytes *b, const chain *c, int64_t n_lines) {
    int next = 0;
    bytes_append_text(b, "Memorize and track the chain(s) of variable assignment hidden in the "
                         "following text.\n\n");
    for (int64_t line = 0; line < n_lines; line++) {
        for (; next < LINKS && c->places[next] == line; next++)
            if (next == 0)
                put(b, "VAR %s = %d\n", c->names[0], c->value);
            else
                put(b, "VAR %s = VAR %s \n", c->names[next], c->names[next - 1]);
        bytes_append_text(b, QUIZ_NOISE "\n");
    }
    put(b, "Question: Find all variables that are assigned the value %d in the text above.",
        c->value);
}

static void put_opening(bytes *b, const chain *c) {
    put(b,
        " Answer: According to the chain(s) of variable assignment in the text above, %d variables "
        "are assigned the value %d, they are: ",
        LINKS, c->value);
}

/* RULER's example has as many lines as fit in 500 tokens, ten for most vocabularies; one of bytes
 * gets fewer here, so that short prompts have room for the question. */
static int64_t example_lines(const quiz_case *c) {
    return c->line_tokens <= 30 ? 2 * LINKS : LINKS + 1;
}

void chain_make(const quiz *q, const quiz_case *c, int64_t n_units, prompt *p) {
    draw d = c->draw;
    (void)q;
    chain example = chain_draw(3, example_lines(c), &d);
    chain asked = chain_draw(5, n_units, &d);
    if (asked.value == example.value) asked.value = 10000 + (asked.value - 9999) % N_VALUES;
    put_chain(&p->input, &example, example_lines(c));
    put_opening(&p->input, &example);
    for (int i = 0; i < LINKS; i++) put(&p->input, " %s", example.names[i]);
    bytes_append_text(&p->input, "\n\n\n\n");
    put_chain(&p->input, &asked, n_units);
    put_opening(&p->opening, &asked);
    for (int i = 0; i < LINKS; i++) prompt_expect(p, asked.names[i]);
}

void chain_range(const quiz *q, const quiz_case *c, int64_t *least, int64_t *most) {
    (void)q, (void)c;
    *least = LINKS + 1;
    *most = INT64_MAX / 1024;
}
