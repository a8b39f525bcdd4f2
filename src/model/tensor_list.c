/* tensor_list.c: see tensor_list.h. A role is a row of a table; a list is the rows that an
 * architecture asks for, layer by layer. */
#include "model/tensor_list.h"

#include <stdio.h>

#include "base/mem.h"

enum { MAX_TENSORS = 1 << 24 };

typedef enum extent { /* of a side of a tensor, in an architecture's numbers */
                      ONE,
                      VOCAB,
                      EMBD,
                      Q_WIDTH,
                      KV_WIDTH,
                      HEAD,
                      INDEX_WIDTH,
                      INDEX_HEAD,
                      FF,
                      EXPERTS,
                      FF_EXPERT,
                      FF_SHARED
} extent;

typedef enum nature { MATRIX, NORM, BIAS } nature;

/* "%d" once for the layer, twice for layer and expert. inner NULL: the same as name. */
static const struct row {
    const char *name, *inner, *gguf;
    extent n_out, n_in;
    nature nature;
} ROWS[TENSOR_ROLE_COUNT] = {
#define L "model.layers.%d."
#define S L "self_attn."
#define M L "block_sparse_moe."
    [TENSOR_EMBED] = {"model.embed_tokens.weight", NULL, "token_embd.weight", VOCAB, EMBD, MATRIX},
    [TENSOR_ATTN_NORM] = {L "input_layernorm.weight", NULL, "blk.%d.attn_norm.weight", ONE, EMBD,
                          NORM},
    [TENSOR_Q] = {S "q_proj.weight", NULL, "blk.%d.attn_q.weight", Q_WIDTH, EMBD, MATRIX},
    [TENSOR_K] = {S "k_proj.weight", NULL, "blk.%d.attn_k.weight", KV_WIDTH, EMBD, MATRIX},
    [TENSOR_V] = {S "v_proj.weight", NULL, "blk.%d.attn_v.weight", KV_WIDTH, EMBD, MATRIX},
    [TENSOR_O] = {S "o_proj.weight", NULL, "blk.%d.attn_output.weight", EMBD, Q_WIDTH, MATRIX},
    [TENSOR_Q_BIAS] = {S "q_proj.bias", NULL, "blk.%d.attn_q.bias", ONE, Q_WIDTH, BIAS},
    [TENSOR_K_BIAS] = {S "k_proj.bias", NULL, "blk.%d.attn_k.bias", ONE, KV_WIDTH, BIAS},
    [TENSOR_V_BIAS] = {S "v_proj.bias", NULL, "blk.%d.attn_v.bias", ONE, KV_WIDTH, BIAS},
    [TENSOR_Q_NORM] = {S "q_norm.weight", NULL, "blk.%d.attn_q_norm.weight", ONE, HEAD, NORM},
    [TENSOR_K_NORM] = {S "k_norm.weight", NULL, "blk.%d.attn_k_norm.weight", ONE, HEAD, NORM},
    [TENSOR_INDEX_Q] = {S "index_q_proj.weight", S "indexer.q_proj.weight",
                        "blk.%d.indexer.q_proj.weight", INDEX_WIDTH, EMBD, MATRIX},
    [TENSOR_INDEX_K] = {S "index_k_proj.weight", S "indexer.k_proj.weight",
                        "blk.%d.indexer.k_proj.weight", INDEX_HEAD, EMBD, MATRIX},
    [TENSOR_INDEX_Q_NORM] = {S "index_q_norm.weight", S "indexer.q_norm.weight",
                             "blk.%d.indexer.q_norm.weight", ONE, INDEX_HEAD, NORM},
    [TENSOR_INDEX_K_NORM] = {S "index_k_norm.weight", S "indexer.k_norm.weight",
                             "blk.%d.indexer.k_norm.weight", ONE, INDEX_HEAD, NORM},
    [TENSOR_INDEX_V] = {S "index_v_proj.weight", NULL, "blk.%d.indexer.v_proj.weight", INDEX_HEAD,
                        EMBD, MATRIX},
    [TENSOR_INDEX_O] = {S "index_o_proj.weight", NULL, "blk.%d.indexer.o_proj.weight", EMBD,
                        INDEX_WIDTH, MATRIX},
    [TENSOR_FFN_NORM] = {L "post_attention_layernorm.weight", NULL, "blk.%d.ffn_norm.weight", ONE,
                         EMBD, NORM},
    [TENSOR_GATE] = {L "mlp.gate_proj.weight", NULL, "blk.%d.ffn_gate.weight", FF, EMBD, MATRIX},
    [TENSOR_UP] = {L "mlp.up_proj.weight", NULL, "blk.%d.ffn_up.weight", FF, EMBD, MATRIX},
    [TENSOR_DOWN] = {L "mlp.down_proj.weight", NULL, "blk.%d.ffn_down.weight", EMBD, FF, MATRIX},
    [TENSOR_ROUTER] = {M "gate.weight", L "mlp.gate.weight", "blk.%d.ffn_gate_inp.weight", EXPERTS,
                       EMBD, MATRIX},
    [TENSOR_ROUTER_BIAS] = {M "e_score_correction_bias", L "mlp.gate.e_score_correction_bias",
                            "blk.%d.exp_probs_b.bias", ONE, EXPERTS, BIAS},
    [TENSOR_EXPERT_GATE] = {M "experts.%d.w1.weight", L "mlp.experts.%d.w1.weight",
                            "blk.%d.ffn_gate_exps.weight", FF_EXPERT, EMBD, MATRIX},
    [TENSOR_EXPERT_UP] = {M "experts.%d.w3.weight", L "mlp.experts.%d.w3.weight",
                          "blk.%d.ffn_up_exps.weight", FF_EXPERT, EMBD, MATRIX},
    [TENSOR_EXPERT_DOWN] = {M "experts.%d.w2.weight", L "mlp.experts.%d.w2.weight",
                            "blk.%d.ffn_down_exps.weight", EMBD, FF_EXPERT, MATRIX},
    [TENSOR_SHARED_GATE] = {M "shared_experts.gate_proj.weight",
                            L "mlp.shared_experts.gate_proj.weight", "blk.%d.ffn_gate_shexp.weight",
                            FF_SHARED, EMBD, MATRIX},
    [TENSOR_SHARED_UP] = {M "shared_experts.up_proj.weight", L "mlp.shared_experts.up_proj.weight",
                          "blk.%d.ffn_up_shexp.weight", FF_SHARED, EMBD, MATRIX},
    [TENSOR_SHARED_DOWN] = {M "shared_experts.down_proj.weight",
                            L "mlp.shared_experts.down_proj.weight", "blk.%d.ffn_down_shexp.weight",
                            EMBD, FF_SHARED, MATRIX},
    [TENSOR_OUTPUT_NORM] = {"model.norm.weight", NULL, "output_norm.weight", ONE, EMBD, NORM},
    [TENSOR_OUTPUT] = {"lm_head.weight", NULL, "output.weight", VOCAB, EMBD, MATRIX},
#undef L
#undef S
#undef M
};

bool tensor_is_norm(tensor_role role) {
    return ROWS[role].nature == NORM;
}
bool tensor_is_vector(tensor_role role) {
    return ROWS[role].nature != MATRIX;
}
bool tensor_is_index(tensor_role role) {
    return role >= TENSOR_INDEX_Q && role <= TENSOR_INDEX_O;
}
bool tensor_is_expert(tensor_role role) {
    return role >= TENSOR_EXPERT_GATE && role <= TENSOR_EXPERT_DOWN;
}

bool tensor_layer_has_index(const arch *a, int32_t layer) {
    return a->index.present && layer >= a->n_dense_layers;
}
bool tensor_layer_has_experts(const arch *a, int32_t layer) {
    return a->moe.present && layer >= a->n_dense_layers;
}

bool tensor_layer_has(const arch *a, int32_t layer, tensor_role role) {
    bool experts = tensor_layer_has_experts(a, layer);
    switch (role) {
    case TENSOR_Q_BIAS:
    case TENSOR_K_BIAS:
    case TENSOR_V_BIAS: return a->qkv_bias;
    case TENSOR_Q_NORM:
    case TENSOR_K_NORM: return a->qk_norm;
    case TENSOR_INDEX_Q:
    case TENSOR_INDEX_K: return tensor_layer_has_index(a, layer);
    case TENSOR_INDEX_Q_NORM:
    case TENSOR_INDEX_K_NORM: return a->qk_norm && tensor_layer_has_index(a, layer);
    case TENSOR_INDEX_V:
    case TENSOR_INDEX_O: return a->index.value && tensor_layer_has_index(a, layer);
    case TENSOR_GATE:
    case TENSOR_UP:
    case TENSOR_DOWN: return !experts;
    case TENSOR_SHARED_GATE:
    case TENSOR_SHARED_UP:
    case TENSOR_SHARED_DOWN: return experts && a->moe.n_ff_shared > 0;
    case TENSOR_ROUTER:
    case TENSOR_ROUTER_BIAS:
    case TENSOR_EXPERT_GATE:
    case TENSOR_EXPERT_UP:
    case TENSOR_EXPERT_DOWN: return experts;
    case TENSOR_EMBED:
    case TENSOR_OUTPUT_NORM:
    case TENSOR_OUTPUT:
    case TENSOR_ROLE_COUNT: return false;
    default: return true;
    }
}

static int64_t count_layer(const arch *a, int32_t layer) {
    int64_t n = 0;
    for (int role = 0; role < TENSOR_ROLE_COUNT; role++)
        if (tensor_layer_has(a, layer, (tensor_role)role))
            n += tensor_is_expert((tensor_role)role) ? a->moe.n_experts : 1;
    return n;
}

int64_t tensor_list_count(const arch *a) {
    int32_t n_dense = a->n_dense_layers < a->n_layers ? a->n_dense_layers : a->n_layers;
    /* Two kinds of layers: 2^31 of each, with at most 3 * 2^31 + 30 tensors, fit 65 bits. */
    int64_t dense, sparse, n;
    if (__builtin_mul_overflow((int64_t)n_dense, count_layer(a, 0), &dense) ||
        __builtin_mul_overflow((int64_t)a->n_layers - n_dense, count_layer(a, INT32_MAX),
                               &sparse) ||
        __builtin_add_overflow(dense, sparse, &n) || __builtin_add_overflow(n, 3 - a->tied, &n))
        return INT64_MAX;
    return n;
}

static int64_t extent_of(const arch *a, extent e) {
    switch (e) {
    case ONE: return 1;
    case VOCAB: return a->n_vocab;
    case EMBD: return a->n_embd;
    case Q_WIDTH: return (int64_t)a->n_q_heads * a->head_dim;
    case KV_WIDTH: return (int64_t)a->n_kv_heads * a->head_dim;
    case HEAD: return a->head_dim;
    case INDEX_WIDTH: return (int64_t)a->n_kv_heads * a->index.dim;
    case INDEX_HEAD: return a->index.dim;
    case FF: return a->n_ff;
    case EXPERTS: return a->moe.n_experts;
    case FF_EXPERT: return a->moe.n_ff;
    case FF_SHARED: return a->moe.n_ff_shared;
    }
    return 0;
}

/* The patterns come from the table above. */
__attribute__((format(printf, 2, 0))) static void write_name(char *out, const char *pattern,
                                                             int32_t layer, int32_t expert) {
    snprintf(out, TENSOR_NAME, pattern, layer, expert);
}

tensor_spec tensor_spec_of(const arch *a, tensor_role role, int32_t layer, int32_t expert) {
    tensor_spec spec = {.role = role,
                        .layer = layer,
                        .expert = expert,
                        .n_out = extent_of(a, ROWS[role].n_out),
                        .n_in = extent_of(a, ROWS[role].n_in)};
    write_name(spec.name, ROWS[role].name, layer, expert);
    return spec;
}

static void add(tensor_list *list, const arch *a, tensor_role role, int32_t layer, int32_t expert) {
    list->specs[list->n++] = tensor_spec_of(a, role, layer, expert);
}

static void add_layer(tensor_list *list, const arch *a, int32_t layer) {
    for (int role = 0; role < TENSOR_ROLE_COUNT; role++) {
        if (role == TENSOR_EXPERT_GATE) /* the three of an expert stay together */
            for (int32_t e = 0;
                 tensor_layer_has(a, layer, TENSOR_EXPERT_GATE) && e < a->moe.n_experts; e++)
                for (int part = TENSOR_EXPERT_GATE; part <= TENSOR_EXPERT_DOWN; part++)
                    add(list, a, (tensor_role)part, layer, e);
        else if (!tensor_is_expert((tensor_role)role) &&
                 tensor_layer_has(a, layer, (tensor_role)role))
            add(list, a, (tensor_role)role, layer, -1);
    }
}

msa_status tensor_list_create(tensor_list *list, const arch *a, msa_error *err) {
    *list = (tensor_list){0};
    int64_t n = tensor_list_count(a);
    if (n > MAX_TENSORS)
        return error_set(err, MSA_E_ARG,
                         "%d layers with %d experts are more than the %d tensors a model may have",
                         a->n_layers, a->moe.n_experts, MAX_TENSORS);
    list->specs = mem_alloc((size_t)n, sizeof *list->specs);
    if (!list->specs)
        return error_set(err, MSA_E_NOMEM, "no memory for a list of %lld tensors", (long long)n);
    add(list, a, TENSOR_EMBED, -1, -1);
    for (int32_t layer = 0; layer < a->n_layers; layer++) add_layer(list, a, layer);
    add(list, a, TENSOR_OUTPUT_NORM, -1, -1);
    if (!a->tied) add(list, a, TENSOR_OUTPUT, -1, -1);
    return MSA_OK;
}

void tensor_list_free(tensor_list *list) {
    mem_free(list->specs);
    *list = (tensor_list){0};
}

void tensor_gguf_name(const tensor_spec *spec, char out[TENSOR_NAME]) {
    write_name(out, ROWS[spec->role].gguf, spec->layer, spec->expert);
}

void tensor_inner_name(const tensor_spec *spec, char out[TENSOR_NAME]) {
    const struct row *row = &ROWS[spec->role];
    write_name(out, row->inner ? row->inner : row->name, spec->layer, spec->expert);
}
