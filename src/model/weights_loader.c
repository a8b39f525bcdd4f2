/* weights_loader.c: see weights_loader.h. */
#include "model/weights_loader.h"

#include <inttypes.h>
#include <stdio.h>

#include "nn/quant.h"

const char *loader_key(loader *l, const char *suffix) {
    snprintf(l->key, sizeof l->key, "%s%s", l->prefix, suffix);
    return l->key;
}

msa_status loader_count(loader *l, const char *suffix, int32_t from, int32_t otherwise,
                        int32_t *out) {
    uint32_t value = 0;
    const char *key = loader_key(l, suffix);
    msa_status status = otherwise >= 0
                            ? gguf_get_u32_or(l->file, key, (uint32_t)otherwise, &value, l->err)
                            : gguf_get_u32(l->file, key, &value, l->err);
    if (status != MSA_OK) return status;
    if (value < (uint32_t)from || value > INT32_MAX)
        return error_set(l->err, MSA_E_FORMAT, "key '%s' is %" PRIu32 "; expected %d to %d", key,
                         value, from, INT32_MAX);
    *out = (int32_t)value;
    return MSA_OK;
}

msa_status loader_positive(loader *l, const char *suffix, float otherwise, double *out) {
    float value = 0;
    const char *key = loader_key(l, suffix);
    msa_status status = otherwise > 0 ? gguf_get_f32_or(l->file, key, otherwise, &value, l->err)
                                      : gguf_get_f32(l->file, key, &value, l->err);
    if (status != MSA_OK) return status;
    if (!(value > 0))
        return error_set(l->err, MSA_E_FORMAT, "key '%s' is %g; expected more than 0", key,
                         (double)value);
    *out = value;
    return MSA_OK;
}

/* The tensor of this name, known to be [n, n_out, n_in] (1: a dimension less). NULL, and MSA_OK,
 * where it may be missing and is. */
static msa_status find_tensor(loader *l, const char *name, demand demanded, const int64_t shape[3],
                              const gguf_tensor **out) {
    char expected[80];
    if (shape[2] > 1)
        snprintf(expected, sizeof expected, "[%" PRId64 ", %" PRId64 ", %" PRId64 "]", shape[0],
                 shape[1], shape[2]);
    else
        snprintf(expected, sizeof expected, "[%" PRId64 ", %" PRId64 "]", shape[0], shape[1]);
    const gguf_tensor *t = *out = demanded == ABSENT ? NULL : gguf_find_tensor(l->file, name);
    if (!t && demanded != REQUIRED) return MSA_OK;
    if (!t) return error_set(l->err, MSA_E_FORMAT, "tensor '%s' (%s) is missing", name, expected);
    l->used[t - gguf_tensor_at(l->file, 0)] = true;
    if (t->shape[0] != (uint64_t)shape[0] || t->shape[1] != (uint64_t)shape[1] ||
        t->shape[2] != (uint64_t)shape[2] || t->shape[3] != 1)
        return error_set(l->err, MSA_E_FORMAT,
                         "tensor '%s' has shape [%" PRIu64 ", %" PRIu64 ", %" PRIu64 ", %" PRIu64
                         "]; the keys of the file ask for %s",
                         name, t->shape[0], t->shape[1], t->shape[2], t->shape[3], expected);
    return MSA_OK;
}

msa_status loader_matrices(loader *l, const char *name, int64_t n, int64_t n_out, int64_t n_in,
                           gemm_weight *out, size_t step_bytes) {
    const gguf_tensor *t;
    msa_status status = find_tensor(l, name, REQUIRED, (int64_t[]){n_in, n_out, n}, &t);
    if (status != MSA_OK) return status;
    if (!quant_supported(t->type))
        return error_set(l->err, MSA_E_UNSUPPORTED,
                         "tensor '%s' is stored as %s; supported are F32, F16, BF16, Q4_0, Q4_1, "
                         "Q5_0, Q5_1, Q8_0, Q4_K, Q5_K and Q6_K",
                         name, quant_format_find(t->type)->name);
    size_t row_bytes = quant_row_bytes(t->type, n_in), bytes = row_bytes * (size_t)n_out;
    for (int64_t i = 0; i < n; i++) {
        gemm_weight *to = (gemm_weight *)((char *)out + (size_t)i * step_bytes);
        *to = (gemm_weight){t->data + (size_t)i * bytes, t->type, n_out, n_in, row_bytes};
    }
    return MSA_OK;
}

msa_status loader_matrix(loader *l, const char *name, int64_t n_out, int64_t n_in,
                         gemm_weight *out) {
    return loader_matrices(l, name, 1, n_out, n_in, out, sizeof *out);
}

static msa_status find_floats(loader *l, const char *name, demand demanded, int64_t n_out,
                              int64_t n_in, const float **out) {
    const gguf_tensor *t;
    *out = NULL;
    msa_status status = find_tensor(l, name, demanded, (int64_t[]){n_in, n_out, 1}, &t);
    if (status != MSA_OK || !t) return status;
    if (t->type != QUANT_F32)
        return error_set(l->err, MSA_E_UNSUPPORTED,
                         "tensor '%s' is stored as %s; expected F32, as every vector%s is", name,
                         quant_format_find(t->type)->name, n_out > 1 ? " and router" : "");
    *out = (const float *)t->data;
    return MSA_OK;
}

msa_status loader_vector(loader *l, const char *name, demand demanded, int64_t n,
                         const float **out) {
    return find_floats(l, name, demanded, 1, n, out);
}

msa_status loader_floats(loader *l, const char *name, int64_t n_out, int64_t n_in,
                         const float **out) {
    return find_floats(l, name, REQUIRED, n_out, n_in, out);
}

msa_status loader_account(loader *l, int64_t *n_parameters, int64_t *n_bytes) {
    for (size_t i = 0; i < gguf_tensor_count(l->file); i++) {
        const gguf_tensor *t = gguf_tensor_at(l->file, i);
        char printable[GGUF_PRINTABLE];
        if (!l->used[i])
            return error_set(l->err, MSA_E_UNSUPPORTED,
                             "tensor '%s' has no place in architecture '%s' with %d layers as this "
                             "version knows it; running without it would give wrong results",
                             gguf_printable(t->name, printable), l->w->architecture,
                             l->w->arch.n_layers);
        uint64_t n_elems = t->shape[0] * t->shape[1] * t->shape[2] * t->shape[3];
        if (__builtin_add_overflow(*n_parameters, n_elems, n_parameters) ||
            __builtin_add_overflow(*n_bytes, t->n_bytes, n_bytes))
            return error_set(l->err, MSA_E_FORMAT, "the tensors together overflow 63 bits");
    }
    return MSA_OK;
}
