/* test_export.c: models written and read again, bit for bit: GGUF, index files and safetensors of
 * every family, where disk or memory run out too. */
#include "support/support.h"

#include <float.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/half.h"
#include "base/mem.h"
#include "model/config_json.h"
#include "model/export.h"
#include "model/narrow.h"
#include "model/tensor_source.h"
#include "model/tokenizer_gguf.h"
#include "model/weights.h"
#include "msa/model.h"
#include "nn/quant.h"
#include "support/folder.h"
#include "support/random_source.h"
#include "support/scarce.h"

/* Seeds are even for the Llama families, odd for M3, whose norms lie about 0. */
static uint64_t seed_of(arch_family family) {
    return family == ARCH_MINIMAX_M3 ? 7 : 8;
}

static export_source source_of(const arch *a, uint64_t *seed, const tokenizer *t) {
    *seed = seed_of(a->family);
    return (export_source){.arch = a, .rows = random_rows, .user = seed, .tokenizer = t};
}

static tokenizer *byte_tokenizer(void) {
    tokenizer *t;
    msa_error err;
    assert_ok(tokenizer_create_bytes(&t, NULL, 0, &err), &err);
    return t;
}

static void check_arch(const arch *got, const arch *want) {
    assert_int_equal(got->family, want->family);
    const int32_t pairs[][2] = {
        {got->n_layers, want->n_layers},
        {got->n_embd, want->n_embd},
        {got->n_q_heads, want->n_q_heads},
        {got->n_kv_heads, want->n_kv_heads},
        {got->head_dim, want->head_dim},
        {got->n_vocab, want->n_vocab},
        {got->n_ctx_train, want->n_ctx_train},
        {got->n_ff, want->n_ff},
        {got->n_rot, want->n_rot},
        {got->tied, want->tied},
        {got->qk_norm, want->qk_norm},
        {got->qkv_bias, want->qkv_bias},
        {got->swiglu_oai, want->swiglu_oai},
        {got->n_dense_layers, want->n_dense_layers},
        {got->index.present, want->index.present},
        {got->index.dim, want->index.dim},
        {got->index.block, want->index.block},
        {got->index.topk, want->index.topk},
        {got->index.local, want->index.local},
        {got->index.init, want->index.init},
        {got->moe.present, want->moe.present},
        {got->moe.n_experts, want->moe.n_experts},
        {got->moe.n_used, want->moe.n_used},
        {got->moe.n_ff, want->moe.n_ff},
        {got->moe.n_ff_shared, want->moe.n_ff_shared},
    };
    for (size_t i = 0; i < sizeof pairs / sizeof *pairs; i++)
        if (pairs[i][0] != pairs[i][1])
            fail_msg("fact %zu of the architecture: %d, wrote %d", i, pairs[i][0], pairs[i][1]);
    assert_true(got->rope_base == want->rope_base && got->norm_eps == want->norm_eps);
    assert_true(got->swiglu_alpha == want->swiglu_alpha && got->moe.scale == want->moe.scale);
}

/* What a number is once it was stored in a format and read again. */
static void round_trip(uint32_t type, float *x, int64_t n) {
    uint8_t stored[4096];
    double wide[512];
    narrow_row(type, x, n, stored);
    assert_true(quant_widen_ref(type, stored, n, wide));
    for (int64_t i = 0; i < n; i++) x[i] = (float)wide[i];
}

/* All tensors of the list are those of the source, bit for bit, up to the rounding of the format.
 */
static void check_tensors(tensor_source *file, const arch *a, uint64_t seed, uint32_t type) {
    tensor_list list;
    msa_error err;
    float want[512], got[512];
    assert_ok(tensor_list_create(&list, a, &err), &err);
    for (int64_t i = 0; i < list.n; i++) {
        const tensor_spec *spec = &list.specs[i];
        bool narrow = !tensor_is_vector(spec->role) && !tensor_is_index(spec->role) &&
                      spec->role != TENSOR_ROUTER;
        bool sum = file->gguf && a->family == ARCH_MINIMAX_M3 && tensor_is_norm(spec->role);
        for (int64_t row = 0; row < spec->n_out; row++) {
            assert_ok(random_rows(&seed, spec, row, 1, want, &err), &err);
            assert_ok(tensor_source_rows(file, spec, row, 1, got, &err), &err);
            if (narrow) round_trip(type, want, spec->n_in);
            /* The sum is what the file holds: 1 + w rounded, and exactly 1 less. */
            for (int64_t j = 0; sum && j < spec->n_in; j++) want[j] = (1 + want[j]) - 1;
            if (memcmp(want, got, (size_t)spec->n_in * sizeof *want) != 0)
                fail_msg("%s, row %lld differs", spec->name, (long long)row);
        }
    }
    tensor_list_free(&list);
}

static const struct {
    arch_family family;
    bool index, tied;
    uint32_t type;
} CASES[] = {
    {ARCH_LLAMA, false, true, QUANT_F32},       {ARCH_LLAMA, true, false, QUANT_F32},
    {ARCH_QWEN2, false, false, QUANT_BF16},     {ARCH_QWEN2, true, true, QUANT_F32},
    {ARCH_QWEN3, true, false, QUANT_F16},       {ARCH_QWEN3, false, false, QUANT_Q8_0},
    {ARCH_MINIMAX_M3, true, false, QUANT_F32},  {ARCH_MINIMAX_M3, true, false, QUANT_BF16},
    {ARCH_MINIMAX_M3, true, false, QUANT_Q8_0}, {ARCH_LLAMA, true, false, QUANT_Q8_0},
};
enum { N_CASES = sizeof CASES / sizeof *CASES };

static void gguf_files_come_back_bit_for_bit(void **state) {
    const char *path = folder_path(*state, "model.gguf");
    tokenizer *t = byte_tokenizer();
    for (size_t i = 0; i < N_CASES; i++) {
        arch a = random_arch(CASES[i].family, CASES[i].index);
        a.tied = CASES[i].tied;
        uint64_t seed;
        msa_error err;
        gguf_file *file;
        weights *w;
        tokenizer *back;
        chat_template chat;
        export_source source = source_of(&a, &seed, t);
        assert_ok(export_gguf(&source, path, CASES[i].type, &err), &err);
        assert_ok(gguf_open(&file, path, &err), &err);
        assert_ok(weights_load(&w, file, &err), &err);
        check_arch(&w->arch, &a);
        tensor_source from = {.arch = &w->arch, .gguf = file};
        check_tensors(&from, &a, seed, CASES[i].type);
        assert_ok(tokenizer_from_gguf(&back, &chat, file, &err), &err);
        assert_int_equal(tokenizer_size(back), a.n_vocab);
        assert_int_equal(tokenizer_eos(back), 256);
        chat_template_free(&chat);
        tokenizer_free(back);
        weights_free(w);
        gguf_close(file);
    }
    tokenizer_free(t);
    assert_int_equal(folder_entries(*state), 1);
}

static void folders_come_back_bit_for_bit(void **state) {
    char folder[512];
    snprintf(folder, sizeof folder, "%s", folder_path(*state, "model"));
    tokenizer *t = byte_tokenizer();
    for (size_t i = 0; i < N_CASES; i++)
        for (int shards = 0; shards < 2; shards++) {
            if (CASES[i].type == QUANT_Q8_0) continue;
            arch a = random_arch(CASES[i].family, CASES[i].index), back = {0};
            a.tied = CASES[i].tied;
            uint64_t seed;
            msa_error err;
            safetensors *files;
            export_source source = source_of(&a, &seed, t);
            assert_ok(export_folder(&source, folder, CASES[i].type, shards ? 100000 : 0, &err),
                      &err);
            assert_ok(config_json_read(&back, folder_path(folder, "config.json"), &err), &err);
            check_arch(&back, &a);
            const char *name = shards ? "model.safetensors.index.json" : "model.safetensors";
            assert_ok(safetensors_open(&files, folder_path(folder, name), &err), &err);
            tensor_source from = {.arch = &back, .files = files};
            check_tensors(&from, &a, seed, CASES[i].type);
            safetensors_close(files);
        }
    tokenizer_free(t);
}

/* ---- models that run ---- */

enum { N_FED = 200 };

static void run(const char *path, const char *text, float *logits, msa_tokens *ids) {
    msa_error err;
    msa_model *model;
    msa_session *session;
    ids->n = 0;
    assert_ok(msa_model_load(&model, path, &err), &err);
    assert_ok(msa_tokenize(model, text, strlen(text), MSA_PARSE_SPECIAL, ids, &err), &err);
    msa_session_params p = msa_session_defaults(model);
    assert_ok(msa_session_create(&session, model, &p, &err), &err);
    assert_ok(msa_session_feed(session, ids->ids, ids->n, NULL, NULL, &err), &err);
    memcpy(logits, msa_session_logits(session), 300 * sizeof *logits);
    msa_session_free(session);
    msa_model_free(model);
}

/* The index selects 4 of 13 blocks here, by scores whose order of summation differs between the
 * two where RoPE's pairs do; the seeds leave no two near a tie. */
static void gguf_and_safetensors_of_a_model_run_alike(void **state) {
    char folder[512], path[512], text[N_FED + 1];
    snprintf(folder, sizeof folder, "%s", folder_path(*state, "model"));
    snprintf(path, sizeof path, "%s", folder_path(*state, "model.gguf"));
    rng r = rng_seed(5);
    for (int i = 0; i < N_FED; i++) text[i] = (char)(32 + rng_below(&r, 90));
    text[N_FED] = 0;
    memcpy(text + 50, "<|endoftext|>", 13);
    tokenizer *t = byte_tokenizer();
    for (int family = 0; family < ARCH_FAMILY_COUNT; family++) {
        arch a = random_arch((arch_family)family, true);
        uint64_t seed;
        msa_error err;
        float one[300], other[300];
        msa_tokens ids[2] = {0};
        export_source source = source_of(&a, &seed, t);
        assert_ok(export_gguf(&source, path, QUANT_F32, &err), &err);
        assert_ok(export_folder(&source, folder, QUANT_F32, 0, &err), &err);
        run(path, text, one, &ids[0]);
        run(folder, text, other, &ids[1]);
        assert_int_equal(ids[0].n, N_FED - 12);
        assert_int_equal(ids[0].ids[50], 256);
        assert_int_equal(ids[0].ids[49], text[49]);
        assert_int_equal(ids[1].n, ids[0].n);
        assert_memory_equal(ids[0].ids, ids[1].ids, ids[0].n * sizeof *ids[0].ids);
        double worst = 0;
        for (int i = 0; i < 300; i++) worst = larger_error(worst, (double)(one[i] - other[i]));
        if (!(worst < 1e-4)) fail_msg("family %d: logits differ by %g", family, worst);
        run(folder_path(folder, "config.json"), text, one, &ids[0]);
        assert_memory_equal(one, other, sizeof one);
        run(folder_path(folder, "model.safetensors"), text, one, &ids[0]);
        assert_memory_equal(one, other, sizeof one);
        msa_tokens_free(&ids[0]);
        msa_tokens_free(&ids[1]);
    }
    tokenizer_free(t);
}

static void an_index_file_fits_its_base_and_no_other(void **state) {
    char base[512], other[512], index[512];
    snprintf(base, sizeof base, "%s", folder_path(*state, "base.gguf"));
    snprintf(other, sizeof other, "%s", folder_path(*state, "other.gguf"));
    snprintf(index, sizeof index, "%s", folder_path(*state, "index.gguf"));
    arch a = random_arch(ARCH_LLAMA, true), plain = a;
    plain.index.present = false;
    plain.n_dense_layers = 0;
    uint64_t seed, seed_other = 10;
    msa_error err;
    export_source with = source_of(&a, &seed, NULL), without = with, stranger = with;
    without.arch = stranger.arch = &plain;
    stranger.user = &seed_other;
    assert_ok(export_gguf(&without, base, QUANT_F16, &err), &err);
    assert_ok(export_gguf(&stranger, other, QUANT_F16, &err), &err);
    assert_ok(export_index(&with, index, QUANT_F32, &err), &err);
    gguf_file *file, *index_file;
    weights *w;
    assert_ok(gguf_open(&index_file, index, &err), &err);
    assert_ok(gguf_open(&file, base, &err), &err);
    assert_ok(weights_load(&w, file, &err), &err);
    assert_ok(weights_load_index(w, index_file, &err), &err);
    check_arch(&w->arch, &a);
    tensor_source from = {.arch = &w->arch, .gguf = file, .index = index_file};
    check_tensors(&from, &a, seed, QUANT_F16);
    weights_free(w);
    gguf_close(file);
    assert_ok(gguf_open(&file, other, &err), &err);
    assert_ok(weights_load(&w, file, &err), &err);
    assert_fails(weights_load_index(w, index_file, &err), MSA_E_FORMAT, &err, "fingerprint");
    weights_free(w);
    gguf_close(file);
    gguf_close(index_file);
}

/* Whether these bytes load as an index of w, which then is what it was. */
static bool loads_as_index(weights *w, const uint8_t *data, size_t n, gguf_file **file) {
    msa_error err = {0};
    arch before = w->arch;
    int64_t n_parameters = w->n_index_parameters;
    msa_status status = gguf_open_memory(file, data, n, "hurt.gguf", &err);
    if (status == MSA_OK && weights_load_index(w, *file, &err) != MSA_OK) {
        gguf_close(*file);
        *file = NULL;
    }
    if (!*file) assert_non_null(strstr(err.text, "hurt.gguf"));
    if (*file) mem_free(w->index);
    w->index = NULL, w->arch = before, w->n_index_parameters = n_parameters;
    return *file != NULL;
}

static void expect_tensors_of(const gguf_file *hurt, const gguf_file *good) {
    assert_int_equal(gguf_tensor_count(hurt), gguf_tensor_count(good));
    for (size_t i = 0; i < gguf_tensor_count(good); i++) {
        const gguf_tensor *x = gguf_tensor_at(hurt, i), *y = gguf_tensor_at(good, i);
        assert_int_equal(x->n_bytes, y->n_bytes);
        assert_memory_equal(x->data, y->data, y->n_bytes);
    }
}

/* A bit that flips is noticed or means nothing, such as one of the file's name; a number among the
 * weights is noticed. So is an end that is missing, wherever it begins. */
static void an_index_file_that_was_damaged_is_refused(void **state) {
    char base[512], index[512];
    snprintf(base, sizeof base, "%s", folder_path(*state, "base.gguf"));
    snprintf(index, sizeof index, "%s", folder_path(*state, "index.gguf"));
    arch a = random_arch(ARCH_QWEN3, true), plain = a;
    plain.index.present = false;
    plain.n_dense_layers = 0;
    uint64_t seed;
    msa_error err;
    export_source with = source_of(&a, &seed, NULL), without = with;
    without.arch = &plain;
    assert_ok(export_gguf(&without, base, QUANT_F16, &err), &err);
    assert_ok(export_index(&with, index, QUANT_F16, &err), &err);
    gguf_file *file, *good, *hurt = NULL;
    weights *w;
    assert_ok(gguf_open(&file, base, &err), &err);
    assert_ok(weights_load(&w, file, &err), &err);
    size_t n, n_accepted = 0;
    uint8_t *data = (uint8_t *)read_whole(index, &n);
    assert_true(loads_as_index(w, data, n, &hurt));
    gguf_close(hurt);
    assert_ok(gguf_open(&good, index, &err), &err);
    size_t keys = n;
    for (size_t i = 0; i < gguf_tensor_count(good); i++) keys -= gguf_tensor_at(good, i)->n_bytes;
    for (size_t i = 0; i < n; i += (i < keys ? 1 : 37) * (test_brief() ? 16 : 1)) {
        data[i] ^= (uint8_t)(1 << i % 8);
        if (loads_as_index(w, data, n, &hurt)) {
            expect_tensors_of(hurt, good);
            n_accepted++;
            gguf_close(hurt);
        }
        data[i] ^= (uint8_t)(1 << i % 8);
    }
    assert_in_range(n_accepted, 1, keys / 4);
    for (size_t end = 0; end < n; end += 61) assert_false(loads_as_index(w, data, end, &hurt));
    assert_false(loads_as_index(w, data, n - 1, &hurt));
    free(data);
    gguf_close(good);
    weights_free(w);
    gguf_close(file);
}

static void what_files_cannot_say_is_refused(void **state) {
    const char *path = folder_path(*state, "model.gguf");
    arch a = random_arch(ARCH_MINIMAX_M3, true);
    uint64_t seed;
    msa_error err;
    export_source source = source_of(&a, &seed, NULL);
    a.index.value = true;
    assert_fails(export_gguf(&source, path, QUANT_F32, &err), MSA_E_UNSUPPORTED, &err, "value");
    a.index.value = false;
    a.index.init = 1;
    assert_fails(export_folder(&source, path, QUANT_F32, 0, &err), MSA_E_UNSUPPORTED, &err,
                 "1 initial");
    a.index.init = 0;
    a.moe.n_ff_shared = 33;
    assert_fails(export_gguf(&source, path, QUANT_F32, &err), MSA_E_UNSUPPORTED, &err, "width 33");
    a.moe.n_ff_shared = 32;
    a.swiglu_limit = 6;
    assert_fails(export_gguf(&source, path, QUANT_F32, &err), MSA_E_UNSUPPORTED, &err, "limit 6");
    a.swiglu_limit = 7;
    assert_fails(export_gguf(&source, path, QUANT_Q4_0, &err), MSA_E_ARG, &err, "not written");
    assert_fails(export_folder(&source, path, QUANT_Q8_0, 0, &err), MSA_E_ARG, &err, "Q8_0");
    assert_fails(export_index(&source, path, QUANT_F32, &err), MSA_E_ARG, &err, "is a MiniMax-M3");
    a = random_arch(ARCH_LLAMA, false);
    a.n_rot = 8;
    assert_fails(export_folder(&source, path, QUANT_F32, 0, &err), MSA_E_UNSUPPORTED, &err,
                 "RoPE on 8 elements of heads of 16");
    a.n_rot = 16;
    assert_fails(export_index(&source, path, QUANT_F32, &err), MSA_E_ARG, &err, "has none");
    a.n_vocab = 200;
    source.tokenizer = byte_tokenizer();
    assert_fails(export_gguf(&source, path, QUANT_F32, &err), MSA_E_ARG, &err, "257 tokens");
    tokenizer_free((tokenizer *)source.tokenizer);
    assert_int_equal(folder_entries(*state), 0);
}

/* The random rows, with one number that F16 has no place for. */
static msa_status rows_with_a_large_one(void *seed, const tensor_spec *spec, int64_t row, int64_t n,
                                        float *out, msa_error *err) {
    msa_status status = random_rows(seed, spec, row, n, out, err);
    if (spec->role == TENSOR_DOWN && spec->layer == 2) out[5] = -65520;
    return status;
}

static void numbers_that_a_format_loses_are_refused(void **state) {
    static const float most[] = {0, 0x1.ffdffep15f, 0x1.fefffep127f, 0x1.fp22f};
    static const uint32_t types[] = {QUANT_F32, QUANT_F16, QUANT_BF16, QUANT_Q8_0};
    for (int i = 1; i < 4; i++) {
        float x[32] = {0}, back[32];
        x[7] = -most[i];
        assert_int_equal(narrow_find_lost(types[i], x, 32), -1);
        memcpy(back, x, sizeof x);
        round_trip(types[i], back, 32);
        assert_true(isfinite(back[7]));
        x[7] = nextafterf(-most[i], -INFINITY);
        if (types[i] == QUANT_Q8_0) x[7] = NAN;
        assert_int_equal(narrow_find_lost(types[i], x, 32), 7);
    }
    assert_int_equal(narrow_find_lost(QUANT_F16, (float[]){INFINITY, NAN}, 2), -1);
    assert_int_equal(narrow_find_lost(QUANT_F32, (float[]){FLT_MAX}, 1), -1);
    const char *path = folder_path(*state, "model.gguf");
    arch a = random_arch(ARCH_LLAMA, false);
    uint64_t seed;
    msa_error err;
    export_source source = source_of(&a, &seed, NULL);
    source.rows = rows_with_a_large_one;
    assert_fails(export_gguf(&source, path, QUANT_F16, &err), MSA_E_UNSUPPORTED, &err,
                 "'blk.2.ffn_down.weight' holds -65520, which F16");
    assert_int_equal(folder_entries(*state), 0);
    assert_ok(export_gguf(&source, path, QUANT_BF16, &err), &err);
}

static void a_template_of_before_does_not_outlive_the_new_tokenizer(void **state) {
    arch a = random_arch(ARCH_QWEN3, false);
    uint64_t seed;
    msa_error err;
    msa_model *model;
    tokenizer *t = byte_tokenizer();
    export_source source = source_of(&a, &seed, t);
    write_text(folder_path(*state, "chat_template.jinja"), "{{ 'of another model' }}");
    assert_ok(export_folder(&source, *state, QUANT_F32, 0, &err), &err);
    tokenizer_free(t);
    assert_ok(msa_model_load(&model, *state, &err), &err);
    assert_string_equal(msa_model_get_info(model)->chat_template, "none");
    msa_model_free(model);
}

static void a_folder_in_the_place_of_a_file_leaves_all_as_it_was(void **state) {
    char config[512];
    snprintf(config, sizeof config, "%s", folder_path(*state, "config.json"));
    arch a = random_arch(ARCH_LLAMA, false);
    uint64_t seed;
    msa_error err;
    export_source source = source_of(&a, &seed, NULL);
    assert_int_equal(mkdir(config, 0777), 0);
    assert_fails(export_gguf(&source, config, QUANT_F32, &err), MSA_E_IO, &err, "config.json");
    assert_fails(export_folder(&source, *state, QUANT_F32, 0, &err), MSA_E_IO, &err, "config.json");
    assert_int_equal(rmdir(config), 0);
    assert_int_equal(folder_entries(*state), 0);
}

static void a_full_disk_leaves_nothing_behind(void **state) {
    char folder[512], path[512];
    snprintf(folder, sizeof folder, "%s", folder_path(*state, "model"));
    snprintf(path, sizeof path, "%s", folder_path(*state, "model.gguf"));
    arch a = random_arch(ARCH_MINIMAX_M3, true);
    uint64_t seed;
    msa_error err;
    export_source source = source_of(&a, &seed, NULL);
    disk_fill(200000);
    msa_status gguf = export_gguf(&source, path, QUANT_F32, &err);
    msa_error err_folder;
    msa_status several = export_folder(&source, folder, QUANT_F32, 0, &err_folder);
    disk_clear();
    assert_fails(gguf, MSA_E_IO, &err, "model.gguf");
    assert_fails(several, MSA_E_IO, &err_folder, "model.safetensors");
    assert_int_equal(folder_entries(*state), 0);
}

static void memory_that_runs_out_leaves_nothing_behind(void **state) {
    char folder[512], path[512];
    snprintf(folder, sizeof folder, "%s", folder_path(*state, "model"));
    snprintf(path, sizeof path, "%s", folder_path(*state, "model.gguf"));
    arch a = random_arch(ARCH_MINIMAX_M3, true);
    a.n_layers = 2;
    uint64_t seed;
    msa_error err;
    tokenizer *t = byte_tokenizer();
    export_source source = source_of(&a, &seed, t);
    bool failed = true;
    for (long i = 0; failed; i++) {
        long before = scarce_live();
        scarce_begin(i);
        msa_status status = export_gguf(&source, path, QUANT_F16, &err);
        if (!status) status = export_folder(&source, folder, QUANT_F32, 50000, &err);
        failed = scarce_end();
        assert_int_equal(scarce_live(), before);
        if (!failed) assert_ok(status, &err);
        if (failed && status != MSA_E_NOMEM && status != MSA_E_IO)
            fail_msg("allocation %ld: %s", i, msa_status_name(status));
        if (failed && access(folder, F_OK) == 0) fail_msg("allocation %ld left a folder", i);
    }
    tokenizer_free(t);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(gguf_files_come_back_bit_for_bit, folder_create,
                                        folder_remove),
        cmocka_unit_test_setup_teardown(folders_come_back_bit_for_bit, folder_create,
                                        folder_remove),
        cmocka_unit_test_setup_teardown(gguf_and_safetensors_of_a_model_run_alike, folder_create,
                                        folder_remove),
        cmocka_unit_test_setup_teardown(an_index_file_that_was_damaged_is_refused, folder_create,
                                        folder_remove),
        cmocka_unit_test_setup_teardown(an_index_file_fits_its_base_and_no_other, folder_create,
                                        folder_remove),
        cmocka_unit_test_setup_teardown(what_files_cannot_say_is_refused, folder_create,
                                        folder_remove),
        cmocka_unit_test_setup_teardown(numbers_that_a_format_loses_are_refused, folder_create,
                                        folder_remove),
        cmocka_unit_test_setup_teardown(a_template_of_before_does_not_outlive_the_new_tokenizer,
                                        folder_create, folder_remove),
        cmocka_unit_test_setup_teardown(a_folder_in_the_place_of_a_file_leaves_all_as_it_was,
                                        folder_create, folder_remove),
        cmocka_unit_test_setup_teardown(a_full_disk_leaves_nothing_behind, folder_create,
                                        folder_remove),
        cmocka_unit_test_setup_teardown(memory_that_runs_out_leaves_nothing_behind, folder_create,
                                        folder_remove),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
