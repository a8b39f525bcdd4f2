/* test_train_run.c: whole runs: every recipe, bad configurations, out of numbers, out of memory. */
#include "support/support.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "msa/model.h"
#include "support/runs.h"
#include "support/scarce.h"
#include "train/checkpoint.h"

static msa_error err;

static void a_run_ends_with_a_model_that_loads(void **state) {
    (void)state;
    run_watcher s = {.after = -1};
    msa_trainer *t;
    msa_model *model;
    size_t n_exams;
    assert_ok(tiny_train_create(&t, run_path("whole"), "run.steps=20", 0, run_watch, &s, &err),
              &err);
    assert_ok(msa_trainer_run(t, &err), &err);
    const msa_train_info *info = msa_trainer_get_info(t);
    assert_int_equal(info->step, 20);
    assert_int_equal(s.n_steps, 20);
    assert_int_equal(s.n_records, 11); /* the first and every second */
    assert_true(s.loss < s.first_loss);
    assert_int_equal(s.n_notes, 0);
    const msa_train_exam *exams = msa_trainer_get_exams(t, &n_exams);
    assert_int_equal(n_exams, 2);
    assert_string_equal(exams[0].source, "text");
    assert_true(exams[0].dense > 1 && exams[0].dense < 5.6);
    assert_true(fabs(exams[0].sparse - exams[0].dense) < 0.5);
    assert_string_equal(exams[1].source, "recall");
    assert_int_equal(exams[1].n, 8);
    assert_ok(msa_model_load(&model, info->model, &err), &err);
    const msa_model_info *m = msa_model_get_info(model);
    assert_string_equal(m->architecture, "minimax-m3");
    assert_true(m->has_index);
    assert_int_equal(m->n_vocab, 257);
    msa_model_free(model);
    msa_trainer_free(t);
}

static void threads_and_recomputing_change_no_bit(void **state) {
    (void)state;
    run_to_end("one", "run.threads=1", 0);
    run_to_end("three", "run.threads=3 run.recompute=true", 0);
    assert_same_end(run_path("one"), run_path("three"));
    run_to_end("other", "run.seed=2", 0);
    checkpoint a, b;
    bool found;
    assert_ok(checkpoint_open_newest(&a, run_path("one"), &found, NULL, NULL, &err), &err);
    assert_ok(checkpoint_open_newest(&b, run_path("other"), &found, NULL, NULL, &err), &err);
    assert_memory_not_equal(a.w, b.w, (size_t)a.n_floats * sizeof(float));
    checkpoint_close(&a);
    checkpoint_close(&b);
}

static void every_recipe_runs_and_moves_what_it_should(void **state) {
    (void)state;
    static const char *const CASES[] = {
        "recipe.kind=cpt recipe.dense=4 recipe.warmup=4",
        "recipe.kind=index-only",
        "recipe.kind=index-only recipe.kl_warmup=far",
        "recipe.kind=index-only recipe.kl_warmup=selected",
        "recipe.kind=full run.format=none",
        "recipe.detach=false",
        "recipe.lm_index=true",
        "recipe.index_value=true run.format=none",
        "recipe.selection=sink-window model.index.init=1 run.format=none",
        "recipe.selection=random",
        "recipe.fp8_p=true",
        "recipe.kl_rows=8 recipe.kl_sparse=visible",
        "model.index.local=0",
        "run.format=both",
        "model.family=llama model.moe.experts=0",
    };
    size_t n = test_brief() ? 3 : sizeof CASES / sizeof *CASES;
    for (size_t i = 0; i < n; i++) {
        char settings[256];
        run_remove("recipe");
        snprintf(settings, sizeof settings, "run.steps=10 %s", CASES[i]);
        run_to_end("recipe", settings, 0);
    }
}

static void no_record_is_of_two_phases(void **state) {
    (void)state;
    run_to_end("phases", "recipe.kind=cpt recipe.dense=3 recipe.warmup=4 log.every=10", 0);
    assert_int_equal(run_records("phases", "step"), 5); /* 1, 3, 7, 10, 12 */
}

static void bad_configurations_are_refused_before_anything_is_written(void **state) {
    (void)state;
    static const char *const CASES[][2] = {
        {"optim.lrr=1", "optim.lr"},
        {"optim.lr=100", "from 0 to 10"},
        {"tasks.recall.items=40", "tasks.recall"},
        {"data.text=/nowhere", "/nowhere"},
        {"data.tokenizer=/nowhere.gguf", "data.tokenizer"},
        {"model.from=/nowhere.gguf", "model.from"},
        {"model.head_dim=12", "model.head_dim"},
        {"model.layers=256 model.width=65536 model.heads=1024 model.head_dim=256", "model.width"},
        {"data.text= data.weight=0 tasks.recall.length=64 model.width=4096 data.context=1048576 "
         "data.rows=16",
         "data.rows"},
    };
    for (size_t i = 0; i < sizeof CASES / sizeof *CASES; i++) {
        msa_trainer *t;
        msa_status status =
            tiny_train_create(&t, run_path("refused"), CASES[i][0], 0, NULL, NULL, &err);
        assert_true(status != MSA_OK);
        assert_non_null(strstr(err.text, CASES[i][1]));
        assert_null(t);
    }
    assert_int_equal(checkpoint_newest_step(run_path("refused")), -1);
}

static void a_loss_that_is_no_number_stops_and_says_where(void **state) {
    (void)state;
    msa_trainer *t;
    run_watcher s = {.after = -1};
    /* A rate this large blows the weights up within a few steps. */
    assert_ok(tiny_train_create(&t, run_path("nan"),
                                "optim.lr=10 optim.weight_decay=10 optim.clip=0 model.init_std=1 "
                                "schedule.warmup=0 run.steps=400 log.checkpoint=1 log.eval=0 "
                                "schedule.kind=constant optim.eps=1e-20",
                                0, run_watch, &s, &err),
              &err);
    assert_fails(msa_trainer_run(t, &err), MSA_E_FORMAT, &err, "is no number");
    assert_non_null(strstr(err.text, "step "));
    assert_non_null(strstr(err.text, "source "));
    assert_non_null(strstr(err.text, "last checkpoint"));
    msa_trainer_free(t);
    checkpoint c;
    bool found;
    assert_ok(checkpoint_open_newest(&c, run_path("nan"), &found, NULL, NULL, &err), &err);
    assert_true(found);
    for (int64_t i = 0; i < c.n_floats; i++) assert_true(isfinite(c.w[i]));
    assert_int_equal(c.state.step, s.n_steps);
    checkpoint_close(&c);
    assert_int_equal(run_records("nan", "failed"), 1);
}

/* Every allocation of the beginning fails once, then fewer and fewer. */
static void a_run_without_memory_fails_cleanly(void **state) {
    (void)state;
    char *json = tiny_train_config(test_path("LICENSE")), out[300];
    const char *settings[] = {out,
                              "run.steps=2",
                              "run.threads=1",
                              "log.eval_rows=1",
                              "recipe.warmup=1",
                              "schedule.warmup=0"};
    msa_train_params params = {
        .config = json, .n_bytes = strlen(json), .assignments = settings, .n_assignments = 6};
    snprintf(out, sizeof out, "run.out=%s", run_path("scarce"));
    for (long n = test_brief() ? 500 : 0;; n += n < 500 ? 7 : 1 + n / 25) {
        msa_trainer *t = NULL;
        run_remove("scarce");
        long live = scarce_live();
        scarce_begin(n);
        msa_status status = msa_trainer_create(&t, &params, &err);
        if (status == MSA_OK) status = msa_trainer_run(t, &err);
        bool failed = scarce_end();
        msa_trainer_free(t);
        assert_int_equal(scarce_live(), live);
        if (!failed) {
            assert_ok(status, &err);
            break;
        }
    }
    free(json);
}

static void null_arguments_are_refused(void **state) {
    (void)state;
    msa_trainer *t;
    size_t n = 7;
    assert_fails(msa_trainer_create(NULL, NULL, &err), MSA_E_ARG, &err, "trainer");
    assert_fails(msa_trainer_create(&t, NULL, &err), MSA_E_ARG, &err, "params");
    assert_fails(msa_trainer_run(NULL, &err), MSA_E_ARG, &err, "trainer");
    assert_null(msa_trainer_get_info(NULL));
    assert_null(msa_trainer_get_exams(NULL, &n));
    assert_int_equal(n, 0);
    msa_trainer_free(NULL);
    msa_train_params params = {.config = NULL}; /* all defaults: no text */
    assert_fails(msa_trainer_create(&t, &params, &err), MSA_E_ARG, &err, "data.text");
    char *help = msa_train_help();
    assert_non_null(strstr(help, "optim.lr"));
    msa_train_text_free(help);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_run_ends_with_a_model_that_loads),
        cmocka_unit_test(threads_and_recomputing_change_no_bit),
        cmocka_unit_test(every_recipe_runs_and_moves_what_it_should),
        cmocka_unit_test(no_record_is_of_two_phases),
        cmocka_unit_test(bad_configurations_are_refused_before_anything_is_written),
        cmocka_unit_test(a_loss_that_is_no_number_stops_and_says_where),
        cmocka_unit_test(a_run_without_memory_fails_cleanly),
        cmocka_unit_test(null_arguments_are_refused),
    };
    return cmocka_run_group_tests(tests, runs_open, runs_close);
}
