/* tensor_view.c: see tensor_view.h. */
#include "model/tensor_view.h"

#include <stdio.h>
#include <string.h>

#include "base/half.h"
#include "nn/quant.h"

/* ---- names ---- */

/* The tensor of this name, in any of the places a text model may have within a larger one. */
static const safetensors_tensor *find_named(const safetensors *files, const char *name) {
    char longer[TENSOR_NAME + 32];
    const safetensors_tensor *t = safetensors_find(files, name);
    if (t) return t;
    snprintf(longer, sizeof longer, "language_model.%s", name);
    if ((t = safetensors_find(files, longer))) return t;
    if (strncmp(name, "model.", 6) != 0) return NULL;
    snprintf(longer, sizeof longer, "model.language_model.%s", name + 6);
    return safetensors_find(files, longer);
}

bool tensor_view_ignores(const char *name) {
    static const char *const starts[] = {"vision_tower.",
                                         "model.vision_tower.",
                                         "multi_modal_projector.",
                                         "model.multi_modal_projector.",
                                         "patch_merge_mlp.",
                                         "mtp.",
                                         "model.mtp.",
                                         "language_model.mtp.",
                                         "language_model.model.mtp."};
    for (size_t i = 0; i < sizeof starts / sizeof *starts; i++)
        if (strncmp(name, starts[i], strlen(starts[i])) == 0) return true;
    size_t n = strlen(name);
    static const char frequencies[] = ".rotary_emb.inv_freq";
    return n >= sizeof frequencies && strcmp(name + n - (sizeof frequencies - 1), frequencies) == 0;
}

/* ---- parts of joined tensors ---- */

static const struct joined {
    tensor_role role;
    const char *name; /* behind "model.layers.N." */
    int part, n_parts;
} JOINED[] = {
    {TENSOR_GATE, "mlp.gate_up_proj.weight", 0, 2},
    {TENSOR_UP, "mlp.gate_up_proj.weight", 1, 2},
    {TENSOR_SHARED_GATE, "mlp.shared_experts.gate_up_proj.weight", 0, 2},
    {TENSOR_SHARED_UP, "mlp.shared_experts.gate_up_proj.weight", 1, 2},
    {TENSOR_EXPERT_GATE, "mlp.experts.gate_up_proj", 0, 2},
    {TENSOR_EXPERT_UP, "mlp.experts.gate_up_proj", 1, 2},
    {TENSOR_EXPERT_DOWN, "mlp.experts.down_proj", 0, 1},
};

static const struct joined *find_joined(tensor_role role) {
    for (size_t i = 0; i < sizeof JOINED / sizeof *JOINED; i++)
        if (JOINED[i].role == role) return &JOINED[i];
    return NULL;
}

/* [experts,] rows, columns as the tensor must have them; a vector has columns alone. */
typedef struct shape {
    int n_dims;
    uint64_t at[3];
} shape;

static msa_status check(const safetensors_tensor *t, const shape *expected, msa_error *err) {
    bool same = t->n_dims == expected->n_dims;
    for (int i = 0; same && i < t->n_dims; i++) same = t->shape[i] == expected->at[i];
    char text[192], wanted[80];
    if (!same) {
        safetensors_tensor ideal = {.n_dims = expected->n_dims};
        for (int i = 0; i < ideal.n_dims; i++) ideal.shape[i] = expected->at[i];
        return error_set(err, MSA_E_FORMAT, "tensor '%s' has shape %s; config.json asks for %s",
                         t->name, safetensors_shape_text(t, text, sizeof text),
                         safetensors_shape_text(&ideal, wanted, sizeof wanted));
    }
    if (t->type == QUANT_TYPE_COUNT)
        return error_set(err, MSA_E_UNSUPPORTED,
                         "tensor '%s' is stored as %s; supported are F32, F16 and BF16", t->name,
                         t->dtype);
    return MSA_OK;
}

static msa_status find_part(const safetensors *files, const arch *a, const tensor_spec *spec,
                            tensor_view *out, int64_t *first_row, msa_error *err) {
    const struct joined *j = find_joined(spec->role);
    char name[TENSOR_NAME];
    if (j) snprintf(name, sizeof name, "model.layers.%d.%s", spec->layer, j->name);
    out->tensor = j ? find_named(files, name) : NULL;
    if (!out->tensor) return error_set(err, MSA_E_FORMAT, "tensor '%s' is missing", spec->name);
    shape expected = {0};
    if (spec->expert >= 0) expected.at[expected.n_dims++] = (uint64_t)a->moe.n_experts;
    expected.at[expected.n_dims++] = (uint64_t)(j->n_parts * spec->n_out);
    expected.at[expected.n_dims++] = (uint64_t)spec->n_in;
    *first_row =
        ((spec->expert > 0 ? (int64_t)spec->expert : 0) * j->n_parts + j->part) * spec->n_out;
    return check(out->tensor, &expected, err);
}

msa_status tensor_view_find(const safetensors *files, const arch *a, const tensor_spec *spec,
                            tensor_view *out, msa_error *err) {
    char inner[TENSOR_NAME];
    int64_t first_row = 0;
    msa_status status;
    *out = (tensor_view){.tensor = find_named(files, spec->name)};
    tensor_inner_name(spec, inner);
    if (!out->tensor) out->tensor = find_named(files, inner);
    if (out->tensor) {
        bool vector = tensor_is_vector(spec->role);
        shape expected = {vector ? 1 : 2, {(uint64_t)spec->n_out, (uint64_t)spec->n_in}};
        if (vector) expected.at[0] = (uint64_t)spec->n_in;
        status = check(out->tensor, &expected, err);
    } else {
        status = find_part(files, a, spec, out, &first_row, err);
    }
    if (status != MSA_OK) return status;
    out->type = out->tensor->type;
    out->row_bytes = quant_row_bytes(out->type, spec->n_in);
    out->data = out->tensor->data + (size_t)first_row * out->row_bytes;
    return MSA_OK;
}

void tensor_view_row(const tensor_view *v, int64_t n_in, int64_t row, float *out) {
    const uint8_t *from = v->data + (size_t)row * v->row_bytes;
    if (v->type == QUANT_F32) {
        memcpy(out, from, (size_t)n_in * sizeof *out);
        return;
    }
    for (int64_t i = 0; i < n_in; i++) {
        uint16_t half;
        memcpy(&half, from + 2 * i, 2);
        out[i] = v->type == QUANT_F16 ? f16_to_f32(half) : bf16_to_f32(half);
    }
}
