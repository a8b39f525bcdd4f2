/* golden.c: reading golden files. */
#include "support/golden.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "support/support.h"

struct golden {
    char path[256];
    json_t *header;
    char *file;  /* the whole of it, aligned */
    size_t data; /* where the arrays start */
    size_t size;
};

golden *golden_open(const char *name) {
    golden *g = calloc(1, sizeof *g);
    assert_non_null(g);
    snprintf(g->path, sizeof g->path, "tests/oracle/golden/%s.golden", name);
    FILE *f = fopen(test_path(g->path), "rb");
    if (!f) fail_msg("%s: cannot be opened", g->path);
    assert_int_equal(fseek(f, 0, SEEK_END), 0);
    g->size = (size_t)ftell(f);
    rewind(f);
    g->file = aligned_alloc(64, (g->size + 64) / 64 * 64);
    assert_non_null(g->file);
    assert_int_equal(fread(g->file, 1, g->size, f), g->size);
    fclose(f);

    const char *end = memchr(g->file, '\n', g->size);
    if (!end) fail_msg("%s: no header line", g->path);
    g->data = (size_t)(end + 1 - g->file);
    json_error_t err;
    g->header = json_loadb(g->file, g->data, 0, &err);
    if (!g->header) fail_msg("%s: header: %s", g->path, err.text);
    assert_int_equal(g->data % 64, 0);
    return g;
}

void golden_close(golden *g) {
    if (!g) return;
    json_decref(g->header);
    free(g->file);
    free(g);
}

static json_t *find(const golden *g, const char *part, const char *name) {
    json_t *value = json_object_get(json_object_get(g->header, part), name);
    if (!value) fail_msg("%s: has no %s '%s'", g->path, part, name);
    return value;
}

size_t golden_count(const golden *g, const char *name) {
    json_t *shape = json_object_get(find(g, "arrays", name), "shape");
    size_t count = 1;
    for (size_t i = 0; i < json_array_size(shape); i++)
        count *= (size_t)json_integer_value(json_array_get(shape, i));
    return count;
}

static const void *array(const golden *g, const char *name, const char *dtype, size_t n,
                         size_t element) {
    json_t *entry = find(g, "arrays", name);
    const char *found = json_string_value(json_object_get(entry, "dtype"));
    size_t offset = (size_t)json_integer_value(json_object_get(entry, "offset"));
    size_t count = golden_count(g, name);
    if (!found || strcmp(found, dtype) != 0)
        fail_msg("%s: '%s' holds %s, the test asks for %s", g->path, name, found, dtype);
    if (count != n)
        fail_msg("%s: '%s' has %zu elements, the test asks for %zu", g->path, name, count, n);
    if (offset > g->size - g->data || count > (g->size - g->data - offset) / element)
        fail_msg("%s: '%s' ends behind the end of the file", g->path, name);
    return g->file + g->data + offset;
}

const float *golden_f32(const golden *g, const char *name, size_t n) {
    return array(g, name, "f32", n, 4);
}

const int32_t *golden_i32(const golden *g, const char *name, size_t n) {
    return array(g, name, "i32", n, 4);
}

const uint16_t *golden_u16(const golden *g, const char *name, size_t n) {
    return array(g, name, "u16", n, 2);
}

const char *golden_text(const golden *g, const char *name, size_t n) {
    return array(g, name, "u8", n, 1);
}

int golden_int(const golden *g, const char *name) {
    json_t *value = find(g, "facts", name);
    if (!json_is_integer(value)) fail_msg("%s: fact '%s' is no whole number", g->path, name);
    return (int)json_integer_value(value);
}

double golden_number(const golden *g, const char *name) {
    json_t *value = find(g, "facts", name);
    if (!json_is_number(value)) fail_msg("%s: fact '%s' is no number", g->path, name);
    return json_number_value(value);
}

const char *golden_string(const golden *g, const char *name) {
    json_t *value = find(g, "facts", name);
    if (!json_is_string(value)) fail_msg("%s: fact '%s' is no string", g->path, name);
    return json_string_value(value);
}
