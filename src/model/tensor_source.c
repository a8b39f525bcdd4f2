/* tensor_source.c: see tensor_source.h. */
#include "model/tensor_source.h"

#include <inttypes.h>

#include "model/stored.h"
#include "model/tensor_view.h"
#include "nn/quant.h"

static msa_status find_gguf(const tensor_source *s, const tensor_spec *spec,
                            const gguf_tensor **out, msa_error *err) {
    char name[TENSOR_NAME];
    tensor_gguf_name(spec, name);
    const gguf_tensor *t = gguf_find_tensor(s->gguf, name);
    if (!t && s->index) t = gguf_find_tensor(s->index, name);
    if (!t)
        return error_set(err, MSA_E_FORMAT, "'%s': tensor '%s' is missing", gguf_name(s->gguf),
                         name);
    bool stacked = tensor_is_expert(spec->role);
    uint64_t n_stack = stacked ? (uint64_t)s->arch->moe.n_experts : 1;
    if (t->shape[0] != (uint64_t)spec->n_in || t->shape[1] != (uint64_t)spec->n_out ||
        t->shape[2] != n_stack || t->shape[3] != 1)
        return error_set(err, MSA_E_FORMAT,
                         "'%s': tensor '%s' has shape [%" PRIu64 ", %" PRIu64 ", %" PRIu64
                         "]; the keys of the file ask for [%" PRId64 ", %" PRId64 ", %" PRIu64 "]",
                         gguf_name(s->gguf), name, t->shape[0], t->shape[1], t->shape[2],
                         spec->n_in, spec->n_out, n_stack);
    if (!quant_supported(t->type) || (tensor_is_vector(spec->role) && t->type != QUANT_F32))
        return error_set(err, MSA_E_UNSUPPORTED, "'%s': tensor '%s' is stored as %s",
                         gguf_name(s->gguf), name, quant_format_find(t->type)->name);
    *out = t;
    return MSA_OK;
}

/* Elements of a vector from adjacent pairs. */
static void reorder_vector(const arch *a, int32_t head, const gguf_tensor *t, float *out) {
    const float *from = (const float *)t->data;
    for (uint64_t i = 0; i < t->shape[0]; i++)
        out[i] = from[stored_row_in_gguf(a, head, (int64_t)i)];
}

static msa_status gguf_rows(const tensor_source *s, const tensor_spec *spec, int64_t row, int64_t n,
                            float *out, msa_error *err) {
    const gguf_tensor *t = NULL;
    msa_status status = find_gguf(s, spec, &t, err);
    if (status != MSA_OK) return status;
    int32_t head = stored_permuted_head(s->arch, spec->role);
    float offset = stored_gguf_offset(s->arch, spec->role);
    if (head && tensor_is_vector(spec->role)) {
        reorder_vector(s->arch, head, t, out);
        return MSA_OK;
    }
    size_t row_bytes = quant_row_bytes(t->type, spec->n_in);
    int64_t first = spec->expert > 0 ? spec->expert * spec->n_out : 0;
    quant_widen_fn *widen = quant_kernels_current()->widen[t->type];
    for (int64_t i = 0; i < n; i++) {
        int64_t at = head ? stored_row_in_gguf(s->arch, head, row + i) : row + i;
        float *to = out + i * spec->n_in;
        widen(t->data + (size_t)(first + at) * row_bytes, spec->n_in, to);
        for (int64_t j = 0; offset != 0 && j < spec->n_in; j++) to[j] -= offset;
    }
    return MSA_OK;
}

msa_status tensor_source_rows(void *user, const tensor_spec *spec, int64_t row, int64_t n,
                              float *out, msa_error *err) {
    const tensor_source *s = user;
    if (s->gguf) return gguf_rows(s, spec, row, n, out, err);
    tensor_view view;
    msa_status status = tensor_view_find(s->files, s->arch, spec, &view, err);
    if (status != MSA_OK) return error_prefix(err, status, "'%s': ", safetensors_name(s->files));
    for (int64_t i = 0; i < n; i++)
        tensor_view_row(&view, spec->n_in, row + i, out + i * spec->n_in);
    return MSA_OK;
}
