/* mark.c: see mark.h. */
#include "eval/mark.h"

#include <string.h>

static char lower(char c) {
    return c >= 'A' && c <= 'Z' ? (char)(c - 'A' + 'a') : c;
}

static bool begins_with(const char *text, const char *part) {
    for (; *part; text++, part++)
        if (lower(*text) != lower(*part)) return false;
    return true;
}

static bool holds(const char *text, const char *part) {
    for (; *text; text++)
        if (begins_with(text, part)) return true;
    return *part == 0;
}

static bool is_digit(char c) {
    return c >= '0' && c <= '9';
}

/* The first run of digits, its length in *n. */
static const char *first_number(const char *text, size_t *n) {
    while (*text && !is_digit(*text)) text++;
    for (*n = 0; is_digit(text[*n]);) ++*n;
    return text;
}

static bool is_number(const char *answer, const char *expected) {
    size_t n;
    const char *found = first_number(answer, &n);
    while (n > 1 && *found == '0') found++, n--;
    return n == strlen(expected) && memcmp(found, expected, n) == 0;
}

double mark(quiz_marking marking, const prompt *p, const char *answer) {
    size_t n_held = 0;
    const char *expected = NULL;
    for (size_t i = 0; i < p->n_expected; i++) {
        expected = prompt_next_expected(p, expected);
        n_held += marking == QUIZ_NUMBER ? is_number(answer, expected) : holds(answer, expected);
    }
    if (p->n_expected == 0) return 0;
    return marking == QUIZ_ALL ? (double)n_held / (double)p->n_expected : n_held > 0;
}

bool mark_is_settled(quiz_marking marking, const prompt *p, const char *answer) {
    size_t n;
    if (marking != QUIZ_NUMBER) return mark(marking, p, answer) == 1;
    const char *number = first_number(answer, &n);
    return n > 0 && number[n] != 0;
}
