/* jinja_form.c: see jinja_form.h. */
#define _GNU_SOURCE /* memmem */
#include "model/jinja_form.h"

#include <stdint.h>
#include <string.h>

#define QUOTE '\1'

typedef struct tag { /* {{ }}, {% %} or {# #} at text[start .. end) */
    size_t start, end, inner_start, inner_end;
    char kind; /* '{', '%', '#', or 0: none left */
    bool trims_before, trims_after;
} tag;

static bool is_space(char c) {
    return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

static bool is_word(char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_';
}

static tag next_tag(const char *text, size_t at, size_t n) {
    for (; at + 1 < n; at++) {
        char kind = text[at + 1];
        if (text[at] != '{' || (kind != '{' && kind != '%' && kind != '#')) continue;
        char close = kind == '{' ? '}' : kind, quote = 0;
        tag t = {.start = at, .kind = kind, .inner_start = at + 2};
        for (size_t i = at + 2; i + 1 < n; i++) {
            if (quote) {
                if (text[i] == '\\')
                    i++;
                else if (text[i] == quote)
                    quote = 0;
            } else if (kind != '#' && (text[i] == '\'' || text[i] == '"')) {
                quote = text[i];
            } else if (text[i] == close && text[i + 1] == '}') {
                t.inner_end = i;
                t.end = i + 2;
                t.trims_before = i > t.inner_start && text[t.inner_start] == '-';
                t.inner_start += t.trims_before;
                t.trims_after = i > t.inner_start && text[i - 1] == '-';
                t.inner_end -= t.trims_after;
                return t;
            }
        }
        break;
    }
    return (tag){.start = n, .end = n};
}

/* What is printed of the text between two tags. */
static void append_literal(bytes *out, const char *text, size_t start, size_t end, tag before,
                           tag after, size_t n) {
    if (before.trims_after) {
        while (start < end && is_space(text[start])) start++;
    } else if ((before.kind == '%' || before.kind == '#') && start < end && text[start] == '\n') {
        start++;
    }
    if (after.trims_before) {
        while (end > start && is_space(text[end - 1])) end--;
    } else if (after.kind == '%' || after.kind == '#') {
        size_t line = end;
        while (line > start && (text[line - 1] == ' ' || text[line - 1] == '\t')) line--;
        if (line == 0 || text[line - 1] == '\n') end = line;
    } else if (after.kind == 0 && end == n && end > start && text[end - 1] == '\n') {
        end--; /* keep_trailing_newline is off */
    }
    bytes_append(out, text + start, end - start);
}

/* What \c stands for; 0 where the backslash stays. */
static char unescape(char c) {
    return c == 'n' ? '\n' : c == 't' ? '\t' : c == 'r' ? '\r' : strchr("\\'\"", c) ? c : 0;
}

/* The literal that opens at text[at], quotes and all; returns where it ends. */
static size_t append_string(bytes *out, const char *text, size_t at, size_t end) {
    char quote = text[at++];
    bytes_append(out, &(char){QUOTE}, 1);
    for (; at < end && text[at] != quote; at++) {
        char c = text[at];
        if (c == '\\' && at + 1 < end && unescape(text[at + 1])) c = unescape(text[++at]);
        bytes_append(out, &c, 1);
    }
    bytes_append(out, &(char){QUOTE}, 1);
    return at < end ? at + 1 : end;
}

/* Length of "['name']" at text[at], 0 where there is none. */
static size_t subscript(const char *text, size_t at, size_t end) {
    if (at == 0 || at + 4 >= end || text[at] != '[' ||
        !(is_word(text[at - 1]) || text[at - 1] == ']') ||
        (text[at + 1] != '\'' && text[at + 1] != '"'))
        return 0;
    size_t i = at + 2;
    while (i < end && is_word(text[i])) i++;
    return i > at + 2 && i + 1 < end && text[i] == text[at + 1] && text[i + 1] == ']' ? i + 2 - at
                                                                                      : 0;
}

static void append_code(bytes *out, const char *text, size_t at, size_t end) {
    bool gap = false; /* white space that separates two words stays as one space */
    while (at < end) {
        char c = text[at];
        if (is_space(c)) {
            gap = true;
            at++;
            continue;
        }
        if (gap && out->n && is_word(c) && is_word(out->data[out->n - 1]))
            bytes_append(out, " ", 1);
        gap = false;
        size_t n_subscript = subscript(text, at, end);
        if (n_subscript) {
            bytes_append(out, ".", 1);
            bytes_append(out, text + at + 2, n_subscript - 4);
            at += n_subscript;
        } else if (c == '\'' || c == '"') {
            bool joins = out->n > 1 && !out->failed && out->data[out->n - 1] == '+' &&
                         out->data[out->n - 2] == QUOTE;
            if (joins) out->n -= 2;
            size_t start = out->n;
            at = append_string(out, text, at, end);
            if (joins && !out->failed) { /* 'a' + 'b': drop the opening quote of the second */
                memmove(out->data + start, out->data + start + 1, out->n - start - 1);
                out->n--;
            }
        } else {
            bytes_append(out, &c, 1);
            at++;
        }
        if (out->failed) return;
    }
}

void jinja_form(bytes *out, const char *text, size_t n) {
    tag before = {0};
    for (size_t at = 0; at < n && !out->failed;) {
        tag t = next_tag(text, at, n);
        append_literal(out, text, at, t.start, before, t, n);
        if (t.kind == '{' || t.kind == '%') {
            bytes_append(out, (char[]){'{', t.kind}, 2);
            append_code(out, text, t.inner_start, t.inner_end);
            bytes_append(out, (char[]){t.kind == '{' ? '}' : '%', '}'}, 2);
        }
        before = t;
        at = t.end;
    }
}

/* Where pattern[.. n) lies first in text[at ..), or SIZE_MAX. */
static size_t find(const bytes *text, size_t at, const char *pattern, size_t n) {
    const char *hit = at <= text->n ? memmem(text->data + at, text->n - at, pattern, n) : NULL;
    return hit ? (size_t)(hit - text->data) : SIZE_MAX;
}

static bool is_hole(const bytes *pattern, size_t p) {
    return p + 1 < pattern->n && pattern->data[p] == '%' && strchr("SP*", pattern->data[p + 1]);
}

/* A pattern is literals with holes between; each literal is taken where it comes first, the last
 * one at the end. Without alternatives that is enough, and linear. */
bool jinja_form_matches(const bytes *form, const bytes *pattern, jinja_holes *holes) {
    size_t at = 0, p = 0;
    char hole = 0;
    *holes = (jinja_holes){0};
    for (;;) {
        const char *literal = pattern->data + p;
        size_t start_p = p;
        while (p < pattern->n && !is_hole(pattern, p)) p++;
        size_t n = p - start_p, start = at;
        if (hole && p == pattern->n)
            start = n <= form->n - at ? form->n - n : SIZE_MAX;
        else if (hole)
            start = find(form, at, literal, n);
        if (start > form->n || form->n - start < n || memcmp(form->data + start, literal, n) != 0)
            return false;
        if (hole && hole != '*' && memchr(form->data + at, QUOTE, start - at)) return false;
        if (hole == 'S') holes->system = form->data + at, holes->n_system = start - at;
        if (hole == 'P') holes->prompt = form->data + at, holes->n_prompt = start - at;
        at = start + n;
        if (p == pattern->n) return at == form->n;
        hole = pattern->data[p + 1];
        p += 2;
    }
}
