/* test_train_base.c: model.from between a stop and a resume: what became another file is named. */
#include "support/support.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file_out.h"
#include "support/folder.h"
#include "support/gguf_edit.h"
#include "support/tiny_train.h"
#include "train/arch_text.h"
#include "train/trainer.h"

static msa_error err;

#define LLAMA "model.family=llama model.moe.experts=0 "

static void train(const char *out, const char *settings, msa_train_watch_fn *watch,
                  msa_status expected) {
    msa_trainer *t;
    assert_ok(tiny_train_create(&t, out, settings, 0, watch, NULL, &err), &err);
    assert_int_equal(msa_trainer_run(t, &err), expected);
    msa_trainer_free(t);
}

static int stop_behind_step_2(void *user, const msa_train_event *e) {
    (void)user;
    return (e->kind == MSA_TRAIN_STEP || e->kind == MSA_TRAIN_RECORD) && e->n_done == 2;
}

static void copy_file(const char *from, const char *to) {
    char line[800];
    snprintf(line, sizeof line, "cp '%s' '%s'", from, to);
    assert_int_equal(system(line), 0);
}

/* Writes over a model file what it is with one key changed. */
static void edit_file(const char *path, const char *key, uint32_t value) {
    gguf_file *file;
    gguf_edit edit = {.kind = EDIT_U32, .name = key, .value = value};
    assert_ok(gguf_open(&file, path, &err), &err);
    file_bytes edited = gguf_edited(file, &edit);
    gguf_close(file);
    assert_ok(file_out_save(path, edited.data, edited.n, &err), &err);
    free_bytes(&edited);
}

static void a_base_that_computes_something_else_is_not_resumed_with(void **state) {
    char settings[400], base[256], first[256];
    msa_trainer *t;
    snprintf(first, sizeof first, "%s", folder_path(*state, "first"));
    snprintf(base, sizeof base, "%s", folder_path(*state, "base.gguf"));
    train(first, LLAMA "recipe.kind=full run.steps=4", NULL, MSA_OK);
    snprintf(settings, sizeof settings, "%s/model.gguf", first);
    copy_file(settings, base);
    snprintf(settings, sizeof settings, "model.from=%s recipe.kind=cpt", base);
    const char *out = folder_path(*state, "stopped");
    train(out, settings, stop_behind_step_2, MSA_E_CANCELLED);
    assert_ok(tiny_train_create(&t, out, settings, 1, NULL, NULL, &err), &err);
    assert_int_equal(msa_trainer_get_info(t)->step, 2);
    msa_trainer_free(t);
    edit_file(base, "llama.rope.freq_base", 20000);
    assert_fails(tiny_train_create(&t, out, settings, 1, NULL, NULL, &err), MSA_E_ARG, &err,
                 "rope_base is 20000, and was 10000");
    edit_file(base, "llama.rope.freq_base", 10000);
    edit_file(base, "llama.context_length", 77);
    assert_fails(tiny_train_create(&t, out, settings, 1, NULL, NULL, &err), MSA_E_ARG, &err,
                 "n_ctx_train is 77");
}

/* The index would be written to lie beside a model that it was not trained for. */
static void a_frozen_base_with_other_weights_is_not_resumed_with(void **state) {
    char settings[400], base[256], runs[2][256], model[300];
    msa_trainer *t;
    snprintf(base, sizeof base, "%s", folder_path(*state, "frozen.gguf"));
    for (int i = 0; i < 2; i++) {
        snprintf(runs[i], sizeof runs[i], "%s", folder_path(*state, i ? "two" : "one"));
        train(runs[i],
              i ? LLAMA "recipe.kind=full run.steps=4 run.seed=5"
                : LLAMA "recipe.kind=full run.steps=4",
              NULL, MSA_OK);
    }
    snprintf(model, sizeof model, "%s/model.gguf", runs[0]);
    copy_file(model, base);
    snprintf(settings, sizeof settings, "model.from=%s recipe.kind=index-only run.format=index",
             base);
    const char *out = folder_path(*state, "index");
    train(out, settings, stop_behind_step_2, MSA_E_CANCELLED);
    assert_ok(tiny_train_create(&t, out, settings, 1, NULL, NULL, &err), &err);
    msa_trainer_free(t);
    snprintf(model, sizeof model, "%s/model.gguf", runs[1]);
    copy_file(model, base);
    assert_fails(tiny_train_create(&t, out, settings, 1, NULL, NULL, &err), MSA_E_ARG, &err,
                 "model.from");
}

/* As they were before they noted what they don't hold. */
static void a_checkpoint_that_knows_no_base_is_called_what_it_is(void **state) {
    char settings[400], base[256], path[300];
    msa_trainer *t;
    checkpoint c;
    bool found;
    snprintf(base, sizeof base, "%s", folder_path(*state, "begun"));
    train(base, LLAMA "recipe.kind=full run.steps=4", NULL, MSA_OK);
    snprintf(settings, sizeof settings,
             "model.from=%s/model.gguf recipe.kind=index-only run.format=index", base);
    const char *out = folder_path(*state, "beside");
    train(out, settings, stop_behind_step_2, MSA_E_CANCELLED);
    assert_ok(tiny_train_create(&t, out, settings, 1, NULL, NULL, &err), &err);
    uint64_t frozen = t->frozen;
    msa_trainer_free(t);
    assert_true(frozen != 0);
    assert_ok(checkpoint_open_newest(&c, out, &found, NULL, NULL, &err), &err);
    c.state.data ^= frozen;
    assert_ok(checkpoint_write(out, &c, 2, path, sizeof path, &err), &err);
    checkpoint_close(&c);
    assert_fails(tiny_train_create(&t, out, settings, 1, NULL, NULL, &err), MSA_E_UNSUPPORTED, &err,
                 "an earlier version");
    assert_null(strstr(err.text, "data.text"));
}

/* Bytes from a file: cut anywhere, without a last line, with facts of other releases. */
static void an_arch_is_compared_with_what_a_file_mentions_of_it(void **state) {
    (void)state;
    arch a = {.n_layers = 3, .rope_base = 1e4, .norm_eps = 1e-6f, .index = {.present = true}};
    bytes text = {0};
    arch_text_write(&a, &text);
    assert_ok(arch_text_same(&a, text.data, text.n, &err), &err);
    assert_ok(arch_text_same(&a, NULL, 0, &err), &err);
    assert_ok(arch_text_same(&a, "wings 2\nn_layers 3", 18, &err), &err);
    assert_fails(arch_text_same(&a, "wings 2\nn_layers 3", 17, &err), MSA_E_ARG, &err,
                 "n_layers is 3, and was  when");
    for (size_t n = 0; n < text.n; n++) arch_text_same(&a, text.data, n, &err);
    a.norm_eps = 1.0000001e-6f;
    assert_fails(arch_text_same(&a, text.data, text.n, &err), MSA_E_ARG, &err, "norm_eps");
    a.norm_eps = 1e-6f, a.index.present = false;
    assert_fails(arch_text_same(&a, text.data, text.n, &err), MSA_E_ARG, &err,
                 "index.present is false, and was true");
    bytes_free(&text);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_base_that_computes_something_else_is_not_resumed_with),
        cmocka_unit_test(a_frozen_base_with_other_weights_is_not_resumed_with),
        cmocka_unit_test(a_checkpoint_that_knows_no_base_is_called_what_it_is),
        cmocka_unit_test(an_arch_is_compared_with_what_a_file_mentions_of_it),
    };
    return cmocka_run_group_tests(tests, folder_create, folder_remove);
}
