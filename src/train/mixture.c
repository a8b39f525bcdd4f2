/* mixture.c: see mixture.h. */
#include "train/mixture.h"

#include "base/mem.h"

enum { PERIOD = 1024 };

struct mixture {
    const train_config *config;
    corpus *text;
    task_maker *maker;
    double share[MIXTURE_SOURCES];
    uint8_t source[PERIOD]; /* of each turn */
    int32_t before[PERIOD]; /* turns of the same source earlier in the period */
    int64_t per_period[MIXTURE_SOURCES];
    int64_t max_tokens;
};

const char *mixture_source_name(int source) {
    return source == MIXTURE_TEXT ? "text" : CONFIG_TASK_NAMES[source - MIXTURE_TASKS];
}

/* ---- room ----------------------------------------------------------------------------------- */

msa_status batch_create(train_batch *b, int64_t max_tokens, msa_error *err) {
    size_t n = (size_t)max_tokens;
    *b = (train_batch){.ids = mem_alloc(n, sizeof *b->ids),
                       .targets = mem_alloc(n, sizeof *b->targets),
                       .cu_seqlens = mem_calloc(n + 1, sizeof *b->cu_seqlens),
                       .source = mem_alloc(n, sizeof *b->source)};
    if (b->ids && b->targets && b->cu_seqlens && b->source) return MSA_OK;
    batch_free(b);
    return error_set(err, MSA_E_NOMEM, "no memory for a micro-batch of %lld tokens",
                     (long long)max_tokens);
}

void batch_free(train_batch *b) {
    mem_free(b->ids);
    mem_free(b->targets);
    mem_free(b->cu_seqlens);
    mem_free(b->source);
    *b = (train_batch){0};
}

/* ---- samples of tasks ----------------------------------------------------------------------- */

static void add_sample(train_batch *b, const task_sample *s, int source, bool answers_only) {
    int32_t *ids = b->ids + b->n_tokens, *targets = b->targets + b->n_tokens;
    for (int64_t i = 0; i < s->n; i++) {
        bool asked = i + 1 < s->n && (s->answer[i + 1] || !answers_only);
        ids[i] = s->ids[i];
        targets[i] = asked ? s->ids[i + 1] : -1;
    }
    b->n_tokens += s->n;
    b->source[b->n_docs++] = source;
    b->cu_seqlens[b->n_docs] = (int32_t)b->n_tokens;
}

static msa_status try_items(mixture *m, config_task_kind kind, task_size size, int64_t items,
                            const draw *d, task_sample *s, msa_error *err) {
    draw again = *d;
    size.items = items;
    return task_make(m->maker, kind, &size, &again, s, err);
}

/* Both ends of a curriculum were tried when the mixture was made; between them a longer spelling of
 * the keys may not fit yet: then fewer items are told, as many as fit, found by halves. */
static msa_status make_fitting(mixture *m, config_task_kind kind, const task_size *size,
                               const draw *d, task_sample *s, msa_error *err) {
    int64_t fits = 0, too_many = size->items, last = too_many;
    msa_status status = try_items(m, kind, *size, last, d, s, err);
    if (status != MSA_E_ARG || last <= 1) return status;
    while (too_many - fits > 1) {
        last = fits + (too_many - fits) / 2;
        status = try_items(m, kind, *size, last, d, s, err);
        if (status != MSA_OK && status != MSA_E_ARG) return status;
        *(status == MSA_OK ? &fits : &too_many) = last;
    }
    return fits == last || fits == 0 ? status : try_items(m, kind, *size, fits, d, s, err);
}

static draw begin_sample(const mixture *m, config_task_kind kind, draw_purpose purpose,
                         int64_t number, int64_t i) {
    return draw_begin((uint64_t)m->config->run.seed + ((uint64_t)kind << 56), purpose, number, i);
}

/* Samples to learn from at a step, until the micro-batch is full: of mixed sizes the last one is
 * cut to the room that is left. */
static msa_status fill_task(mixture *m, config_task_kind kind, int64_t step, int64_t number,
                            train_batch *batch, msa_error *err) {
    const config_task *t = &m->config->tasks[kind];
    msa_status status = MSA_OK;
    batch->n_tokens = batch->n_docs = 0;
    for (int64_t i = 0; status == MSA_OK; i++) {
        task_sample s;
        draw d = begin_sample(m, kind, DRAW_TASK, number, i);
        task_size size = task_size_draw(t, step, &d);
        int64_t room = m->max_tokens - batch->n_tokens;
        if (t->mixed && room >= t->start_length && room < size.length) size.length = room;
        if (size.length > room) break;
        status = make_fitting(m, kind, &size, &d, &s, err);
        if (status == MSA_OK) add_sample(batch, &s, MIXTURE_TASKS + (int)kind, t->answers_only);
    }
    return status;
}

msa_status mixture_exam(mixture *m, config_task_kind kind, int64_t number, int64_t n_samples,
                        train_batch *batch, msa_error *err) {
    task_size size = task_size_final(&m->config->tasks[kind]);
    int64_t n = m->max_tokens / size.length;
    msa_status status = MSA_OK;
    batch->n_tokens = batch->n_docs = 0;
    for (int64_t i = 0; i < n && i < n_samples && status == MSA_OK; i++) {
        task_sample s;
        draw d = begin_sample(m, kind, DRAW_EXAM, number, i);
        status = make_fitting(m, kind, &size, &d, &s, err);
        if (status == MSA_OK) add_sample(batch, &s, MIXTURE_TASKS + (int)kind, true);
    }
    return status;
}

void exam_add(exam_score *score, const train_batch *batch, const int32_t *predicted) {
    for (int64_t i = 0; i < batch->n_tokens; i++) {
        if (batch->targets[i] < 0) continue;
        bool right = true;
        for (; i < batch->n_tokens && batch->targets[i] >= 0; i++)
            right = right && predicted[i] == batch->targets[i];
        score->n++;
        score->n_right += right;
    }
}

/* ---- turns ---------------------------------------------------------------------------------- */

static void lay_out_turns(mixture *m) {
    for (int turn = 0; turn < PERIOD; turn++) {
        int best = 0;
        double most = -1;
        for (int s = 0; s < MIXTURE_SOURCES; s++) {
            double owed = m->share[s] * (turn + 1) - (double)m->per_period[s];
            if (m->share[s] > 0 && owed > most + 1e-9) most = owed, best = s;
        }
        m->source[turn] = (uint8_t)best;
        m->before[turn] = (int32_t)m->per_period[best]++;
    }
}

double mixture_share(const mixture *m, int source) {
    return m->share[source];
}

msa_status mixture_batch(mixture *m, int64_t step, int64_t micro, train_batch *batch, int *source,
                         int64_t *epoch, msa_error *err) {
    int64_t number = step * m->config->optim.accumulate + micro, turn = number % PERIOD;
    int s = *source = m->source[turn];
    number = number / PERIOD * m->per_period[s] + m->before[turn];
    if (s == MIXTURE_TEXT) return corpus_batch(m->text, number, batch, epoch, err);
    return fill_task(m, (config_task_kind)(s - MIXTURE_TASKS), step, number, batch, err);
}

/* ---- life ----------------------------------------------------------------------------------- */

void mixture_free(mixture *m) {
    if (!m) return;
    task_maker_free(m->maker);
    mem_free(m);
}

static msa_status try_task(mixture *m, config_task_kind kind, msa_error *err) {
    const config_task *t = &m->config->tasks[kind];
    msa_status status = MSA_OK;
    if (t->weight == 0) return MSA_OK;
    for (int last = 0; last < 2 && status == MSA_OK; last++) {
        task_sample s;
        task_size size = last ? task_size_final(t) : task_size_first(t);
        draw d = draw_begin((uint64_t)m->config->run.seed, DRAW_TASK, 0, 0);
        status = task_make(m->maker, kind, &size, &d, &s, err);
    }
    return status;
}

static void set_shares(mixture *m) {
    const train_config *c = m->config;
    double total = c->data.weight;
    for (int i = 0; i < TASK_COUNT; i++) total += c->tasks[i].weight;
    m->share[MIXTURE_TEXT] = c->data.weight / total;
    for (int i = 0; i < TASK_COUNT; i++) m->share[MIXTURE_TASKS + i] = c->tasks[i].weight / total;
}

static msa_status check_turns(const mixture *m, msa_error *err) {
    for (int s = 0; s < MIXTURE_SOURCES; s++)
        if (m->share[s] > 0 && m->per_period[s] == 0)
            return error_set(err, MSA_E_ARG,
                             "%s%s.weight comes to a share of %.2g of the micro-batches and would "
                             "never have a turn; expected at least 1 in %d, or 0",
                             s == MIXTURE_TEXT ? "data" : "tasks.",
                             s == MIXTURE_TEXT ? "" : mixture_source_name(s), m->share[s], PERIOD);
    return MSA_OK;
}

msa_status mixture_create(mixture **out, const train_config *c, const tokenizer *t, corpus *text,
                          msa_error *err) {
    *out = NULL;
    mixture *m = mem_calloc(1, sizeof *m);
    if (!m) return error_set(err, MSA_E_NOMEM, "no memory for the mixture of sources");
    m->config = c;
    m->text = text;
    m->max_tokens = c->data.rows * c->data.context;
    set_shares(m);
    lay_out_turns(m);
    msa_status status = check_turns(m, err);
    bool any_task = m->share[MIXTURE_TEXT] < 1;
    if (status == MSA_OK && any_task) status = task_maker_create(&m->maker, t, text, err);
    for (int i = 0; i < TASK_COUNT && status == MSA_OK; i++)
        status = try_task(m, (config_task_kind)i, err);
    if (status == MSA_OK)
        *out = m;
    else
        mixture_free(m);
    return status;
}
