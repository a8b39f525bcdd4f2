/* solve.c: see solve.h. */
#include "support/solve.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Copies the text between `from` and the first of `ends` behind it. */
static void cut(const char *from, const char *ends, char *out, size_t size) {
    size_t n = strcspn(from, ends);
    snprintf(out, size, "%.*s", (int)n, from);
}

static void say(char answer[SOLVED], const char *text) {
    size_t n = strlen(answer);
    snprintf(answer + n, SOLVED - n, " %s", text);
}

static const char *last(const char *text, const char *part) {
    const char *found = NULL;
    for (const char *at = text; (at = strstr(at, part)); at++) found = at;
    return found;
}

/* ---- needles --------------------------------------------------------------------------------- */

static void find_values(const char *prompt, const char *key, char answer[SOLVED]) {
    char sentence[128], value[64];
    snprintf(sentence, sizeof sentence, " for %s is: ", key);
    for (const char *at = prompt; (at = strstr(at, sentence));) {
        at += strlen(sentence);
        cut(at, ".", value, sizeof value);
        say(answer, value);
    }
}

/* "... for a, b, and c mentioned in the provided text?" */
static void solve_needles(const char *prompt, char answer[SOLVED]) {
    char key[64];
    const char *at = last(prompt, "\nWhat ");
    if (!at) return;
    at = strstr(at, " for ") + 5;
    for (;;) {
        cut(at, ", ", key, sizeof key);
        find_values(prompt, key, answer);
        at += strlen(key);
        if (*at != ',') return;
        at += 2;
        if (strncmp(at, "and ", 4) == 0) at += 4;
    }
}

/* ---- chains ---------------------------------------------------------------------------------- */

static void solve_chain(const char *prompt, char answer[SOLVED]) {
    char value[16], line[64], name[16];
    const char *question = last(prompt, "assigned the value ");
    const char *start = last(prompt, "Memorize and track");
    if (!question || !start) return;
    question = strstr(start, "assigned the value ");
    cut(question + 19, " ", value, sizeof value);
    snprintf(line, sizeof line, " = %s\n", value);
    for (const char *at; (at = strstr(start, line)) && at < question;) {
        while (at[-1] != ' ') at--;
        cut(at, " ", name, sizeof name);
        say(answer, name);
        snprintf(line, sizeof line, " = VAR %s \n", name);
    }
}

/* ---- lists ----------------------------------------------------------------------------------- */

typedef struct counted {
    char word[40];
    int n;
} counted;

static int by_count(const void *a, const void *b) {
    return ((const counted *)b)->n - ((const counted *)a)->n;
}

/* The `most` most frequent words of a text up to `end`; numbers and dots are none. */
static void solve_list(const char *from, const char *end, int most, char answer[SOLVED]) {
    enum { WORDS = 4096 };
    counted *words = calloc(WORDS, sizeof *words);
    int n = 0;
    while (from && from < end && words) {
        char word[40];
        size_t length = strcspn(from, " \n");
        cut(from, " \n", word, sizeof word);
        from += length + 1;
        if (word[0] < 'a' || word[0] > 'z') continue;
        int i = 0;
        while (i < n && strcmp(words[i].word, word) != 0) i++;
        if (i == n && n < WORDS) strcpy(words[n++].word, word);
        if (i < n) words[i].n++;
    }
    if (words) qsort(words, (size_t)n, sizeof *words, by_count);
    for (int i = 0; i < most && i < n; i++) say(answer, words[i].word);
    free(words);
}

static const char *behind(const char *text, const char *part) {
    const char *at = text ? last(text, part) : NULL;
    return at ? at + strlen(part) : text;
}

/* ---- the rest -------------------------------------------------------------------------------- */

/* "What is the capital of X?", "The capital of X is Y." */
static void solve_documents(const char *prompt, char answer[SOLVED]) {
    char place[40], sentence[80], city[40];
    const char *at = behind(prompt, "Question: What is the capital of ");
    cut(at, "?", place, sizeof place);
    snprintf(sentence, sizeof sentence, "The capital of %s is ", place);
    at = strstr(prompt, sentence);
    if (!at) return;
    cut(at + strlen(sentence), ".", city, sizeof city);
    say(answer, city);
}

static void solve_passkey(const char *prompt, char answer[SOLVED]) {
    char key[16];
    const char *at = strstr(prompt, "The pass key is ");
    if (!at) return;
    cut(at + 16, ".", key, sizeof key);
    say(answer, key);
}

void solve(const char *task, const char *prompt, char answer[SOLVED]) {
    answer[0] = 0;
    if (strncmp(task, "niah", 4) == 0 || strncmp(task, "needle", 6) == 0)
        solve_needles(prompt, answer);
    else if (strcmp(task, "vt") == 0)
        solve_chain(prompt, answer);
    else if (strcmp(task, "cwe") == 0)
        solve_list(behind(prompt, "appear most often.\n"), last(prompt, "\nQuestion"), 10, answer);
    else if (strcmp(task, "fwe") == 0)
        solve_list(behind(prompt, "appeared coded words. "), last(prompt, "\nQuestion"), 3, answer);
    else if (strncmp(task, "qa_", 3) == 0)
        solve_documents(prompt, answer);
    else
        solve_passkey(prompt, answer);
}

int32_t solve_token(const int32_t *ids, size_t n, size_t least, size_t window) {
    size_t begin = n > window ? n - window : 0, best = least - 1, at = 0;
    for (size_t end = begin + 1; end < n; end++) { /* a repetition that ends in front of `end` */
        size_t same = 0;
        while (same < end - begin && ids[end - 1 - same] == ids[n - 1 - same]) same++;
        if (same > best) best = same, at = end;
    }
    return at ? ids[at] : -1;
}
