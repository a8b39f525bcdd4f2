/* table.h: results, as an aligned table for people or as JSON for programs, from the same rows.
 *
 * A row is a JSON object; a column names the member it shows. Members without a column appear in
 * the JSON only. Values that JSON has no word for (NaN, infinity) become null and print as "-". */
#ifndef MSA_CLI_TABLE_H
#define MSA_CLI_TABLE_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

#include "cli/fail.h"

typedef struct table_column {
    const char *key;     /* member of a row */
    const char *heading; /* "tokens/s" */
    int decimals;        /* of real numbers */
    double scale;        /* numbers are shown times this; 0 stands for 1 */
    const char *unit;    /* behind each number, e.g. " %"; NULL for none */
} table_column;

/* Rows to standard output: text left, numbers right. */
msa_status table_print(const table_column *columns, size_t n_columns, const json_t *rows,
                       msa_error *err);

/* A JSON document to standard output, indented, with a line feed. Takes over `document`; NULL, what
 * Jansson answers when memory runs out, is an error. */
msa_status json_print(json_t *document, msa_error *err);

/* A list with an item more, an object with a member more; they take over both. NULL, and both are
 * gone, where memory ran out now or before, so that a chain of them is asked once, at its end. */
json_t *json_more(json_t *list, json_t *item);
json_t *json_with(json_t *object, const char *key, json_t *value);

/* A number; null where it is not finite. */
json_t *json_number(double value);
/* Any bytes as a string; what is not UTF-8 becomes U+FFFD. */
json_t *json_text(const char *bytes, size_t n_bytes);

#endif
