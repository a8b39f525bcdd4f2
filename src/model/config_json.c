/* config_json.c: reading config.json. See config_json.h. */
#include "model/config_json.h"

#include <string.h>

#include "model/config_reader.h"
#include "model/json_file.h"

static const struct family {
    const char *model_type;
    arch_family family;
    bool qkv_bias, qk_norm;
} FAMILIES[] = {
    {"llama", ARCH_LLAMA, false, false},
    {"qwen2", ARCH_QWEN2, true, false},
    {"qwen3", ARCH_QWEN3, false, true},
    {"minimax_m3_vl_text", ARCH_MINIMAX_M3, false, true},
    {"minimax_m3_vl", ARCH_MINIMAX_M3, false, true},
};
enum { N_FAMILIES = sizeof FAMILIES / sizeof *FAMILIES };

/* ---- what all families share ---- */

static msa_status read_heads(const config_reader *r, arch *a) {
    msa_status status = config_count(r, "num_attention_heads", 1, -1, &a->n_q_heads);
    if (!status) status = config_count(r, "num_key_value_heads", 1, a->n_q_heads, &a->n_kv_heads);
    if (status != MSA_OK) return status;
    if (a->n_q_heads % a->n_kv_heads)
        return config_refuse(r, "num_key_value_heads", "a divisor of 'num_attention_heads'");
    bool divides = a->n_embd % a->n_q_heads == 0;
    status = config_count(r, "head_dim", 1, divides ? a->n_embd / a->n_q_heads : -1, &a->head_dim);
    if (status == MSA_OK && (int64_t)a->n_q_heads * a->head_dim > INT32_MAX)
        return config_refuse(r, "head_dim", "heads of fewer than 2^31 elements together");
    return status;
}

/* "rope_parameters" as transformers 5 writes it, or the keys of before. */
static msa_status read_rope(const config_reader *r, arch *a) {
    const json_t *parameters = config_get(r, "rope_parameters");
    const json_t *scaling = config_get(r, "rope_scaling");
    if (parameters && !json_is_object(parameters))
        return config_refuse(r, "rope_parameters", "an object");
    if (scaling && !json_is_object(scaling))
        return config_refuse(r, "rope_scaling", "an object or null");
    config_reader inner = {parameters, "rope_parameters.", r->err};
    config_reader old = {scaling, "rope_scaling.", r->err};
    bool m3 = a->family == ARCH_MINIMAX_M3;
    double base = 0, flat = 0, part = 1;
    msa_status status = config_demand_text(&inner, "rope_type", "default", NULL);
    if (!status) status = config_demand_text(&old, "rope_type", "default", NULL);
    if (!status) status = config_demand_text(&old, "type", "default", NULL);
    if (!status) status = config_positive(r, "rope_theta", m3 ? 5e6 : 1e4, &flat);
    if (!status) status = config_positive(&inner, "rope_theta", flat, &base);
    if (status != MSA_OK) return status;
    if (config_get(r, "rope_theta") && base != flat)
        return config_refuse(r, "rope_theta", "the number of 'rope_parameters.rope_theta'");
    const config_reader *place = config_get(&inner, "partial_rotary_factor") ? &inner : r;
    status = config_positive(place, "partial_rotary_factor", 1, &part);
    if (status != MSA_OK) return status;
    if (part > 1) return config_refuse(place, "partial_rotary_factor", "at most 1");
    a->rope_base = base;
    a->n_rot = (int32_t)(a->head_dim * part);
    /* transformers passes over the factor in these families and turns whole heads. */
    if (!m3 && part < 1) return config_unsupported(place, "partial_rotary_factor", "1");
    if (!m3) return MSA_OK;
    int32_t rotary;
    status = config_count(r, "rotary_dim", 2, a->n_rot, &rotary);
    if (status != MSA_OK || rotary == a->n_rot) return status;
    /* Without the factor transformers rotates whole heads, whatever rotary_dim says. */
    return config_refuse(place, "partial_rotary_factor", "'rotary_dim' / 'head_dim'");
}

static msa_status read_shape(const config_reader *r, arch *a) {
    double eps = 0;
    msa_status status = config_count(r, "hidden_size", 1, -1, &a->n_embd);
    if (!status) status = config_count(r, "num_hidden_layers", 1, -1, &a->n_layers);
    if (!status) status = config_count(r, "vocab_size", 1, -1, &a->n_vocab);
    if (!status) status = config_count(r, "max_position_embeddings", 1, -1, &a->n_ctx_train);
    if (!status) status = config_positive(r, "rms_norm_eps", 1e-6, &eps);
    if (!status) status = config_bool(r, "tie_word_embeddings", false, &a->tied);
    if (!status) status = read_heads(r, a);
    if (!status) status = read_rope(r, a);
    a->norm_eps = (float)eps;
    if (status != MSA_OK) return status;
    if (a->n_rot % 2 || a->n_rot > a->head_dim || a->n_rot < 2)
        return config_refuse(r, "rotary_dim", "an even number from 2 up to the width of a head");
    if (config_get(r, "quantization_config"))
        return config_unsupported(r, "quantization_config", "F32, F16 and BF16 without it");
    return MSA_OK;
}

msa_status config_check_index(const config_reader *topk_at, const char *topk_key,
                              const config_reader *dim_at, const char *dim_key, const arch *a) {
    const arch_index *x = &a->index;
    if ((int64_t)x->local + x->init > x->topk)
        return config_refuse(topk_at, topk_key, "room for the local and initial blocks");
    if (a->n_rot > x->dim || (int64_t)a->n_kv_heads * x->dim > INT32_MAX)
        return config_refuse(dim_at, dim_key, "at least the rotated elements of a head");
    return MSA_OK;
}

/* ---- the Llama families ---- */

/* The object "msa" that this library adds to the file of a Llama family with an index branch. */
static msa_status read_added_index(const config_reader *r, arch *a) {
    const json_t *object = config_get(r, "msa");
    arch_index *x = &a->index;
    int32_t n_heads = 0;
    if (!object) return MSA_OK;
    if (!json_is_object(object)) return config_refuse(r, "msa", "an object");
    config_reader in = {object, "msa.", r->err};
    x->present = true;
    msa_status status = config_count(&in, "index_n_heads", 1, -1, &n_heads);
    if (!status && n_heads != a->n_kv_heads)
        status = config_refuse(&in, "index_n_heads",
                               "one head per group, as 'num_key_value_heads' says");
    if (!status) status = config_count(&in, "index_head_dim", 1, -1, &x->dim);
    if (!status) status = config_count(&in, "index_block_size", 1, -1, &x->block);
    if (!status) status = config_count(&in, "index_topk_blocks", 1, -1, &x->topk);
    if (!status) status = config_count(&in, "index_local_blocks", 0, -1, &x->local);
    if (!status) status = config_count(&in, "index_init_blocks", 0, -1, &x->init);
    if (!status) status = config_count(&in, "num_dense_layers", 0, -1, &a->n_dense_layers);
    if (status != MSA_OK) return status;
    if (a->n_dense_layers >= a->n_layers)
        return config_refuse(&in, "num_dense_layers", "fewer than 'num_hidden_layers'");
    return config_check_index(&in, "index_topk_blocks", &in, "index_head_dim", a);
}

/* Sparse keys that this family has no place for: whoever wrote them meant another. */
static msa_status check_strangers(const config_reader *r, const arch *a) {
    static const char *const strangers[] = {
        "index_n_heads",           "index_topk_blocks", "mlp_layer_types", "moe_layer_freq",
        "sparse_attention_config", "num_local_experts", "num_experts"};
    for (size_t i = 0; i < sizeof strangers / sizeof *strangers; i++)
        if (config_get(r, strangers[i]))
            return config_refuse(r, strangers[i], "no such key in this model_type");
    const json_t *types = config_get(r, "layer_types"), *type;
    size_t i;
    if (types && (!json_is_array(types) || json_array_size(types) != (size_t)a->n_layers))
        return config_refuse(r, "layer_types", "a list of 'num_hidden_layers' entries");
    json_array_foreach((json_t *)types, i, type) {
        const char *text = json_string_value(type);
        if (!text || strcmp(text, "full_attention") != 0)
            return error_set(r->err, MSA_E_UNSUPPORTED,
                             "key 'layer_types' has %s at layer %zu; supported is full_attention",
                             config_show(type).text, i);
    }
    return MSA_OK;
}

static msa_status read_llama(const config_reader *r, arch *a) {
    msa_status status = config_count(r, "intermediate_size", 1, -1, &a->n_ff);
    if (!status) status = config_demand_text(r, "hidden_act", "silu", NULL);
    if (!status && a->family != ARCH_QWEN2) status = config_demand_bool(r, "attention_bias", false);
    if (!status) status = config_demand_bool(r, "mlp_bias", false);
    if (!status) status = config_demand_bool(r, "use_sliding_window", false);
    if (!status) status = check_strangers(r, a);
    return status ? status : read_added_index(r, a);
}

/* ---- the file ---- */

static msa_status find_text(const json_t *root, config_reader *r, const struct family **family) {
    const char *type = json_string_value(json_object_get(root, "model_type"));
    config_reader outer = {root, "", r->err};
    *r = outer;
    *family = NULL;
    if (!type) return config_refuse(&outer, "model_type", "the name of an architecture");
    for (int i = 0; i < N_FAMILIES; i++)
        if (strcmp(type, FAMILIES[i].model_type) == 0) *family = &FAMILIES[i];
    if (!*family)
        return config_unsupported(&outer, "model_type",
                                  "llama, qwen2, qwen3, minimax_m3_vl and minimax_m3_vl_text");
    if (strcmp(type, "minimax_m3_vl") != 0) return MSA_OK;
    const json_t *text = config_get(&outer, "text_config");
    if (!json_is_object(text))
        return config_refuse(&outer, "text_config", "the text model's object");
    *r = (config_reader){text, "text_config.", r->err};
    return config_demand_text(r, "model_type", "minimax_m3_vl_text", "minimax_m3");
}

msa_status config_json_parse(arch *a, const json_t *root, msa_error *err) {
    arch found = {0};
    config_reader r = {.err = err};
    const struct family *family;
    msa_status status = find_text(root, &r, &family);
    if (status != MSA_OK) return status;
    found.family = family->family;
    found.qkv_bias = family->qkv_bias;
    found.qk_norm = family->qk_norm;
    status = read_shape(&r, &found);
    if (!status)
        status = family->family == ARCH_MINIMAX_M3 ? config_read_m3(&r, root, &found)
                                                   : read_llama(&r, &found);
    if (status == MSA_OK) *a = found;
    return status;
}

msa_status config_json_read(arch *a, const char *path, msa_error *err) {
    json_t *root;
    msa_status status = json_file_read(&root, path, 0, err);
    if (status != MSA_OK) return status;
    status = config_json_parse(a, root, err);
    json_decref(root);
    return status == MSA_OK ? status : error_prefix(err, status, "'%s': ", path);
}
