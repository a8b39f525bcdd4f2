/* eval_rows.c: results of an examination as JSON and as a table, see eval_rows.h. */
#include "cli/eval_rows.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "cli/table.h"

static bool is_dense(const msa_eval_row *row) {
    return strcmp(row->selector, "dense") == 0;
}

/* A comparison that dense does not carry. */
static bool is_void(const msa_eval_row *row) {
    return !is_dense(row) && row->n > 0 && isnan(row->difference);
}

/* ---- JSON ------------------------------------------------------------------------------------ */

static json_t *row_json(const msa_eval_row *r) {
    return json_pack(
        "{s:s, s:I, s:o, s:s, s:I, s:o, s:o, s:o, s:o, s:o, s:o, s:b, s:I, s:I, s:o, s:o, s:o, "
        "s:o}",
        "task", r->task, "length", (json_int_t)r->length, "depth", json_number(r->depth),
        "selector", r->selector, "n", (json_int_t)r->n, "score", json_number(r->score), "score_low",
        json_number(r->score_low), "score_high", json_number(r->score_high), "difference",
        json_number(r->difference), "difference_low", json_number(r->difference_low),
        "difference_high", json_number(r->difference_high), "void", is_void(r), "n_better",
        (json_int_t)r->n_better, "n_worse", (json_int_t)r->n_worse, "p_value",
        json_number(r->p_value), "prompt_tokens", json_number(r->prompt_tokens), "keys_per_query",
        json_number(r->keys_per_query), "keys_per_query_dense",
        json_number(r->keys_per_query_dense));
}

static json_t *names_json(const msa_eval_info *info) {
    json_t *names = json_array();
    for (size_t i = 0; i < info->n_selectors; i++)
        names = json_more(names, json_string(info->selectors[i]));
    return names;
}

static json_t *optional_text(const char *text) {
    return text ? json_text(text, strlen(text)) : json_null();
}

static json_t *model_json(const exam_args *args, const msa_model *model) {
    const msa_model_info *info = msa_model_get_info(model);
    return json_pack("{s:o, s:o, s:o, s:I, s:i}", "name", optional_text(info->name), "file",
                     optional_text(args->model.path), "index", optional_text(args->model.index),
                     "parameters", (json_int_t)info->n_parameters, "n_ctx_train",
                     info->n_ctx_train);
}

json_t *rows_json(const exam_args *args, const char *name, const msa_model *model,
                  const msa_eval_info *info, const msa_eval_row *rows, size_t n) {
    msa_session_params params;
    msa_error ignored; /* they were made before */
    if (settings_params(&args->attention, model, &params, &ignored) != MSA_OK) return NULL;
    params.attn = MSA_ATTN_MSA;
    json_t *attention = settings_json(&params, model), *list = json_array();
    json_object_del(attention, "selector"), json_object_del(attention, "n_ctx");
    json_object_del(attention, "index8"); /* auto goes by the length, which is a row's own */
    for (size_t i = 0; i < n; i++) list = json_more(list, row_json(&rows[i]));
    return json_pack("{s:s, s:o, s:o, s:o, s:s, s:s, s:I, s:I, s:f, s:o, s:b, s:o}", "eval", name,
                     "model", model_json(args, model), "attention", attention, "selectors",
                     names_json(info), "chat_template", info->chat, "haystack", info->haystack,
                     "seed", (json_int_t)args->seed, "samples", (json_int_t)args->samples,
                     "void_below", args->void_below, "out", optional_text(args->out), "complete",
                     info->n_answered == info->n_trials, "rows", list);
}

/* ---- table ----------------------------------------------------------------------------------- */

static json_t *table_row(const msa_eval_row *r) {
    char range[48] = "", difference[80] = "";
    if (r->n > 0) snprintf(range, sizeof range, "%.1f..%.1f", r->score_low, r->score_high);
    if (is_void(r))
        snprintf(difference, sizeof difference, "n/a: dense fails");
    else if (!is_dense(r) && r->n > 0)
        snprintf(difference, sizeof difference, "%+.1f (%+.1f..%+.1f)", r->difference,
                 r->difference_low, r->difference_high);
    return json_pack("{s:s, s:I, s:o, s:s, s:I, s:o, s:s, s:s, s:o, s:o}", "task", r->task,
                     "length", (json_int_t)r->length, "depth", json_number(r->depth), "selector",
                     r->selector, "n", (json_int_t)r->n, "score", json_number(r->score), "range",
                     range, "difference", difference, "p_value", json_number(r->p_value), "keys",
                     json_number(r->keys_per_query));
}

msa_status exam_print_rows(const exam_args *args, const msa_eval_row *rows, size_t n,
                           const msa_eval_info *info, msa_error *err) {
    static const table_column COLUMNS[] = {
        {.key = "task", .heading = "task"},
        {.key = "length", .heading = "length"},
        {.key = "selector", .heading = "selector"},
        {.key = "n", .heading = "n"},
        {.key = "score", .heading = "score", .decimals = 1},
        {.key = "range", .heading = "95 %"},
        {.key = "difference", .heading = "to dense (95 %)"},
        {.key = "p_value", .heading = "p", .decimals = 3},
        {.key = "keys", .heading = "keys/query", .decimals = 0},
    };
    (void)args, (void)info;
    json_t *list = json_array();
    for (size_t i = 0; i < n; i++) list = json_more(list, table_row(&rows[i]));
    if (!list) return fail_memory(err, "the table");
    msa_status status = table_print(COLUMNS, sizeof COLUMNS / sizeof *COLUMNS, list, err);
    json_decref(list);
    return status;
}
