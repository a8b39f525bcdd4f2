/* test_cli_index.c: the program with models that have an index branch: MiniMax-M3's architecture,
 * and a Llama with a branch beside it. */
#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "support/program.h"
#include "support/support.h"
#include "support/tiny_model.h"

static void write_tiny(const tiny_params *p, const char *model, const char *index) {
    char path[128];
    tiny_model *m = tiny_create(p);
    snprintf(path, sizeof path, "%s/%s", place.folder, model);
    tiny_write(m, path);
    snprintf(path, sizeof path, "%s/%s", place.folder, index ? index : "");
    if (index) tiny_write_index(m, path);
    tiny_free(m);
}

/* m3.gguf; base.gguf with branch.gguf; other.gguf of base's shape; texts of 1,000 and of 1,500
 * bytes. */
static int furnish_place(void **state) {
    place_open(state);
    tiny_params m3 = tiny_m3(9), base = tiny_defaults("llama", 9), other = base;
    m3.n_ctx = base.n_ctx = 2048;
    base.n_layers = 3, base.n_dense_layers = 1;
    base.index.dim = 16, base.index.block = 16, base.index.topk = 4;
    base.index.local = 1, base.index.init = 1, base.index.beside = true;
    other = base;
    other.seed++;
    write_tiny(&m3, "m3.gguf", NULL);
    write_tiny(&base, "base.gguf", "branch.gguf");
    write_tiny(&other, "other.gguf", NULL);
    char text[1500];
    rng r = rng_seed(3);
    for (size_t i = 0; i < sizeof text; i++) text[i] = (char)('a' + rng_below(&r, 26));
    workplace_write(&place, "text", text, 1000);
    workplace_write(&place, "long", text, sizeof text);
    return 0;
}

static void an_index_that_does_not_fit_is_refused(void **state) {
    static const call calls[] = {
        {"msa run -m other.gguf --index branch.gguf -p hi", 1, "other weights"},
        {"msa run -m m3.gguf --index branch.gguf -p hi", 2, "already"},
        {"msa run -m base.gguf --index base.gguf -p hi", 1, "msa-index"},
        {"msa run -m base.gguf --index nowhere.gguf -p hi", 1, "--index: "},
        {"msa run -m base.gguf --index text -p hi", 1, "--index: "},
        {"msa run -m branch.gguf -p hi", 1, "--index"},
        {"msa run -m base.gguf --selector index -p hi", 1, "index"},
        {"msa run -m base.gguf --index branch.gguf --topk 1 -p hi", 2, "--topk 1"},
        {"msa run -m m3.gguf --index-format f64 -p hi", 2, "--index-format"},
        {"msa run -m m3.gguf --index8 yes -p hi", 2, "--index8"},
        {"msa run -m m3.gguf --index8 on --index-format int8 -p hi", 1, "turn index8 off"},
        {"msa run -m m3.gguf --index8 on --kv-format fp8 -p hi", 1, "index keys are stored in fp8"},
        {"msa run -m other.gguf --index8 on --k-format nvfp4 -p hi", 1, "proxy selector scores"},
        {"msa run -m m3.gguf --index8 on --attn dense -p hi", 2, "--attn dense scores no keys"},
        {"msa map -m m3.gguf --index8 on --selector means -f text -o a.png", 2, "--selector means"},
        {"msa info -m other.gguf --index branch.gguf", 1, "other weights"},
        {"msa map -m other.gguf --index branch.gguf -f text -o a.png", 1, "other weights"},
        {"msa eval ppl -m other.gguf --index branch.gguf -f text", 1, "other weights"},
        {"msa bench model -m other.gguf --index branch.gguf", 1, "other weights"},
    };
    (void)state;
    assert_calls(&place, calls, sizeof calls / sizeof *calls);
}

static json_int_t number(const json_t *object, const char *key) {
    return json_integer_value(json_object_get(object, key));
}

static void info_shows_index_and_experts(void **state) {
    (void)state;
    json_t *document = workplace_json(&place, "msa info -m m3.gguf --kv-format f32 --json");
    json_t *m = json_object_get(document, "model"), *index = json_object_get(m, "index");
    json_t *experts = json_object_get(m, "experts");
    assert_true(json_is_true(json_object_get(m, "has_index")));
    assert_int_equal(number(index, "topk"), 5);
    assert_int_equal(number(index, "block"), 16);
    assert_int_equal(number(index, "dim"), 16);
    assert_int_equal(number(index, "first_layer"), 2);
    assert_int_equal(number(experts, "n"), 6);
    assert_int_equal(number(experts, "n_used"), 2);
    assert_int_equal(number(experts, "n_ff_shared"), 40);
    assert_true(number(experts, "n_active_parameters") < number(m, "n_parameters"));
    /* K and V of four layers, index keys of two. */
    assert_int_equal(number(m, "cache_bytes_per_token"), (4 * 2 * 2 * 24 + 2 * 16) * 4);
    json_t *first = json_array_get(json_object_get(m, "layers"), 0);
    assert_int_equal(number(first, "last"), 1);
    assert_string_equal(json_string_value(json_object_get(first, "attention")), "dense");
    json_decref(document);

    outcome o = workplace_run(&place, "msa info -m base.gguf --index branch.gguf");
    assert_int_equal(o.code, 0);
    assert_non_null(strstr(o.out, "4 blocks of 16, local 1, init 1"));
    assert_non_null(strstr(o.out, "from branch.gguf"));
    assert_non_null(strstr(o.out, "MSA, index selector, B 16, k 4, local 1, init 1"));
    assert_null(strstr(o.out, "experts"));
    outcome_free(&o);
}

static void what_is_not_as_trained_is_warned_of(void **state) {
    (void)state;
    outcome o = workplace_run(&place, "msa run -m m3.gguf -f text --raw -n 0");
    assert_int_equal(o.code, 0);
    assert_non_null(strstr(o.err, "index selector, 5 blocks of 16"));
    assert_non_null(strstr(o.err, "dense in layers 0-1"));
    assert_null(strstr(o.err, "warning"));
    outcome_free(&o);
    o = workplace_run(&place, "msa run -m m3.gguf -f text --raw -n 0 --block 32 --layers-dense 3");
    assert_int_equal(o.code, 0);
    assert_non_null(strstr(o.err, "warning    the index branch was trained with 5 blocks of 16"));
    assert_non_null(strstr(o.err, "dense in layers 0-1,3"));
    outcome_free(&o);
    /* The proxy has no training to depart from, and forced blocks of its own. */
    o = workplace_run(&place, "msa run -m m3.gguf -f text --raw -n 0 --block 32 --selector proxy");
    assert_int_equal(o.code, 0);
    assert_null(strstr(o.err, "warning"));
    assert_non_null(strstr(o.err, "local 2, init 1"));
    outcome_free(&o);
}

static void every_command_takes_an_index(void **state) {
    static const char *const LINES[] = {
        "msa run -m base.gguf --index branch.gguf -f text --raw -n 4 --temp 0",
        "msa run -m base.gguf --index branch.gguf -f text --raw -n 4 --index-format bf16",
        "msa run -m m3.gguf -f text --raw -n 4 --attn dense",
        "msa eval ppl -m base.gguf --index branch.gguf -f text --ranges 2",
        "msa eval ppl -m base.gguf --index branch.gguf -f text --selectors index,window --index8 "
        "on",
        "msa map -m base.gguf --index branch.gguf -f text --layer 1 -o b.png",
        "msa map -m base.gguf --index branch.gguf -f long --layer 1 -o c.png --index8 on",
        "msa bench model -m m3.gguf -p 200 -n 2 -r 1",
        "msa bench model -m m3.gguf -p 1200 -n 2 -r 1 --index8 on",
    };
    (void)state;
    for (size_t i = 0; i < sizeof LINES / sizeof *LINES; i++)
        assert_exit(&place, LINES[i], 0, NULL);
}

static double real(const json_t *object, const char *key) {
    return json_number_value(json_object_get(object, key));
}

static const json_t *phase_of(const json_t *answer, const char *name) {
    return json_object_get(json_object_get(answer, "cost"), name);
}

static void an_int8_copy_answers_the_same_and_says_what_it_read(void **state) {
#define RUN    "msa run -m base.gguf --index branch.gguf -f long --raw -n 20 --temp 0 "
#define NO_NUL "| sed 's/\\\\u0000/?/g'" /* a random model may say so */
    (void)state;
    json_t *with = workplace_json(&place, RUN "--index8 on --json 2>words" NO_NUL);
    json_t *without = workplace_json(&place, RUN "--json 2>/dev/null" NO_NUL); /* auto: too short */
    assert_string_equal(json_string_value(json_object_get(with, "text")),
                        json_string_value(json_object_get(without, "text")));
    const json_t *copy = json_object_get(phase_of(with, "decode"), "index8");
    assert_true(real(copy, "scores") > 0);
    assert_true(real(copy, "rescored_share") > 0 && real(copy, "rescored_share") < 1);
    assert_true(fabs(real(copy, "rescored") / real(copy, "scores") / real(copy, "rescored_share") -
                     1) < 1e-5);
    assert_true(real(copy, "bytes_per_key") > 20); /* a copy of 16 numbers, shared out */
    assert_true(real(copy, "bytes_per_key_without") == 32);
    copy = json_object_get(phase_of(with, "prefill"), "index8"); /* many queries at once */
    assert_true(number(copy, "scores") == 0);
    assert_true(json_is_null(json_object_get(phase_of(without, "decode"), "index8")));
    assert_true(json_is_true(json_object_get(json_object_get(with, "attention"), "index8")));
    assert_true(json_is_false(json_object_get(json_object_get(without, "attention"), "index8")));
    json_decref(with);
    json_decref(without);
    assert_exit(&place, "grep 'keys and values f16, index keys f16 + int8 copy' words >&2", 0,
                "dense in layers 0");
    assert_exit(&place, RUN "--index8 on", 0, "index8     decode: ");
    assert_exit(&place, RUN "--index8 on", 0, "bytes read a key, 32 without the copy");
    assert_exit(&place, "msa run -m base.gguf -f text --raw -n 2 --index8 on", 0,
                "keys and values f16, int8 copy of the keys");
    assert_exit(&place, "msa run -m base.gguf -f text --raw -n 2 --index8 on", 0,
                "the copy was not read");
    outcome o = workplace_run(&place, RUN "--index8 off");
    assert_non_null(strstr(o.err, "index keys f16; dense"));
    assert_null(strstr(o.err, "index8"));
    outcome_free(&o);
#undef RUN
#undef NO_NUL
}

/* K and V of three layers, index keys and copies of two; a copy of 16 x 18 + 16 bytes in 320. */
static void info_says_what_a_token_takes(void **state) {
#define INFO "msa info -m base.gguf --index branch.gguf "
    (void)state;
    json_t *document = workplace_json(&place, INFO "-c 1000 --v-format f32 --index8 on --json");
    const json_t *m = json_object_get(document, "model");
    const json_t *of = json_object_get(m, "cache_bytes_per_token_of");
    assert_true(real(of, "keys") == 3 * 2 * 16 * 2);
    assert_true(real(of, "values") == 3 * 2 * 16 * 4);
    assert_true(real(of, "index_keys") == 2 * 16 * 2);
    assert_true(real(of, "int8_copy") == 2 * 20);
    assert_int_equal(number(m, "cache_bytes_per_token"), 192 + 384 + 64 + 40);
    assert_int_equal(number(m, "cache_bytes"), (192 + 384 + 64 + 40) * 16 * (63 + 1));
    json_decref(document);
    document = workplace_json(&place, INFO "--json");
    assert_true(
        real(json_object_get(json_object_get(document, "model"), "cache_bytes_per_token_of"),
             "int8_copy") == 0);
    json_decref(document);
    outcome o = workplace_run(&place, INFO "--index8 on");
    assert_non_null(strstr(o.out, "keys 192 (f16), values 192 (f16), index keys 64 (f16), int8 "
                                  "copy of these 40\n"));
    outcome_free(&o);
#undef INFO
}

static void what_is_exported_runs_and_what_would_be_passed_over_is_refused(void **state) {
    static const call calls[] = {
        {"msa export -m m3.gguf -o folder --format safetensors --max-bytes 200000", 0, NULL},
        {"msa export -m folder -o again.gguf --type f16", 0, NULL},
        {"msa run -m again.gguf -f text --raw -n 2", 0, NULL},
        {"msa export -m base.gguf --index branch.gguf -o joined.gguf", 0, NULL},
        {"msa export -m joined.gguf -o apart.gguf --format index", 0, NULL},
        {"msa run -m base.gguf --index apart.gguf -f text --raw -n 2", 0, NULL},
        {"msa export -m m3.gguf", 2, "-o PATH"},
        {"msa export -m m3.gguf -o a.gguf --max-bytes 1000", 2, "--max-bytes 1000"},
        {"msa export -m joined.gguf -o half.gguf --format index --type f16", 0, NULL},
        {"msa run -m base.gguf --index half.gguf -f text --raw -n 2", 0, NULL},
        {"msa export -m joined.gguf -o a.gguf --format index --type q8_0", 2, "Q8_0"},
        {"msa export -m m3.gguf -o a.gguf --format index", 2, "-o: "},
        {"msa export -m m3.gguf -o a.gguf --format safetensors --type q8_0", 2, "Q8_0"},
        {"msa export -m m3.gguf -o nowhere/a.gguf", 1, "nowhere/a.gguf"},
        {"msa export -m m3.gguf -o text --format safetensors", 1, "text"},
        {"test ! -e a.gguf", 0, NULL},
    };
    (void)state;
    assert_calls(&place, calls, sizeof calls / sizeof *calls);
}

static void the_small_model_in_weights_finds_what_a_window_misses(void **state) {
    (void)state;
    json_t *document = workplace_json(
        &place, "msa eval task -m weights/needle.gguf --tasks train_needle --items 8 --questions 4 "
                "-f CONTRIBUTING.md --lengths 4K -n 2 --selectors index,window --json 2>/dev/null");
    json_t *rows = json_object_get(document, "rows");
    assert_true(row_number(rows, "index", "score") >= 75);
    assert_true(row_number(rows, "window", "score") <= 50);
    json_decref(document);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_index_that_does_not_fit_is_refused),
        cmocka_unit_test(info_shows_index_and_experts),
        cmocka_unit_test(what_is_not_as_trained_is_warned_of),
        cmocka_unit_test(the_small_model_in_weights_finds_what_a_window_misses),
        cmocka_unit_test(every_command_takes_an_index),
        cmocka_unit_test(an_int8_copy_answers_the_same_and_says_what_it_read),
        cmocka_unit_test(info_says_what_a_token_takes),
        cmocka_unit_test(what_is_exported_runs_and_what_would_be_passed_over_is_refused),
    };
    return cmocka_run_group_tests(tests, furnish_place, place_close);
}
