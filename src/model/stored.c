/* stored.c: see stored.h. */
#include "model/stored.h"

#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "nn/quant.h"

/* ---- order and offset ---- */

int32_t stored_permuted_head(const arch *a, tensor_role role) {
    if (a->family != ARCH_LLAMA) return 0;
    switch (role) {
    case TENSOR_Q:
    case TENSOR_K:
    case TENSOR_Q_BIAS:
    case TENSOR_K_BIAS:
    case TENSOR_Q_NORM:
    case TENSOR_K_NORM: return a->head_dim;
    case TENSOR_INDEX_Q:
    case TENSOR_INDEX_K:
    case TENSOR_INDEX_Q_NORM:
    case TENSOR_INDEX_K_NORM: return a->index.dim;
    default: return 0;
    }
}

int64_t stored_row_from_gguf(const arch *a, int32_t head, int64_t row) {
    int64_t at = row % head;
    return at >= a->n_rot ? row : row - at + at % 2 * (a->n_rot / 2) + at / 2;
}

int64_t stored_row_in_gguf(const arch *a, int32_t head, int64_t row) {
    int64_t at = row % head, half = a->n_rot / 2;
    if (at >= a->n_rot) return row;
    return row - at + (at < half ? 2 * at : 2 * (at - half) + 1);
}

float stored_gguf_offset(const arch *a, tensor_role role) {
    return a->family == ARCH_MINIMAX_M3 && tensor_is_norm(role) ? 1 : 0;
}

/* ---- the list ---- */

typedef struct lister {
    stored_list *list;
    const arch *a;
    uint32_t type;
    bool adapter;
    bool failed;
} lister;

static uint32_t type_of(const lister *l, tensor_role role, int64_t n_in) {
    if (tensor_is_vector(role) || role == TENSOR_ROUTER) return QUANT_F32;
    if (tensor_is_index(role) && !l->adapter) return QUANT_F32;
    return n_in % quant_format_find(l->type)->block_elems ? QUANT_F16 : l->type;
}

/* n_roles tensors of equal shape as one; experts: with all experts of the layer. */
static stored_tensor *add(lister *l, const char *name, int32_t layer, const tensor_role *roles,
                          int n_roles, bool experts) {
    void *tensors = l->list->tensors;
    bool grown = mem_grow(&tensors, &l->list->capacity, l->list->n + 1, sizeof *l->list->tensors);
    l->list->tensors = tensors;
    l->failed |= !grown;
    if (!grown) return NULL;
    stored_tensor *t = &l->list->tensors[l->list->n++];
    tensor_spec spec = tensor_spec_of(l->a, roles[0], layer, -1);
    *t = (stored_tensor){.layer = layer,
                         .n_roles = n_roles,
                         .n_experts = experts ? l->a->moe.n_experts : 0,
                         .type = type_of(l, roles[0], spec.n_in)};
    snprintf(t->name, sizeof t->name, "%s", name);
    memcpy(t->roles, roles, (size_t)n_roles * sizeof *roles);
    if (experts) t->shape[t->n_dims++] = (uint64_t)t->n_experts;
    if (!tensor_is_vector(roles[0])) t->shape[t->n_dims++] = (uint64_t)(n_roles * spec.n_out);
    t->shape[t->n_dims++] = (uint64_t)spec.n_in;
    return t;
}

static void add_gguf(lister *l, tensor_role role, int32_t layer) {
    char name[TENSOR_NAME];
    tensor_spec spec = tensor_spec_of(l->a, role, layer, -1);
    tensor_gguf_name(&spec, name);
    add(l, name, layer, &role, 1, tensor_is_expert(role));
}

static void add_safetensors(lister *l, tensor_role role, int32_t layer) {
    char name[TENSOR_NAME];
    tensor_spec spec = tensor_spec_of(l->a, role, layer, -1);
    if (l->a->family != ARCH_MINIMAX_M3) {
        add(l, spec.name, layer, &role, 1, false);
        return;
    }
    const struct {
        tensor_role first, second;
        const char *name;
    } joined[] = {
        {TENSOR_GATE, TENSOR_UP, "mlp.gate_up_proj.weight"},
        {TENSOR_SHARED_GATE, TENSOR_SHARED_UP, "mlp.shared_experts.gate_up_proj.weight"},
        {TENSOR_EXPERT_GATE, TENSOR_EXPERT_UP, "mlp.experts.gate_up_proj"},
        {TENSOR_EXPERT_DOWN, TENSOR_ROLE_COUNT, "mlp.experts.down_proj"},
    };
    for (size_t i = 0; i < sizeof joined / sizeof *joined; i++) {
        if (role == joined[i].second) return;
        if (role != joined[i].first) continue;
        const tensor_role roles[2] = {joined[i].first, joined[i].second};
        snprintf(name, sizeof name, "model.layers.%d.%s", layer, joined[i].name);
        add(l, name, layer, roles, joined[i].second == TENSOR_ROLE_COUNT ? 1 : 2,
            tensor_is_expert(role));
        return;
    }
    tensor_inner_name(&spec, name);
    add(l, name, layer, &role, 1, false);
}

static void add_role(lister *l, stored_layout layout, tensor_role role, int32_t layer) {
    if (layout == STORED_SAFETENSORS)
        add_safetensors(l, role, layer);
    else if (layout == STORED_GGUF || tensor_is_index(role))
        add_gguf(l, role, layer);
}

/* A stable partition: numbers of 4 bytes first, so that all lie at multiples of their size. */
static bool put_wide_first(stored_list *list) {
    stored_tensor *sorted = mem_alloc(list->n, sizeof *sorted);
    if (!sorted) return false;
    size_t n = 0;
    for (int narrow = 0; narrow < 2; narrow++)
        for (size_t i = 0; i < list->n; i++)
            if ((list->tensors[i].type != QUANT_F32) == narrow) sorted[n++] = list->tensors[i];
    mem_free(list->tensors);
    list->tensors = sorted;
    list->capacity = list->n;
    return true;
}

msa_status stored_list_create(stored_list *list, const arch *a, stored_layout layout, uint32_t type,
                              msa_error *err) {
    *list = (stored_list){0};
    lister l = {list, a, type, layout == STORED_ADAPTER, false};
    add_role(&l, layout, TENSOR_EMBED, -1);
    for (int32_t layer = 0; layer < a->n_layers; layer++)
        for (int role = 0; role < TENSOR_ROLE_COUNT; role++)
            if (tensor_layer_has(a, layer, (tensor_role)role))
                add_role(&l, layout, (tensor_role)role, layer);
    add_role(&l, layout, TENSOR_OUTPUT_NORM, -1);
    if (!a->tied)
        add_role(&l, layout, TENSOR_OUTPUT, -1);
    else if (layout == STORED_GGUF && a->family == ARCH_MINIMAX_M3)
        add(&l, "output.weight", -1, &(tensor_role){TENSOR_EMBED}, 1, false); /* never tied there */
    if (!l.failed && (layout != STORED_SAFETENSORS || put_wide_first(list))) return MSA_OK;
    stored_list_free(list);
    return error_set(err, MSA_E_NOMEM, "no memory for a table of tensors");
}

void stored_list_free(stored_list *list) {
    mem_free(list->tensors);
    *list = (stored_list){0};
}
