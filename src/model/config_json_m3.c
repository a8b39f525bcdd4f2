/* config_json_m3.c: the keys of MiniMax-M3, in both their spellings. See config_json.h. */
#include <stdio.h>
#include <string.h>

#include "model/config_reader.h"

/* A number in both spellings, of which one must be there. */
static msa_status read_twice(const config_reader *flat, const char *flat_key,
                             const config_reader *old, const char *old_key, int32_t least,
                             int32_t *out) {
    bool in_old = config_get(old, old_key) != NULL,
         in_flat = config_get(flat, flat_key) != NULL || !in_old;
    int32_t other = 0;
    msa_status status = MSA_OK;
    if (in_flat) status = config_count(flat, flat_key, least, -1, out);
    if (!status && in_old) status = config_count(old, old_key, least, -1, &other);
    if (status != MSA_OK || !in_old) return status;
    if (in_flat && *out != other) return config_refuse(old, old_key, "what the flat key says");
    *out = other;
    return MSA_OK;
}

/* How many layers come before the first that is marked; those after it must all be. Marked is 1 in
 * a list of numbers, `mark` in one of texts, of which `other` is the rest. */
static msa_status read_pattern(const config_reader *r, const char *key, const char *mark,
                               const char *other, int32_t n_layers, int32_t *n_before) {
    const json_t *list = config_get(r, key);
    char expected[128];
    snprintf(expected, sizeof expected, "a list of %d entries, '%s' then '%s'", n_layers,
             other ? other : "0", mark ? mark : "1");
    if (!json_is_array(list) || json_array_size(list) != (size_t)n_layers)
        return config_refuse(r, key, expected);
    *n_before = n_layers;
    for (int32_t i = 0; i < n_layers; i++) {
        const json_t *entry = json_array_get(list, (size_t)i);
        const char *text = json_string_value(entry);
        json_int_t number = json_integer_value(entry);
        bool marked = mark ? text && strcmp(text, mark) == 0 : number == 1;
        bool known = mark ? marked || (text && strcmp(text, other) == 0)
                          : json_is_integer(entry) && (number == 0 || number == 1);
        if (!known)
            return error_set(r->err, MSA_E_UNSUPPORTED,
                             "key '%s%s' has %s at layer %d; expected "
                             "%s",
                             r->where, key, config_show(entry).text, i, expected);
        if (marked && *n_before == n_layers) *n_before = i;
        if (!marked && *n_before < i)
            return error_set(r->err, MSA_E_UNSUPPORTED,
                             "key '%s%s' goes back at layer %d; supported are leading layers of "
                             "one kind, then all of the other",
                             r->where, key, i);
    }
    return MSA_OK;
}

/* A pattern in both spellings, of which one must be there. */
static msa_status read_pattern_twice(const config_reader *flat, const char *flat_key,
                                     const char *mark, const char *other, const config_reader *old,
                                     const char *old_key, int32_t n_layers, int32_t *n_before) {
    bool in_old = config_get(old, old_key) != NULL,
         in_flat = config_get(flat, flat_key) != NULL || !in_old;
    int32_t again = 0;
    msa_status status = MSA_OK;
    if (in_flat) status = read_pattern(flat, flat_key, mark, other, n_layers, n_before);
    if (!status && in_old) status = read_pattern(old, old_key, NULL, NULL, n_layers, &again);
    if (status != MSA_OK || !in_old) return status;
    if (in_flat && *n_before != again)
        return config_refuse(old, old_key, "what the flat list says");
    *n_before = again;
    return MSA_OK;
}

static const char *const FLAT_KEYS[] = {
    "index_n_heads",      "index_head_dim", "index_block_size", "index_topk_blocks",
    "index_local_blocks", "layer_types",    "mlp_layer_types",  "moe_layer_freq"};
static const char *const OLD_KEYS[] = {"sparse_num_index_heads", "sparse_index_dim",
                                       "sparse_block_size",      "sparse_topk_blocks",
                                       "sparse_local_block",     "sparse_init_block",
                                       "sparse_attention_freq",  "sparse_disable_index_value",
                                       "sparse_score_type",      "use_sparse_attention"};
enum { N_FLAT = sizeof FLAT_KEYS / sizeof *FLAT_KEYS, N_OLD = sizeof OLD_KEYS / sizeof *OLD_KEYS };

/* Sparse keys in a place where nobody reads them: the model would run dense. */
static msa_status check_places(const config_reader *text, const config_reader *old,
                               const json_t *root) {
    config_reader outer = {root, "", text->err};
    for (int i = 0; i < N_FLAT; i++) {
        if (root != text->object && config_get(&outer, FLAT_KEYS[i]))
            return config_refuse(&outer, FLAT_KEYS[i], "it inside 'text_config'");
        if (config_get(old, FLAT_KEYS[i]))
            return config_refuse(old, FLAT_KEYS[i], "it outside of this object");
    }
    for (int i = 0; i < N_OLD; i++) {
        if (config_get(text, OLD_KEYS[i]))
            return config_refuse(text, OLD_KEYS[i], "it inside 'sparse_attention_config'");
        if (config_get(&outer, OLD_KEYS[i]))
            return config_refuse(&outer, OLD_KEYS[i], "it inside 'sparse_attention_config'");
    }
    if (root != text->object && config_get(&outer, "sparse_attention_config"))
        return config_refuse(&outer, "sparse_attention_config", "it inside 'text_config'");
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)old->object, key, value) {
        bool known = false;
        for (int i = 0; i < N_OLD; i++) known |= strcmp(key, OLD_KEYS[i]) == 0;
        if (!known) return config_unsupported(old, key, "this object without it");
    }
    return MSA_OK;
}

/* Published files say for each layer that the index has no value of its own. */
static msa_status check_index_value(const config_reader *old, int32_t n_layers, int32_t n_dense) {
    const char *key = "sparse_disable_index_value";
    int32_t n_before = 0;
    if (!config_get(old, key)) return MSA_OK;
    msa_status status = read_pattern(old, key, NULL, NULL, n_layers, &n_before);
    if (status != MSA_OK || n_before <= n_dense) return status;
    return config_unsupported(old, key, "1 in every layer with an index");
}

static msa_status read_index(const config_reader *r, const config_reader *old, arch *a) {
    arch_index *x = &a->index;
    int32_t n_heads = 0;
    bool enabled = true;
    msa_status status = config_bool(old, "use_sparse_attention", true, &enabled);
    if (!status)
        status = read_pattern_twice(r, "layer_types", "minimax_m3_sparse", "full_attention", old,
                                    "sparse_attention_freq", a->n_layers, &a->n_dense_layers);
    if (status != MSA_OK) return status;
    x->present = a->n_dense_layers < a->n_layers;
    if (!enabled && x->present)
        return config_refuse(old, "use_sparse_attention", "true, since layers are marked sparse");
    if (!x->present) return MSA_OK;
    status = read_twice(r, "index_n_heads", old, "sparse_num_index_heads", 1, &n_heads);
    if (!status && n_heads != a->n_kv_heads) {
        const config_reader *place = config_get(r, "index_n_heads") ? r : old;
        return config_refuse(place, place == r ? "index_n_heads" : "sparse_num_index_heads",
                             "one head per group, as 'num_key_value_heads' says");
    }
    if (!status) status = read_twice(r, "index_head_dim", old, "sparse_index_dim", 1, &x->dim);
    if (!status) status = read_twice(r, "index_block_size", old, "sparse_block_size", 1, &x->block);
    if (!status)
        status = read_twice(r, "index_topk_blocks", old, "sparse_topk_blocks", 1, &x->topk);
    if (!status)
        status = read_twice(r, "index_local_blocks", old, "sparse_local_block", 0, &x->local);
    if (!status) status = config_count(old, "sparse_init_block", 0, 0, &x->init);
    if (!status) status = config_demand_text(old, "sparse_score_type", "max", NULL);
    if (!status) status = check_index_value(old, a->n_layers, a->n_dense_layers);
    if (status != MSA_OK) return status;
    const config_reader *topk_at = config_get(r, "index_topk_blocks") ? r : old;
    const config_reader *dim_at = config_get(r, "index_head_dim") ? r : old;
    return config_check_index(topk_at, topk_at == r ? "index_topk_blocks" : "sparse_topk_blocks",
                              dim_at, dim_at == r ? "index_head_dim" : "sparse_index_dim", a);
}

static msa_status read_experts(const config_reader *r, arch *a) {
    arch_moe *m = &a->moe;
    int32_t n_dense = 0, n_shared = 1;
    /* moe_layer_freq stands beside mlp_layer_types, not inside the sparse object. */
    msa_status status = read_pattern_twice(r, "mlp_layer_types", "sparse", "dense", r,
                                           "moe_layer_freq", a->n_layers, &n_dense);
    if (status != MSA_OK) return status;
    m->present = n_dense < a->n_layers;
    if (m->present && a->index.present && n_dense != a->n_dense_layers)
        return error_set(r->err, MSA_E_UNSUPPORTED,
                         "%d leading layers have dense attention and %d a dense MLP; supported is "
                         "one number for both",
                         a->n_dense_layers, n_dense);
    if (m->present) a->n_dense_layers = n_dense;
    if (n_dense > 0) status = config_count(r, "dense_intermediate_size", 1, -1, &a->n_ff);
    if (status != MSA_OK || !m->present) return status;
    double scale = 0;
    const char *count = config_get(r, "num_local_experts") ? "num_local_experts" : "num_experts";
    status = config_count(r, count, 1, -1, &m->n_experts);
    if (!status) status = config_count(r, "num_experts_per_tok", 1, -1, &m->n_used);
    if (!status) status = config_count(r, "intermediate_size", 1, -1, &m->n_ff);
    if (!status) status = config_count(r, "n_shared_experts", 0, 1, &n_shared);
    if (!status && n_shared > 1) status = config_unsupported(r, "n_shared_experts", "0 or 1");
    if (!status && n_shared == 1)
        status = config_count(r, "shared_intermediate_size", 1, m->n_ff, &m->n_ff_shared);
    if (!status) status = config_positive(r, "routed_scaling_factor", 1, &scale);
    if (!status && m->n_used > m->n_experts)
        status = config_refuse(r, "num_experts_per_tok", "at most the number of experts");
    m->scale = (float)scale;
    return status;
}

msa_status config_read_m3(const config_reader *r, const json_t *root, arch *a) {
    const json_t *sparse = config_get(r, "sparse_attention_config");
    if (sparse && !json_is_object(sparse))
        return config_refuse(r, "sparse_attention_config", "an object");
    bool nested = root != r->object;
    config_reader old = {
        sparse, nested ? "text_config.sparse_attention_config." : "sparse_attention_config.",
        r->err};
    double alpha = 0, limit = 0;
    a->swiglu_oai = true;
    msa_status status = check_places(r, &old, root);
    if (!status) status = config_demand_text(r, "hidden_act", "swigluoai", "silu");
    if (!status) status = config_positive(r, "swiglu_alpha", 1.702, &alpha);
    if (!status) status = config_positive(r, "swiglu_limit", 7, &limit);
    if (!status) status = config_demand_bool(r, "use_gemma_norm", true);
    if (!status) status = config_demand_bool(r, "use_qk_norm", true);
    if (!status) status = config_demand_text(r, "qk_norm_type", "per_head", NULL);
    if (!status) status = config_demand_bool(r, "attention_output_gate", false);
    if (!status) status = config_demand_bool(r, "attention_bias", false);
    if (!status) status = config_demand_bool(r, "use_routing_bias", true);
    if (!status) status = config_demand_text(r, "scoring_func", "sigmoid", NULL);
    if (!status) status = read_index(r, &old, a);
    if (!status) status = read_experts(r, a);
    a->swiglu_alpha = (float)alpha;
    a->swiglu_limit = (float)limit;
    return status;
}
