/* rows.c: scores of an evaluation, and differences to dense, see msa/eval.h and stats.h. */
#include <math.h>

#include "base/mem.h"
#include "eval/sheet.h"
#include "eval/stats.h"

/* Sums over the samples that have an answer. */
typedef struct sums {
    int64_t n;
    double score, n_prompt, keys, keys_dense;
} sums;

static sums add_up(const msa_eval *e, size_t cell, size_t selector) {
    sums all = {0};
    for (int64_t i = 0; i < e->n_samples; i++) {
        const sheet_answer *a = sheet_at(e, cell, i, selector);
        if (!a->given) continue;
        all.n++;
        all.score += a->score, all.n_prompt += a->n_prompt;
        all.keys += a->keys, all.keys_dense += a->keys_dense;
    }
    return all;
}

static pairs pair_up(const msa_eval *e, size_t cell, size_t selector) {
    pairs all = {0};
    for (int64_t i = 0; i < e->n_samples; i++) {
        const sheet_answer *dense = sheet_at(e, cell, i, 0), *a = sheet_at(e, cell, i, selector);
        if (dense->given && a->given) pairs_add(&all, a->score - dense->score);
    }
    return all;
}

/* Whether dense attention solves the task well enough for a difference to mean something. */
static bool is_void(const msa_eval *e, size_t cell) {
    sums dense = add_up(e, cell, 0);
    return dense.n == 0 || dense.score / (double)dense.n < e->void_below;
}

static msa_eval_row make_row(const msa_eval *e, size_t cell, size_t selector) {
    const sheet_cell *c = &e->cells[cell];
    sums all = add_up(e, cell, selector);
    double n = all.n ? (double)all.n : NAN;
    interval score = stats_wilson(all.score / n, all.n);
    msa_eval_row row = {.task = c->name,
                        .length = c->length,
                        .depth = c->depth,
                        .selector = e->selectors[selector],
                        .n = all.n,
                        .score = 100 * all.score / n,
                        .score_low = 100 * score.low,
                        .score_high = 100 * score.high,
                        .difference = NAN,
                        .difference_low = NAN,
                        .difference_high = NAN,
                        .p_value = NAN,
                        .prompt_tokens = all.n_prompt / n,
                        .keys_per_query = all.keys / n,
                        .keys_per_query_dense = all.keys_dense / n};
    pairs paired = pair_up(e, cell, selector);
    if (selector == 0 || paired.n == 0 || is_void(e, cell)) return row;
    interval difference = pairs_interval(&paired);
    row.difference = 100 * paired.sum / (double)paired.n;
    row.difference_low = 100 * difference.low, row.difference_high = 100 * difference.high;
    row.n_better = paired.n_better, row.n_worse = paired.n_worse;
    row.p_value = pairs_p_value(&paired);
    return row;
}

/* ---- averages -------------------------------------------------------------------------------- */

/* Of `m` independent rows of means: squares of half the widths add up. */
typedef struct average {
    int64_t n_rows;
    double sum, low, high; /* of means, and of squared distances to the ends */
} average;

static void average_add(average *a, double mean, double low, double high) {
    a->n_rows++;
    a->sum += mean;
    a->low += (mean - low) * (mean - low), a->high += (high - mean) * (high - mean);
}

static void average_end(const average *a, double *mean, double *low, double *high) {
    double n = a->n_rows ? (double)a->n_rows : NAN;
    *mean = a->sum / n;
    *low = *mean - sqrt(a->low) / n, *high = *mean + sqrt(a->high) / n;
}

/* The mean over the cells of a length: of scores over all, of differences over those where dense
 * solves its task. */
static msa_eval_row make_average(const msa_eval *e, const msa_eval_row *rows, int64_t length,
                                 size_t selector) {
    msa_eval_row row = {.task = "average",
                        .length = length,
                        .depth = NAN,
                        .selector = e->selectors[selector],
                        .p_value = NAN};
    average score = {0}, difference = {0}, length_read = {0}, keys = {0}, dense = {0};
    for (size_t c = 0; c < e->n_cells; c++) {
        const msa_eval_row *r = &rows[c * e->n_selectors + selector];
        if (r->length != length || r->n == 0) continue;
        row.n += r->n;
        average_add(&score, r->score, r->score_low, r->score_high);
        average_add(&length_read, r->prompt_tokens, 0, 0);
        average_add(&keys, r->keys_per_query, 0, 0);
        average_add(&dense, r->keys_per_query_dense, 0, 0);
        if (isnan(r->difference)) continue;
        average_add(&difference, r->difference, r->difference_low, r->difference_high);
        row.n_better += r->n_better, row.n_worse += r->n_worse;
    }
    double unused;
    average_end(&score, &row.score, &row.score_low, &row.score_high);
    average_end(&difference, &row.difference, &row.difference_low, &row.difference_high);
    average_end(&length_read, &row.prompt_tokens, &unused, &unused);
    average_end(&keys, &row.keys_per_query, &unused, &unused);
    average_end(&dense, &row.keys_per_query_dense, &unused, &unused);
    return row;
}

static bool is_first_of_length(const msa_eval *e, size_t cell) {
    for (size_t c = 0; c < cell; c++)
        if (e->cells[c].length == e->cells[cell].length) return false;
    return true;
}

const msa_eval_row *msa_eval_get_rows(msa_eval *e, size_t *n) {
    *n = 0;
    if (!e) return NULL;
    size_t n_rows = e->n_cells * e->n_selectors;
    if (!e->rows) e->rows = mem_alloc(2 * n_rows, sizeof *e->rows);
    if (!e->rows) return NULL;
    for (size_t i = 0; i < n_rows; i++)
        e->rows[i] = make_row(e, i / e->n_selectors, i % e->n_selectors);
    for (size_t c = 0; c < e->n_cells && e->n_tasks > 1; c++)
        for (size_t s = 0; s < e->n_selectors && is_first_of_length(e, c); s++)
            e->rows[n_rows++] = make_average(e, e->rows, e->cells[c].length, s);
    *n = n_rows;
    return e->rows;
}
