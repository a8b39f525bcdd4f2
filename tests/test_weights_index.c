/* test_weights_index.c: files with an index branch and with experts: what is made of them, and each
 * way their keys and tensors can be missing, contradict each other, or belong to another model. */
#include "support/support.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/mem.h"
#include "model/weights.h"
#include "support/gguf_edit.h"
#include "support/tiny_model.h"

enum { M3, LLAMA, BASE, INDEX, N_KINDS }; /* LLAMA: its index in its own file; INDEX: BASE's */

static gguf_file *good[N_KINDS];

static tiny_params params_of(int kind) {
    tiny_params p = kind == M3 ? tiny_m3(7) : tiny_defaults(kind == LLAMA ? "llama" : "qwen3", 8);
    if (kind == M3) return p;
    p.n_layers = 3, p.n_dense_layers = 1;
    p.index.dim = 24, p.index.block = 32, p.index.topk = 6, p.index.local = 2, p.index.init = 1;
    p.index.beside = kind != LLAMA;
    return p;
}

static gguf_file *make(const tiny_params *p, bool index) {
    char path[] = "/tmp/msa-index-XXXXXX";
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    close(fd);
    tiny_model *m = tiny_create(p);
    (index ? tiny_write_index : tiny_write)(m, path);
    tiny_free(m);
    gguf_file *file;
    msa_error err;
    msa_status status = gguf_open(&file, path, &err);
    unlink(path);
    assert_ok(status, &err);
    return file;
}

static int make_files(void **state) {
    (void)state;
    for (int i = 0; i < N_KINDS; i++) {
        tiny_params p = params_of(i);
        good[i] = make(&p, i == INDEX);
    }
    return 0;
}

static int close_files(void **state) {
    (void)state;
    for (int i = 0; i < N_KINDS; i++) gguf_close(good[i]);
    return 0;
}

static weights *load(const gguf_file *file) {
    weights *w;
    msa_error err;
    assert_ok(weights_load(&w, file, &err), &err);
    return w;
}

static void an_m3_file_gives_its_facts_and_tensors(void **state) {
    (void)state;
    weights *w = load(good[M3]);
    const arch *a = &w->arch;
    assert_string_equal(w->architecture, "minimax-m3");
    assert_int_equal(a->family, ARCH_MINIMAX_M3);
    assert_true(a->qk_norm && a->swiglu_oai && !a->qkv_bias && !a->tied);
    assert_true(a->swiglu_alpha == 1.702f && a->swiglu_limit == 7);
    assert_int_equal(a->n_dense_layers, 2);
    assert_int_equal(a->n_rot, 16);
    assert_int_equal(w->rope.n_rot, 16);
    assert_int_equal(w->rope.pairs, ROPE_SPLIT);
    const arch_index x = a->index;
    assert_true(x.present && x.dim == 16 && x.block == 16 && x.topk == 5);
    assert_true(x.local == 1 && x.init == 0);
    const arch_moe m = a->moe;
    assert_true(m.present && m.n_experts == 6 && m.n_used == 2 && m.n_ff == 40);
    assert_true(m.n_ff_shared == 40 && m.scale == 2);
    for (int i = 0; i < 4; i++) {
        const weights_layer *l = &w->layers[i];
        assert_true(l->q_norm && l->k_norm && !l->bq);
        assert_int_equal(l->experts != NULL, i >= 2);
        assert_int_equal(l->mlp.gate.n_out, i >= 2 ? 40 : 96);
        assert_int_equal(w->index[i].wq.data != NULL, i >= 2);
        if (i < 2) continue;
        assert_non_null(l->router);
        assert_non_null(l->router_bias);
        assert_true(w->index[i].q_norm && w->index[i].k_norm);
        assert_int_equal(w->index[i].wq.n_out, 2 * 16);
        assert_int_equal(w->index[i].wk.n_out, 16);
        const gguf_tensor *t = gguf_find_tensor(good[M3], i == 2 ? "blk.2.ffn_up_exps.weight"
                                                                 : "blk.3.ffn_up_exps.weight");
        assert_ptr_equal(l->experts[5].up.data, t->data + 5 * 40 * 64 * 4);
        assert_int_equal(l->experts[5].down.n_in, 40);
        assert_int_equal(l->experts[5].down.n_out, 64);
    }
    assert_int_equal(w->n_parameters - w->n_active, 2 * 4 * 3 * 40 * 64);
    assert_int_equal(w->n_index_parameters, 2 * ((2 + 1) * 16 * 64 + 2 * 16));
    weights_free(w);
}

static void an_index_lies_in_the_models_file_or_beside_it(void **state) {
    (void)state;
    msa_error err;
    weights *own = load(good[LLAMA]), *base = load(good[BASE]);
    assert_null(base->index);
    assert_false(base->arch.index.present);
    assert_ok(weights_load_index(base, good[INDEX], &err), &err);
    weights *both[] = {own, base};
    for (int i = 0; i < 2; i++) {
        const arch_index *x = &both[i]->arch.index;
        assert_true(x->present && x->dim == 24 && x->block == 32 && x->topk == 6);
        assert_true(x->local == 2 && x->init == 1);
        assert_int_equal(both[i]->arch.n_dense_layers, 1);
        assert_null(both[i]->index[0].wq.data);
        for (int layer = 1; layer < 3; layer++) {
            assert_int_equal(both[i]->index[layer].wq.n_out, 48);
            assert_int_equal(both[i]->index[layer].q_norm != NULL, i == 1);
        }
        assert_int_equal(both[i]->n_index_parameters, 2 * (3 * 24 * 64 + (i == 1 ? 48 : 0)));
    }
    assert_fails(weights_load_index(base, good[INDEX], &err), MSA_E_ARG, &err, "already");
    assert_fails(weights_load_index(own, good[INDEX], &err), MSA_E_ARG, &err, "already");
    weights_free(own);
    weights_free(base);
}

/* The edited file must be refused, in words that contain `word`; in a pair with INDEX, the other
 * file is good. */
static void refuse(int kind, gguf_edit edit, msa_status expected, const char *word) {
    msa_error err = {0};
    gguf_file *file;
    weights *w = NULL;
    file_bytes b = gguf_edited(good[kind], &edit);
    assert_ok(gguf_open_memory(&file, b.data, b.n, "edited.gguf", &err), &err);
    msa_status status;
    if (kind == INDEX) {
        w = load(good[BASE]);
        arch before = w->arch;
        status = weights_load_index(w, file, &err);
        assert_memory_equal(&w->arch, &before, sizeof before); /* nothing has changed */
        assert_null(w->index);
        assert_int_equal(w->n_index_parameters, 0);
        weights_free(w);
    } else {
        status = weights_load(&w, file, &err);
        if (status == MSA_OK) weights_free(w);
    }
    if (status == MSA_OK) fail_msg("edit of '%s' was not noticed", edit.name);
    assert_fails(status, expected, &err, word);
    assert_fails(status, expected, &err, "edited.gguf");
    gguf_close(file);
    free_bytes(&b);
}

static void an_unedited_copy_loads(void **state) {
    (void)state;
    for (int kind = 0; kind < N_KINDS; kind++) {
        msa_error err;
        gguf_file *file;
        file_bytes b = gguf_edited(good[kind], &(gguf_edit){.kind = EDIT_NOTHING});
        assert_ok(gguf_open_memory(&file, b.data, b.n, "copy.gguf", &err), &err);
        weights *w = load(kind == INDEX ? good[BASE] : file);
        if (kind == INDEX) assert_ok(weights_load_index(w, file, &err), &err);
        weights_free(w);
        gguf_close(file);
        free_bytes(&b);
    }
}

static void a_missing_key_is_named(void **state) {
    (void)state;
    static const struct {
        int kind;
        const char *name;
    } cases[] = {
        {M3, "minimax-m3.leading_dense_block_count"},
        {M3, "minimax-m3.attention.indexer.head_count"},
        {M3, "minimax-m3.attention.indexer.key_length"},
        {M3, "minimax-m3.attention.indexer.top_k"},
        {M3, "minimax-m3.attention.indexer.block_size"},
        {M3, "minimax-m3.attention.indexer.local_blocks"},
        {M3, "minimax-m3.expert_used_count"},
        {M3, "minimax-m3.expert_feed_forward_length"},
        {M3, "minimax-m3.expert_shared_count"},
        {M3, "minimax-m3.expert_gating_func"},
        {M3, "minimax-m3.expert_weights_norm"},
        {M3, "minimax-m3.expert_weights_scale"},
        {M3, "minimax-m3.rope.dimension_count"},
        {M3, "minimax-m3.rope.freq_base"},
        {LLAMA, "msa.leading_dense_block_count"},
        {LLAMA, "msa.indexer.head_count"},
        {LLAMA, "msa.indexer.key_length"},
        {LLAMA, "msa.indexer.top_k"},
        {LLAMA, "msa.indexer.block_size"},
        {LLAMA, "msa.indexer.local_blocks"},
        {LLAMA, "msa.indexer.init_blocks"},
        {INDEX, "general.architecture"},
        {INDEX, "msa.base.architecture"},
        {INDEX, "msa.base.fingerprint"},
        {INDEX, "msa.base.block_count"},
        {INDEX, "msa.base.embedding_length"},
        {INDEX, "msa.base.head_count"},
        {INDEX, "msa.base.head_count_kv"},
        {INDEX, "msa.base.key_length"},
        {INDEX, "msa.indexer.top_k"},
        {INDEX, "msa.indexer.init_blocks"},
        {INDEX, "msa.leading_dense_block_count"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        refuse(cases[i].kind, (gguf_edit){EDIT_DROP, cases[i].name, 0, NULL}, MSA_E_FORMAT,
               cases[i].name);
}

static void tensors_that_are_missing_or_misshapen_are_named(void **state) {
    (void)state;
    static const struct {
        int kind;
        const char *name;
    } cases[] = {
        {M3, "blk.2.indexer.q_proj.weight"},    {M3, "blk.3.indexer.k_proj.weight"},
        {M3, "blk.2.indexer.q_norm.weight"},    {M3, "blk.3.indexer.k_norm.weight"},
        {M3, "blk.2.ffn_gate_inp.weight"},      {M3, "blk.3.exp_probs_b.bias"},
        {M3, "blk.2.ffn_gate_exps.weight"},     {M3, "blk.2.ffn_up_exps.weight"},
        {M3, "blk.3.ffn_down_exps.weight"},     {M3, "blk.2.ffn_gate_shexp.weight"},
        {M3, "blk.2.ffn_down_shexp.weight"},    {M3, "blk.0.ffn_up.weight"},
        {M3, "blk.1.attn_q_norm.weight"},       {LLAMA, "blk.1.indexer.q_proj.weight"},
        {LLAMA, "blk.2.indexer.k_proj.weight"}, {INDEX, "blk.1.indexer.q_proj.weight"},
        {INDEX, "blk.2.indexer.k_proj.weight"}, {INDEX, "blk.1.indexer.k_norm.weight"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const char *name = cases[i].name;
        refuse(cases[i].kind, (gguf_edit){EDIT_DROP, name, 0, NULL}, MSA_E_FORMAT, name);
        refuse(cases[i].kind, (gguf_edit){EDIT_BEND, name, 0, NULL}, MSA_E_FORMAT, name);
        refuse(cases[i].kind, (gguf_edit){EDIT_RECAST, name, 0, NULL}, MSA_E_UNSUPPORTED, name);
    }
}

static void values_that_contradict_or_exceed_are_refused(void **state) {
    (void)state;
    static const struct {
        int kind;
        const char *name;
        uint32_t value;
        msa_status status;
        const char *word;
    } cases[] = {
        {M3, "minimax-m3.leading_dense_block_count", 5, MSA_E_FORMAT, "has 4 layers"},
        {M3, "minimax-m3.leading_dense_block_count", 1, MSA_E_FORMAT, "blk.1.ffn_gate_exps"},
        {M3, "minimax-m3.leading_dense_block_count", 3, MSA_E_FORMAT, "blk.2.ffn_gate.weight"},
        {M3, "minimax-m3.expert_count", 4096, MSA_E_FORMAT, "4096 experts of 40 x 64 in each of 2"},
        {M3, "minimax-m3.attention.indexer.head_count", 4, MSA_E_FORMAT, "2 key heads"},
        {M3, "minimax-m3.attention.indexer.key_length", 24, MSA_E_FORMAT, "indexer.q_proj"},
        {M3, "minimax-m3.attention.indexer.key_length", 20, MSA_E_UNSUPPORTED, "multiple of 8"},
        {M3, "minimax-m3.attention.indexer.key_length", 8, MSA_E_FORMAT, "16 elements"},
        {M3, "minimax-m3.attention.indexer.top_k", 0, MSA_E_FORMAT, "top_k"},
        {M3, "minimax-m3.attention.indexer.top_k", 65, MSA_E_UNSUPPORTED, "1 to 64"},
        {M3, "minimax-m3.attention.indexer.block_size", 24, MSA_E_UNSUPPORTED, "power of two"},
        {M3, "minimax-m3.attention.indexer.block_size", 8, MSA_E_UNSUPPORTED, "power of two"},
        {M3, "minimax-m3.attention.indexer.local_blocks", 6, MSA_E_FORMAT, "local_blocks"},
        {M3, "minimax-m3.expert_count", 5, MSA_E_FORMAT, "ffn_gate_exps"},
        {M3, "minimax-m3.expert_count", 0, MSA_E_FORMAT, "blk.2.ffn_gate.weight"},
        {M3, "minimax-m3.expert_count", 100000, MSA_E_UNSUPPORTED, "4096"},
        {M3, "minimax-m3.expert_used_count", 7, MSA_E_FORMAT, "expert_used_count"},
        {M3, "minimax-m3.expert_used_count", 0, MSA_E_FORMAT, "expert_used_count"},
        {M3, "minimax-m3.expert_shared_count", 2, MSA_E_FORMAT, "shexp"},
        {M3, "minimax-m3.expert_shared_count", 0, MSA_E_UNSUPPORTED, "shexp"},
        {M3, "minimax-m3.expert_gating_func", 1, MSA_E_UNSUPPORTED, "sigmoid"},
        {M3, "minimax-m3.expert_weights_norm", 0, MSA_E_UNSUPPORTED, "expert_weights_norm"},
        {M3, "minimax-m3.expert_weights_scale", 0, MSA_E_FORMAT, "more than 0"},
        {LLAMA, "msa.indexer.head_count", 4, MSA_E_FORMAT, "2 key heads"},
        {LLAMA, "msa.indexer.init_blocks", 5, MSA_E_FORMAT, "init blocks"},
        {LLAMA, "msa.leading_dense_block_count", 3, MSA_E_UNSUPPORTED, "blk.1.indexer"},
        {LLAMA, "msa.leading_dense_block_count", 0, MSA_E_FORMAT, "blk.0.indexer.q_proj"},
        {INDEX, "msa.base.block_count", 4, MSA_E_FORMAT, "the model's is 3"},
        {INDEX, "msa.base.embedding_length", 96, MSA_E_FORMAT, "another model"},
        {INDEX, "msa.base.head_count", 8, MSA_E_FORMAT, "another model"},
        {INDEX, "msa.base.head_count_kv", 1, MSA_E_FORMAT, "another model"},
        {INDEX, "msa.base.key_length", 32, MSA_E_FORMAT, "another model"},
        {INDEX, "msa.leading_dense_block_count", 3, MSA_E_FORMAT, "no layer"},
        {INDEX, "msa.leading_dense_block_count", 2, MSA_E_UNSUPPORTED, "blk.1.indexer"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        refuse(cases[i].kind, (gguf_edit){EDIT_U32, cases[i].name, cases[i].value, NULL},
               cases[i].status, cases[i].word);
}

static void an_index_of_another_model_is_refused(void **state) {
    (void)state;
    refuse(INDEX, (gguf_edit){EDIT_STRING, "msa.base.architecture", 0, "llama"}, MSA_E_FORMAT,
           "'llama', expected 'qwen3'");
    refuse(INDEX, (gguf_edit){EDIT_STRING, "msa.base.fingerprint", 0, "0123456789abcdef"},
           MSA_E_FORMAT, "other weights");
    refuse(INDEX, (gguf_edit){EDIT_STRING, "general.architecture", 0, "qwen3"}, MSA_E_FORMAT,
           "msa-index");
    refuse(M3, (gguf_edit){EDIT_STRING, "general.architecture", 0, "msa-index"}, MSA_E_UNSUPPORTED,
           "--index");
    /* Another model of the same shape: the same file in all but the weights. */
    tiny_params p = params_of(BASE);
    p.seed++;
    gguf_file *file = make(&p, false);
    weights *w = load(file);
    msa_error err;
    assert_fails(weights_load_index(w, good[INDEX], &err), MSA_E_FORMAT, &err, "other weights");
    weights_free(w);
    gguf_close(file);
    w = load(good[M3]);
    assert_fails(weights_load_index(w, good[INDEX], &err), MSA_E_ARG, &err, "already");
    weights_free(w);
}

/* Its fingerprint was computed by the script that wrote it, tests/oracle/gguf_files.py. */
static void an_index_written_by_the_gguf_package_loads(void **state) {
    (void)state;
    enum { EMBD = 32 };
    float ones[EMBD];
    for (int i = 0; i < EMBD; i++) ones[i] = 1;
    weights_layer layers[2] = {{.attn_norm = ones, .ffn_norm = ones},
                               {.attn_norm = ones, .ffn_norm = ones}};
    weights w = {.architecture = "qwen3", .output_norm = ones, .layers = layers};
    w.arch = (arch){.family = ARCH_QWEN3, .n_layers = 2, .n_embd = EMBD, .n_q_heads = 2};
    w.arch.n_kv_heads = 1, w.arch.head_dim = 16, w.arch.n_rot = 16, w.arch.qk_norm = true;
    gguf_file *file;
    msa_error err;
    assert_ok(gguf_open(&file, test_path("tests/fuzz/corpus/gguf/index.gguf"), &err), &err);
    assert_ok(weights_load_index(&w, file, &err), &err);
    assert_int_equal(w.arch.n_dense_layers, 1);
    assert_int_equal(w.index[1].wk.n_out, 16);
    mem_free(w.index);
    gguf_close(file);
}

/* An index that nobody would use: keys without tensors, tensors without keys, tensors too many. */
static void half_an_index_is_refused(void **state) {
    (void)state;
    refuse(BASE, (gguf_edit){EDIT_ADD, "msa.indexer.top_k", 4, NULL}, MSA_E_FORMAT,
           "msa.leading_dense_block_count");
    refuse(BASE, (gguf_edit){EDIT_ADD, "blk.0.indexer.q_proj.weight", 0, NULL}, MSA_E_FORMAT,
           "msa.leading_dense_block_count");
    refuse(LLAMA, (gguf_edit){EDIT_ADD, "blk.1.indexer.q_norm.weight", 0, NULL}, MSA_E_UNSUPPORTED,
           "blk.1.indexer.q_norm.weight");
    refuse(INDEX, (gguf_edit){EDIT_ADD, "blk.1.attn_q.bias", 0, NULL}, MSA_E_UNSUPPORTED,
           "blk.1.attn_q.bias");
    refuse(M3, (gguf_edit){EDIT_ADD, "blk.3.indexer.v_proj.weight", 0, NULL}, MSA_E_UNSUPPORTED,
           "blk.3.indexer.v_proj.weight");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_m3_file_gives_its_facts_and_tensors),
        cmocka_unit_test(an_index_lies_in_the_models_file_or_beside_it),
        cmocka_unit_test(an_unedited_copy_loads),
        cmocka_unit_test(a_missing_key_is_named),
        cmocka_unit_test(tensors_that_are_missing_or_misshapen_are_named),
        cmocka_unit_test(values_that_contradict_or_exceed_are_refused),
        cmocka_unit_test(an_index_of_another_model_is_refused),
        cmocka_unit_test(an_index_written_by_the_gguf_package_loads),
        cmocka_unit_test(half_an_index_is_refused),
    };
    return cmocka_run_group_tests(tests, make_files, close_files);
}
