/* convert_report.c: before and after, from the evaluations in the logs: see convert.h. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "cli/convert.h"
#include "cli/plot_data.h"
#include "cli/table.h"

/* The first and the last evaluation of a log. */
typedef struct exams {
    json_t *first, *last;
} exams;

static msa_status keep_exam(void *user, const json_t *record, msa_error *err) {
    exams *e = user;
    const char *event = json_string_value(json_object_get(record, "event"));
    (void)err;
    if (!event || strcmp(event, "exam") != 0) return MSA_OK;
    json_t *copy = json_deep_copy(record);
    if (!e->first) e->first = json_incref(copy);
    json_decref(e->last);
    e->last = copy;
    return MSA_OK;
}

static exams exams_of(const char *log) {
    exams e = {0};
    msa_error ignored;
    if (log) plot_data_each(log, keep_exam, &e, &ignored);
    return e;
}

static void drop(exams *e) {
    json_decref(e->first);
    json_decref(e->last);
}

/* A number of the text that is held out. */
static double text_number(const json_t *exam, const char *key) {
    const json_t *text = json_object_get(json_object_get(exam, "sources"), "text");
    const json_t *x = json_object_get(text, key);
    return json_is_number(x) ? json_number_value(x) : NAN;
}

/* How much was read for a figure: what it can be off by. */
static json_t *size_of(const json_t *exam) {
    static const char *const KEYS[][2] = {
        {"pieces", "pieces"}, {"tokens", "n"}, {"tokens_late", "n_late"}};
    json_t *size = json_object();
    for (size_t i = 0; i < sizeof KEYS / sizeof *KEYS; i++) {
        double n = text_number(exam, KEYS[i][1]);
        json_object_set_new(size, KEYS[i][0], isnan(n) ? json_null() : json_integer((json_int_t)n));
    }
    return size;
}

static void add_nll(json_t *rows, const char *name, const json_t *exam, bool sparse) {
    double dense = text_number(exam, "dense_late");
    double late = text_number(exam, sparse ? "sparse_late" : "dense_late");
    double all = text_number(exam, sparse ? "sparse" : "dense");
    json_array_append_new(rows, json_pack("{s:s, s:o, s:o, s:o}", "attention", name, "nll",
                                          json_number(all), "nll_late", json_number(late),
                                          "above_dense", json_number(late - dense)));
}

/* Mean over the groups of a layer. */
static double of_layer(const json_t *exam, const char *key, const char *layer) {
    const json_t *list =
        json_object_get(json_object_get(json_object_get(exam, "index"), key), layer);
    double sum = 0;
    size_t n = json_array_size(list);
    for (size_t i = 0; i < n; i++) sum += json_number_value(json_array_get(list, i));
    return n ? sum / (double)n : NAN;
}

static json_t *layer_row(const char *name, const json_t *before, const json_t *after) {
    static const char *const KEYS[][2] = {{"kl", "kl_layers"},
                                          {"recall", "recall_layers"},
                                          {"captured", "captured_layers"},
                                          {"oracle", "oracle_layers"}};
    json_t *row = json_pack("{s:s}", "layer", name);
    for (size_t i = 0; i < sizeof KEYS / sizeof *KEYS; i++) {
        char key[32];
        snprintf(key, sizeof key, "%s_before", KEYS[i][0]);
        json_object_set_new(row, key, json_number(of_layer(before, KEYS[i][1], name)));
        snprintf(key, sizeof key, "%s_after", KEYS[i][0]);
        json_object_set_new(row, key, json_number(of_layer(after, KEYS[i][1], name)));
    }
    return row;
}

/* The means of the rows, as a row of its own. */
static void add_mean(json_t *rows) {
    size_t n = json_array_size(rows);
    json_t *mean = json_pack("{s:s}", "layer", "mean"), *value;
    const char *key;
    if (n == 0) {
        json_decref(mean);
        return;
    }
    json_object_foreach(json_array_get(rows, 0), key, value) {
        double sum = 0;
        if (json_is_string(value)) continue;
        for (size_t i = 0; i < n; i++) {
            const json_t *x = json_object_get(json_array_get(rows, i), key);
            sum += json_is_number(x) ? json_number_value(x) : NAN; /* null: not measured */
        }
        json_object_set_new(mean, key, json_number(sum / (double)n));
    }
    json_array_append_new(rows, mean);
}

json_t *convert_findings(const char *index_log, const char *cpt_log) {
    exams index = exams_of(index_log), cpt = exams_of(cpt_log);
    const json_t *last = cpt.last ? cpt.last : index.last;
    json_t *nll = json_array(), *layers = json_array(), *size = size_of(last), *value;
    const char *layer;
    if (index.first) {
        add_nll(nll, "dense", index.first, false);
        add_nll(nll, "one shared key, untrained", index.first, true);
        add_nll(nll, "index, trained", index.last, true);
    }
    if (cpt.last) {
        add_nll(nll, "dense, backbone trained too", cpt.last, false);
        add_nll(nll, "index, backbone trained too", cpt.last, true);
    }
    json_object_foreach(json_object_get(json_object_get(last, "index"), "kl_layers"), layer, value)
        json_array_append_new(layers, layer_row(layer, index.first, last));
    add_mean(layers);
    drop(&index);
    drop(&cpt);
    return json_pack("{s:o, s:o, s:o}", "held_out", size, "nll", nll, "layers", layers);
}

static long long whole(const json_t *object, const char *key) {
    return (long long)json_integer_value(json_object_get(object, key));
}

msa_status convert_print(const json_t *findings, msa_error *err) {
    static const table_column NLL[] = {
        {.key = "attention", .heading = "held-out text"},
        {.key = "nll", .heading = "NLL", .decimals = 4},
        {.key = "nll_late", .heading = "NLL, 2nd half of the context", .decimals = 4},
        {.key = "above_dense", .heading = "above dense", .decimals = 4},
    };
    static const table_column LAYERS[] = {
        {.key = "layer", .heading = "layer"},
        {.key = "kl_before", .heading = "KL before", .decimals = 3},
        {.key = "kl_after", .heading = "after", .decimals = 3},
        {.key = "recall_before", .heading = "block recall before", .decimals = 3},
        {.key = "recall_after", .heading = "after", .decimals = 3},
        {.key = "captured_before", .heading = "mass before", .decimals = 3},
        {.key = "captured_after", .heading = "after", .decimals = 3},
        {.key = "oracle_after", .heading = "of the best blocks", .decimals = 3},
    };
    msa_status status =
        table_print(NLL, sizeof NLL / sizeof *NLL, json_object_get(findings, "nll"), err);
    const json_t *size = json_object_get(findings, "held_out");
    if (status == MSA_OK && json_is_integer(json_object_get(size, "pieces")))
        printf("over %lld piece%s of it, %lld tokens (%lld in the 2nd half)\n",
               whole(size, "pieces"), whole(size, "pieces") == 1 ? "" : "s", whole(size, "tokens"),
               whole(size, "tokens_late"));
    if (status != MSA_OK || json_array_size(json_object_get(findings, "layers")) == 0)
        return status;
    printf("\n");
    return table_print(LAYERS, sizeof LAYERS / sizeof *LAYERS, json_object_get(findings, "layers"),
                       err);
}
