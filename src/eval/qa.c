/* qa.c: RULER's question answering: the documents a question is about among others that are not,
 * numbered, in a random order. First come those of the question's own article, as in RULER. */
#include "base/mem.h"
#include "eval/order.h"
#include "eval/quiz.h"

/* Samples take questions in a random order, which the length does not change. */
static const qa_question *question_of(const quiz_case *c) {
    const qa_set *s = c->questions;
    uint64_t n = (uint64_t)s->n_questions, sample = (uint64_t)c->sample % n;
    return &s->questions[order_at(c->seed, n, sample)];
}

static bool is_in(const int32_t *numbers, int64_t n, int64_t number) {
    for (int64_t i = 0; i < n; i++)
        if (numbers[i] == number) return true;
    return false;
}

/* n documents, the question's own first. */
static int64_t gather(const qa_set *s, const qa_question *q, int64_t n, draw *d, int32_t *out) {
    uint64_t order = draw_next(d), more = draw_next(d);
    int64_t taken = 0;
    for (int64_t i = 0; i < q->n_own && taken < n; i++)
        if (!is_in(out, taken, s->pool[q->own + i])) out[taken++] = (int32_t)s->pool[q->own + i];
    for (int64_t i = 0; i < q->n_more && taken < n; i++) {
        int64_t at = (int64_t)order_at(more, (uint64_t)q->n_more, (uint64_t)i);
        int32_t number = (int32_t)s->pool[q->more + at];
        if (!is_in(out, taken, number)) out[taken++] = number;
    }
    int64_t n_near = taken; /* what comes now is distinct by itself */
    for (int64_t i = 0; i < s->n_documents && taken < n; i++) {
        int32_t number = (int32_t)order_at(order, (uint64_t)s->n_documents, (uint64_t)i);
        if (!is_in(out, n_near, number)) out[taken++] = number;
    }
    return taken;
}

void qa_make(const quiz *self, const quiz_case *c, int64_t n_units, prompt *p) {
    static const char ASK[] = "Answer the question based on the given documents. Only give me the "
                              "answer and do not output any other words.\n\n";
    const qa_question *q = question_of(c);
    draw d = c->draw;
    json_t *answer;
    size_t k;
    (void)self;
    int32_t *numbers = mem_alloc((size_t)n_units + 1, sizeof *numbers);
    if (!numbers) {
        p->input.failed = true;
        return;
    }
    int64_t n = gather(c->questions, q, n_units, &d, numbers);
    order_shuffle(numbers, n, &d);
    bytes_append_text(&p->input, ASK);
    bytes_append_text(&p->input, "The following are given documents.\n\n");
    for (int64_t i = 0; i < n; i++) {
        put(&p->input, "Document %lld:\n", (long long)i + 1);
        bytes_append_text(&p->input, c->questions->documents[numbers[i]]);
        bytes_append_text(&p->input, "\n\n");
    }
    mem_free(numbers);
    bytes_append_text(&p->input, ASK);
    bytes_append_text(&p->input, "Question: ");
    bytes_append_text(&p->input, q->text);
    bytes_append_text(&p->opening, " Answer:");
    json_array_foreach(q->answers, k, answer) prompt_expect(p, json_string_value(answer));
}

void qa_range(const quiz *self, const quiz_case *c, int64_t *least, int64_t *most) {
    (void)self;
    *least = question_of(c)->n_own;
    *most = c->questions->n_documents;
}
