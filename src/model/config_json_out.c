/* config_json_out.c: writing config.json. See config_json.h. */
#include "model/config_json.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

/* An object being filled: the first failure sticks. */
typedef struct writer {
    json_t *object;
    bool failed;
} writer;

static void put(writer *w, const char *key, json_t *value) {
    if (w->failed || json_object_set_new(w->object, key, value) != 0) w->failed = true;
}
static void put_int(writer *w, const char *key, int64_t x) {
    put(w, key, json_integer(x));
}
static void put_real(writer *w, const char *key, double x) {
    put(w, key, json_real(x));
}
/* The shortest decimal that is this f32 again: 1e-06 and not 9.99999997e-07. */
static void put_float(writer *w, const char *key, float x) {
    char text[32];
    for (int digits = 1; digits <= 9; digits++) {
        snprintf(text, sizeof text, "%.*g", digits, (double)x);
        if (strtof(text, NULL) == x) break;
    }
    put(w, key, json_real(strtod(text, NULL)));
}
static void put_text(writer *w, const char *key, const char *x) {
    put(w, key, json_string(x));
}
static void put_bool(writer *w, const char *key, bool x) {
    put(w, key, json_boolean(x));
}
static void put_id(writer *w, const char *key, int32_t id) {
    put(w, key, id < 0 ? json_null() : json_integer(id));
}

static writer begin(void) {
    json_t *object = json_object();
    return (writer){object, object == NULL};
}

/* The object is handed over, or freed where it failed. */
static void put_object(writer *w, const char *key, writer *inner) {
    if (inner->failed) {
        json_decref(inner->object);
        w->failed = true;
        return;
    }
    put(w, key, inner->object);
}

/* One entry per layer: before n_dense, and from there on. */
static void put_pattern(writer *w, const char *key, const arch *a, int32_t n_dense,
                        const char *before, const char *after) {
    json_t *list = json_array();
    bool failed = !list;
    for (int32_t i = 0; i < a->n_layers && !failed; i++) {
        bool late = i >= n_dense;
        json_t *entry = before ? json_string(late ? after : before) : json_integer(late);
        failed = json_array_append_new(list, entry) != 0;
    }
    if (failed) {
        json_decref(list);
        w->failed = true;
        return;
    }
    put(w, key, list);
}

/* Readers multiply by the width of a head and cut off what is behind the point. */
static double rotary_factor(const arch *a) {
    double part = (double)a->n_rot / a->head_dim;
    return (int32_t)(part * a->head_dim) == a->n_rot ? part : nextafter(part, 2);
}

static void put_rope(writer *w, const arch *a) {
    writer rope = begin();
    put_text(&rope, "rope_type", "default");
    put_real(&rope, "rope_theta", a->rope_base);
    if (a->family == ARCH_MINIMAX_M3) put_real(&rope, "partial_rotary_factor", rotary_factor(a));
    put_object(w, "rope_parameters", &rope);
    put_real(w, "rope_theta", a->rope_base);
}

static void put_shared(writer *w, const arch *a, const config_json_facts *facts) {
    put_text(w, "dtype", facts->dtype);
    put_int(w, "vocab_size", a->n_vocab);
    put_int(w, "hidden_size", a->n_embd);
    put_int(w, "num_hidden_layers", a->n_layers);
    put_int(w, "num_attention_heads", a->n_q_heads);
    put_int(w, "num_key_value_heads", a->n_kv_heads);
    put_int(w, "head_dim", a->head_dim);
    put_int(w, "max_position_embeddings", a->n_ctx_train);
    put_float(w, "rms_norm_eps", a->norm_eps);
    put_bool(w, "tie_word_embeddings", a->tied);
    put_id(w, "bos_token_id", facts->bos);
    put_id(w, "eos_token_id", facts->eos);
    put_id(w, "pad_token_id", facts->pad);
    put_rope(w, a);
}

static void put_m3_index(writer *w, const arch *a, int32_t n_dense) {
    const arch_index *x = &a->index;
    writer old = begin();
    put_int(w, "index_n_heads", a->n_kv_heads);
    put_int(w, "index_head_dim", x->dim);
    put_int(w, "index_block_size", x->block);
    put_int(w, "index_topk_blocks", x->topk);
    put_int(w, "index_local_blocks", x->local);
    put_bool(&old, "use_sparse_attention", true);
    put_int(&old, "sparse_num_index_heads", a->n_kv_heads);
    put_int(&old, "sparse_index_dim", x->dim);
    put_int(&old, "sparse_block_size", x->block);
    put_int(&old, "sparse_topk_blocks", x->topk);
    put_int(&old, "sparse_local_block", x->local);
    put_int(&old, "sparse_init_block", x->init);
    put_text(&old, "sparse_score_type", "max");
    put_pattern(&old, "sparse_attention_freq", a, n_dense, NULL, NULL);
    put_pattern(&old, "sparse_disable_index_value", a, n_dense, NULL, NULL);
    put_object(w, "sparse_attention_config", &old);
}

static void put_m3(writer *w, const arch *a) {
    const arch_moe *m = &a->moe;
    int32_t n_full = a->index.present ? a->n_dense_layers : a->n_layers;
    int32_t n_mlp = m->present ? a->n_dense_layers : a->n_layers;
    put_text(w, "hidden_act", "silu");
    put_float(w, "swiglu_alpha", a->swiglu_alpha);
    put_float(w, "swiglu_limit", a->swiglu_limit);
    put_bool(w, "use_gemma_norm", true);
    put_bool(w, "use_qk_norm", true);
    put_text(w, "qk_norm_type", "per_head");
    put_int(w, "rotary_dim", a->n_rot);
    put_pattern(w, "layer_types", a, n_full, "full_attention", "minimax_m3_sparse");
    put_pattern(w, "mlp_layer_types", a, n_mlp, "dense", "sparse");
    put_pattern(w, "moe_layer_freq", a, n_mlp, NULL, NULL);
    if (a->index.present) put_m3_index(w, a, n_full);
    put_int(w, "dense_intermediate_size", a->n_ff > 0 ? a->n_ff : m->n_ff);
    if (!m->present) return;
    put_int(w, "num_local_experts", m->n_experts);
    put_int(w, "num_experts_per_tok", m->n_used);
    put_int(w, "intermediate_size", m->n_ff);
    put_int(w, "n_shared_experts", m->n_ff_shared > 0);
    if (m->n_ff_shared > 0) put_int(w, "shared_intermediate_size", m->n_ff_shared);
    put_float(w, "routed_scaling_factor", m->scale);
    put_text(w, "scoring_func", "sigmoid");
    put_bool(w, "use_routing_bias", true);
}

static void put_added_index(writer *w, const arch *a) {
    writer in = begin();
    put_int(&in, "index_n_heads", a->n_kv_heads);
    put_int(&in, "index_head_dim", a->index.dim);
    put_int(&in, "index_block_size", a->index.block);
    put_int(&in, "index_topk_blocks", a->index.topk);
    put_int(&in, "index_local_blocks", a->index.local);
    put_int(&in, "index_init_blocks", a->index.init);
    put_int(&in, "num_dense_layers", a->n_dense_layers);
    put_object(w, "msa", &in);
}

json_t *config_json_create(const arch *a, const config_json_facts *facts) {
    static const struct {
        const char *model_type, *class;
    } names[ARCH_FAMILY_COUNT] = {
        [ARCH_LLAMA] = {"llama", "LlamaForCausalLM"},
        [ARCH_QWEN2] = {"qwen2", "Qwen2ForCausalLM"},
        [ARCH_QWEN3] = {"qwen3", "Qwen3ForCausalLM"},
        [ARCH_MINIMAX_M3] = {"minimax_m3_vl_text", "MiniMaxM3VLForCausalLM"},
    };
    writer w = begin();
    put(&w, "architectures", json_pack("[s]", names[a->family].class));
    put_text(&w, "model_type", names[a->family].model_type);
    put_shared(&w, a, facts);
    if (a->family == ARCH_MINIMAX_M3) {
        put_m3(&w, a);
    } else {
        put_text(&w, "hidden_act", "silu");
        put_int(&w, "intermediate_size", a->n_ff);
        if (a->family == ARCH_LLAMA || a->family == ARCH_QWEN3)
            put_bool(&w, "attention_bias", false);
        if (a->index.present) put_added_index(&w, a);
    }
    if (!w.failed) return w.object;
    json_decref(w.object);
    return NULL;
}
