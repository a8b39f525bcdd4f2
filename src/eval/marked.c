/* marked.c: see marked.h. */
#include "eval/marked.h"

#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "eval/order.h"
#include "eval/words.h"
#include "train/config_keys.h"

void marked_free(marked *m) {
    msa_tokens_free(&m->ids);
    mem_free(m->answer);
    *m = (marked){0};
}

int64_t marked_n_answers(const marked *m) {
    int64_t n = 0;
    for (size_t i = 0; i < m->ids.n; i++) n += m->answer[i] && (i == 0 || !m->answer[i - 1]);
    return n;
}

static msa_status no_memory(msa_error *err) {
    return error_set(err, MSA_E_NOMEM, "no memory for a sample");
}

/* Marks for the tokens from `from` on. */
static msa_status set_marks(marked *m, size_t from, bool answer, msa_error *err) {
    void *marks = m->answer;
    bool room = mem_grow(&marks, &m->capacity, m->ids.n, sizeof *m->answer);
    m->answer = marks;
    if (!room) return no_memory(err);
    for (size_t i = from; i < m->ids.n; i++) m->answer[i] = answer;
    return MSA_OK;
}

static msa_status append(marked *m, const tokenizer *t, int flags, const char *text, bool answer,
                         msa_error *err) {
    size_t before = m->ids.n;
    msa_status status = tokenizer_encode(t, text, strlen(text), flags, &m->ids, err);
    return status == MSA_OK ? set_marks(m, before, answer, err) : status;
}

/* ---- mqar ------------------------------------------------------------------------------------ */

typedef struct mqar {
    const tokenizer *tokenizer;
    uint64_t keys, values, asked; /* orders */
    int64_t n_pairs, n_questions;
    marked *out;
} mqar;

static msa_status put_pair(const mqar *a, int64_t i, bool answer, msa_error *err) {
    char key[WORDS_MOST], value[16];
    words_single(order_at(a->keys, words_n_single(), (uint64_t)i), key);
    snprintf(value, sizeof value, " %d", 1000 + (int)order_at(a->values, 9000, (uint64_t)i));
    msa_status status = append(a->out, a->tokenizer, 0, key, false, err);
    if (status == MSA_OK) status = append(a->out, a->tokenizer, 0, value, answer, err);
    return status == MSA_OK ? append(a->out, a->tokenizer, 0, "\n", false, err) : status;
}

static msa_status put_head(const mqar *a, msa_error *err) {
    return append(a->out, a->tokenizer, MSA_ADD_SPECIAL,
                  "Among these lines are keys, each with its value.\n", false, err);
}

static msa_status put_questions(const mqar *a, msa_error *err) {
    msa_status status =
        append(a->out, a->tokenizer, 0, "The same keys and values again:\n", false, err);
    for (int64_t i = 0; i < a->n_questions && status == MSA_OK; i++)
        status =
            put_pair(a, (int64_t)order_at(a->asked, (uint64_t)a->n_pairs, (uint64_t)i), true, err);
    return status;
}

/* Pairs in random places among n_noise lines of noise. */
static msa_status put_lines(const mqar *a, int64_t n_noise, draw *d, msa_error *err) {
    int64_t n = a->n_pairs + n_noise, pair = 0;
    int32_t *lines = mem_alloc((size_t)n, sizeof *lines); /* 1: a pair */
    if (!lines) return no_memory(err);
    for (int64_t i = 0; i < n; i++) lines[i] = i < a->n_pairs;
    order_shuffle(lines, n, d);
    msa_status status = MSA_OK;
    for (int64_t i = 0; i < n && status == MSA_OK; i++)
        status = lines[i] ? put_pair(a, pair++, false, err)
                          : append(a->out, a->tokenizer, 0, QUIZ_NOISE "\n", false, err);
    mem_free(lines);
    return status;
}

static msa_status draw_mqar(const quiz_case *c, const marked_source *from, draw *d, mqar *a,
                            msa_error *err) {
    int64_t most = (int64_t)words_n_single(), fitting = c->length / 96 + 1;
    a->keys = draw_next(d), a->values = draw_next(d), a->asked = draw_next(d);
    a->n_pairs = from->n_items ? from->n_items : fitting < most ? fitting : most;
    a->n_questions = from->n_questions ? from->n_questions : 16;
    if (a->n_questions > a->n_pairs) a->n_questions = a->n_pairs;
    if (a->n_pairs <= most) return MSA_OK;
    return error_set(err, MSA_E_ARG, "task mqar: %lld pairs; there are words for %lld",
                     (long long)a->n_pairs, (long long)most);
}

/* What is told and asked, without noise. Pieces are made into tokens one by one, so their number is
 * the sum of their numbers. */
static msa_status put_mqar_alone(const quiz_case *c, const mqar *a, draw d, msa_error *err) {
    msa_status status = put_head(a, err);
    if (status == MSA_OK) status = put_lines(a, 0, &d, err);
    if (status == MSA_OK) status = put_questions(a, err);
    int64_t n = (int64_t)a->out->ids.n;
    if (status != MSA_OK || n <= c->length) return status;
    return error_set(err, MSA_E_ARG,
                     "task mqar: %lld pairs and %lld questions take %lld tokens, a sample has "
                     "%lld: expected fewer of them or a greater length",
                     (long long)a->n_pairs, (long long)a->n_questions, (long long)n,
                     (long long)c->length);
}

static msa_status make_mqar(const quiz_case *c, const marked_source *from, bool alone, marked *out,
                            msa_error *err) {
    draw d = c->draw;
    mqar a = {.tokenizer = from->tokenizer, .out = out};
    msa_status status = draw_mqar(c, from, &d, &a, err);
    if (status == MSA_OK) status = put_mqar_alone(c, &a, d, err);
    if (status != MSA_OK || alone) return status;
    int64_t n = (int64_t)out->ids.n;
    out->ids.n = 0;
    status = put_head(&a, err);
    if (status == MSA_OK) status = put_lines(&a, (c->length - n) / c->line_tokens, &d, err);
    return status == MSA_OK ? put_questions(&a, err) : status;
}

/* ---- the trainer's --------------------------------------------------------------------------- */

static config_task_kind kind_of(const quiz *q) {
    for (int kind = 0; kind < TASK_COUNT; kind++)
        if (strcmp(q->task.name + strlen("train_"), CONFIG_TASK_NAMES[kind]) == 0)
            return (config_task_kind)kind;
    return TASK_COUNT;
}

/* As many as the examples of `msa train` have, in proportion to the length. */
static task_size size_of(config_task_kind kind, const quiz_case *c, const marked_source *from) {
    static const struct {
        int64_t tokens_an_item, most_items, questions;
    } USUAL[] = {[TASK_RECALL] = {32, 32, 8},
                 [TASK_COPY] = {32, 8, 4},
                 [TASK_PASSKEY] = {1, 5, 1},
                 [TASK_NEEDLE] = {128, 4, 2}};
    int64_t items = c->length / USUAL[kind].tokens_an_item;
    if (items > USUAL[kind].most_items) items = USUAL[kind].most_items;
    if (items < 1) items = 1;
    return (task_size){c->length, from->n_items ? from->n_items : items,
                       from->n_questions ? from->n_questions : USUAL[kind].questions};
}

/* The makers trust in what a configuration of `msa train` may ask for. */
static msa_status check_size(config_task_kind kind, const task_size *size, msa_error *err) {
    const int64_t asked[] = {size->items, size->questions};
    static const char *const OF[] = {"items", "questions"};
    for (int i = 0; i < 2; i++) {
        char path[64];
        snprintf(path, sizeof path, "tasks.%s.%s", CONFIG_TASK_NAMES[kind], OF[i]);
        const config_key *key = config_find(path);
        if (!key || (double)asked[i] < key->min || (double)asked[i] > key->max)
            return error_set(err, MSA_E_ARG, "%s: train_%s takes 1 to %.0f of them, found %lld",
                             OF[i], CONFIG_TASK_NAMES[kind], key ? key->max : 0,
                             (long long)asked[i]);
    }
    return MSA_OK;
}

static msa_status make_trained(const quiz *q, const quiz_case *c, const marked_source *from,
                               marked *out, msa_error *err) {
    config_task_kind kind = kind_of(q);
    if (kind == TASK_COUNT || !from->trainer)
        return error_set(err, MSA_E_ARG, "there is no task '%s'", q->task.name);
    task_size size = size_of(kind, c, from);
    draw d = c->draw;
    task_sample sample;
    msa_status status = check_size(kind, &size, err);
    if (status == MSA_OK) status = task_make(from->trainer, kind, &size, &d, &sample, err);
    if (status != MSA_OK) return status;
    void *ids = out->ids.ids;
    bool room = mem_grow(&ids, &out->ids.capacity, (size_t)sample.n, sizeof *out->ids.ids);
    out->ids.ids = ids;
    if (!room) return no_memory(err);
    memcpy(out->ids.ids, sample.ids, (size_t)sample.n * sizeof *sample.ids);
    out->ids.n = (size_t)sample.n;
    status = set_marks(out, 0, false, err);
    if (status == MSA_OK) memcpy(out->answer, sample.answer, (size_t)sample.n);
    return status;
}

static msa_status make(const quiz *q, const quiz_case *c, const marked_source *from, bool alone,
                       marked *out, msa_error *err) {
    out->ids.n = 0;
    return strcmp(q->task.suite, "trainer") == 0 ? make_trained(q, c, from, out, err)
                                                 : make_mqar(c, from, alone, out, err);
}

msa_status marked_make(const quiz *q, const quiz_case *c, const marked_source *from, marked *out,
                       msa_error *err) {
    return make(q, c, from, false, out, err);
}

msa_status marked_try(const quiz *q, const quiz_case *c, const marked_source *from, marked *scratch,
                      msa_error *err) {
    return make(q, c, from, true, scratch, err);
}
