/* prompt.c: see prompt.h. */
#include "eval/prompt.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

void prompt_clear(prompt *p) {
    p->input.n = p->opening.n = p->expected.n = p->n_expected = 0;
}

void prompt_free(prompt *p) {
    bytes_free(&p->input);
    bytes_free(&p->opening);
    bytes_free(&p->expected);
    *p = (prompt){0};
}

msa_status prompt_finish(prompt *p, msa_error *err) {
    bytes_terminate(&p->input);
    bytes_terminate(&p->opening);
    if (!p->input.failed && !p->opening.failed && !p->expected.failed) return MSA_OK;
    return error_set(err, MSA_E_NOMEM, "no memory for a question");
}

void prompt_expect(prompt *p, const char *text) {
    bytes_append(&p->expected, text, strlen(text) + 1);
    p->n_expected++;
}

const char *prompt_next_expected(const prompt *p, const char *text) {
    return text ? text + strlen(text) + 1 : p->expected.data;
}

void put(bytes *b, const char *format, ...) {
    char text[1024];
    va_list list;
    va_start(list, format);
    int n = vsnprintf(text, sizeof text, format, list);
    va_end(list);
    if (n > 0) bytes_append(b, text, (size_t)n < sizeof text ? (size_t)n : sizeof text - 1);
}
