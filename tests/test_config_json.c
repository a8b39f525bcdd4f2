/* test_config_json.c: config.json in all spellings, and each way it can lack, misplace or
 * contradict what a model needs. */
#include "support/support.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "model/config_json.h"
#include "model/json_file.h"
#include "support/folder.h"

/* '|' stands for a quote. */
static const char LLAMA[] =
    "{|model_type|:|llama|,|hidden_size|:64,|num_hidden_layers|:3,|vocab_size|:300,"
    "|max_position_embeddings|:512,|rms_norm_eps|:1e-05,|num_attention_heads|:4,"
    "|num_key_value_heads|:2,|intermediate_size|:96,|rope_theta|:50000.0,|hidden_act|:|silu|,"
    "|tie_word_embeddings|:true,|something_else|:[1]}";

#define M3_SHARED                                                                                  \
    "|hidden_size|:64,|num_hidden_layers|:3,|vocab_size|:300,|max_position_embeddings|:512,"       \
    "|rms_norm_eps|:1e-06,|num_attention_heads|:4,|num_key_value_heads|:2,|head_dim|:16,"          \
    "|intermediate_size|:32,|dense_intermediate_size|:96,|shared_intermediate_size|:40,"           \
    "|num_local_experts|:8,|num_experts_per_tok|:2,|rotary_dim|:8,|routed_scaling_factor|:2.0"

static const char M3_FLAT[] =
    "{|model_type|:|minimax_m3_vl_text|," M3_SHARED
    ",|rope_parameters|:{|rope_type|:|default|,|rope_theta|:5000000.0,"
    "|partial_rotary_factor|:0.5},"
    "|index_n_heads|:2,|index_head_dim|:16,|index_block_size|:32,|index_topk_blocks|:4,"
    "|index_local_blocks|:1,"
    "|layer_types|:[|full_attention|,|minimax_m3_sparse|,|minimax_m3_sparse|],"
    "|mlp_layer_types|:[|dense|,|sparse|,|sparse|]}";

static const char M3_PUBLISHED[] =
    "{|model_type|:|minimax_m3_vl|,|vision_config|:{},|text_config|:{" M3_SHARED
    ",|rope_theta|:5000000,|partial_rotary_factor|:0.5,|hidden_act|:|swigluoai|,"
    "|use_gemma_norm|:true,|use_qk_norm|:true,|qk_norm_type|:|per_head|,|n_shared_experts|:1,"
    "|attention_output_gate|:false,|scoring_func|:|sigmoid|,|use_routing_bias|:true,"
    "|moe_layer_freq|:[0,1,1],|sparse_attention_config|:{|use_sparse_attention|:true,"
    "|sparse_index_dim|:16,|sparse_num_index_heads|:2,|sparse_topk_blocks|:4,"
    "|sparse_block_size|:32,|sparse_disable_index_value|:[0,1,1],|sparse_score_type|:|max|,"
    "|sparse_init_block|:0,|sparse_local_block|:1,|sparse_attention_freq|:[0,1,1]}}}";

static json_t *parse(const char *text) {
    char *json = strdup(text);
    for (char *c = json; *c; c++)
        if (*c == '|') *c = '"';
    json_error_t why;
    json_t *root = json_loads(json, JSON_DECODE_ANY, &why);
    if (!root) fail_msg("%s in %s", why.text, json);
    free(json);
    return root;
}

static void check_m3(const arch *a) {
    assert_int_equal(a->family, ARCH_MINIMAX_M3);
    assert_int_equal(a->n_layers, 3);
    assert_int_equal(a->n_embd, 64);
    assert_int_equal(a->n_q_heads, 4);
    assert_int_equal(a->n_kv_heads, 2);
    assert_int_equal(a->head_dim, 16);
    assert_int_equal(a->n_vocab, 300);
    assert_int_equal(a->n_ctx_train, 512);
    assert_int_equal(a->n_ff, 96);
    assert_int_equal(a->n_rot, 8);
    assert_true(a->rope_base == 5e6 && a->norm_eps == 1e-6f);
    assert_true(a->qk_norm && a->swiglu_oai && !a->qkv_bias && !a->tied);
    assert_true(a->swiglu_alpha == 1.702f && a->swiglu_limit == 7);
    assert_int_equal(a->n_dense_layers, 1);
    assert_true(a->index.present && a->moe.present);
    assert_int_equal(a->index.dim, 16);
    assert_int_equal(a->index.block, 32);
    assert_int_equal(a->index.topk, 4);
    assert_int_equal(a->index.local, 1);
    assert_int_equal(a->index.init, 0);
    assert_int_equal(a->moe.n_experts, 8);
    assert_int_equal(a->moe.n_used, 2);
    assert_int_equal(a->moe.n_ff, 32);
    assert_int_equal(a->moe.n_ff_shared, 40);
    assert_true(a->moe.scale == 2);
}

static void both_spellings_of_m3_say_the_same(void **state) {
    (void)state;
    const char *const spellings[] = {M3_FLAT, M3_PUBLISHED};
    for (int i = 0; i < 2; i++) {
        json_t *root = parse(spellings[i]);
        msa_error err;
        arch a;
        assert_ok(config_json_parse(&a, root, &err), &err);
        check_m3(&a);
        json_decref(root);
    }
}

static void the_llama_families_are_read(void **state) {
    (void)state;
    static const char *const types[] = {"llama", "qwen2", "qwen3"};
    for (int i = 0; i < 3; i++) {
        json_t *root = parse(LLAMA);
        msa_error err;
        arch a;
        json_object_set_new(root, "model_type", json_string(types[i]));
        assert_ok(config_json_parse(&a, root, &err), &err);
        assert_int_equal(a.family, i);
        assert_int_equal(a.qkv_bias, i == 1);
        assert_int_equal(a.qk_norm, i == 2);
        assert_int_equal(a.head_dim, 16);
        assert_int_equal(a.n_rot, 16);
        assert_true(a.tied && !a.swiglu_oai && !a.index.present && !a.moe.present);
        assert_true(a.rope_base == 50000 && a.norm_eps == 1e-5f);
        json_decref(root);
    }
}

/* A good file with one key set, or without it. */
typedef struct change {
    const char *base, *path; /* "a.b": key b in object a */
    const char *value;       /* NULL: without it */
    msa_status status;
    const char *why;
} change;

#define BAD  MSA_E_FORMAT
#define WONT MSA_E_UNSUPPORTED
static const change CHANGES[] = {
    {LLAMA, "model_type", NULL, BAD, "'model_type' is missing"},
    {LLAMA, "model_type", "|gpt2|", WONT, "'model_type' is gpt2; supported"},
    {LLAMA, "partial_rotary_factor", "0.5", WONT, "'partial_rotary_factor' is 0.5; supported is 1"},
    {LLAMA, "hidden_size", NULL, BAD, "'hidden_size' is missing"},
    {LLAMA, "hidden_size", "0", BAD, "'hidden_size' is 0"},
    {LLAMA, "hidden_size", "64.0", BAD, "'hidden_size' is 64"},
    {LLAMA, "hidden_size", "4294967296", BAD, "'hidden_size' is 4294967296"},
    {LLAMA, "hidden_size", "66", BAD, "'head_dim' is missing"},
    {LLAMA, "num_attention_heads", "|4|", BAD, "'num_attention_heads' is 4"},
    {LLAMA, "num_key_value_heads", "3", BAD, "'num_key_value_heads' is 3; expected a divisor"},
    {LLAMA, "head_dim", "2147483647", BAD, "'head_dim' is 2147483647"},
    {LLAMA, "rms_norm_eps", "-1", BAD, "'rms_norm_eps' is -1"},
    {LLAMA, "rms_norm_eps", "1e-60", BAD, "'rms_norm_eps' is 1e-60"},
    {LLAMA, "rope_theta", "1e300", BAD, "'rope_theta' is 1e+300"},
    {LLAMA, "rope_theta", "[]", BAD, "'rope_theta' is a list"},
    {LLAMA, "rope_scaling", "{|rope_type|:|llama3|}", WONT, "'rope_scaling.rope_type' is llama3"},
    {LLAMA, "rope_scaling", "{|type|:|linear|}", WONT, "'rope_scaling.type' is linear"},
    {LLAMA, "rope_scaling", "3", BAD, "'rope_scaling' is 3"},
    {LLAMA, "rope_parameters", "{|rope_theta|:3}", BAD, "'rope_theta' is 50000"},
    {LLAMA, "rope_parameters", "{|rope_type|:|yarn|}", WONT, "'rope_parameters.rope_type' is yarn"},
    {LLAMA, "tie_word_embeddings", "1", BAD, "'tie_word_embeddings' is 1; expected true or false"},
    {LLAMA, "hidden_act", "|gelu|", WONT, "'hidden_act' is gelu; supported is 'silu'"},
    {LLAMA, "attention_bias", "true", WONT, "'attention_bias' is true"},
    {LLAMA, "mlp_bias", "true", WONT, "'mlp_bias' is true"},
    {LLAMA, "quantization_config", "{}", WONT, "'quantization_config' is an object"},
    {LLAMA, "layer_types", "[|full_attention|]", BAD, "'layer_types' is a list"},
    {LLAMA, "layer_types", "[|full_attention|,|sliding_attention|,|full_attention|]", WONT,
     "sliding_attention at layer 1"},
    {LLAMA, "index_topk_blocks", "16", BAD, "'index_topk_blocks' is 16; expected no such key"},
    {LLAMA, "sparse_attention_config", "{}", BAD, "no such key in this model_type"},
    {LLAMA, "num_local_experts", "8", BAD, "no such key in this model_type"},
    {LLAMA, "msa", "{}", BAD, "'msa.index_n_heads' is missing"},
    {LLAMA, "msa", "3", BAD, "'msa' is 3"},
    {LLAMA, "msa",
     "{|index_n_heads|:4,|index_head_dim|:16,|index_block_size|:32,|index_topk_blocks|:4,"
     "|index_local_blocks|:1,|index_init_blocks|:1,|num_dense_layers|:0}",
     BAD, "'msa.index_n_heads' is 4"},
    {LLAMA, "msa",
     "{|index_n_heads|:2,|index_head_dim|:8,|index_block_size|:32,|index_topk_blocks|:4,"
     "|index_local_blocks|:1,|index_init_blocks|:1,|num_dense_layers|:0}",
     BAD, "'msa.index_head_dim' is 8"},
    {LLAMA, "msa",
     "{|index_n_heads|:2,|index_head_dim|:16,|index_block_size|:32,|index_topk_blocks|:4,"
     "|index_local_blocks|:4,|index_init_blocks|:1,|num_dense_layers|:0}",
     BAD, "'msa.index_topk_blocks' is 4"},
    {LLAMA, "msa",
     "{|index_n_heads|:2,|index_head_dim|:16,|index_block_size|:32,|index_topk_blocks|:4,"
     "|index_local_blocks|:1,|index_init_blocks|:1,|num_dense_layers|:3}",
     BAD, "'msa.num_dense_layers' is 3"},
    /* sparse keys that are missing: never dense in silence */
    {M3_FLAT, "layer_types", NULL, BAD, "'layer_types' is missing"},
    {M3_FLAT, "mlp_layer_types", NULL, BAD, "'mlp_layer_types' is missing"},
    {M3_FLAT, "index_n_heads", NULL, BAD, "'index_n_heads' is missing"},
    {M3_FLAT, "index_head_dim", NULL, BAD, "'index_head_dim' is missing"},
    {M3_FLAT, "index_block_size", NULL, BAD, "'index_block_size' is missing"},
    {M3_FLAT, "index_topk_blocks", NULL, BAD, "'index_topk_blocks' is missing"},
    {M3_FLAT, "index_local_blocks", NULL, BAD, "'index_local_blocks' is missing"},
    {M3_PUBLISHED, "text_config", NULL, BAD, "'text_config' is missing"},
    {M3_PUBLISHED, "text_config.sparse_attention_config", NULL, BAD, "'text_config.layer_types'"},
    {M3_PUBLISHED, "text_config.sparse_attention_config.sparse_attention_freq", NULL, BAD,
     "'text_config.layer_types' is missing"},
    {M3_PUBLISHED, "text_config.sparse_attention_config.sparse_index_dim", NULL, BAD,
     "'text_config.index_head_dim' is missing"},
    {M3_PUBLISHED, "text_config.moe_layer_freq", NULL, BAD, "'text_config.mlp_layer_types'"},
    /* nested wrongly */
    {M3_PUBLISHED, "sparse_attention_config", "{}", BAD, "expected it inside 'text_config'"},
    {M3_PUBLISHED, "index_topk_blocks", "4", BAD, "expected it inside 'text_config'"},
    {M3_PUBLISHED, "sparse_topk_blocks", "4", BAD, "expected it inside 'sparse_attention_config'"},
    {M3_PUBLISHED, "text_config.sparse_index_dim", "16", BAD,
     "expected it inside 'sparse_attention_config'"},
    {M3_PUBLISHED, "text_config.sparse_attention_config.index_head_dim", "16", BAD,
     "expected it outside of this object"},
    {M3_PUBLISHED, "text_config.sparse_attention_config.sparse_topk", "4", WONT, "sparse_topk'"},
    {M3_PUBLISHED, "text_config.model_type", "|llama|", WONT, "'text_config.model_type' is llama"},
    /* contradictions */
    {M3_PUBLISHED, "text_config.index_topk_blocks", "8", BAD,
     "'text_config.sparse_attention_config.sparse_topk_blocks' is 4; expected what the flat"},
    {M3_PUBLISHED, "text_config.layer_types",
     "[|full_attention|,|full_attention|,|minimax_m3_sparse|]", BAD,
     "sparse_attention_freq' is a list; expected what the flat list says"},
    {M3_FLAT, "index_n_heads", "4", BAD, "'index_n_heads' is 4; expected one head per group"},
    {M3_FLAT, "index_local_blocks", "5", BAD, "'index_topk_blocks' is 4; expected room"},
    {M3_FLAT, "index_head_dim", "4", BAD, "'index_head_dim' is 4"},
    {M3_FLAT, "index_block_size", "0", BAD, "'index_block_size' is 0"},
    {M3_FLAT, "layer_types", "[|full_attention|,|minimax_m3_sparse|]", BAD, "list of 3 entries"},
    {M3_FLAT, "layer_types", "[|minimax_m3_sparse|,|full_attention|,|minimax_m3_sparse|]", WONT,
     "goes back at layer 1"},
    {M3_FLAT, "layer_types", "[|full_attention|,|sliding|,|minimax_m3_sparse|]", WONT,
     "has sliding at layer 1"},
    {M3_FLAT, "layer_types", "[|minimax_m3_sparse|,|minimax_m3_sparse|,|minimax_m3_sparse|]", WONT,
     "0 leading layers have dense attention and 1 a dense MLP"},
    {M3_FLAT, "rotary_dim", "6", BAD, "'rope_parameters.partial_rotary_factor' is 0.5"},
    {M3_FLAT, "rotary_dim", "18", BAD, "partial_rotary_factor"},
    {M3_FLAT, "rope_parameters", "{|rope_theta|:5e6}", BAD, "'partial_rotary_factor' is missing"},
    {M3_FLAT, "num_experts_per_tok", "9", BAD, "'num_experts_per_tok' is 9; expected at most"},
    {M3_FLAT, "n_shared_experts", "2", WONT, "'n_shared_experts' is 2"},
    {M3_FLAT, "hidden_act", "|gelu|", WONT, "'hidden_act' is gelu"},
    {M3_FLAT, "use_gemma_norm", "false", WONT, "'use_gemma_norm' is false; supported is true"},
    {M3_PUBLISHED, "text_config.scoring_func", "|softmax|", WONT, "scoring_func' is softmax"},
    {M3_PUBLISHED, "text_config.attention_output_gate", "true", WONT,
     "output_gate' is true; supported is"},
    {M3_PUBLISHED, "text_config.sparse_attention_config.sparse_score_type", "|lse|", WONT,
     "sparse_score_type' is lse"},
    {M3_PUBLISHED, "text_config.sparse_attention_config.use_sparse_attention", "false", BAD,
     "use_sparse_attention' is false; expected true"},
    {M3_PUBLISHED, "text_config.sparse_attention_config.sparse_disable_index_value", "[0,0,1]",
     WONT, "sparse_disable_index_value"},
    {M3_PUBLISHED, "text_config.moe_layer_freq", "[0,1,2]", WONT, "has 2 at layer 2"},
};

static void apply(json_t *root, const change *c) {
    char path[128], *key = path;
    strcpy(path, c->path);
    for (char *dot; (dot = strchr(key, '.')); key = dot + 1) {
        *dot = 0;
        root = json_object_get(root, key);
        assert_non_null(root);
    }
    if (c->value)
        json_object_set_new(root, key, parse(c->value));
    else
        json_object_del(root, key);
}

static void what_is_wrong_is_refused_by_name(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof CHANGES / sizeof *CHANGES; i++) {
        const change *c = &CHANGES[i];
        json_t *root = parse(c->base);
        apply(root, c);
        msa_error err;
        arch a;
        msa_status status = config_json_parse(&a, root, &err);
        json_decref(root);
        if (status == MSA_OK) fail_msg("accepted: %s %s", c->path, c->value);
        if (status != c->status || !strstr(err.text, c->why))
            fail_msg("%s %s says %d: %s", c->path, c->value, (int)status, err.text);
    }
}

static void what_is_written_is_read_again(void **state) {
    const char *path = folder_path(*state, "config.json");
    arch a = {.family = ARCH_LLAMA,
              .n_layers = 5,
              .n_embd = 72,
              .n_q_heads = 6,
              .n_kv_heads = 3,
              .head_dim = 48,
              .n_vocab = 259,
              .n_ctx_train = 1024,
              .n_ff = 100,
              .n_rot = 48,
              .rope_base = 12345.678,
              .norm_eps = 1e-6f};
    for (int family = 0; family < ARCH_FAMILY_COUNT; family++)
        for (int with = 0; with < 4; with++) {
            bool m3 = family == ARCH_MINIMAX_M3;
            a.family = (arch_family)family;
            a.tied = with & 1;
            a.qk_norm = m3 || family == ARCH_QWEN3;
            a.qkv_bias = family == ARCH_QWEN2;
            a.n_rot = m3 ? 22 : 48;
            a.index = (arch_index){0};
            a.moe = (arch_moe){0};
            a.n_dense_layers = m3 && !(with & 2) ? 5 : 0;
            a.swiglu_oai = m3;
            a.swiglu_alpha = m3 ? 1.5f : 0;
            a.swiglu_limit = m3 ? 6 : 0;
            if (with & 2) {
                a.n_dense_layers = 2;
                a.index = (arch_index){true, 56, 64, 8, 2, m3 ? 0 : 1, false};
            }
            if ((with & 2) && m3) a.moe = (arch_moe){true, 6, 3, 40, 24, 1.7f};
            msa_error err;
            arch back;
            json_t *root = config_json_create(&a, &(config_json_facts){"float32", 1, 2, -1});
            assert_non_null(root);
            assert_int_equal(json_dump_file(root, path, 0), 0);
            assert_ok(config_json_read(&back, path, &err), &err);
            /* Field by field, since padding may differ. */
            json_t *again = config_json_create(&back, &(config_json_facts){"float32", 1, 2, -1});
            assert_true(json_equal(root, again));
            assert_int_equal(back.n_ff, a.n_ff);
            assert_int_equal(back.n_rot, a.n_rot);
            assert_int_equal(back.n_dense_layers, a.n_dense_layers);
            assert_int_equal(back.index.present, a.index.present);
            assert_int_equal(back.index.init, a.index.init);
            assert_int_equal(back.moe.present, a.moe.present);
            assert_true(back.norm_eps == a.norm_eps && back.rope_base == a.rope_base);
            json_decref(root);
            json_decref(again);
        }
}

static void messages_name_the_file(void **state) {
    const char *path = folder_path(*state, "config.json");
    static const char *const bad[] = {"", "{", "[1]", "{\"a\":1,\"a\":2}", "{\"model_type\":1}"};
    arch a;
    msa_error err;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        write_text(path, bad[i]);
        assert_fails(config_json_read(&a, path, &err), MSA_E_FORMAT, &err, path);
    }
    assert_fails(config_json_read(&a, folder_path(*state, "none"), &err), MSA_E_IO, &err, "none");
    assert_int_equal(truncate(path, JSON_FILE_MOST + 1), 0);
    assert_fails(config_json_read(&a, path, &err), MSA_E_FORMAT, &err, "at most 134217728");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(both_spellings_of_m3_say_the_same),
        cmocka_unit_test(the_llama_families_are_read),
        cmocka_unit_test(what_is_wrong_is_refused_by_name),
        cmocka_unit_test_setup_teardown(what_is_written_is_read_again, folder_create,
                                        folder_remove),
        cmocka_unit_test_setup_teardown(messages_name_the_file, folder_create, folder_remove),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
