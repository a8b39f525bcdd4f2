/* test_train_from.c: runs that begin with the weights of a model file. */
#include "support/support.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "model/gguf.h"
#include "msa/model.h"
#include "support/runs.h"
#include "train/checkpoint.h"

static msa_error err;

/* Parts of runs that begin where others ended: files that say what can't be done with them. */
static void a_model_to_start_from_is_held_to_what_its_file_can_hold(void **state) {
    (void)state;
    char settings[700];
    msa_trainer *t;
    static const char *const CASES[][3] = {
        {"m3", "recipe.kind=full", "run.format"},
        {"m3", "recipe.kind=index-only run.format=index", "run.format"},
        {"m3", "model.index.topk=1 data.context=32", "data.context"},
        {"llama", "recipe.kind=cpt model.moe.experts=0 model.index.dim=8", "model.index.dim"},
    };
    run_to_end("m3", "run.steps=5", 0);
    run_to_end("llama", "run.steps=5 recipe.kind=full model.family=llama model.moe.experts=0", 0);
    for (size_t i = 0; i < sizeof CASES / sizeof *CASES; i++) {
        snprintf(settings, sizeof settings, "model.from=%s/model.gguf %s", run_path(CASES[i][0]),
                 CASES[i][1]);
        msa_status status = tiny_train_create(&t, run_path("from"), settings, 0, NULL, NULL, &err);
        assert_true(status == MSA_E_ARG || status == MSA_E_UNSUPPORTED);
        assert_non_null(strstr(err.text, CASES[i][2]));
    }
    snprintf(settings, sizeof settings,
             "model.from=%s/model.gguf recipe.kind=index-only run.format=index run.steps=5",
             run_path("llama"));
    assert_ok(tiny_train_create(&t, run_path("beside"), settings, 0, NULL, NULL, &err), &err);
    assert_ok(msa_trainer_run(t, &err), &err);
    const msa_train_info *info = msa_trainer_get_info(t);
    msa_model *model;
    assert_ok(msa_model_load(&model, info->base, &err), &err);
    assert_ok(msa_model_load_index(model, info->model, &err), &err);
    msa_model_free(model);
    msa_trainer_free(t);
}

/* Frozen backbone: a model of another run comes out with nothing but its index branch changed, and
 * checkpoints hold that branch alone. */
static void index_only_leaves_the_backbone_as_it_was(void **state) {
    (void)state;
    char settings[512], path[300];
    gguf_file *a, *b;
    checkpoint c;
    bool found;
    int n_same = 0, n_other = 0;
    run_to_end("base", "", 0);
    snprintf(path, sizeof path, "%s/model.gguf", run_path("base"));
    snprintf(settings, sizeof settings, "recipe.kind=index-only model.from=%s run.steps=3", path);
    run_to_end("index", settings, 0);
    assert_ok(gguf_open(&a, run_path("base/model.gguf"), &err), &err);
    assert_ok(gguf_open(&b, run_path("index/model.gguf"), &err), &err);
    assert_int_equal(gguf_tensor_count(a), gguf_tensor_count(b));
    for (size_t i = 0; i < gguf_tensor_count(a); i++) {
        const gguf_tensor *x = gguf_tensor_at(a, i), *y = gguf_tensor_at(b, i);
        char name[GGUF_PRINTABLE];
        bool of_index = strstr(gguf_printable(x->name, name), ".indexer.") != NULL;
        assert_int_equal(x->n_bytes, y->n_bytes);
        assert_int_equal(memcmp(x->data, y->data, x->n_bytes) != 0, of_index);
        n_same += !of_index, n_other += of_index;
    }
    assert_int_equal(n_other, 4); /* of layer 1: q, k and their norms */
    assert_true(n_same > 20);
    gguf_close(a);
    gguf_close(b);
    assert_ok(checkpoint_open_newest(&c, run_path("index"), &found, NULL, NULL, &err), &err);
    assert_int_equal(c.n_floats, 16 * 32 + 16 * 32 + 16 + 16);
    checkpoint_close(&c);
}

static void assert_same_file(const char *a, const char *b, bool same) {
    size_t n_a, n_b;
    char *x = read_whole(run_path(a), &n_a), *y = read_whole(run_path(b), &n_b);
    assert_int_equal(n_a == n_b && memcmp(x, y, n_a) == 0, same);
    free(x);
    free(y);
}

/* With a rate of 0 it stays what it was; without its file another is drawn. */
static void a_branch_beside_its_model_is_gone_on_with(void **state) {
    (void)state;
    char settings[900];
    msa_trainer *t;
#define ALONE "recipe.kind=index-only run.format=index run.steps=4 optim.index_lr=0 "
    static const char *const CASES[][2] = {
        {"model.index.keep=false", "model.index.keep"},
        {"model.index.on=false", "nothing"},
        {"recipe.kind=full run.format=none", "recipe.kind is full"},
        {"model.index.from=/no/such/file", "model.index.from"},
    };
    run_to_end("dense", "run.steps=4 recipe.kind=full model.family=llama model.moe.experts=0", 0);
    snprintf(settings, sizeof settings, "model.from=%s/model.gguf " ALONE "optim.index_lr=1e-2",
             run_path("dense"));
    run_to_end("branch", settings, 0);
    snprintf(settings, sizeof settings, "model.from=%s/model.gguf " ALONE, run_path("dense"));
    run_to_end("drawn", settings, 0);
    snprintf(settings, sizeof settings,
             "model.from=%s/model.gguf model.index.from=%s/index.gguf model.index.topk=2 " ALONE,
             run_path("dense"), run_path("branch"));
    run_to_end("same", settings, 0);
    assert_same_file("same/index.gguf", "branch/index.gguf", true); /* its blocks count */
    assert_same_file("same/index.gguf", "drawn/index.gguf", false);
    for (size_t i = 0; i < sizeof CASES / sizeof *CASES; i++) {
        char more[1100];
        snprintf(more, sizeof more, "%s %s", settings, CASES[i][0]);
        assert_fails(tiny_train_create(&t, run_path("no"), more, 0, NULL, NULL, &err),
                     i == 3 ? MSA_E_IO : MSA_E_ARG, &err, CASES[i][1]);
    }
    snprintf(settings, sizeof settings, "model.index.from=%s/index.gguf", run_path("branch"));
    assert_fails(tiny_train_create(&t, run_path("no"), settings, 0, NULL, NULL, &err), MSA_E_ARG,
                 &err, "model.from is empty");
    assert_fails(
        tiny_train_create(&t, run_path("no"), "model.index.keep=false", 0, NULL, NULL, &err),
        MSA_E_ARG, &err, "model.index.keep");
}

static int32_t index_fact(const char *run, const char *key) {
    char path[300];
    gguf_file *file;
    uint32_t value = 0;
    snprintf(path, sizeof path, "%s/model.gguf", run_path(run));
    assert_ok(gguf_open(&file, path, &err), &err);
    assert_ok(gguf_get_u32(file, key, &value, &err), &err);
    gguf_close(file);
    return (int32_t)value;
}

/* The branch in a model's file can be left out for another, of other blocks. */
static void another_branch_takes_the_place_of_the_models_own(void **state) {
    (void)state;
    char settings[512];
    static const char TOPK[] = "minimax-m3.attention.indexer.top_k";
    run_to_end("own", "run.steps=5", 0);
    for (int keep = 0; keep < 2; keep++) {
        snprintf(settings, sizeof settings,
                 "model.from=%s/model.gguf model.index.keep=%s model.index.topk=3 run.steps=5",
                 run_path("own"), keep ? "true" : "false");
        run_to_end("other", settings, 0);
        assert_int_equal(index_fact("other", TOPK) == 3, !keep);
        run_remove("other");
    }
    assert_int_not_equal(index_fact("own", TOPK), 3);
}

/* Puts `to` in the place of `from` in a file's text. */
static void replace_in(const char *path, const char *from, const char *to) {
    size_t n;
    char *text = read_whole(path, &n), *found = strstr(text, from);
    assert_non_null(found);
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    fprintf(f, "%.*s%s%s", (int)(found - text), text, to, found + strlen(from));
    assert_int_equal(fclose(f), 0);
    free(text);
}

/* What can't be written at the end, or is not all of the model, is refused at the beginning. */
static void a_base_that_does_not_fit_is_refused_before_the_run(void **state) {
    (void)state;
    char settings[512], config[300];
    msa_trainer *t;
    run_to_end("folder", "run.format=safetensors", 0);
    snprintf(config, sizeof config, "%s/model/config.json", run_path("folder"));
    snprintf(settings, sizeof settings, "model.from=%s/model/model.safetensors",
             run_path("folder"));
    run_remove("next");
    assert_ok(tiny_train_create(&t, run_path("next"), settings, 0, NULL, NULL, &err), &err);
    msa_trainer_free(t);
    replace_in(config, "\"swiglu_limit\": 7.0", "\"swiglu_limit\": 6.0");
    run_remove("next");
    assert_fails(tiny_train_create(&t, run_path("next"), settings, 0, NULL, NULL, &err),
                 MSA_E_UNSUPPORTED, &err, "run.format: SwiGLU with alpha 1.702 and limit 6");
    replace_in(config, "\"n_shared_experts\": 1", "\"n_shared_experts\": 0");
    run_remove("next");
    assert_fails(tiny_train_create(&t, run_path("next"), settings, 0, NULL, NULL, &err),
                 MSA_E_UNSUPPORTED, &err, "shared_experts");
}

static int32_t context_of(const char *run) {
    char path[300];
    msa_model *model;
    snprintf(path, sizeof path, "%s/model.gguf", run_path(run));
    assert_ok(msa_model_load(&model, path, &err), &err);
    int32_t n = msa_model_get_info(model)->n_ctx_train;
    msa_model_free(model);
    return n;
}

static void a_longer_context_than_the_model_had_is_its_context_then(void **state) {
    (void)state;
    char settings[400];
    run_to_end("first", "run.steps=5", 0);
    int32_t n = context_of("first");
    snprintf(settings, sizeof settings, "model.from=%s/model.gguf run.steps=5 data.context=%d",
             run_path("first"), 2 * n);
    run_to_end("longer", settings, 0);
    assert_int_equal(context_of("longer"), 2 * n);
    snprintf(settings, sizeof settings, "model.from=%s/model.gguf run.steps=5 data.context=%d",
             run_path("longer"), n);
    run_to_end("shorter", settings, 0);
    assert_int_equal(context_of("shorter"), 2 * n);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_model_to_start_from_is_held_to_what_its_file_can_hold),
        cmocka_unit_test(index_only_leaves_the_backbone_as_it_was),
        cmocka_unit_test(a_branch_beside_its_model_is_gone_on_with),
        cmocka_unit_test(another_branch_takes_the_place_of_the_models_own),
        cmocka_unit_test(a_longer_context_than_the_model_had_is_its_context_then),
        cmocka_unit_test(a_base_that_does_not_fit_is_refused_before_the_run),
    };
    return cmocka_run_group_tests(tests, runs_open, runs_close);
}
