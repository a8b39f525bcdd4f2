/* test_weights.c: what weights_load makes of a file: each architecture, and each way a file can
 * lack, contradict or exceed what its architecture needs. */
#include "support/support.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "model/weights.h"
#include "nn/quant.h"
#include "support/gguf_writer.h"
#include "support/weights_random.h"

enum { LAYERS = 2, EMBD = 64, FF = 96, Q_HEADS = 4, KV_HEADS = 2, DIM = 32, VOCAB = 40 };

/* A small model with one thing wrong: the key or tensor named here is left out, or renamed, or has
 * another value, format or shape. */
typedef struct recipe {
    const char *architecture;
    uint32_t type; /* of the matrices */
    bool untied, rope_freqs;
    const char *drop;   /* key or tensor that is missing */
    const char *bend;   /* tensor whose first dimension is 32 too large */
    const char *recast; /* tensor that becomes I8 */
    const char *key;    /* key that gets value */
    uint32_t value;
    const char *extra_tensor;
    const char *scaling; /* rope.scaling.type, with factor 4 */
} recipe;

static bool is(const char *wanted, const char *name) {
    return wanted && strcmp(wanted, name) == 0;
}

static void put_count(gguf_writer *w, const recipe *r, const char *suffix, uint32_t value) {
    char key[96];
    snprintf(key, sizeof key, "%s.%s", r->architecture, suffix);
    if (is(r->drop, suffix)) return;
    gguf_write_u32(w, key, is(r->key, suffix) ? r->value : value);
}

static void put_number(gguf_writer *w, const recipe *r, const char *suffix, float value) {
    char key[96];
    snprintf(key, sizeof key, "%s.%s", r->architecture, suffix);
    if (!is(r->drop, suffix)) gguf_write_f32(w, key, is(r->key, suffix) ? (float)r->value : value);
}

static void put_tensor(gguf_writer *w, const recipe *r, rng *random, const char *name,
                       uint32_t type, uint64_t n_out, uint64_t n_in) {
    if (is(r->drop, name)) return;
    if (is(r->bend, name)) n_in += 32;
    uint8_t *data = random_weights(random, type, (int64_t)n_out, (int64_t)n_in);
    if (is(r->recast, name)) type = 24; /* I8: known by size, without kernels */
    size_t n = (size_t)n_out * quant_row_bytes(type, (int64_t)n_in);
    gguf_write_tensor(w, name, type, n_out > 1 ? 2 : 1, (uint64_t[]){n_in, n_out}, data, n);
    free(data);
}

static void put_layer(gguf_writer *w, const recipe *r, rng *random, int layer) {
    bool bias = is(r->architecture, "qwen2"), norm = is(r->architecture, "qwen3");
    uint32_t t = r->type;
    const struct {
        const char *name;
        uint32_t type;
        uint64_t n_out, n_in;
    } tensors[] = {
        {"attn_norm.weight", QUANT_F32, 1, EMBD},
        {"attn_q.weight", t, Q_HEADS * DIM, EMBD},
        {"attn_k.weight", t, KV_HEADS * DIM, EMBD},
        {"attn_v.weight", t, KV_HEADS * DIM, EMBD},
        {"attn_output.weight", t, EMBD, Q_HEADS * DIM},
        {"ffn_norm.weight", QUANT_F32, 1, EMBD},
        {"ffn_gate.weight", t, FF, EMBD},
        {"ffn_up.weight", t, FF, EMBD},
        {"ffn_down.weight", t, EMBD, FF},
        {"attn_q.bias", QUANT_F32, bias, Q_HEADS * DIM},
        {"attn_k.bias", QUANT_F32, bias, KV_HEADS * DIM},
        {"attn_v.bias", QUANT_F32, bias, KV_HEADS * DIM},
        {"attn_q_norm.weight", QUANT_F32, norm, DIM},
        {"attn_k_norm.weight", QUANT_F32, norm, DIM},
    };
    for (size_t i = 0; i < sizeof tensors / sizeof *tensors; i++) {
        char name[64];
        snprintf(name, sizeof name, "blk.%d.%s", layer, tensors[i].name);
        if (tensors[i].n_out)
            put_tensor(w, r, random, name, tensors[i].type, tensors[i].n_out, tensors[i].n_in);
    }
}

static file_bytes cook(const recipe *r) {
    gguf_writer w = {0};
    rng random = rng_seed(31);
    const char *tokens[VOCAB];
    for (int i = 0; i < VOCAB; i++) tokens[i] = "x";
    if (!is(r->drop, "general.architecture"))
        gguf_write_string(&w, "general.architecture", r->architecture);
    put_count(&w, r, "block_count", LAYERS);
    put_count(&w, r, "context_length", 512);
    put_count(&w, r, "embedding_length", EMBD);
    put_count(&w, r, "feed_forward_length", FF);
    put_count(&w, r, "attention.head_count", Q_HEADS);
    put_count(&w, r, "attention.head_count_kv", KV_HEADS);
    put_count(&w, r, "attention.key_length", DIM);
    put_count(&w, r, "attention.value_length", DIM);
    put_count(&w, r, "rope.dimension_count", DIM);
    put_count(&w, r, "vocab_size", VOCAB);
    put_count(&w, r, "expert_count", 0);
    put_number(&w, r, "attention.layer_norm_rms_epsilon", 1e-5f);
    put_number(&w, r, "rope.freq_base", 50000);
    gguf_write_u32(&w, "nobody.knows.this", 1);
    gguf_write_strings(&w, "tokenizer.ggml.tokens", is(r->drop, "token") ? VOCAB - 1 : VOCAB,
                       tokens);
    if (r->scaling) {
        char key[96];
        snprintf(key, sizeof key, "%s.rope.scaling.type", r->architecture);
        gguf_write_string(&w, key, r->scaling);
        put_number(&w, r, "rope.scaling.factor", 4);
    }
    put_tensor(&w, r, &random, "token_embd.weight", r->type, VOCAB, EMBD);
    put_tensor(&w, r, &random, "output_norm.weight", QUANT_F32, 1, EMBD);
    if (r->untied) put_tensor(&w, r, &random, "output.weight", r->type, VOCAB, EMBD);
    float factors[DIM / 2];
    for (int i = 0; i < DIM / 2; i++) factors[i] = is(r->key, "factor") ? 0 : (float)(1 + i);
    if (r->rope_freqs)
        gguf_write_tensor(&w, "rope_freqs.weight", QUANT_F32, 1, (uint64_t[]){DIM / 2}, factors,
                          sizeof factors);
    for (int i = 0; i < LAYERS; i++) put_layer(&w, r, &random, i);
    if (r->extra_tensor) put_tensor(&w, r, &random, r->extra_tensor, QUANT_F32, 1, EMBD);
    return gguf_writer_finish(&w);
}

typedef struct loaded {
    file_bytes file;
    gguf_file *gguf;
    weights *w;
} loaded;

static loaded load(recipe r) {
    msa_error err;
    loaded l = {.file = cook(&r)};
    assert_ok(gguf_open_memory(&l.gguf, l.file.data, l.file.n, "small.gguf", &err), &err);
    assert_ok(weights_load(&l.w, l.gguf, &err), &err);
    return l;
}

static void unload(loaded *l) {
    weights_free(l->w);
    gguf_close(l->gguf);
    free_bytes(&l->file);
}

/* The file must be refused, in words that name it and `word`. */
static void refuse(recipe r, msa_status expected, const char *word) {
    msa_error err = {0};
    file_bytes b = cook(&r);
    gguf_file *gguf;
    weights *w;
    assert_ok(gguf_open_memory(&gguf, b.data, b.n, "small.gguf", &err), &err);
    assert_fails(weights_load(&w, gguf, &err), expected, &err, word);
    assert_fails(expected, expected, &err, "small.gguf");
    assert_null(w);
    gguf_close(gguf);
    free_bytes(&b);
}

static void assert_matrix(const gemm_weight *m, uint32_t type, int64_t n_out, int64_t n_in,
                          const gguf_file *file, const char *name) {
    const gguf_tensor *t = gguf_find_tensor(file, name);
    assert_non_null(t);
    assert_ptr_equal(m->data, t->data);
    assert_int_equal(m->type, type);
    assert_int_equal(m->n_out, n_out);
    assert_int_equal(m->n_in, n_in);
    assert_int_equal(m->row_bytes * (size_t)n_out, t->n_bytes);
}

static void every_architecture_loads_with_its_differences(void **state) {
    (void)state;
    const char *names[] = {"llama", "qwen2", "qwen3"};
    const uint32_t types[] = {QUANT_F32, QUANT_Q8_0, QUANT_Q4_1};
    for (int i = 0; i < 3; i++) {
        loaded l = load((recipe){.architecture = names[i], .type = types[i], .untied = i == 1});
        const weights *w = l.w;
        assert_string_equal(w->architecture, names[i]);
        assert_int_equal(w->arch.n_layers, LAYERS);
        assert_int_equal(w->arch.n_embd, EMBD);
        assert_int_equal(w->arch.n_ff, FF);
        assert_int_equal(w->arch.n_q_heads, Q_HEADS);
        assert_int_equal(w->arch.n_kv_heads, KV_HEADS);
        assert_int_equal(w->arch.head_dim, DIM);
        assert_int_equal(w->arch.n_ctx_train, 512);
        assert_int_equal(w->arch.n_vocab, VOCAB);
        assert_true(w->arch.norm_eps == 1e-5f && w->rope.base == 50000 &&
                    w->rope.linear_factor == 1);
        assert_int_equal(w->rope.pairs, i == 0 ? ROPE_ADJACENT : ROPE_SPLIT);
        assert_int_equal(w->rope.n_rot, DIM);
        assert_null(w->rope.factors);
        assert_int_equal(w->arch.tied, i != 1);
        assert_matrix(&w->output, types[i], VOCAB, EMBD, l.gguf,
                      i == 1 ? "output.weight" : "token_embd.weight");
        for (int j = 0; j < LAYERS; j++) {
            const weights_layer *layer = &w->layers[j];
            assert_true(layer->attn_norm && layer->ffn_norm);
            assert_int_equal(layer->bq && layer->bk && layer->bv, i == 1);
            assert_int_equal(layer->q_norm && layer->k_norm, i == 2);
            assert_true(i == 1 || (!layer->bq && !layer->bk && !layer->bv));
        }
        const weights_layer *last = &w->layers[1];
        assert_matrix(&last->wq, types[i], Q_HEADS * DIM, EMBD, l.gguf, "blk.1.attn_q.weight");
        assert_matrix(&last->wk, types[i], KV_HEADS * DIM, EMBD, l.gguf, "blk.1.attn_k.weight");
        assert_matrix(&last->wv, types[i], KV_HEADS * DIM, EMBD, l.gguf, "blk.1.attn_v.weight");
        assert_matrix(&last->wo, types[i], EMBD, Q_HEADS * DIM, l.gguf, "blk.1.attn_output.weight");
        assert_matrix(&last->mlp.gate, types[i], FF, EMBD, l.gguf, "blk.1.ffn_gate.weight");
        assert_matrix(&last->mlp.up, types[i], FF, EMBD, l.gguf, "blk.1.ffn_up.weight");
        assert_matrix(&last->mlp.down, types[i], EMBD, FF, l.gguf, "blk.1.ffn_down.weight");
        unload(&l);
    }
}

static void required_keys_that_are_missing_are_named(void **state) {
    (void)state;
    const char *keys[] = {"general.architecture",
                          "block_count",
                          "context_length",
                          "embedding_length",
                          "feed_forward_length",
                          "attention.head_count",
                          "attention.layer_norm_rms_epsilon"};
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++)
        refuse((recipe){.architecture = "llama", .drop = keys[i]}, MSA_E_FORMAT, keys[i]);
}

static void optional_keys_have_the_formats_defaults(void **state) {
    (void)state;
    loaded l = load((recipe){.architecture = "llama", .drop = "rope.freq_base"});
    assert_true(l.w->rope.base == 10000);
    unload(&l);
    l = load((recipe){.architecture = "llama", .drop = "rope.dimension_count"});
    assert_int_equal(l.w->rope.n_rot, DIM);
    unload(&l);
    l = load((recipe){.architecture = "llama", .key = "rope.dimension_count", .value = DIM / 2});
    assert_int_equal(l.w->rope.n_rot, DIM / 2);
    unload(&l);
}

static void keys_that_contradict_are_refused(void **state) {
    (void)state;
    const struct {
        const char *key;
        uint32_t value;
        const char *word;
    } cases[] = {
        {"block_count", 0, "block_count"},
        {"block_count", UINT32_MAX, "block_count"},
        {"block_count", 1000000, "block_count"},
        {"block_count", 3, "blk.2."},
        {"block_count", 1, "blk.1."},
        {"embedding_length", 128, "[128, "},
        {"embedding_length", 3, "embedding_length"},
        {"feed_forward_length", 97, "97"},
        {"attention.head_count", 3, "head_count"},
        {"attention.head_count", 8, "blk.0.attn_q.weight"},
        {"attention.head_count", 0, "head_count"},
        {"attention.head_count_kv", 3, "head_count_kv"},
        {"attention.head_count_kv", 4, "blk.0.attn_k.weight"},
        {"attention.key_length", 64, "key_length"},
        {"rope.dimension_count", 31, "dimension_count"},
        {"rope.dimension_count", 64, "dimension_count"},
        {"vocab_size", 41, "vocab_size"},
        {"attention.layer_norm_rms_epsilon", 0, "epsilon"},
        {"rope.freq_base", 0, "freq_base"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        recipe r = {.architecture = "llama", .key = cases[i].key, .value = cases[i].value};
        msa_status expected =
            is(cases[i].key, "attention.key_length") || is(cases[i].word, "blk.1.")
                ? MSA_E_UNSUPPORTED
                : MSA_E_FORMAT;
        refuse(r, expected, cases[i].word);
    }
    refuse((recipe){.architecture = "llama", .drop = "token"}, MSA_E_FORMAT,
           "tokenizer.ggml.tokens");
    refuse((recipe){.architecture = "llama", .key = "expert_count", .value = 8}, MSA_E_UNSUPPORTED,
           "8 experts");
}

static void tensors_that_are_missing_or_misshapen_are_named(void **state) {
    (void)state;
    const struct {
        const char *architecture, *name;
    } cases[] = {
        {"llama", "token_embd.weight"},        {"llama", "output_norm.weight"},
        {"llama", "blk.0.attn_norm.weight"},   {"llama", "blk.1.attn_q.weight"},
        {"llama", "blk.1.attn_k.weight"},      {"llama", "blk.0.attn_v.weight"},
        {"llama", "blk.1.attn_output.weight"}, {"llama", "blk.1.ffn_norm.weight"},
        {"llama", "blk.1.ffn_gate.weight"},    {"llama", "blk.0.ffn_up.weight"},
        {"llama", "blk.1.ffn_down.weight"},    {"qwen2", "blk.0.attn_q.bias"},
        {"qwen2", "blk.1.attn_k.bias"},        {"qwen2", "blk.1.attn_v.bias"},
        {"qwen3", "blk.0.attn_q_norm.weight"}, {"qwen3", "blk.1.attn_k_norm.weight"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        recipe r = {.architecture = cases[i].architecture, .type = QUANT_Q4_0};
        r.drop = cases[i].name;
        refuse(r, MSA_E_FORMAT, cases[i].name);
        r.drop = NULL, r.bend = cases[i].name;
        refuse(r, MSA_E_FORMAT, cases[i].name);
    }
    recipe r = {.architecture = "llama", .untied = true, .bend = "output.weight"};
    refuse(r, MSA_E_FORMAT, "output.weight");
}

static void formats_without_kernels_are_refused_by_name(void **state) {
    (void)state;
    refuse((recipe){.architecture = "llama", .recast = "blk.0.ffn_norm.weight"}, MSA_E_UNSUPPORTED,
           "blk.0.ffn_norm.weight");
    refuse((recipe){.architecture = "llama", .recast = "blk.1.ffn_down.weight"}, MSA_E_UNSUPPORTED,
           "I8");
}

static void architectures_without_a_row_are_refused_by_name(void **state) {
    (void)state;
    refuse((recipe){.architecture = "gemma2"}, MSA_E_UNSUPPORTED, "gemma2");
    refuse((recipe){.architecture = "gemma2"}, MSA_E_UNSUPPORTED,
           "llama, qwen2, qwen3, minimax-m3");
    refuse((recipe){.architecture = "Llama"}, MSA_E_UNSUPPORTED, "Llama");
}

/* A bias nobody adds would be a different model, silently. */
static void tensors_nobody_would_use_are_refused(void **state) {
    (void)state;
    refuse((recipe){.architecture = "llama", .extra_tensor = "blk.0.attn_output.bias"},
           MSA_E_UNSUPPORTED, "blk.0.attn_output.bias");
    refuse((recipe){.architecture = "llama", .extra_tensor = "blk.0.attn_q_norm.weight"},
           MSA_E_UNSUPPORTED, "blk.0.attn_q_norm.weight");
}

static void rope_scaling_is_read_or_refused(void **state) {
    (void)state;
    loaded l = load((recipe){.architecture = "llama", .scaling = "linear"});
    assert_true(l.w->rope.linear_factor == 4);
    unload(&l);
    l = load((recipe){.architecture = "llama", .scaling = "none"});
    assert_true(l.w->rope.linear_factor == 1);
    unload(&l);
    refuse((recipe){.architecture = "qwen2", .scaling = "yarn"}, MSA_E_UNSUPPORTED, "yarn");
    l = load((recipe){.architecture = "llama", .rope_freqs = true});
    assert_true(l.w->rope.factors && l.w->rope.factors[3] == 4);
    unload(&l);
    refuse((recipe){.architecture = "llama", .rope_freqs = true, .key = "factor"}, MSA_E_FORMAT,
           "rope_freqs.weight");
}

static void formats_are_described_by_share(void **state) {
    (void)state;
    loaded l = load((recipe){.architecture = "llama", .type = QUANT_Q8_0});
    char text[64];
    weights_describe_formats(l.w, text, sizeof text);
    assert_string_equal(text, "Q8_0 99 %, F32 1 %");
    weights_describe_formats(l.w, text, 5);
    assert_string_equal(text, "Q8_0");
    unload(&l);
}

static void files_written_by_the_gguf_package_load(void **state) {
    (void)state;
    const char *names[] = {"llama", "qwen2", "qwen3", "minimax-m3"};
    for (int i = 0; i < 4; i++) {
        char path[96];
        msa_error err;
        gguf_file *file;
        weights *w;
        snprintf(path, sizeof path, "tests/fuzz/corpus/gguf/%s.gguf", names[i]);
        assert_ok(gguf_open(&file, test_path(path), &err), &err);
        assert_ok(weights_load(&w, file, &err), &err);
        assert_string_equal(w->architecture, names[i]);
        assert_int_equal(w->arch.n_vocab, 16);
        assert_int_equal(w->arch.head_dim, 16);
        assert_int_equal(w->layers[0].wk.type, QUANT_F16);
        assert_int_equal(w->layers[0].mlp.up.type, QUANT_Q8_0);
        assert_int_equal(w->rope.factors != NULL, i == 0);
        assert_int_equal(w->index != NULL, i == 3);
        assert_int_equal(w->arch.moe.n_experts, i == 3 ? 4 : 0);
        weights_free(w);
        gguf_close(file);
    }
}

/* The embedding, which is the output too, in Q6_K; a row of 32 in a format that allows it. */
static void a_file_of_k_formats_loads(void **state) {
    (void)state;
    msa_error err;
    gguf_file *file;
    weights *w;
    assert_ok(gguf_open(&file, test_path("tests/fuzz/corpus/gguf/kquants.gguf"), &err), &err);
    assert_ok(weights_load(&w, file, &err), &err);
    assert_true(w->arch.tied && w->token_embd.data == w->output.data);
    assert_matrix(&w->output, QUANT_Q6_K, 16, 256, file, "token_embd.weight");
    assert_matrix(&w->layers[0].wq, QUANT_Q4_K, 32, 256, file, "blk.0.attn_q.weight");
    assert_matrix(&w->layers[0].wk, QUANT_Q5_K, 16, 256, file, "blk.0.attn_k.weight");
    assert_matrix(&w->layers[0].wv, QUANT_Q6_K, 16, 256, file, "blk.0.attn_v.weight");
    assert_matrix(&w->layers[0].wo, QUANT_Q5_0, 256, 32, file, "blk.0.attn_output.weight");
    assert_matrix(&w->layers[0].mlp.down, QUANT_Q5_1, 256, 32, file, "blk.0.ffn_down.weight");
    char text[80];
    weights_describe_formats(w, text, sizeof text);
    assert_non_null(strstr(text, "Q4_K "));
    assert_non_null(strstr(text, "Q6_K "));
    weights_free(w);
    gguf_close(file);
}

static void the_demo_model_loads(void **state) {
    (void)state;
    test_need_model();
    gguf_file *file;
    weights *w;
    msa_error err;
    assert_ok(gguf_open(&file, test_path(TEST_MODEL), &err), &err);
    assert_ok(weights_load(&w, file, &err), &err);
    assert_int_equal(w->arch.n_layers, 30);
    assert_int_equal(w->arch.n_q_heads, 9);
    assert_int_equal(w->arch.n_kv_heads, 3);
    assert_int_equal(w->arch.head_dim, 64);
    assert_int_equal(w->arch.n_vocab, 49152);
    assert_true(w->arch.tied && w->rope.base == 100000 && w->rope.pairs == ROPE_ADJACENT);
    assert_int_equal(w->n_parameters, 134515008);
    char text[64];
    weights_describe_formats(w, text, sizeof text);
    assert_string_equal(text, "Q4_1 69 %, Q8_0 31 %");
    weights_free(w);
    gguf_close(file);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_architecture_loads_with_its_differences),
        cmocka_unit_test(required_keys_that_are_missing_are_named),
        cmocka_unit_test(optional_keys_have_the_formats_defaults),
        cmocka_unit_test(keys_that_contradict_are_refused),
        cmocka_unit_test(tensors_that_are_missing_or_misshapen_are_named),
        cmocka_unit_test(formats_without_kernels_are_refused_by_name),
        cmocka_unit_test(architectures_without_a_row_are_refused_by_name),
        cmocka_unit_test(tensors_nobody_would_use_are_refused),
        cmocka_unit_test(rope_scaling_is_read_or_refused),
        cmocka_unit_test(formats_are_described_by_share),
        cmocka_unit_test(files_written_by_the_gguf_package_load),
        cmocka_unit_test(a_file_of_k_formats_loads),
        cmocka_unit_test(the_demo_model_loads),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
