/* table.c: see table.h. */
#include "cli/table.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/text.h"

enum { CELL_MAX = 128, COLUMNS_MAX = 24 };

static void format_cell(const table_column *column, const json_t *row, char cell[CELL_MAX]) {
    const json_t *value = json_object_get(row, column->key);
    double scale = column->scale != 0 ? column->scale : 1;
    const char *unit = column->unit ? column->unit : "";
    if (json_is_string(value))
        snprintf(cell, CELL_MAX, "%s", json_string_value(value));
    else if (json_is_boolean(value))
        snprintf(cell, CELL_MAX, "%s", json_is_true(value) ? "yes" : "no");
    else if (json_is_integer(value) && scale == 1)
        snprintf(cell, CELL_MAX, "%lld%s", (long long)json_integer_value(value), unit);
    else if (json_is_number(value))
        snprintf(cell, CELL_MAX, "%.*f%s", column->decimals, json_number_value(value) * scale,
                 unit);
    else
        snprintf(cell, CELL_MAX, "-");
}

static bool is_text_column(const table_column *column, const json_t *rows) {
    for (size_t r = 0; r < json_array_size(rows); r++)
        if (json_is_string(json_object_get(json_array_get(rows, r), column->key))) return true;
    return false;
}

static void print_cell(const char *cell, size_t width, bool text, bool last) {
    int padding = (int)(width - text_columns(cell, strlen(cell)));
    if (text && last)
        printf("%s", cell);
    else if (text)
        printf("%s%*s", cell, padding, "");
    else
        printf("%*s%s", padding, "", cell);
    printf(last ? "\n" : "  ");
}

msa_status table_print(const table_column *columns, size_t n_columns, const json_t *rows,
                       msa_error *err) {
    size_t width[COLUMNS_MAX], n_rows = json_array_size(rows);
    bool text[COLUMNS_MAX];
    char cell[CELL_MAX];
    if (n_columns > COLUMNS_MAX) return fail(err, MSA_E_ARG, "a table of %zu columns", n_columns);
    for (size_t c = 0; c < n_columns; c++) {
        width[c] = text_columns(columns[c].heading, strlen(columns[c].heading));
        text[c] = is_text_column(&columns[c], rows);
        for (size_t r = 0; r < n_rows; r++) {
            format_cell(&columns[c], json_array_get(rows, r), cell);
            size_t n = text_columns(cell, strlen(cell));
            if (n > width[c]) width[c] = n;
        }
    }
    for (size_t c = 0; c < n_columns; c++)
        print_cell(columns[c].heading, width[c], text[c], c + 1 == n_columns);
    for (size_t r = 0; r < n_rows; r++)
        for (size_t c = 0; c < n_columns; c++) {
            format_cell(&columns[c], json_array_get(rows, r), cell);
            print_cell(cell, width[c], text[c], c + 1 == n_columns);
        }
    return MSA_OK;
}

msa_status json_print(json_t *document, msa_error *err) {
    if (!document) return fail_memory(err, "writing JSON");
    /* What goes wrong with standard output is found when the program ends. */
    json_dumpf(document, stdout, JSON_INDENT(2) | JSON_REAL_PRECISION(7));
    putchar('\n');
    json_decref(document);
    return MSA_OK;
}

/* Jansson takes an item over whatever comes of it, also where there is nothing to put it into. */
json_t *json_more(json_t *list, json_t *item) {
    if (json_array_append_new(list, item) == 0) return list;
    json_decref(list);
    return NULL;
}

json_t *json_with(json_t *object, const char *key, json_t *value) {
    if (json_object_set_new(object, key, value) == 0) return object;
    json_decref(object);
    return NULL;
}

json_t *json_number(double value) {
    return isfinite(value) ? json_real(value) : json_null();
}

json_t *json_text(const char *bytes, size_t n_bytes) {
    static const char REPLACEMENT[] = "\xef\xbf\xbd";
    char *clean = malloc(3 * n_bytes + 1);
    if (!clean) return NULL;
    size_t n = 0;
    for (size_t i = 0; i < n_bytes;) {
        size_t length = text_character(bytes + i, n_bytes - i);
        memcpy(clean + n, length ? bytes + i : REPLACEMENT, length ? length : 3);
        n += length ? length : 3;
        i += length ? length : 1;
    }
    json_t *string = json_stringn(clean, n);
    free(clean);
    return string;
}
