/* test_train_config.c: configurations: read, refused, written, compared; schedules and phases. */
#include "support/support.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "support/scarce.h"
#include "train/config_keys.h"
#include "train/schedule.h"

static msa_error err;

/* Defaults with "a=1 b=2" set on top (no blanks in values), not settled. */
static train_config config_of(const char *settings) {
    train_config c;
    char copy[1024];
    assert_ok(config_init(&c, &err), &err);
    snprintf(copy, sizeof copy, "%s", settings);
    for (char *at = strtok(copy, " "); at; at = strtok(NULL, " "))
        assert_ok(config_set(&c, at, &err), &err);
    return c;
}

static train_config settled(const char *settings) {
    train_config c = config_of(settings);
    assert_ok(config_settle(&c, &err), &err);
    return c;
}

static void defaults_need_only_a_text(void **state) {
    (void)state;
    train_config c = config_of("");
    assert_fails(config_settle(&c, &err), MSA_E_ARG, &err, "data.text");
    config_free(&c);
    c = settled("data.text=a.txt");
    arch a;
    assert_ok(config_arch(&c, 257, &a, &err), &err);
    assert_int_equal(a.n_vocab, 257);
    assert_int_equal(a.n_kv_heads, 2);
    assert_int_equal(a.head_dim, 64);
    assert_int_equal(a.n_rot, 32);
    assert_true(a.qk_norm && a.swiglu_oai && a.index.present && !a.moe.present);
    assert_int_equal(a.index.dim, 64);
    config_free(&c);
}

static void json_sections_and_single_keys_mean_the_same(void **state) {
    (void)state;
    static const char JSON[] =
        "{\"model\": {\"layers\": 3, \"index\": {\"topk\": 5}}, \"optim\": {\"lr\": 2e-4},"
        " \"data\": {\"text\": [\"a\", \"b c\"]}, \"schedule\": {\"kind\": \"wsd\"},"
        " \"tasks\": {\"recall\": {\"weight\": 0.5}}, \"recipe\": {\"detach\": false}}";
    train_config a, b = config_of("model.layers=3 model.index.topk=5 optim.lr=2e-4 "
                                  "schedule.kind=wsd tasks.recall.weight=0.5 recipe.detach=false");
    assert_ok(config_set(&b, "data.text=[\"a\",\"b c\"]", &err), &err);
    assert_ok(config_init(&a, &err), &err);
    assert_ok(config_read(&a, JSON, sizeof JSON - 1, "x.json", &err), &err);
    bytes one = {0}, two = {0};
    config_write(&a, &one);
    config_write(&b, &two);
    assert_int_equal(one.n, two.n);
    assert_memory_equal(one.data, two.data, one.n);
    assert_ok(config_same_outcome(&a, &b, &err), &err);
    bytes_free(&one);
    bytes_free(&two);
    config_free(&a);
    config_free(&b);
}

static void what_is_written_reads_back_the_same(void **state) {
    (void)state;
    train_config a = settled("data.text=a optim.lr=0.1234567890123456 tasks.copy.weight=3"), b;
    assert_ok(config_set(&a, "data.separator=\"\n\\\" ü", &err), &err);
    bytes one = {0}, two = {0};
    config_write(&a, &one);
    assert_ok(config_init(&b, &err), &err);
    assert_ok(config_read(&b, one.data, one.n, "written", &err), &err);
    config_write(&b, &two);
    assert_int_equal(one.n, two.n);
    assert_memory_equal(one.data, two.data, one.n);
    assert_string_equal(b.data.separator, "\"\n\\\" ü");
    bytes_free(&one);
    bytes_free(&two);
    config_free(&a);
    config_free(&b);
}

static void numbers_out_of_range_are_refused_with_key_value_and_range(void **state) {
    (void)state;
    train_config c = config_of("");
    for (size_t i = 0; i < N_CONFIG_KEYS; i++) {
        const config_key *k = &CONFIG_KEYS[i];
        if (k->kind != KEY_INT && k->kind != KEY_REAL) continue;
        for (int side = 0; side < 2; side++) {
            char line[160], value[64], range[64];
            double beyond = side ? 2 * k->max + 1 : k->min - 1;
            snprintf(value, sizeof value, k->kind == KEY_INT ? "%.0f" : "%.15g", beyond);
            snprintf(range, sizeof range, k->kind == KEY_INT ? "from %.0f to" : "from %g to",
                     k->min);
            snprintf(line, sizeof line, "%s=%s", k->path, value);
            assert_fails(config_set(&c, line, &err), MSA_E_ARG, &err, k->path);
            assert_non_null(strstr(err.text, range));
            assert_non_null(strstr(err.text, k->help));
        }
        char half[160];
        snprintf(half, sizeof half, "%s=%.1f", k->path, k->min + 0.5);
        if (k->kind == KEY_INT) assert_fails(config_set(&c, half, &err), MSA_E_ARG, &err, "whole");
    }
    config_free(&c);
}

static void unknown_keys_name_the_nearest(void **state) {
    (void)state;
    static const char *const CASES[][2] = {{"optim.lrr=1", "optim.lr"},
                                           {"model.layer=3", "model.layers"},
                                           {"weight_decay=0", "optim.weight_decay"},
                                           {"recipe.lamda=2", "recipe.lambda"},
                                           {"tasks.recal.weight=1", "tasks.recall.weight"},
                                           {"zzzzzzzzzzzz=1", "--help-config"},
                                           {"optim.lr", "no '='"}};
    train_config c = config_of("");
    for (size_t i = 0; i < sizeof CASES / sizeof *CASES; i++)
        assert_fails(config_set(&c, CASES[i][0], &err), MSA_E_ARG, &err, CASES[i][1]);
    config_free(&c);
}

static void texts_that_are_no_configuration_are_refused_with_the_place(void **state) {
    (void)state;
    static const struct {
        const char *text, *word;
        msa_status code;
    } CASES[] = {
        {"", "line", MSA_E_FORMAT},
        {"[1]", "object", MSA_E_FORMAT},
        {"{\"optim\": {\"lr\": 1e-3}\n \"x\": 1}", "line 2", MSA_E_FORMAT},
        {"{\"optim\": {\"lr\": 1, \"lr\": 2}}", "lr", MSA_E_FORMAT},
        {"{\"optim\": 3}", "section", MSA_E_ARG},
        {"{\"optim\": {\"lr\": \"fast\"}}", "optim.lr is \"fast\"; expected a number", MSA_E_ARG},
        {"{\"optim\": {\"lr\": {\"x\": 1}}}", "optim.lr", MSA_E_ARG},
        {"{\"optim\": {\"lr\": true}}", "optim.lr", MSA_E_ARG},
        {"{\"model\": {\"tied\": 1}}", "true or false", MSA_E_ARG},
        {"{\"schedule\": {\"kind\": \"linear\"}}", "cosine, wsd or constant", MSA_E_ARG},
        {"{\"data\": {\"text\": [1]}}", "data.text", MSA_E_ARG},
        {"{\"data\": {\"text\": [\"\"]}}", "data.text", MSA_E_ARG},
        {"{\"data\": {\"tokenizer\": \"a\\u0000b\"}}", "line", MSA_E_FORMAT},
        {"{\"modle\": {\"layers\": 1}}", "there is no key 'modle'", MSA_E_ARG},
    };
    for (size_t i = 0; i < sizeof CASES / sizeof *CASES; i++) {
        train_config c = config_of("");
        assert_fails(config_read(&c, CASES[i].text, strlen(CASES[i].text), "x.json", &err),
                     CASES[i].code, &err, CASES[i].word);
        assert_non_null(strstr(err.text, "x.json"));
        config_free(&c);
    }
}

static void contradictions_are_refused_before_work(void **state) {
    (void)state;
    static const char *const CASES[][2] = {
        {"model.heads=4 model.kv_heads=3", "model.kv_heads"},
        {"model.width=100", "model.head_dim"},
        {"model.head_dim=12", "model.head_dim"},
        {"model.rot=66", "model.rot"},
        {"model.rot=31", "model.rot"},
        {"model.family=llama model.rot=32", "whole heads"},
        {"model.dense_layers=4", "model.dense_layers"},
        {"model.dense_layers=9 recipe.kind=full", "model.dense_layers"},
        {"model.index.block=48", "power of two"},
        {"model.index.dim=36", "model.index.dim"},
        {"model.index.dim=16", "model.rot"},
        {"model.index.local=9", "model.index.topk"},
        {"data.context=128", "key budget"},
        {"model.index.on=false", "model.index.on"},
        {"model.family=llama model.moe.experts=4", "minimax-m3"},
        {"model.moe.experts=2 model.moe.used=3", "model.moe.used"},
        {"model.ffn=1 model.moe.experts=4 model.moe.used=2", "model.moe.ffn"},
        {"data.weight=0", "nothing to learn"},
        {"tasks.copy.weight=1 tasks.copy.length=2000", "tasks.copy"},
        {"tasks.copy.weight=1 tasks.copy.length=100 tasks.copy.start_length=101", "tasks.copy"},
        {"tasks.recall.weight=1 tasks.recall.start_items=33", "tasks.recall.start_items"},
        {"data.valid_share=0", "data.valid"},
        {"data.context=65536 data.rows=65536", "data.rows"},
        {"recipe.kind=full recipe.dense=3", "recipe.dense"},
        {"recipe.warmup=1001", "recipe.warmup"},
        {"recipe.kind=cpt recipe.dense=600 recipe.warmup=600", "run.steps"},
        {"run.steps=50", "schedule.warmup"},
        {"schedule.index.kind=wsd", "schedule.index_own"},
        {"schedule.index.warmup=5", "schedule.index_own"},
        {"schedule.index.final=0", "schedule.index_own"},
        {"schedule.index.decay_share=0.5", "schedule.index_own"},
        {"recipe.kind=index-only recipe.kl_warmup=off", "recipe.kl_warmup"},
        {"recipe.kind=index-only recipe.lm_index=true", "recipe.lm_index"},
        {"recipe.kind=full", "minimax-m3"},
        {"recipe.index_value=true", "run.format"},
        {"model.index.init=1", "model.index.init"},
        {"run.out=", "run.out"},
        {"recipe.kl_warmup=selected", "recipe.kl_warmup"},
        {"recipe.kind=cpt recipe.kl_warmup=selected", "recipe.kl_warmup"},
        {"recipe.kind=index-only recipe.index_value=true run.format=none", "recipe.index_value"},
        {"recipe.lm_index=true model.head_dim=136", "recipe.lm_index"},
        {"run.format=index model.from=a", "run.format"},
        {"model.from=a model.embed_std=0.5", "model.embed_std"},
        {"model.from=a model.qk_gain=2", "model.qk_gain"},
        {"model.from=a model.init_std=0.1 model.index.start=heads", "model.init_std"},
        {"run.format=index recipe.kind=index-only", "run.format"},
        {"run.format=index recipe.kind=index-only model.from=a recipe.detach=false", "run.format"},
    };
    for (size_t i = 0; i < sizeof CASES / sizeof *CASES; i++) {
        train_config c = config_of(CASES[i][0]);
        assert_ok(config_set(&c, "data.text=a", &err), &err);
        assert_fails(config_settle(&c, &err), MSA_E_ARG, &err, CASES[i][1]);
        config_free(&c);
    }
    train_config c = settled("data.text=a model.vocab=100");
    arch a;
    assert_fails(config_arch(&c, 257, &a, &err), MSA_E_ARG, &err, "model.vocab");
    config_free(&c);
}

static void a_resumed_run_may_change_how_but_not_what(void **state) {
    (void)state;
    for (size_t i = 0; i < N_CONFIG_KEYS; i++) {
        const config_key *k = &CONFIG_KEYS[i];
        train_config a = config_of(""), b = config_of("");
        char line[160], value[32] = "other";
        if (k->kind == KEY_INT || k->kind == KEY_REAL)
            snprintf(value, sizeof value, "%.15g", k->max == atof(k->otherwise) ? k->min : k->max);
        if (k->kind == KEY_BOOL)
            snprintf(value, sizeof value, "%s", k->otherwise[0] == 't' ? "false" : "true");
        const char *one;
        size_t n;
        for (int j = 0; k->kind == KEY_CHOICE && config_choice(k->choices, j, &one, &n); j++)
            if (strlen(k->otherwise) != n || memcmp(one, k->otherwise, n) != 0)
                snprintf(value, sizeof value, "%.*s", (int)n, one);
        snprintf(line, sizeof line, "%s=%s", k->path, value);
        assert_ok(config_set(&b, line, &err), &err);
        if (k->free)
            assert_ok(config_same_outcome(&b, &a, &err), &err);
        else
            assert_fails(config_same_outcome(&b, &a, &err), MSA_E_ARG, &err, k->path);
        config_free(&a);
        config_free(&b);
    }
}

static void the_help_names_every_key(void **state) {
    (void)state;
    bytes help = {0};
    config_help(&help);
    assert_false(help.failed);
    for (size_t i = 0; i < N_CONFIG_KEYS; i++) {
        assert_non_null(strstr(help.data, CONFIG_KEYS[i].path));
        assert_non_null(strstr(help.data, CONFIG_KEYS[i].help));
        for (size_t j = 0; j < i; j++)
            assert_string_not_equal(CONFIG_KEYS[i].path, CONFIG_KEYS[j].path);
    }
    bytes_free(&help);
}

static void memory_that_runs_out_is_an_error_and_no_leak(void **state) {
    (void)state;
    static const char JSON[] = "{\"data\": {\"text\": [\"a\", \"b\"], \"tokenizer\": \"t\"}}";
    for (long n = 0;; n++) {
        train_config c;
        long live = scarce_live();
        scarce_begin(n);
        msa_status status = config_init(&c, &err);
        if (status == MSA_OK) status = config_read(&c, JSON, sizeof JSON - 1, "x", &err);
        bool failed = scarce_end();
        config_free(&c);
        assert_int_equal(scarce_live(), live);
        if (!failed) {
            assert_ok(status, &err);
            return;
        }
        assert_true(status != MSA_OK);
    }
}

static void the_example_is_a_good_configuration(void **state) {
    (void)state;
    size_t n;
    char *text = read_test_file("examples/miniature.json", &n);
    train_config c;
    assert_ok(config_init(&c, &err), &err);
    assert_ok(config_read(&c, text, n, "miniature.json", &err), &err);
    assert_ok(config_settle(&c, &err), &err);
    assert_true(c.data.context >= 8 * c.model.index.topk * c.model.index.block);
    config_free(&c);
    free(text);
}

/* ---- schedules and phases ------------------------------------------------------------------- */

static void schedules_have_their_corners(void **state) {
    (void)state;
    config_schedule s = {.kind = SCHEDULE_COSINE, .warmup = 10, .final = 0.1, .decay_share = 0.2};
    assert_float_equal(schedule_share(&s, 0, 100), 0.1, 1e-12);
    assert_float_equal(schedule_share(&s, 9, 100), 1, 1e-12);
    assert_float_equal(schedule_share(&s, 54, 100), 0.55, 1e-12); /* half of the 90 steps */
    assert_float_equal(schedule_share(&s, 99, 100), 0.1, 1e-12);
    s.kind = SCHEDULE_WSD;
    assert_float_equal(schedule_share(&s, 10, 100), 1, 0);
    assert_float_equal(schedule_share(&s, 79, 100), 1, 0);
    assert_float_equal(schedule_share(&s, 89, 100), 0.55, 1e-12);
    assert_float_equal(schedule_share(&s, 99, 100), 0.1, 1e-12);
    s.decay_share = 1; /* the fall begins where the warm-up ends */
    assert_float_equal(schedule_share(&s, 9, 100), 1, 1e-12);
    assert_float_equal(schedule_share(&s, 99, 100), 0.1, 1e-12);
    s.kind = SCHEDULE_CONSTANT;
    assert_float_equal(schedule_share(&s, 99, 100), 1, 0);
    s = (config_schedule){.kind = SCHEDULE_COSINE, .warmup = 100};
    assert_float_equal(schedule_share(&s, 99, 100), 1, 0);
    s.warmup = 0;
    assert_float_equal(schedule_share(&s, 0, 1), 0, 1e-12);
    for (int kind = 0; kind < 3; kind++) { /* never up again after the warm-up */
        s = (config_schedule){kind, 7, 0.05, 0.3};
        for (int64_t i = 1; i < 50; i++)
            assert_true(i < 7 ? schedule_share(&s, i, 50) > schedule_share(&s, i - 1, 50)
                              : schedule_share(&s, i, 50) <= schedule_share(&s, i - 1, 50));
    }
}

static void recipes_have_their_phases(void **state) {
    (void)state;
    train_config c = settled("data.text=a recipe.kind=cpt");
    recipe r = recipe_of(&c);
    assert_int_equal(r.n, 3);
    assert_int_equal(r.phases[0].to, 500);
    assert_true(r.phases[0].mode.lm && !r.phases[0].mode.sparse);
    assert_int_equal(r.phases[0].mode.kl, NET_KL_OFF);
    assert_int_equal(r.phases[1].to, 600);
    assert_int_equal(r.phases[1].mode.kl, NET_KL_VISIBLE);
    assert_false(r.phases[1].mode.sparse);
    assert_int_equal(r.phases[2].to, 1000);
    assert_true(r.phases[2].mode.sparse && r.phases[2].mode.lm && r.phases[2].mode.detach);
    assert_int_equal(r.phases[2].mode.kl, NET_KL_SELECTED);
    assert_ptr_equal(recipe_at(&r, 499), &r.phases[0]);
    assert_ptr_equal(recipe_at(&r, 500), &r.phases[1]);
    assert_ptr_equal(recipe_at(&r, 999), &r.phases[2]);
    config_free(&c);

    c = settled("data.text=a recipe.kind=pt recipe.warmup=0 recipe.selection=random");
    r = recipe_of(&c); /* without a warm-up */
    assert_int_equal(r.n, 1);
    assert_string_equal(r.phases[0].name, "sparse");
    assert_int_equal(r.phases[0].mode.selection, NET_SELECT_RANDOM);
    config_free(&c);

    c = settled("data.text=a recipe.kind=full run.format=none");
    r = recipe_of(&c);
    assert_int_equal(r.n, 1);
    assert_true(r.phases[0].mode.kl == NET_KL_OFF && !r.phases[0].mode.sparse);
    assert_false(c.model.index.on);
    config_free(&c);

    c = settled("data.text=a recipe.kind=index-only recipe.kl_warmup=far");
    r = recipe_of(&c);
    assert_int_equal(r.n, 1);
    assert_true(!r.phases[0].mode.lm && !r.phases[0].mode.sparse);
    assert_int_equal(r.phases[0].mode.kl, NET_KL_FAR);
    config_free(&c);

    c = settled("data.text=a recipe.lm_index=true");
    r = recipe_of(&c);
    assert_true(r.phases[1].mode.lm_index && r.phases[1].mode.kl == NET_KL_OFF);
    config_free(&c);
}

static void the_index_has_a_rate_of_its_own(void **state) {
    (void)state;
    train_config c = settled("data.text=a optim.lr=1e-3 optim.index_lr=4e-3 optim.index_sparse=0.1 "
                             "schedule.kind=constant schedule.warmup=0");
    recipe r = recipe_of(&c);
    assert_float_equal(schedule_lr(&c, 300), 1e-3, 1e-15);
    assert_float_equal(schedule_index_lr(&c, &r.phases[0], 100), 4e-3, 1e-15);
    assert_float_equal(schedule_index_lr(&c, &r.phases[1], 300), 4e-4, 1e-15);
    config_free(&c);
    c = settled("data.text=a optim.index_lr=4e-3 schedule.index_own=true schedule.index.warmup=10");
    r = recipe_of(&c);
    assert_float_equal(schedule_index_lr(&c, &r.phases[0], 4), 2e-3, 1e-15);
    assert_float_equal(schedule_lr(&c, 4), 5e-5, 1e-15);
    config_free(&c);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(defaults_need_only_a_text),
        cmocka_unit_test(json_sections_and_single_keys_mean_the_same),
        cmocka_unit_test(what_is_written_reads_back_the_same),
        cmocka_unit_test(numbers_out_of_range_are_refused_with_key_value_and_range),
        cmocka_unit_test(unknown_keys_name_the_nearest),
        cmocka_unit_test(texts_that_are_no_configuration_are_refused_with_the_place),
        cmocka_unit_test(contradictions_are_refused_before_work),
        cmocka_unit_test(a_resumed_run_may_change_how_but_not_what),
        cmocka_unit_test(the_help_names_every_key),
        cmocka_unit_test(the_example_is_a_good_configuration),
        cmocka_unit_test(memory_that_runs_out_is_an_error_and_no_leak),
        cmocka_unit_test(schedules_have_their_corners),
        cmocka_unit_test(recipes_have_their_phases),
        cmocka_unit_test(the_index_has_a_rate_of_its_own),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
