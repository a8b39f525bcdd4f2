/* sheet_plan.c: what is asked of whom, see sheet.h; all of it is checked first. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "eval/sheet.h"

static msa_status no_memory(msa_error *err) {
    return error_set(err, MSA_E_NOMEM, "no memory for an evaluation");
}

/* ---- selectors ------------------------------------------------------------------------------- */

static int number_of(const char *name) {
    for (int i = MSA_SELECTOR_AUTO; i <= MSA_SELECTOR_ORACLE; i++)
        if (strcmp(name, msa_selector_name((msa_selector)i)) == 0) return i;
    return -1;
}

const char *sheet_selector(const msa_model *model, const char *name) {
    if (strcmp(name, "dense") == 0) return "dense";
    int number = number_of(name);
    if (number < 0) return NULL;
    msa_session_params p = {.selector = (msa_selector)number};
    return msa_selector_name(msa_session_selector(&p, model));
}

/* Random blocks are drawn anew for each sample. */
msa_session_params sheet_session(const msa_eval *e, size_t s, const sheet_cell *cell,
                                 int64_t sample) {
    msa_session_params p = e->session;
    int number = number_of(e->selectors[s]);
    p.attn = number < 0 ? MSA_ATTN_DENSE : MSA_ATTN_MSA;
    p.selector = number < 0 ? MSA_SELECTOR_AUTO : (msa_selector)number;
    p.seed = hash_u64(e->session.seed ^ hash_u64((uint64_t)sample + 1));
    p.n_ctx = (int32_t)cell->length;
    p.kv_pages = 0;
    return p;
}

static msa_status add_selector(msa_eval *e, const char *name, msa_error *err) {
    const char *known = sheet_selector(e->model, name);
    if (!known)
        return error_set(err, MSA_E_ARG,
                         "there is no selector '%.40s'; expected dense, index, proxy, means, "
                         "shared, window, random, oracle or auto",
                         name);
    for (size_t i = 0; i < e->n_selectors; i++)
        if (e->selectors[i] == known)
            return i == 0 ? MSA_OK : error_set(err, MSA_E_ARG, "selector %s is given twice", known);
    e->selectors[e->n_selectors++] = known; /* distinct names are fewer than there is room for */
    return MSA_OK;
}

static msa_status check_longest(const msa_eval *e, int64_t longest, msa_error *err) {
    int32_t trained = msa_model_get_info(e->model)->n_ctx_train;
    if (longest <= trained || e->session.allow_past_context) return MSA_OK;
    return error_set(err, MSA_E_ARG,
                     "lengths: %lld is past the %d tokens that the model was trained for; what it "
                     "makes of positions it never saw is not known: allow it "
                     "(--allow-past-context) or ask at shorter ones (--lengths)",
                     (long long)longest, trained);
}

/* Asked for by name, the int8 copy is not left out in silence. */
static msa_status check_index8(const msa_eval *e, const sheet_cell *cell, msa_error *err) {
    bool wanted = e->session.index8 != MSA_INDEX8_ON;
    for (size_t i = 0; i < e->n_selectors && !wanted; i++) {
        msa_session_params p = sheet_session(e, i, cell, 0);
        wanted = msa_session_wants_index8(&p, e->model);
    }
    if (wanted) return MSA_OK;
    return error_set(err, MSA_E_ARG,
                     "index8 is on, but none of the selectors scores keys one by one, there is "
                     "nothing to copy: leave it out, or ask index, shared or proxy too");
}

/* A session of each is tried, as long as the longest text, without the memory for it: the reason
 * why one can't be is the engine's. */
static msa_status plan_selectors(msa_eval *e, const msa_eval_params *params, msa_error *err) {
    sheet_cell longest = {.length = 64};
    for (size_t i = 0; i < params->n_lengths; i++)
        if (params->lengths[i] > longest.length) longest.length = params->lengths[i];
    msa_status status = MSA_OK;
    e->selectors[e->n_selectors++] = "dense";
    for (size_t i = 0; i < params->n_selectors && status == MSA_OK; i++)
        status = add_selector(e, params->selectors[i], err);
    if (status == MSA_OK) status = check_longest(e, longest.length, err);
    if (status == MSA_OK) status = check_index8(e, &longest, err);
    for (size_t i = 0; i < e->n_selectors && status == MSA_OK; i++) {
        msa_session *session = NULL;
        msa_session_params p = sheet_session(e, i, &longest, 0);
        p.kv_pages = 1;
        status = msa_session_create(&session, e->model, &p, err);
        msa_session_free(session);
        if (status != MSA_OK) status = error_prefix(err, status, "selector %s: ", e->selectors[i]);
    }
    return status;
}

/* ---- cells ----------------------------------------------------------------------------------- */

static bool has_depth(const quiz *q) {
    return strcmp(q->task.suite, "needle") == 0;
}

static msa_status check_lists(const msa_eval_params *p, msa_error *err) {
    if (!p->n_tasks || !p->tasks) return error_set(err, MSA_E_ARG, "there is no task to ask");
    if (!p->n_lengths || !p->lengths)
        return error_set(err, MSA_E_ARG, "there is no length to ask at");
    if (p->n_samples < 1 || p->n_samples > 1000000)
        return error_set(err, MSA_E_ARG, "samples: expected 1 to 1000000, found %lld",
                         (long long)p->n_samples);
    if (!(p->void_below >= 0 && p->void_below <= 100))
        return error_set(err, MSA_E_ARG, "void_below: expected 0 to 100, found %g", p->void_below);
    for (size_t i = 0; i < p->n_lengths; i++) {
        if (p->lengths[i] < 64 || p->lengths[i] > 1 << 28)
            return error_set(err, MSA_E_ARG, "length %lld: expected 64 to %d tokens",
                             (long long)p->lengths[i], 1 << 28);
        for (size_t k = 0; k < i; k++)
            if (p->lengths[k] == p->lengths[i])
                return error_set(err, MSA_E_ARG, "length %lld is given twice",
                                 (long long)p->lengths[i]);
    }
    for (size_t i = 0; i < p->n_depths; i++) {
        if (!(p->depths[i] >= 0 && p->depths[i] <= 100))
            return error_set(err, MSA_E_ARG, "depth %g: expected 0 to 100 %%", p->depths[i]);
        for (size_t k = 0; k < i; k++)
            if (p->depths[k] == p->depths[i])
                return error_set(err, MSA_E_ARG, "depth %g is given twice", p->depths[i]);
    }
    return MSA_OK;
}

static msa_status plan_tasks(msa_eval *e, const msa_eval_params *p, msa_error *err) {
    e->quizzes = mem_calloc(p->n_tasks, sizeof *e->quizzes);
    if (!e->quizzes) return no_memory(err);
    e->n_tasks = p->n_tasks;
    for (size_t i = 0; i < p->n_tasks; i++) {
        msa_status status = quizzes_find(&e->quizzes[i], p->tasks[i], err);
        if (status != MSA_OK) return status;
        for (size_t k = 0; k < i; k++)
            if (e->quizzes[k] == e->quizzes[i])
                return error_set(err, MSA_E_ARG, "task %s is given twice", p->tasks[i]);
        if (has_depth(e->quizzes[i]) && !p->n_depths)
            return error_set(err, MSA_E_ARG, "task %s: there is no depth to ask at", p->tasks[i]);
    }
    return MSA_OK;
}

static msa_status plan_cells(msa_eval *e, const msa_eval_params *p, msa_error *err) {
    size_t n = 0;
    for (size_t t = 0; t < p->n_tasks; t++)
        n += p->n_lengths * (has_depth(e->quizzes[t]) ? p->n_depths : 1);
    e->cells = mem_calloc(n, sizeof *e->cells);
    if (!e->cells) return no_memory(err);
    for (size_t t = 0; t < p->n_tasks; t++)
        for (size_t l = 0; l < p->n_lengths; l++)
            for (size_t d = 0; d < (has_depth(e->quizzes[t]) ? p->n_depths : 1); d++) {
                sheet_cell *cell = &e->cells[e->n_cells++];
                cell->quiz = e->quizzes[t];
                cell->length = p->lengths[l];
                cell->depth = has_depth(cell->quiz) ? p->depths[d] : NAN;
            }
    return MSA_OK;
}

/* A question is asked once. */
static msa_status check_sets(const msa_eval *e, int64_t n_samples, msa_error *err) {
    for (size_t i = 0; i < e->n_tasks; i++) {
        const msa_eval_task *task = &e->quizzes[i]->task;
        const qa_set *set = strcmp(task->name, "qa_1") == 0 ? &e->asker.squad : &e->asker.hotpotqa;
        if (task->uses_questions && n_samples > set->n_questions)
            return error_set(err, MSA_E_ARG, "task %s: %lld samples; its file has %lld questions",
                             task->name, (long long)n_samples, (long long)set->n_questions);
    }
    return MSA_OK;
}

/* ---- lengths --------------------------------------------------------------------------------- */

/* A task at one length: cells that differ in depth. */
typedef struct group {
    const sheet_cell *cells;
    size_t n;
} group;

static group group_at(const msa_eval *e, size_t first) {
    group g = {&e->cells[first], 1};
    while (first + g.n < e->n_cells && g.cells[g.n].quiz == g.cells->quiz &&
           g.cells[g.n].length == g.cells->length)
        g.n++;
    return g;
}

/* Whether the smallest form of every question fits a length: names and documents are longer in
 * some samples than in others. */
static msa_status try_length(msa_eval *e, group g, int64_t length, int64_t n_samples,
                             msa_error *err) {
    msa_status status = MSA_OK;
    for (size_t i = 0; i < g.n; i++)
        for (int64_t k = 0; k < n_samples && status == MSA_OK; k++)
            status =
                asker_try(&e->asker, g.cells->quiz, length, g.cells[i].depth, k, &e->question, err);
    return status;
}

/* The least length that holds all of them, above one that does not; MSA_E_ARG where none does that
 * anybody would wait for. */
static msa_status find_least(msa_eval *e, group g, int64_t n_samples, int64_t *least,
                             msa_error *err) {
    enum { LONGEST = 1 << 17 };
    int64_t fails, fits = g.cells->length;
    msa_status status = MSA_E_ARG;
    while (status == MSA_E_ARG && fits < LONGEST) {
        fails = fits, fits *= 2;
        status = try_length(e, g, fits, n_samples, err);
    }
    while (status == MSA_OK && fits - fails > 1) {
        int64_t middle = fails + (fits - fails) / 2;
        msa_status there = try_length(e, g, middle, n_samples, err);
        if (there == MSA_OK)
            fits = middle;
        else if (there == MSA_E_ARG)
            fails = middle;
        else
            status = there;
    }
    *least = fits;
    return status;
}

static msa_status try_group(msa_eval *e, group g, const msa_eval_params *p, msa_error *err) {
    msa_error other;
    int64_t least;
    msa_status status = try_length(e, g, g.cells->length, p->n_samples, err);
    if (status != MSA_E_ARG) return status;
    status = find_least(e, g, p->n_samples, &least, &other);
    if (status == MSA_E_ARG) return status; /* it is not for the length */
    if (status != MSA_OK) return error_set(err, status, "%s", other.text);
    bool sized = g.cells->quiz->marking == QUIZ_TOKENS && (p->n_items || p->n_questions);
    return error_set(err, MSA_E_ARG,
                     "lengths: %lld can't hold task %s%s; expected a length of at least %lld",
                     (long long)g.cells->length, g.cells->quiz->task.name,
                     sized ? " with so many items and questions" : "", (long long)least);
}

static msa_status try_cells(msa_eval *e, const msa_eval_params *p, msa_error *err) {
    msa_status status = MSA_OK;
    for (size_t i = 0; i < e->n_cells && status == MSA_OK;) {
        group g = group_at(e, i);
        status = try_group(e, g, p, err);
        i += g.n;
    }
    return status;
}

msa_status sheet_plan(msa_eval *e, const msa_eval_params *p, msa_error *err) {
    msa_status status = check_lists(p, err);
    if (status == MSA_OK) status = plan_tasks(e, p, err);
    if (status == MSA_OK) status = plan_cells(e, p, err);
    if (status == MSA_OK) status = asker_open(&e->asker, e->model, p, e->quizzes, e->n_tasks, err);
    if (status == MSA_OK) status = check_sets(e, p->n_samples, err);
    if (status == MSA_OK) status = plan_selectors(e, p, err);
    for (size_t i = 0; i < e->n_cells && status == MSA_OK; i++)
        quiz_full_name(e->cells[i].quiz, e->asker.has_text, e->cells[i].name);
    if (status == MSA_OK) status = try_cells(e, p, err);
    if (status != MSA_OK) return status;
    size_t n;
    e->n_samples = p->n_samples;
    if (size_mul(e->n_cells, (size_t)p->n_samples, &n) && size_mul(n, e->n_selectors, &n))
        e->answers = mem_calloc(n, sizeof *e->answers);
    return e->answers ? MSA_OK : no_memory(err);
}
