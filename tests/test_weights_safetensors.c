/* test_weights_safetensors.c: folders whose tensors are not what their config.json describes, in
 * each way they can differ, and memory that runs out while one is loaded. */
#include "support/support.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "model/config_json.h"
#include "model/export.h"
#include "model/model_files.h"
#include "model/safetensors_out.h"
#include "model/weights.h"
#include "msa/model.h"
#include "nn/quant.h"
#include "support/folder.h"
#include "support/random_source.h"
#include "support/scarce.h"

/* A good model with one thing wrong. */
typedef struct change {
    arch_family family;
    const char *drop;        /* tensor that is left out */
    const char *rename, *to; /* or has another name */
    const char *bend;        /* or one row less */
    const char *extra;       /* or a tensor besides */
    int32_t n_layers;        /* or what config.json says instead; 0: the truth */
    int32_t n_experts, topk, n_kv_heads;
    msa_status status;
    const char *why;
} change;

#define L1 "model.layers.1."
static const change CHANGES[] = {
    {.family = ARCH_LLAMA, .status = MSA_OK},
    {.family = ARCH_MINIMAX_M3, .status = MSA_OK},
    {.family = ARCH_LLAMA,
     .drop = "model.embed_tokens.weight",
     .status = MSA_E_FORMAT,
     .why = "'model.embed_tokens.weight' is missing"},
    {.family = ARCH_LLAMA,
     .drop = "lm_head.weight",
     .status = MSA_E_FORMAT,
     .why = "'lm_head.weight'"},
    {.family = ARCH_QWEN2,
     .drop = L1 "self_attn.k_proj.bias",
     .status = MSA_E_FORMAT,
     .why = "k_proj.bias' is missing"},
    {.family = ARCH_QWEN3,
     .drop = L1 "self_attn.q_norm.weight",
     .status = MSA_E_FORMAT,
     .why = "q_norm.weight' is missing"},
    {.family = ARCH_LLAMA,
     .drop = L1 "self_attn.index_q_proj.weight",
     .status = MSA_E_FORMAT,
     .why = "index_q_proj.weight' is missing"},
    {.family = ARCH_MINIMAX_M3,
     .drop = L1 "self_attn.indexer.k_norm.weight",
     .status = MSA_E_FORMAT,
     .why = "index_k_norm.weight' is missing"},
    {.family = ARCH_MINIMAX_M3,
     .drop = L1 "mlp.gate.e_score_correction_bias",
     .status = MSA_E_FORMAT,
     .why = "e_score_correction_bias' is missing"},
    {.family = ARCH_MINIMAX_M3,
     .drop = L1 "mlp.experts.down_proj",
     .status = MSA_E_FORMAT,
     .why = "experts.0.w2.weight' is missing"},
    {.family = ARCH_LLAMA,
     .bend = L1 "mlp.up_proj.weight",
     .status = MSA_E_FORMAT,
     .why = "up_proj.weight' has shape [95, 64]; config.json asks for [96, 64]"},
    {.family = ARCH_LLAMA,
     .bend = "model.norm.weight",
     .status = MSA_E_FORMAT,
     .why = "has shape [63]"},
    {.family = ARCH_MINIMAX_M3,
     .bend = L1 "mlp.experts.gate_up_proj",
     .status = MSA_E_FORMAT,
     .why = "has shape [3, 64, 64]; config.json asks for [4, 64, 64]"},
    {.family = ARCH_LLAMA,
     .extra = L1 "self_attn.q_proj.bias",
     .status = MSA_E_UNSUPPORTED,
     .why = "q_proj.bias' has no place"},
    {.family = ARCH_MINIMAX_M3,
     .extra = "model.layers.0.self_attn.indexer.q_proj.weight",
     .status = MSA_E_UNSUPPORTED,
     .why = "model.layers.0.self_attn.indexer.q_proj.weight'"},
    {.family = ARCH_MINIMAX_M3, .extra = "vision_tower.anything", .status = MSA_OK},
    {.family = ARCH_LLAMA, .extra = L1 "self_attn.rotary_emb.inv_freq", .status = MSA_OK},
    {.family = ARCH_LLAMA,
     .rename = "model.norm.weight",
     .to = "model.norm.scale",
     .status = MSA_E_FORMAT,
     .why = "'model.norm.weight' is missing"},
    {.family = ARCH_LLAMA,
     .rename = "lm_head.weight",
     .to = "language_model.lm_head.weight",
     .status = MSA_OK},
    {.family = ARCH_LLAMA, .n_layers = 3, .status = MSA_E_UNSUPPORTED, .why = "model.layers.3."},
    {.family = ARCH_LLAMA, .n_layers = 5, .status = MSA_E_FORMAT, .why = "model.layers.4."},
    {.family = ARCH_LLAMA,
     .n_layers = INT32_MAX,
     .status = MSA_E_FORMAT,
     .why = "2147483647 layers"},
    {.family = ARCH_LLAMA,
     .n_kv_heads = 1,
     .status = MSA_E_FORMAT,
     .why = "k_proj.weight' has shape"},
    {.family = ARCH_MINIMAX_M3,
     .n_experts = 5,
     .status = MSA_E_FORMAT,
     .why = "gate.weight' has shape"},
    {.family = ARCH_MINIMAX_M3,
     .n_experts = 4096,
     .status = MSA_E_FORMAT,
     .why = "4096 experts of 32 x 64 in each of 3 layers are more than"},
    {.family = ARCH_LLAMA,
     .extra = "a\x1b[31m",
     .status = MSA_E_UNSUPPORTED,
     .why = "tensor 'a\\x1b[31m' has no place"},
    {.family = ARCH_MINIMAX_M3,
     .n_experts = 5000,
     .status = MSA_E_UNSUPPORTED,
     .why = "5000 experts"},
    {.family = ARCH_MINIMAX_M3, .topk = 65, .status = MSA_E_UNSUPPORTED, .why = "with 65 blocks"},
};

static void export_good(arch_family family, const char *folder, arch *a) {
    *a = random_arch(family, true);
    uint64_t seed = family == ARCH_MINIMAX_M3 ? 7 : 8;
    msa_error err;
    tokenizer *t;
    assert_ok(tokenizer_create_bytes(&t, NULL, 0, &err), &err);
    export_source source = {.arch = a, .rows = random_rows, .user = &seed, .tokenizer = t};
    assert_ok(export_folder(&source, folder, QUANT_F32, 0, &err), &err);
    tokenizer_free(t);
}

static bool is(const char *wanted, const char *name) {
    return wanted && strcmp(wanted, name) == 0;
}

static void put_tensors(safetensors_out *out, const safetensors *good, const change *c,
                        bool names_not_data) {
    msa_error err;
    const float extra[4] = {0};
    for (size_t i = 0; i < safetensors_count(good); i++) {
        const safetensors_tensor *t = safetensors_at(good, i);
        uint64_t shape[4], n_bytes = t->n_bytes;
        for (int d = 0; d < t->n_dims; d++) shape[d] = t->shape[d];
        if (is(c->drop, t->name)) continue;
        if (is(c->bend, t->name)) n_bytes -= n_bytes / shape[0]--;
        if (names_not_data)
            safetensors_out_tensor(out, is(c->rename, t->name) ? c->to : t->name, t->type,
                                   t->n_dims, shape);
        else
            assert_ok(safetensors_out_data(out, t->data, n_bytes, &err), &err);
    }
    if (c->extra && names_not_data)
        safetensors_out_tensor(out, c->extra, QUANT_F32, 1, (uint64_t[]){4});
    else if (c->extra)
        assert_ok(safetensors_out_data(out, extra, sizeof extra, &err), &err);
}

static void write_changed(const char *from, const char *to, const change *c) {
    msa_error err;
    safetensors *good;
    safetensors_out *out;
    file_out_set set = {0};
    assert_ok(safetensors_open(&good, from, &err), &err);
    assert_ok(safetensors_out_create(&out, &set, to, 0, &err), &err);
    put_tensors(out, good, c, true);
    assert_ok(safetensors_out_begin_data(out, &err), &err);
    put_tensors(out, good, c, false);
    assert_ok(safetensors_out_finish(out, &err), &err);
    assert_ok(file_out_set_publish(&set, &err), &err);
    safetensors_out_free(out);
    file_out_set_free(&set);
    safetensors_close(good);
}

static void what_the_tensors_contradict_is_refused_by_name(void **state) {
    char good[512];
    snprintf(good, sizeof good, "%s", folder_path(*state, "good"));
    for (size_t i = 0; i < sizeof CHANGES / sizeof *CHANGES; i++) {
        const change *c = &CHANGES[i];
        arch a;
        msa_error err;
        weights *w;
        safetensors *files;
        export_good(c->family, good, &a);
        write_changed(folder_path(good, "model.safetensors"), *state, c);
        if (c->n_layers) a.n_layers = c->n_layers;
        if (c->n_experts) a.moe.n_experts = c->n_experts;
        if (c->topk) a.index.topk = c->topk;
        if (c->n_kv_heads) a.n_kv_heads = c->n_kv_heads;
        assert_ok(safetensors_open(&files, folder_path(*state, "model.safetensors"), &err), &err);
        msa_status status = weights_load_safetensors(&w, files, &a, &err);
        if (status != c->status || (status && !strstr(err.text, c->why)))
            fail_msg("change %zu gives %d: %s", i, (int)status, status ? err.text : "accepted");
        const char *name = status ? strstr(err.text, "model.safetensors'") : NULL;
        if (status && (!name || strstr(name + 1, "model.safetensors'")))
            fail_msg("change %zu should name its file once: %s", i, err.text);
        weights_free(w);
        safetensors_close(files);
    }
}

/* An output beside the embedding of a tied model must be the embedding. */
static void a_tied_output_must_be_the_embedding(void **state) {
    arch a;
    msa_error err;
    weights *w;
    safetensors *files;
    export_good(ARCH_LLAMA, *state, &a);
    a.tied = true;
    assert_ok(safetensors_open(&files, folder_path(*state, "model.safetensors"), &err), &err);
    assert_fails(weights_load_safetensors(&w, files, &a, &err), MSA_E_FORMAT, &err,
                 "'tie_word_embeddings' is true, but tensor 'lm_head.weight'");
    safetensors_close(files);
}

static void a_folder_that_lacks_a_file_says_which(void **state) {
    char path[512];
    msa_model *model;
    msa_error err;
    arch a;
    static const char *const names[] = {"model.safetensors", "tokenizer.json", "config.json"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        export_good(ARCH_QWEN3, *state, &a);
        snprintf(path, sizeof path, "%s", folder_path(*state, names[i]));
        assert_int_equal(remove(path), 0);
        assert_fails(msa_model_load(&model, *state, &err), MSA_E_IO, &err, names[i]);
    }
    assert_fails(msa_model_load(&model, folder_path(*state, "model.safetensors"), &err), MSA_E_IO,
                 &err, "config.json");
}

/* Beyond 14 GB the magic and version of GGUF, taken for a length, fit the file. */
static void a_large_gguf_file_is_not_taken_for_safetensors(void **state) {
    const char *path = folder_path(*state, "large.gguf");
    static const uint8_t header[24] = {'G', 'G', 'U', 'F', 3, 0, 0, 0, '{'};
    model_files files;
    msa_error err;
    write_whole(path, header, sizeof header);
    if (truncate(path, (off_t)15 << 30) != 0) skip(); /* a file system without holes */
    assert_ok(model_files_find(&files, path, &err), &err);
    assert_null(files.tensors);
    model_files_free(&files);
}

static void memory_that_runs_out_is_a_clean_error(void **state) {
    arch a;
    export_good(ARCH_MINIMAX_M3, *state, &a);
    bool failed = true;
    long i = 0;
    for (; failed; i++) {
        msa_model *model;
        msa_error err;
        long before = scarce_live();
        scarce_begin(i);
        msa_status status = msa_model_load(&model, *state, &err);
        failed = scarce_end();
        msa_model_free(model);
        assert_int_equal(scarce_live(), before);
        if (!failed) assert_ok(status, &err);
        /* Where PCRE2 has no memory to compile for speed, it goes on without. */
        if (failed && status != MSA_E_NOMEM && status != MSA_E_IO && status != MSA_OK)
            fail_msg("allocation %ld: %s", i, msa_status_name(status));
    }
    assert_true(i > 20);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(what_the_tensors_contradict_is_refused_by_name,
                                        folder_create, folder_remove),
        cmocka_unit_test_setup_teardown(a_tied_output_must_be_the_embedding, folder_create,
                                        folder_remove),
        cmocka_unit_test_setup_teardown(a_folder_that_lacks_a_file_says_which, folder_create,
                                        folder_remove),
        cmocka_unit_test_setup_teardown(a_large_gguf_file_is_not_taken_for_safetensors,
                                        folder_create, folder_remove),
        cmocka_unit_test_setup_teardown(memory_that_runs_out_is_a_clean_error, folder_create,
                                        folder_remove),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
