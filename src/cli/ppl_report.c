/* ppl_report.c: see ppl_report.h. */
#include "cli/ppl_report.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "cli/table.h"

/* Dense has no difference to itself. */
static json_t *row_json(const scoring *s, size_t run, int64_t first, int64_t end) {
    ppl_mean m = scoring_mean(s, run, first, end);
    if (run == 0) m.difference = m.low = m.high = NAN;
    return json_pack("{s:s, s:I, s:I, s:I, s:o, s:o, s:o, s:o, s:o, s:o}", "selector",
                     s->runs[run].name, "first", (json_int_t)first, "end", (json_int_t)end,
                     "tokens", (json_int_t)m.n, "nll", json_number(m.nll), "ppl",
                     json_number(exp(m.nll)), "difference", json_number(m.difference),
                     "difference_low", json_number(m.low), "difference_high", json_number(m.high),
                     "ratio", json_number(exp(m.difference)));
}

static json_t *rows_json(const scoring *s) {
    json_t *rows = json_array();
    for (size_t i = 0; i < s->n_runs; i++) {
        json_t *row = row_json(s, i, 0, s->n_ctx);
        row = json_with(row, "keys_per_query", json_number(s->runs[i].keys_per_query));
        rows = json_more(rows, row);
    }
    return rows;
}

static json_t *positions_json(const scoring *s, const ppl_cut *cut) {
    json_t *rows = json_array();
    for (int64_t r = 0, first, end; r < ppl_cut_count(cut); r++) {
        ppl_cut_range(cut, r, &first, &end);
        if (scoring_mean(s, 0, first, end).n == 0) continue;
        for (size_t i = 0; i < s->n_runs; i++) rows = json_more(rows, row_json(s, i, first, end));
    }
    return rows;
}

msa_status ppl_report_json(const scoring *s, const ppl_cut *cut, const char *file,
                           const msa_model *model, msa_error *err) {
    size_t shown = 0; /* random, where there is one, has a seed to tell */
    for (size_t i = 0; i < s->n_runs; i++)
        if (s->runs[i].params.selector == MSA_SELECTOR_RANDOM) shown = i;
    msa_session_params params = s->runs[shown].params;
    params.attn = MSA_ATTN_MSA;
    json_t *attention = settings_json(&params, model);
    json_object_del(attention, "selector"); /* what follows from it is told as the runs begin */
    json_object_del(attention, "index8");
    json_t *document = json_pack("{s:o, s:o, s:I, s:s, s:o}", "file", json_text(file, strlen(file)),
                                 "attention", attention, "chunks", (json_int_t)s->n_pieces,
                                 "interval", "95 %, batch means", "rows", rows_json(s));
    if (cut) document = json_with(document, "by_position", positions_json(s, cut));
    return json_print(document, err);
}

static void write_difference(const ppl_mean *m, char *text, size_t size) {
    if (isnan(m->low))
        snprintf(text, size, "%+.4f", m->difference);
    else
        snprintf(text, size, "%+.4f (%+.4f..%+.4f)", m->difference, m->low, m->high);
}

static msa_status print_means(const scoring *s, msa_error *err) {
    static const table_column COLUMNS[] = {
        {.key = "selector", .heading = "selector"},
        {.key = "keys_per_query", .heading = "keys/query"},
        {.key = "tokens", .heading = "tokens"},
        {.key = "nll", .heading = "NLL", .decimals = 4},
        {.key = "ppl", .heading = "PPL", .decimals = 3},
        {.key = "change", .heading = "NLL - dense (95 %)"},
        {.key = "ratio", .heading = "PPL / dense", .decimals = 4},
    };
    json_t *rows = rows_json(s);
    bool whole = rows;
    for (size_t i = 0; i < s->n_runs; i++) {
        char change[80] = "";
        ppl_mean m = scoring_mean(s, i, 0, s->n_ctx);
        if (i > 0) write_difference(&m, change, sizeof change);
        json_t *row = json_array_get(rows, i);
        whole = whole && json_object_set_new(row, "change", json_string(change)) == 0;
    }
    msa_status status = whole ? table_print(COLUMNS, sizeof COLUMNS / sizeof *COLUMNS, rows, err)
                              : fail_memory(err, "the table");
    json_decref(rows);
    return status;
}

/* A row a range: NLL of dense, and of the others with the difference. */
static msa_status print_positions(const scoring *s, const ppl_cut *cut, msa_error *err) {
    table_column columns[2 + SCORING_RUNS] = {{.key = "positions", .heading = "positions"},
                                              {.key = "tokens", .heading = "tokens"}};
    for (size_t i = 0; i < s->n_runs; i++)
        columns[2 + i] = (table_column){.key = s->runs[i].name, .heading = s->runs[i].name};
    json_t *rows = json_array();
    for (int64_t r = 0, first, end; r < ppl_cut_count(cut); r++) {
        char text[64];
        ppl_cut_range(cut, r, &first, &end);
        ppl_mean m = scoring_mean(s, 0, first, end);
        if (m.n == 0) continue;
        snprintf(text, sizeof text, "%lld-%lld", (long long)first, (long long)end - 1);
        json_t *row = json_pack("{s:s, s:I}", "positions", text, "tokens", (json_int_t)m.n);
        for (size_t i = 0; i < s->n_runs; i++) {
            m = scoring_mean(s, i, first, end);
            snprintf(text, sizeof text, i ? "%.4f %+.4f" : "%.4f", m.nll, m.difference);
            row = json_with(row, s->runs[i].name, json_string(text));
        }
        rows = json_more(rows, row);
    }
    if (!rows) return fail_memory(err, "the table");
    printf("\nNLL by position, and its difference to dense\n");
    msa_status status = table_print(columns, 2 + s->n_runs, rows, err);
    json_decref(rows);
    return status;
}

msa_status ppl_report_print(const scoring *s, const ppl_cut *cut, msa_error *err) {
    msa_status status = print_means(s, err);
    return status == MSA_OK && cut ? print_positions(s, cut, err) : status;
}
