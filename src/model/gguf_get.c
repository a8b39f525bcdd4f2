/* gguf_get.c: the typed getters of gguf.h, and its strings. */
#include <inttypes.h>
#include <math.h>
#include <string.h>

#include "model/gguf.h"

static const struct {
    const char *name;
    unsigned n_bytes; /* 0: of no fixed size */
    char kind;        /* 'u'nsigned, 's'igned, 'f'loat, else 0 */
} TYPES[GGUF_TYPE_COUNT] = {
    [GGUF_U8] = {"u8", 1, 'u'},     [GGUF_I8] = {"i8", 1, 's'},   [GGUF_U16] = {"u16", 2, 'u'},
    [GGUF_I16] = {"i16", 2, 's'},   [GGUF_U32] = {"u32", 4, 'u'}, [GGUF_I32] = {"i32", 4, 's'},
    [GGUF_F32] = {"f32", 4, 'f'},   [GGUF_BOOL] = {"bool", 1, 0}, [GGUF_STRING] = {"string", 0, 0},
    [GGUF_ARRAY] = {"array", 0, 0}, [GGUF_U64] = {"u64", 8, 'u'}, [GGUF_I64] = {"i64", 8, 's'},
    [GGUF_F64] = {"f64", 8, 'f'},
};

const char *gguf_type_name(gguf_type type) {
    return (unsigned)type < GGUF_TYPE_COUNT ? TYPES[type].name : "?";
}

unsigned gguf_type_size(gguf_type type) {
    return (unsigned)type < GGUF_TYPE_COUNT ? TYPES[type].n_bytes : 0;
}

const char *gguf_printable(gguf_string s, char out[GGUF_PRINTABLE]) {
    size_t n = s.n < 64 ? (size_t)s.n : 64;
    for (size_t i = 0; i < n; i++) out[i] = s.data[i] >= ' ' && s.data[i] <= '~' ? s.data[i] : '?';
    strcpy(out + n, s.n > 64 ? "..." : "");
    return out;
}

gguf_string gguf_string_next(const uint8_t **cursor) {
    uint64_t n;
    memcpy(&n, *cursor, 8);
    gguf_string s = {(const char *)*cursor + 8, n};
    *cursor += 8 + n;
    return s;
}

bool gguf_string_is(gguf_string s, const char *text) {
    return s.n == strlen(text) && memcmp(s.data, text, s.n) == 0;
}

static msa_status wrong_type(const gguf_value *v, const char *key, const char *expected,
                             msa_error *err) {
    return error_set(err, MSA_E_FORMAT, "key '%s' is of type %s%s; expected %s", key,
                     v->type == GGUF_ARRAY ? "array of " : "", gguf_type_name(v->element),
                     expected);
}

static msa_status find_value(const gguf_file *file, const char *key, const char *expected,
                             const gguf_value **out, msa_error *err) {
    *out = gguf_find(file, key);
    if (*out) return MSA_OK;
    return error_set(err, MSA_E_FORMAT, "key '%s' (%s) is missing", key, expected);
}

msa_status gguf_get_u32(const gguf_file *file, const char *key, uint32_t *out, msa_error *err) {
    const gguf_value *v;
    msa_status status = find_value(file, key, "u32", &v, err);
    if (status != MSA_OK) return status;
    char kind = TYPES[v->type].kind;
    if (kind != 'u' && kind != 's') return wrong_type(v, key, "u32", err);
    unsigned bits = 8 * TYPES[v->type].n_bytes;
    uint64_t magnitude = 0;
    memcpy(&magnitude, v->data, bits / 8);
    bool negative = kind == 's' && magnitude >> (bits - 1);
    if (negative) magnitude = (bits < 64 ? (uint64_t)1 << bits : 0) - magnitude;
    if (negative || magnitude > UINT32_MAX)
        return error_set(err, MSA_E_FORMAT, "key '%s' is %s%" PRIu64 "; expected 0 to %" PRIu32,
                         key, negative ? "-" : "", magnitude, UINT32_MAX);
    *out = (uint32_t)magnitude;
    return MSA_OK;
}

msa_status gguf_get_f32(const gguf_file *file, const char *key, float *out, msa_error *err) {
    const gguf_value *v;
    msa_status status = find_value(file, key, "f32", &v, err);
    if (status != MSA_OK) return status;
    double wide;
    float narrow;
    if (v->type == GGUF_F64) {
        memcpy(&wide, v->data, 8);
        narrow = (float)wide;
    } else if (v->type == GGUF_F32) {
        memcpy(&narrow, v->data, 4);
        wide = narrow;
    } else {
        return wrong_type(v, key, "f32", err);
    }
    if (!isfinite(narrow))
        return error_set(err, MSA_E_FORMAT, "key '%s' is %g; expected a finite f32", key, wide);
    *out = narrow;
    return MSA_OK;
}

msa_status gguf_get_bool(const gguf_file *file, const char *key, bool *out, msa_error *err) {
    const gguf_value *v;
    msa_status status = find_value(file, key, "bool", &v, err);
    if (status != MSA_OK) return status;
    if (v->type != GGUF_BOOL) return wrong_type(v, key, "bool", err);
    *out = v->data[0] != 0;
    return MSA_OK;
}

msa_status gguf_get_string(const gguf_file *file, const char *key, gguf_string *out,
                           msa_error *err) {
    const gguf_value *v;
    msa_status status = find_value(file, key, "string", &v, err);
    if (status != MSA_OK) return status;
    if (v->type != GGUF_STRING) return wrong_type(v, key, "string", err);
    const uint8_t *at = v->data;
    *out = gguf_string_next(&at);
    return MSA_OK;
}

msa_status gguf_get_array(const gguf_file *file, const char *key, gguf_type element,
                          gguf_array *out, msa_error *err) {
    char expected[32] = "array of ";
    strcat(expected, gguf_type_name(element));
    const gguf_value *v;
    msa_status status = find_value(file, key, expected, &v, err);
    if (status != MSA_OK) return status;
    if (v->type != GGUF_ARRAY || v->element != element) return wrong_type(v, key, expected, err);
    *out = (gguf_array){v->data, v->n};
    return MSA_OK;
}

msa_status gguf_get_u32_or(const gguf_file *file, const char *key, uint32_t otherwise,
                           uint32_t *out, msa_error *err) {
    if (gguf_find(file, key)) return gguf_get_u32(file, key, out, err);
    *out = otherwise;
    return MSA_OK;
}

msa_status gguf_get_f32_or(const gguf_file *file, const char *key, float otherwise, float *out,
                           msa_error *err) {
    if (gguf_find(file, key)) return gguf_get_f32(file, key, out, err);
    *out = otherwise;
    return MSA_OK;
}

msa_status gguf_get_bool_or(const gguf_file *file, const char *key, bool otherwise, bool *out,
                            msa_error *err) {
    if (gguf_find(file, key)) return gguf_get_bool(file, key, out, err);
    *out = otherwise;
    return MSA_OK;
}
