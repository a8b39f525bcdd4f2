/* task.c: sizes, and the frame of all samples, see task.h. */
#include "train/task.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "train/task_build.h"

/* With the square of the time: what is short and easy is where the first steps are needed. */
static int64_t grown(int64_t from, int64_t to, int64_t step, int64_t steps) {
    if (step >= steps) return to;
    if (step < 0) return from;
    double share = (double)step / (double)steps;
    return from + (int64_t)((double)(to - from) * share * share);
}

task_size task_size_at(const config_task *t, int64_t step) {
    step -= t->grow_from;
    return (task_size){grown(t->start_length, t->length, step, t->grow_steps),
                       grown(t->start_items, t->items, step, t->grow_steps), t->questions};
}

task_size task_size_draw(const config_task *t, int64_t step, draw *d) {
    task_size size = task_size_at(t, step);
    if (!t->mixed) return size;
    double octaves = log2((double)size.length / (double)t->start_length);
    double length = (double)t->start_length * exp2(octaves * draw_unit(d));
    int64_t items = t->start_items + draw_below(d, size.items - t->start_items + 1);
    return (task_size){(int64_t)length, items, size.questions};
}

task_size task_size_first(const config_task *t) {
    return t->mixed ? (task_size){t->start_length, t->start_items, t->questions}
                    : task_size_at(t, 0);
}

task_size task_size_final(const config_task *t) {
    return (task_size){t->length, t->items, t->questions};
}

/* ---- putting together ----------------------------------------------------------------------- */

static msa_status no_memory(msa_error *err) {
    return error_set(err, MSA_E_NOMEM, "no memory for a sample of a task");
}

/* Marks for tokens from `from` on. */
static msa_status mark(task_tokens *to, size_t from, bool answer, msa_error *err) {
    void *marks = to->answer;
    bool room = mem_grow(&marks, &to->answer_capacity, to->ids.n, sizeof *to->answer);
    to->answer = marks;
    if (!room) return no_memory(err);
    for (size_t i = from; i < to->ids.n; i++) to->answer[i] = answer;
    return MSA_OK;
}

msa_status task_put_ids(task_tokens *to, const int32_t *ids, int64_t n, bool answer,
                        msa_error *err) {
    size_t before = to->ids.n;
    void *all = to->ids.ids;
    bool room = mem_grow(&all, &to->ids.capacity, before + (size_t)n, sizeof *to->ids.ids);
    to->ids.ids = all;
    if (!room) return no_memory(err);
    if (n) memcpy(to->ids.ids + before, ids, (size_t)n * sizeof *ids);
    to->ids.n += (size_t)n;
    return mark(to, before, answer, err);
}

msa_status task_put_symbols(task_maker *m, task_tokens *to, const char *text, bool answer,
                            msa_error *err) {
    msa_status status = MSA_OK;
    for (; *text && status == MSA_OK; text++)
        status = task_put_ids(to, &m->symbol[*text & 127], 1, answer, err);
    return status;
}

msa_status task_put_text(task_maker *m, task_tokens *to, const char *text, bool answer,
                         msa_error *err) {
    size_t before = to->ids.n;
    msa_status status = tokenizer_encode(m->tokenizer, text, strlen(text), 0, &to->ids, err);
    return status == MSA_OK ? mark(to, before, answer, err) : status;
}

msa_status task_end_fact(task_maker *m, msa_error *err) {
    void *ends = m->fact_end;
    bool room = mem_grow(&ends, &m->fact_capacity, (size_t)m->n_facts + 1, sizeof *m->fact_end);
    m->fact_end = ends;
    if (!room) return no_memory(err);
    m->fact_end[m->n_facts++] = (int64_t)m->facts.ids.n;
    return MSA_OK;
}

msa_status task_shuffle(task_maker *m, int64_t n, draw *d, msa_error *err) {
    void *order = m->order;
    bool room = mem_grow(&order, &m->order_capacity, (size_t)n, sizeof *m->order);
    m->order = order;
    if (!room) return no_memory(err);
    for (int64_t i = 0; i < n; i++) {
        int64_t j = draw_below(d, i + 1);
        m->order[i] = m->order[j];
        m->order[j] = (int32_t)i;
    }
    return MSA_OK;
}

msa_status task_room(const task_maker *m, const char *name, const task_size *size, int64_t *n,
                     msa_error *err) {
    int64_t taken = (int64_t)(m->facts.ids.n + m->tail.ids.n);
    *n = size->length - taken;
    if (*n >= 0) return MSA_OK;
    return error_set(err, MSA_E_ARG,
                     "tasks.%s: %lld items and %lld questions take %lld tokens; a sample has %lld: "
                     "expected fewer of them, or a larger length (or start_length)",
                     name, (long long)size->items, (long long)size->questions, (long long)taken,
                     (long long)size->length);
}

/* ---- the frame ------------------------------------------------------------------------------ */

static int by_value(const void *a, const void *b) {
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return (x > y) - (x < y);
}

static msa_status cut_filler(task_maker *m, draw *d, msa_error *err) {
    void *cuts = m->cuts;
    bool room = mem_grow(&cuts, &m->cuts_capacity, (size_t)m->n_facts + 1, sizeof *m->cuts);
    m->cuts = cuts;
    if (!room) return no_memory(err);
    for (int64_t i = 0; i < m->n_facts; i++)
        m->cuts[i] = draw_below(d, (int64_t)m->filler.ids.n + 1);
    qsort(m->cuts, (size_t)m->n_facts, sizeof *m->cuts, by_value);
    return MSA_OK;
}

static msa_status assemble(task_maker *m, msa_error *err) {
    msa_status status = MSA_OK;
    int64_t filled = 0, told = 0;
    for (int64_t i = 0; i < m->n_facts && status == MSA_OK; i++) {
        status =
            task_put_ids(&m->whole, m->filler.ids.ids + filled, m->cuts[i] - filled, false, err);
        filled = m->cuts[i];
        if (status == MSA_OK)
            status =
                task_put_ids(&m->whole, m->facts.ids.ids + told, m->fact_end[i] - told, false, err);
        told = m->fact_end[i];
    }
    if (status == MSA_OK)
        status = task_put_ids(&m->whole, m->filler.ids.ids + filled,
                              (int64_t)m->filler.ids.n - filled, false, err);
    size_t before = m->whole.ids.n;
    if (status == MSA_OK)
        status = task_put_ids(&m->whole, m->tail.ids.ids, (int64_t)m->tail.ids.n, false, err);
    if (status == MSA_OK)
        memcpy(m->whole.answer + before, m->tail.answer, m->tail.ids.n * sizeof *m->tail.answer);
    return status;
}

msa_status task_make(task_maker *m, config_task_kind kind, const task_size *size, draw *d,
                     task_sample *out, msa_error *err) {
    msa_status status = MSA_E_ARG;
    m->facts.ids.n = m->tail.ids.n = m->filler.ids.n = m->whole.ids.n = 0;
    m->n_facts = 0;
    switch (kind) {
    case TASK_RECALL: status = task_make_recall(m, size, d, err); break;
    case TASK_COPY: status = task_make_copy(m, size, d, err); break;
    case TASK_PASSKEY: status = task_make_passkey(m, size, d, err); break;
    case TASK_NEEDLE: status = task_make_needle(m, size, d, err); break;
    case TASK_COUNT: return error_set(err, MSA_E_ARG, "there is no such task");
    }
    if (status == MSA_OK) status = cut_filler(m, d, err);
    if (status == MSA_OK) status = assemble(m, err);
    *out = (task_sample){m->whole.ids.ids, m->whole.answer, (int64_t)m->whole.ids.n};
    return status;
}

/* ---- life ----------------------------------------------------------------------------------- */

static void free_tokens(task_tokens *t) {
    mem_free(t->ids.ids);
    mem_free(t->answer);
}

void task_maker_free(task_maker *m) {
    if (!m) return;
    free_tokens(&m->facts);
    free_tokens(&m->tail);
    free_tokens(&m->filler);
    free_tokens(&m->whole);
    mem_free(m->fact_end);
    mem_free(m->cuts);
    mem_free(m->order);
    mem_free(m);
}

static msa_status find_symbols(task_maker *m, msa_error *err) {
    for (int c = ' '; c < 127; c++) {
        char text = (char)c;
        m->whole.ids.n = 0;
        msa_status status = tokenizer_encode(m->tokenizer, &text, 1, 0, &m->whole.ids, err);
        if (status != MSA_OK) return status;
        if (m->whole.ids.n != 1 || m->whole.ids.n_replaced)
            return error_set(err, MSA_E_UNSUPPORTED,
                             "data.tokenizer: the vocabulary has no token for '%c', which the "
                             "tasks need",
                             c);
        m->symbol[c] = m->whole.ids.ids[0];
    }
    return MSA_OK;
}

msa_status task_maker_create(task_maker **out, const tokenizer *t, const corpus *text,
                             msa_error *err) {
    *out = NULL;
    task_maker *m = mem_calloc(1, sizeof *m);
    if (!m) return no_memory(err);
    m->tokenizer = t;
    m->text = text;
    msa_status status = find_symbols(m, err);
    if (status == MSA_OK)
        *out = m;
    else
        task_maker_free(m);
    return status;
}
