/* test_convert.c: msa convert on a small model: what it is worth, what it refuses, what a stopped
 * one leaves, and that a resumed one ends in the same file. */
#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "msa/train.h"
#include "support/program.h"
#include "support/support.h"
#include "support/tiny_model.h"

#define SMALL                                                                                      \
    "-m base.gguf -f LICENSE --context 256 --block 16 --topk 4 --init 1 --local 1 --rows 32 "

/* Beside a branch, which has its blocks. */
#define NEXT "-m base.gguf -f LICENSE --context 256 --rows 32 "

static void write_model(uint64_t seed, const char *name) {
    char path[128];
    tiny_params p = tiny_defaults("llama", seed);
    tiny_model *m = tiny_create(&p);
    snprintf(path, sizeof path, "%s/%s", place.folder, name);
    tiny_write(m, path);
    tiny_free(m);
}

/* base.gguf, other.gguf of its shape, and adapter.gguf with what was printed of it. */
static int furnish_place(void **state) {
    place_open(state);
    write_model(9, "base.gguf");
    write_model(10, "other.gguf");
    return 0;
}

static double real(const json_t *object, const char *key) {
    const json_t *x = json_object_get(object, key);
    return json_is_number(x) ? json_number_value(x) : NAN;
}

static void an_index_comes_closer_to_the_attention_it_stands_for(void **state) {
    (void)state;
    json_t *found =
        workplace_json(&place, "msa convert " SMALL
                               "-o adapter.gguf --steps 40 --repeats 4 --lr 1e-2 -t 2 --json");
    json_t *layers = json_object_get(found, "layers"), *nll = json_object_get(found, "nll");
    assert_int_equal(json_array_size(layers), 3); /* two, and their mean */
    assert_int_equal(json_array_size(nll), 3);
    for (size_t i = 0; i < 3; i++) {
        const json_t *row = json_array_get(layers, i);
        assert_true(real(row, "kl_after") < 0.9 * real(row, "kl_before"));
        assert_true(real(row, "captured_after") <= real(row, "oracle_after") + 1e-6);
        assert_true(real(row, "recall_before") > 0 && real(row, "recall_after") <= 1);
        assert_true(isfinite(real(json_array_get(nll, i), "nll_late")));
    }
    json_decref(found);
    assert_true(workplace_has(&place, "adapter.gguf"));
    assert_true(workplace_has(&place, "adapter.gguf.run/config.json"));
    assert_false(workplace_has(&place, "adapter.gguf.run/index.gguf"));
}

static void the_adapter_is_for_its_model_and_no_other(void **state) {
    (void)state;
    static const call calls[] = {
        {"msa eval ppl -m base.gguf --index adapter.gguf -f LICENSE -c 256 --chunks 1", 0, NULL},
        {"msa run -m other.gguf --index adapter.gguf -p hi -n 1", 1, "other weights"},
        {"head -c 9000 adapter.gguf > cut.gguf; msa run -m base.gguf --index cut.gguf -p hi", 1,
         "cut.gguf"},
        /* The same again, joined and taken apart: f16 stays what it was. */
        {"msa export -m base.gguf --index adapter.gguf -o again.gguf --format index --type f16 && "
         "cmp -i 4000 adapter.gguf again.gguf",
         0, NULL},
        {"msa export -m base.gguf --index adapter.gguf -o q.gguf --format index --type q8_0", 2,
         "Q8_0"},
        {"msa convert " SMALL "-o a/b.gguf --steps 2", 1, "a/b.gguf"},
        {"msa convert -f LICENSE -o b.gguf", 2, "-m MODEL"},
        {"msa convert -m base.gguf -o b.gguf", 2, "-f PATH"},
        {"msa convert -m base.gguf -f LICENSE", 2, "-o FILE"},
        {"cp base.gguf mine.gguf; ln -s mine.gguf link.gguf; "
         "msa convert -m mine.gguf -f LICENSE -o link.gguf --context 256 --block 16 --topk 4",
         2, "is the model of -m"},
        {"msa convert " SMALL "-o b.gguf --context 64", 2, "data.context"},
        {"msa convert " SMALL "-o b.gguf --valid LICENSE --context 1024", 2, "trained for"},
        {"msa convert " SMALL "-o b.gguf --index-dim 24", 1, "model.index.start"},
        {"cp adapter.gguf.run/config.json made.json; "
         "msa convert " SMALL "-o adapter.gguf --steps 41 --repeats 4 --lr 1e-2",
         2, "checkpoints"},
        {"msa convert " SMALL "-o adapter.gguf --steps 41 --repeats 4 --lr 1e-2 --resume", 2,
         "run.steps"},
        {"cmp made.json adapter.gguf.run/config.json", 0, NULL}, /* still that of the run */
    };
    assert_calls(&place, calls, sizeof calls / sizeof *calls);
}

/* Held-out text that every query reads whole has no choice to compare: that is no recall of 0. */
static void what_was_not_measured_has_no_mean(void **state) {
    (void)state;
    assert_exit(&place, "head -c 50 LICENSE > short.txt", 0, NULL);
    json_t *found = workplace_json(&place, "msa convert " SMALL "-o short.gguf --valid short.txt "
                                           "--steps 2 -t 2 --json");
    json_t *layers = json_object_get(found, "layers");
    assert_int_equal(json_array_size(layers), 3);
    assert_true(isnan(real(json_array_get(layers, 0), "recall_after")));
    assert_true(isnan(real(json_array_get(layers, 2), "recall_after")));
    json_decref(found);
}

static void an_interrupted_one_leaves_no_half_file_and_goes_on(void **state) {
    (void)state;
    if (test_brief()) return;
    outcome o =
        workplace_run(&place, "env --default-signal=INT msa convert " SMALL
                              "-o stopped.gguf --steps 1000000 -t 2 & "
                              "until grep -qs exam stopped.gguf.run/log.jsonl; do sleep 0.1; done; "
                              "kill -INT $!; wait $!");
    assert_int_equal(o.code, 130);
    assert_non_null(strstr(o.err, "--resume goes on"));
    outcome_free(&o);
    assert_false(workplace_has(&place, "stopped.gguf"));
    assert_int_equal(workplace_count(&place, "stopped.gguf"), 1); /* the folder */
}

/* A run that is done is resumed to its end: the file is written again. */
static void a_finished_one_is_resumed_to_its_result(void **state) {
    (void)state;
    assert_exit(&place,
                "mv adapter.gguf first.gguf && msa convert " SMALL
                "-o adapter.gguf --steps 40 --repeats 4 --lr 1e-2 -t 1 --resume > /dev/null && "
                "cmp first.gguf adapter.gguf",
                0, NULL);
}

static void with_cpt_the_model_itself_is_written(void **state) {
    (void)state;
    json_t *found =
        workplace_json(&place, "msa convert " SMALL "-o merged.gguf --steps 4 --cpt 3 -t 2 --json");
    assert_int_equal(json_array_size(json_object_get(found, "nll")), 5);
    assert_int_equal(json_integer_value(json_object_get(found, "cpt_steps")), 3);
    json_decref(found);
    found = workplace_json(&place, "msa info -m merged.gguf --json");
    assert_true(json_is_true(json_object_get(json_object_get(found, "model"), "has_index")));
    json_decref(found);
    assert_exit(&place, "msa run -m merged.gguf --no-chat-template -p hi -n 1", 0, NULL);
    assert_exit(&place, "msa run -m merged.gguf --index adapter.gguf -p hi -n 1", 2, "already");
}

/* From an adapter, its blocks and weights; facts are told in a share of the pieces. */
static void an_adapter_is_gone_on_with(void **state) {
    (void)state;
    json_t *found = workplace_json(&place, "msa convert " NEXT
                                           "--index adapter.gguf --facts 0.5 -o further.gguf "
                                           "--steps 8 --repeats 4 --lr 1e-3 -t 2 --json");
    json_t *first = json_array_get(json_object_get(found, "layers"), 0);
    json_t *base =
        workplace_json(&place, "msa convert " SMALL "-o fresh.gguf --steps 1 -t 2 --json");
    json_t *fresh = json_array_get(json_object_get(base, "layers"), 0);
    assert_true(real(first, "kl_before") < 0.95 * real(fresh, "kl_before"));
    json_decref(found);
    json_decref(base);
    static const call calls[] = {
        {"grep '\"exam\"' further.gguf.run/log.jsonl | grep -q needle", 0, NULL},
        {"msa convert " NEXT "--index adapter.gguf -o adapter.gguf", 2, "the branch of --index"},
        {"msa convert " NEXT "--index adapter.gguf --start random -o x.gguf", 2, "--start random"},
        {"msa convert " SMALL "--facts 1 -o x.gguf", 2, "--facts"},
        {"msa convert " NEXT
         "--index adapter.gguf -o joined.gguf --steps 1 --cpt 1 --facts 0.5 -t 2",
         0, NULL},
        {"msa convert " SMALL "--index adapter.gguf -o x.gguf", 2,
         "--block: the branch of --index"},
        {"msa convert " NEXT "--index base.gguf -o x.gguf", 1, "model.index.from"},
        {"msa convert -m other.gguf -f LICENSE --index adapter.gguf -o x.gguf --context 256", 1,
         "other weights"},
    };
    assert_calls(&place, calls, sizeof calls / sizeof *calls);
}

/* The second run of --cpt is checked before the first step of the first. */
static void what_cpt_could_not_do_is_told_before_the_first_step(void **state) {
    (void)state;
    assert_exit(&place,
                "mkdir -p late.gguf.run/cpt && "
                "cp merged.gguf.run/cpt/checkpoint-*.msac late.gguf.run/cpt",
                0, NULL);
    assert_exit(&place, "msa convert " SMALL "-o late.gguf --steps 4 --cpt 3", 2, "--cpt: run.out");
    assert_false(workplace_has(&place, "late.gguf.run/log.jsonl"));
    /* Its budget is that of the index, not the usual one, which is no less than this context. */
    assert_exit(&place,
                "msa convert -m base.gguf -f LICENSE --context 120 --block 16 --topk 4 --rows 8 "
                "--steps 2 --cpt 1 -o near.gguf -t 2 > /dev/null",
                0, NULL);
}

/* As many pieces of held-out text as there are, up to eight, or three beside facts; said beside
 * what came of them. */
static void the_report_says_how_much_text_it_read(void **state) {
    (void)state;
#define SIZED                                                                                      \
    "rm -rf size.gguf.run; msa convert -m base.gguf -f LICENSE --context 128 --block 16 --topk 4 " \
    "--rows 8 --steps 1 -t 2 -o size.gguf "
    json_t *found = workplace_json(&place, SIZED "--valid LICENSE --json");
    const json_t *size = json_object_get(found, "held_out");
    assert_int_equal(json_integer_value(json_object_get(size, "pieces")), 8);
    assert_int_equal(json_integer_value(json_object_get(size, "tokens")), 8 * 128);
    assert_int_equal(json_integer_value(json_object_get(size, "tokens_late")), 8 * 64);
    json_decref(found);
    found = workplace_json(&place, SIZED "--valid LICENSE --facts 0.5 --json");
    size = json_object_get(found, "held_out");
    assert_int_equal(json_integer_value(json_object_get(size, "pieces")), 3);
    json_decref(found);
    assert_exit(&place,
                SIZED "--valid short.txt | grep -q 'over 1 piece of it, .* tokens (0 in the 2nd'",
                0, NULL);
}

/* What it learns beside safetensors serves beside the GGUF file of the same model. */
static void a_folder_of_safetensors_is_converted_too(void **state) {
    (void)state;
    static const call calls[] = {
        {"msa export -m base.gguf -o files --format safetensors --type f32", 0, NULL},
        {"msa convert -m files -f LICENSE --context 256 --block 16 --topk 4 --rows 32 --steps 40 "
         "--repeats 4 --lr 1e-2 --init 1 --local 1 -o beside.gguf -t 2",
         0, NULL},
        {"cmp beside.gguf adapter.gguf", 0, NULL}, /* of base.gguf, with the same flags */
        {"msa eval ppl -m base.gguf --index beside.gguf -f LICENSE -c 256 --chunks 1", 0, NULL},
        {"rm files/tokenizer.json; msa convert -m files -f LICENSE --context 256 --block 16 "
         "--topk 4 -o c.gguf",
         1, "expected the tokenizer beside the tensors"},
    };
    assert_calls(&place, calls, sizeof calls / sizeof *calls);
}

/* ---- to the bit ----------------------------------------------------------------------------- */

typedef struct stopper {
    int64_t after;
} stopper;

static int stop_after(void *user, const msa_train_event *e) {
    const stopper *s = user;
    bool step = e->kind == MSA_TRAIN_STEP || e->kind == MSA_TRAIN_RECORD;
    return step && e->n_done == s->after;
}

/* Runs in FOLDER/name until the step, or to the end with -1. */
static void train(const char *name, int64_t until, int resume) {
    char config[2048];
    msa_error err;
    msa_trainer *t;
    stopper s = {until};
    int n = snprintf(
        config, sizeof config,
        "{\"model\": {\"from\": \"%s/base.gguf\", \"dense_layers\": 0, \"index\": {\"block\": 16,"
        " \"topk\": 4, \"init\": 1, \"start\": \"heads\"}}, \"data\": {\"text\": \"%s/LICENSE\","
        " \"tokenizer\": \"%s/base.gguf\", \"context\": 256, \"rows\": 2}, \"recipe\": {\"kind\":"
        " \"index-only\", \"kl_warmup\": \"far-mass\", \"kl_rows\": 24, \"kl_repeats\": 4},"
        " \"log\": {\"every\": 3, \"eval\": 5, \"eval_rows\": 2, \"diagnostics\": %d},"
        " \"schedule\": {\"warmup\": 2}, \"run\": {\"steps\": 12, \"out\": \"%s/%s\","
        " \"format\": \"index\", \"type\": \"bf16\", \"threads\": %d}}",
        place.folder, place.folder, place.folder, resume ? 3 : 0, place.folder, name,
        resume ? 1 : 2);
    msa_train_params params = {
        .config = config, .n_bytes = (size_t)n, .resume = resume, .watch = stop_after, .user = &s};
    assert_ok(msa_trainer_create(&t, &params, &err), &err);
    if (until < 0)
        assert_ok(msa_trainer_run(t, &err), &err);
    else
        assert_fails(msa_trainer_run(t, &err), MSA_E_CANCELLED, &err, "stopped");
    msa_trainer_free(t);
}

/* Stopped in the middle of the steps that share a forward pass, with evaluations in between. */
static void a_resumed_run_ends_in_the_same_file(void **state) {
    (void)state;
    train("whole", -1, 0);
    train("parts", 6, 0);
    train("parts", 9, 1);
    train("parts", -1, 1);
    assert_exit(&place, "cmp whole/index.gguf parts/index.gguf", 0, NULL);
}

/* A checkpoint holds the branch alone; what it was made beside must be there unchanged. */
static void frozen_weights_are_not_in_checkpoints_and_must_not_change(void **state) {
    (void)state;
    msa_error err;
    msa_trainer *t;
    train("moved", 6, 0);
    assert_exit(&place,
                "test $(cat moved/checkpoint-*.msac | wc -c) -lt $(cat base.gguf | wc -c) && "
                "cp base.gguf kept.gguf && cp other.gguf base.gguf",
                0, NULL);
    char config[1024];
    int n = snprintf(config, sizeof config,
                     "{\"model\": {\"from\": \"%s/base.gguf\", \"dense_layers\": 0, \"index\": "
                     "{\"block\": 16, \"topk\": 4, \"init\": 1, \"start\": \"heads\"}}, \"data\": "
                     "{\"text\": \"%s/LICENSE\", \"tokenizer\": \"%s/kept.gguf\", \"context\": 256,"
                     " \"rows\": 2}, \"recipe\": {\"kind\": \"index-only\", \"kl_warmup\": "
                     "\"far-mass\", \"kl_rows\": 24, \"kl_repeats\": 4}, \"schedule\": "
                     "{\"warmup\": 2}, \"run\": {\"steps\": 12, \"out\": \"%s/moved\", "
                     "\"format\": \"index\", \"type\": \"bf16\"}}",
                     place.folder, place.folder, place.folder, place.folder);
    msa_train_params params = {.config = config, .n_bytes = (size_t)n, .resume = 1};
    assert_fails(msa_trainer_create(&t, &params, &err), MSA_E_ARG, &err, "tokenizer");
    assert_exit(&place, "cp kept.gguf base.gguf", 0, NULL);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_index_comes_closer_to_the_attention_it_stands_for),
        cmocka_unit_test(the_adapter_is_for_its_model_and_no_other),
        cmocka_unit_test(what_was_not_measured_has_no_mean),
        cmocka_unit_test(an_interrupted_one_leaves_no_half_file_and_goes_on),
        cmocka_unit_test(a_finished_one_is_resumed_to_its_result),
        cmocka_unit_test(with_cpt_the_model_itself_is_written),
        cmocka_unit_test(an_adapter_is_gone_on_with),
        cmocka_unit_test(what_cpt_could_not_do_is_told_before_the_first_step),
        cmocka_unit_test(the_report_says_how_much_text_it_read),
        cmocka_unit_test(a_folder_of_safetensors_is_converted_too),
        cmocka_unit_test(a_resumed_run_ends_in_the_same_file),
        cmocka_unit_test(frozen_weights_are_not_in_checkpoints_and_must_not_change),
    };
    return cmocka_run_group_tests(tests, furnish_place, place_close);
}
