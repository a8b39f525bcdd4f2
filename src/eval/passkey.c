/* passkey.c: a number told once in noise, as Mohtashami and Jaggi ask for it (arXiv 2305.16300). */
#include <math.h>
#include <stdio.h>

#include "eval/quiz.h"

enum { MOST_KEY = 50000 };

void passkey_make(const quiz *q, const quiz_case *c, int64_t n_units, prompt *p) {
    draw d = c->draw;
    (void)q;
    int key = 1 + (int)draw_below(&d, MOST_KEY);
    double place = draw_unit(&d);
    char text[16];
    int64_t before = isnan(c->depth) ? (int64_t)(place * (double)(n_units + 1))
                                     : (int64_t)((double)n_units * c->depth / 100);
    bytes_append_text(&p->input,
                      "There is an important info hidden inside a lot of irrelevant text. "
                      "Find it and memorize them. I will quiz you about the important "
                      "information there.\n");
    quiz_put_noise(&p->input, before);
    put(&p->input, "The pass key is %d. Remember it. %d is the pass key.\n", key, key);
    quiz_put_noise(&p->input, n_units - before);
    bytes_append_text(&p->input, "What is the pass key?");
    bytes_append_text(&p->opening, " The pass key is");
    snprintf(text, sizeof text, "%d", key);
    prompt_expect(p, text);
}

void passkey_range(const quiz *q, const quiz_case *c, int64_t *least, int64_t *most) {
    (void)q, (void)c;
    *least = 1;
    *most = INT64_MAX / 1024;
}
