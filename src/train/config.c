/* config.c: reading, setting and writing a configuration by the table of keys, see config.h. */
#include "train/config.h"

#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "base/number_text.h"
#include "base/utf8.h"
#include "train/config_keys.h"

enum { TEXTS_MAX = 4096, PATH_SIZE = 128 };

/* ---- values --------------------------------------------------------------------------------- */

static void *value_of(const train_config *c, const config_key *k) {
    return (char *)(uintptr_t)c + k->offset;
}

static void free_texts(config_texts *t) {
    for (int64_t i = 0; i < t->n; i++) mem_free(t->items[i]);
    mem_free(t->items);
    *t = (config_texts){0};
}

static char *copy_text(const char *text, size_t n) {
    char *copy = mem_alloc(n + 1, 1);
    if (copy) memcpy(copy, text, n), copy[n] = 0;
    return copy;
}

static msa_status no_memory(const config_key *k, msa_error *err) {
    return error_set(err, MSA_E_NOMEM, "no memory for the value of %s", k->path);
}

/* "optim.lr is 20; expected a number from 0 to 10 (learning rate at its peak)" */
static msa_status refuse(const config_key *k, const char *found, msa_error *err) {
    char allowed[192];
    config_allowed(k, allowed, sizeof allowed);
    return error_set(err, MSA_E_ARG, "%s is %.80s; expected %s (%s)", k->path, found, allowed,
                     k->help);
}

static msa_status refuse_json(const config_key *k, const json_t *value, msa_error *err) {
    char text[96];
    size_t n = json_dumpb(value, text, sizeof text - 1, JSON_ENCODE_ANY | JSON_COMPACT);
    bool fits = n > 0 && n < sizeof text;
    if (fits) text[n] = 0;
    return refuse(k, fits ? text : "a longer or nested value", err);
}

static msa_status store_number(train_config *c, const config_key *k, double x, msa_error *err) {
    char found[64];
    bool whole = k->kind != KEY_INT || x == floor(x);
    if (!whole || !(x >= k->min && x <= k->max)) {
        snprintf(found, sizeof found, "%.15g", x);
        return refuse(k, found, err);
    }
    if (k->kind == KEY_INT)
        *(int64_t *)value_of(c, k) = (int64_t)x;
    else
        *(double *)value_of(c, k) = x;
    return MSA_OK;
}

static msa_status store_choice(train_config *c, const config_key *k, const char *text, size_t n,
                               msa_error *err) {
    const char *one;
    size_t length;
    char found[64];
    for (int i = 0; config_choice(k->choices, i, &one, &length); i++)
        if (length == n && memcmp(one, text, n) == 0) {
            *(int32_t *)value_of(c, k) = i;
            return MSA_OK;
        }
    found[0] = '\'';
    utf8_quote(found + 1, sizeof found - 2, text, n);
    size_t end = strlen(found);
    found[end] = '\'', found[end + 1] = 0;
    return refuse(k, found, err);
}

static msa_status store_text(train_config *c, const config_key *k, const char *text, size_t n,
                             msa_error *err) {
    if (memchr(text, 0, n))
        return error_set(err, MSA_E_ARG, "%s holds a NUL; expected a text without", k->path);
    char *copy = copy_text(text, n), **slot = value_of(c, k);
    if (!copy) return no_memory(k, err);
    mem_free(*slot);
    *slot = copy;
    return MSA_OK;
}

static msa_status store_texts(train_config *c, const config_key *k, const json_t *list,
                              msa_error *err) {
    size_t n = json_is_array(list) ? json_array_size(list) : 1;
    config_texts *slot = value_of(c, k), t = {0};
    if (n > TEXTS_MAX)
        return error_set(err, MSA_E_ARG,
                         "%s lists %zu texts; expected at most %d (a directory "
                         "counts as one)",
                         k->path, n, TEXTS_MAX);
    t.items = mem_calloc(n ? n : 1, sizeof *t.items);
    if (!t.items) return no_memory(k, err);
    for (size_t i = 0; i < n; i++) {
        const json_t *one = json_is_array(list) ? json_array_get(list, i) : list;
        const char *text = json_string_value(one);
        bool fits = text && text[0] && strlen(text) == json_string_length(one);
        t.items[i] = fits ? copy_text(text, strlen(text)) : NULL;
        if (!t.items[i]) {
            free_texts(&t);
            return fits ? no_memory(k, err) : refuse_json(k, list, err);
        }
        t.n++;
    }
    free_texts(slot);
    *slot = t;
    return MSA_OK;
}

static msa_status store(train_config *c, const config_key *k, const json_t *value, msa_error *err) {
    switch (k->kind) {
    case KEY_INT:
    case KEY_REAL:
        if (json_is_number(value)) return store_number(c, k, json_number_value(value), err);
        break;
    case KEY_BOOL:
        if (json_is_boolean(value)) {
            *(bool *)value_of(c, k) = json_is_true(value);
            return MSA_OK;
        }
        break;
    case KEY_CHOICE:
        if (json_is_string(value))
            return store_choice(c, k, json_string_value(value), json_string_length(value), err);
        break;
    case KEY_TEXT:
        if (json_is_string(value))
            return store_text(c, k, json_string_value(value), json_string_length(value), err);
        break;
    case KEY_TEXTS:
        if (json_is_string(value) || json_is_array(value)) return store_texts(c, k, value, err);
        break;
    }
    return refuse_json(k, value, err);
}

/* ---- reading -------------------------------------------------------------------------------- */

/* Whether some key lies below `path`: "model.index" for "model.index.dim". */
static bool is_section(const char *path) {
    size_t n = strlen(path);
    for (size_t i = 0; i < N_CONFIG_KEYS; i++)
        if (strncmp(CONFIG_KEYS[i].path, path, n) == 0 && CONFIG_KEYS[i].path[n] == '.')
            return true;
    return false;
}

/* Recursion ends where the sections of the table do. */
static msa_status read_section(train_config *c, const char *above, const json_t *object,
                               msa_error *err) {
    const char *name;
    json_t *value;
    json_object_foreach((json_t *)(uintptr_t)object, name, value) {
        char path[PATH_SIZE], shown[PATH_SIZE / 2];
        utf8_quote(shown, sizeof shown, name, strlen(name));
        snprintf(path, sizeof path, "%.60s%s%s", above, above[0] ? "." : "", shown);
        const config_key *k = config_find(path);
        msa_status status;
        if (k)
            status = store(c, k, value, err);
        else if (!is_section(path))
            status = config_unknown(path, err);
        else if (json_is_object(value))
            status = read_section(c, path, value, err);
        else
            status = error_set(err, MSA_E_ARG, "%s is a section; expected an object of keys {...}",
                               path);
        if (status != MSA_OK) return status;
    }
    return MSA_OK;
}

msa_status config_read(train_config *c, const char *text, size_t n_bytes, const char *name,
                       msa_error *err) {
    json_error_t where;
    json_t *root = json_loadb(text, n_bytes, JSON_REJECT_DUPLICATES, &where);
    if (!root)
        return error_set(err, MSA_E_FORMAT, "%s: line %d, column %d: %.200s; expected JSON", name,
                         where.line, where.column, where.text);
    msa_status status = json_is_object(root)
                            ? read_section(c, "", root, err)
                            : error_set(err, MSA_E_FORMAT, "expected an object {...}");
    json_decref(root);
    return status == MSA_OK ? MSA_OK : error_prefix(err, status, "%s: ", name);
}

/* The value of --set: JSON where the key wants a number or a list, else the text itself. */
static json_t *parse_value(const config_key *k, const char *text) {
    bool quoted = text[0] == '"' || text[0] == '[';
    if (k->kind == KEY_CHOICE || k->kind == KEY_TEXT || (k->kind == KEY_TEXTS && !quoted))
        return json_string(text);
    return json_loads(text, JSON_DECODE_ANY | JSON_REJECT_DUPLICATES, NULL);
}

msa_status config_set(train_config *c, const char *assignment, msa_error *err) {
    char path[PATH_SIZE];
    size_t n = strcspn(assignment, "=");
    if (assignment[n] == 0)
        return error_set(err, MSA_E_ARG, "'%.100s': expected key=value, found no '='", assignment);
    utf8_quote(path, sizeof path, assignment, n);
    const config_key *k = config_find(path);
    if (!k) return config_unknown(path, err);
    const char *text = assignment + n + 1;
    if (k->kind == KEY_TEXTS && text[0] == 0) {
        free_texts(value_of(c, k));
        return MSA_OK;
    }
    json_t *value = parse_value(k, text);
    if (!value) {
        char found[80];
        found[0] = '\'';
        utf8_quote(found + 1, sizeof found - 2, text, strlen(text));
        size_t end = strlen(found);
        found[end] = '\'', found[end + 1] = 0;
        return refuse(k, found, err);
    }
    msa_status status = store(c, k, value, err);
    json_decref(value);
    return status;
}

msa_status config_init(train_config *c, msa_error *err) {
    *c = (train_config){0};
    for (size_t i = 0; i < N_CONFIG_KEYS; i++) {
        char line[PATH_SIZE + 64];
        snprintf(line, sizeof line, "%s=%s", CONFIG_KEYS[i].path, CONFIG_KEYS[i].otherwise);
        msa_status status = config_set(c, line, err);
        if (status != MSA_OK) return status;
    }
    return MSA_OK;
}

void config_free(train_config *c) {
    for (size_t i = 0; i < N_CONFIG_KEYS; i++) {
        void *value = value_of(c, &CONFIG_KEYS[i]);
        if (CONFIG_KEYS[i].kind == KEY_TEXT) mem_free(*(char **)value);
        if (CONFIG_KEYS[i].kind == KEY_TEXTS) free_texts(value);
    }
    *c = (train_config){0};
}

/* ---- writing -------------------------------------------------------------------------------- */

static void write_text(const char *text, bytes *out) {
    json_t *value = json_string(text);
    size_t n = value ? json_dumpb(value, NULL, 0, JSON_ENCODE_ANY) : 0;
    char *quoted = n ? mem_alloc(n, 1) : NULL;
    if (quoted && json_dumpb(value, quoted, n, JSON_ENCODE_ANY) == n)
        bytes_append(out, quoted, n);
    else
        out->failed = true;
    mem_free(quoted);
    json_decref(value);
}

static void write_value(const train_config *c, const config_key *k, bytes *out) {
    const void *value = value_of(c, k);
    const config_texts *texts = value;
    char text[64];
    const char *one;
    size_t n;
    switch (k->kind) {
    case KEY_INT:
        snprintf(text, sizeof text, "%lld", (long long)*(const int64_t *)value);
        bytes_append_text(out, text);
        return;
    case KEY_REAL:
        number_text(text, sizeof text, 17, *(const double *)value);
        bytes_append_text(out, text);
        return;
    case KEY_BOOL: bytes_append_text(out, *(const bool *)value ? "true" : "false"); return;
    case KEY_CHOICE:
        if (!config_choice(k->choices, *(const int32_t *)value, &one, &n)) return;
        bytes_append_text(out, "\"");
        bytes_append(out, one, n);
        bytes_append_text(out, "\"");
        return;
    case KEY_TEXT: write_text(*(char *const *)value, out); return;
    case KEY_TEXTS:
        for (int64_t i = 0; i < texts->n; i++) {
            bytes_append_text(out, i ? ", " : "[");
            write_text(texts->items[i], out);
        }
        bytes_append_text(out, texts->n ? "]" : "[]");
        return;
    }
}

/* How many leading sections two paths share. */
static size_t shared_sections(const char *a, const char *b) {
    size_t shared = 0;
    for (size_t i = 0; a[i] && a[i] == b[i]; i++) shared += a[i] == '.';
    return shared;
}

static size_t count_sections(const char *path) {
    size_t n = 0;
    for (; *path; path++) n += *path == '.';
    return n;
}

static void write_indent(size_t depth, bytes *out) {
    bytes_append_text(out, "\n");
    for (size_t i = 0; i < depth; i++) bytes_append_text(out, "  ");
}

void config_write(const train_config *c, bytes *out) {
    const char *before = "";
    size_t depth = 0;
    bytes_append_text(out, "{");
    for (size_t i = 0; i < N_CONFIG_KEYS; i++) {
        const char *path = CONFIG_KEYS[i].path, *at = path;
        size_t shared = shared_sections(before, path), wanted = count_sections(path);
        for (; depth > shared; depth--) {
            write_indent(depth, out);
            bytes_append_text(out, "}");
        }
        if (i) bytes_append_text(out, ",");
        for (size_t s = 0; s < shared; s++) at = strchr(at, '.') + 1;
        for (; depth < wanted; depth++) {
            size_t n = strcspn(at, ".");
            write_indent(depth + 1, out);
            bytes_append_text(out, "\"");
            bytes_append(out, at, n);
            bytes_append_text(out, "\": {");
            at += n + 1;
        }
        write_indent(depth + 1, out);
        bytes_append_text(out, "\"");
        bytes_append_text(out, at);
        bytes_append_text(out, "\": ");
        write_value(c, &CONFIG_KEYS[i], out);
        before = path;
    }
    for (; depth > 0; depth--) {
        write_indent(depth, out);
        bytes_append_text(out, "}");
    }
    bytes_append_text(out, "\n}\n");
}

msa_status config_same_outcome(const train_config *now, const train_config *then, msa_error *err) {
    msa_status status = MSA_OK;
    for (size_t i = 0; i < N_CONFIG_KEYS && status == MSA_OK; i++) {
        const config_key *k = &CONFIG_KEYS[i];
        bytes a = {0}, b = {0};
        if (k->free) continue;
        write_value(now, k, &a);
        write_value(then, k, &b);
        bytes_terminate(&a);
        bytes_terminate(&b);
        if (a.failed || b.failed)
            status = error_set(err, MSA_E_NOMEM, "no memory to compare configurations");
        else if (strcmp(a.data, b.data) != 0)
            status = error_set(err, MSA_E_ARG,
                               "%s is %.100s, and was %.100s when the checkpoint was made; what "
                               "shapes the outcome stays when a run is resumed",
                               k->path, a.data, b.data);
        bytes_free(&a);
        bytes_free(&b);
    }
    return status;
}

/* ---- help ----------------------------------------------------------------------------------- */

void config_help(bytes *out) {
    char line[512], allowed[192];
    const char *before = "";
    for (size_t i = 0; i < N_CONFIG_KEYS; i++) {
        const config_key *k = &CONFIG_KEYS[i];
        config_allowed(k, allowed, sizeof allowed);
        if (strcspn(before, ".") != strcspn(k->path, ".") ||
            strncmp(before, k->path, strcspn(k->path, ".")) != 0) {
            snprintf(line, sizeof line, "%s%.*s\n", i ? "\n" : "", (int)strcspn(k->path, "."),
                     k->path);
            bytes_append_text(out, line);
        }
        snprintf(line, sizeof line, "  %s = %s\n      %s\n      %s%s\n", k->path,
                 k->otherwise[0] ? k->otherwise : "\"\"", k->help, allowed,
                 k->free ? "; may change when a run is resumed" : "");
        bytes_append_text(out, line);
        before = k->path;
    }
    bytes_terminate(out);
}
