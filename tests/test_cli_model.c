/* test_cli_model.c: the program with a model, the small one that the set-up fetches. */
#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "support/program.h"
#include "support/support.h"

#define MODEL "-m " TEST_MODEL

static void a_damaged_model_is_refused(void **state) {
    static const call CALLS[] = {
        {"head -c 1000 models/*Q4_1.gguf > cut.gguf; msa run -m cut.gguf -p hi", 1, "cut.gguf"},
        {"head -c 9000000 models/*Q4_1.gguf > cut.gguf; msa run -m cut.gguf -p hi", 1, "cut.gguf"},
        {"sed '1,20s/llama/lxama/' models/*Q4_1.gguf > other.gguf; msa run -m other.gguf -p hi", 1,
         "lxama"},
    };
    (void)state;
    test_need_model();
    assert_calls(&place, CALLS, sizeof CALLS / sizeof *CALLS);
}

static void a_contradiction_with_the_model_names_the_flags(void **state) {
    static const call CALLS[] = {
        {"msa run " MODEL " -p hi --layers-dense 99", 2, "layers 0 to 29"},
        {"msa run " MODEL " -p hi --topk 2", 2, "--topk 2"},
        {"msa run " MODEL " -p hi --topk 8 --local 8 --init 1", 2, "--local 8 and --init 1"},
        {"msa run " MODEL " -p hi --selector index", 1, "index"},
        {"msa map " MODEL " -f LICENSE --layer 30", 2, "--layer"},
        {"msa map " MODEL " -f LICENSE --group 3", 2, "--group"},
        {"msa map " MODEL " -f LICENSE --layer 4 --layers-dense 4", 2, "--layer"},
        {"msa eval ppl " MODEL " -f LICENSE -c 1", 2, "-c"},
        {"msa eval ppl " MODEL " -f LICENSE --selectors dense,best", 2, "'best'"},
        {"msa eval ppl " MODEL " -f LICENSE --selectors dense,index", 1, "--selectors: "},
        {"msa eval ppl " MODEL " -f LICENSE --by-position 0", 2, "'powers'"},
        {"msa eval ppl " MODEL " -f LICENSE --by-position half", 2, "'half'"},
    };
    (void)state;
    test_need_model();
    assert_calls(&place, CALLS, sizeof CALLS / sizeof *CALLS);
}

static void a_text_longer_than_the_context_says_how_much_fits(void **state) {
    static const call CALLS[] = {
        {"msa run " MODEL " -f LICENSE -c 100", 1, "the context holds 100"},
        {"msa map " MODEL " -f LICENSE -c 100", 1, "the context holds 100"},
    };
    (void)state;
    test_need_model();
    assert_calls(&place, CALLS, sizeof CALLS / sizeof *CALLS);
}

static void an_empty_or_broken_prompt_is_refused(void **state) {
    static const call CALLS[] = {
        {"msa run " MODEL " -p ''", 2, "-p: the text is empty"},
        {"msa run " MODEL, 2, "standard input: the text is empty"},
        {": > e.txt; msa run " MODEL " -p hi -f e.txt", 2, "e.txt"},
        {"msa run " MODEL " -p \"$(printf 'a\\377')\"", 1, "0xff"},
        {"printf 'a\\377' | msa run " MODEL, 1, "0xff"},
    };
    (void)state;
    test_need_model();
    assert_calls(&place, CALLS, sizeof CALLS / sizeof *CALLS);
}

static void reading_only_prints_no_token(void **state) {
    (void)state;
    test_need_model();
    outcome o = workplace_run(&place, "msa run " MODEL " -p hi -n 0");
    assert_int_equal(o.code, 0);
    assert_string_equal(o.out, "");
    assert_non_null(strstr(o.err, "prefill"));
    assert_non_null(strstr(o.err, "attention  MSA, proxy selector"));
    outcome_free(&o);
}

static void an_answer_is_the_same_streamed_and_as_json(void **state) {
    (void)state;
    test_need_model();
    outcome o = workplace_run(&place, "msa run " MODEL " -p 'Name a colour.' -n 12 -s 7");
    json_t *document = workplace_json(&place, "echo 'unused' | msa run " MODEL
                                              " -p 'Name a colour.' -n 12 -s 7 --json");
    const char *text = json_string_value(json_object_get(document, "text"));
    assert_int_equal(o.code, 0);
    assert_true(strlen(text) > 0);
    assert_memory_equal(o.out, text, strlen(text));
    assert_true(json_integer_value(json_object_get(document, "answer_tokens")) <= 12);
    json_t *prefill = json_object_get(json_object_get(document, "cost"), "prefill");
    assert_int_equal(json_integer_value(json_object_get(prefill, "tokens")),
                     json_integer_value(json_object_get(document, "prompt_tokens")));
    assert_true(json_number_value(json_object_get(prefill, "tokens_per_s")) > 0);
    json_decref(document);
    outcome_free(&o);
}

static void the_prompt_may_come_from_standard_input(void **state) {
    (void)state;
    test_need_model();
    outcome a = workplace_run(&place, "printf 'Name a colour.' | msa run " MODEL " -n 8 --temp 0");
    outcome b = workplace_run(&place, "msa run " MODEL " -n 8 --temp 0 -p 'Name a colour.'");
    outcome c =
        workplace_run(&place, "printf 'Name a colour.' | msa run " MODEL " -f - -n 8 --temp 0");
    assert_int_equal(a.code, 0);
    assert_true(strlen(a.out) > 0);
    assert_string_equal(a.out, b.out);
    assert_string_equal(a.out, c.out);
    outcome_free(&a), outcome_free(&b), outcome_free(&c);
}

static void a_terminal_gets_a_chat_that_remembers(void **state) {
    (void)state;
    test_need_model();
    outcome o = workplace_run(&place, "{ sleep 1; echo 'My name is Anna.'; sleep 1; echo 'Again.'; "
                                      "echo /clear; echo /exit; } | script -qec 'msa run " MODEL
                                      " -n 4 --temp 0' chat");
    const char *first = strstr(o.out, "prefill"),
               *second = first ? strstr(first + 1, "prefill") : 0;
    assert_int_equal(o.code, 0);
    if (!second) fail_msg("no two answers:\n%s", o.out);
    assert_null(strstr(second + 1, "prefill"));
    /* The second turn reads only what is new: fewer tokens than the first, template and all. */
    assert_true(atoi(second + strlen("prefill")) < atoi(first + strlen("prefill")));
    outcome_free(&o);
}

static void the_progress_bar_is_for_terminals(void **state) {
    (void)state;
    test_need_model();
    outcome o = workplace_run(&place, "cat LICENSE LICENSE > two; TERM=xterm script -qec "
                                      "'msa run " MODEL " -f two --raw -n 0' bar");
    assert_int_equal(o.code, 0);
    assert_non_null(strstr(o.out, "reading |"));
    outcome_free(&o);
    o = workplace_run(&place, "TERM=xterm msa run " MODEL " -f two --raw -n 0");
    assert_null(strstr(o.err, "reading"));
    assert_string_equal(o.out, "");
    outcome_free(&o);
}

static void a_full_context_ends_the_answer_and_says_so(void **state) {
    (void)state;
    test_need_model();
    json_t *document = workplace_json(
        &place, "msa run " MODEL " --raw -p 'One two three' -c 16 --temp 0 --json 2>note");
    assert_string_equal(json_string_value(json_object_get(document, "stop")), "context");
    json_decref(document);
    outcome o = workplace_run(&place, "cat note");
    assert_non_null(strstr(o.out, "context of 16 tokens is full"));
    outcome_free(&o);
}

static void a_full_disk_stops_every_command(void **state) {
    static const call CALLS[] = {
        {"msa run " MODEL " -p hi -n 4 > /dev/full", 1, "standard output"},
        {"msa run " MODEL " -p hi -n 4 --json > /dev/full", 1, "standard output"},
        {"msa info " MODEL " > /dev/full", 1, "standard output"},
        {"msa tokenize " MODEL " -p hi > /dev/full", 1, "standard output"},
        {"msa eval ppl " MODEL " -f LICENSE -c 32 --chunks 1 > /dev/full", 1, "standard output"},
        {"msa map " MODEL " -f LICENSE -o /dev/full", 1, "/dev/full"},
        {"msa map " MODEL " -f LICENSE -o full.png > /dev/full", 1, "standard output"},
        /* A file may have 4 blocks of 512 bytes here: less than a picture takes. */
        {"(ulimit -f 4; trap '' XFSZ; msa map " MODEL " -f LICENSE -o small.png)", 1, "small.png"},
    };
    (void)state;
    test_need_model();
    assert_calls(&place, CALLS, sizeof CALLS / sizeof *CALLS);
    assert_int_equal(workplace_count(&place, "small"), 0); /* nothing half written is left */
}

static void a_map_is_written_as_png_and_svg(void **state) {
    (void)state;
    test_need_model();
    assert_exit(&place, "echo old > m.png; msa map " MODEL " -f LICENSE --layer 3 -o m.png", 0, "");
    assert_exit(&place, "head -c 8 m.png | od -c | grep -q 'P   N   G'", 0, NULL);
    assert_exit(&place, "head -c 200 m.svg | grep -q '<svg'", 0, NULL);
    assert_int_equal(workplace_count(&place, "m.png"), 1);
    assert_exit(&place, "msa map " MODEL " -f LICENSE --format svg -o only", 0, NULL);
    assert_true(workplace_has(&place, "only.svg"));
    assert_false(workplace_has(&place, "only.png"));
}

static void a_map_beside_the_oracle_says_what_was_missed(void **state) {
    (void)state;
    test_need_model();
    outcome o = workplace_run(&place, "msa map " MODEL " -f LICENSE --layer 2 --block 16 --topk 4 "
                                      "--beside oracle --format svg -o pair");
    assert_int_equal(o.code, 0);
    assert_memory_equal(o.out, "pair.svg\n", 9);
    assert_non_null(strstr(o.out, "captured / oracle"));
    assert_non_null(strstr(o.out, "\nall "));
    outcome_free(&o);
    /* The oracle itself, with nothing forced, misses nothing. */
    o = workplace_run(&place, "msa map " MODEL " -f LICENSE --block 16 --topk 4 --all-layers "
                              "--selector oracle --local 0 --init 0 --beside oracle "
                              "--format png -o best | grep -c ' 1.000 .* 1.000$'");
    assert_string_equal(o.out, "31\n"); /* layers, and all */
    outcome_free(&o);
}

static double number_of(const json_t *row, const char *key) {
    return json_number_value(json_object_get(row, key));
}

static void perplexity_stands_side_by_side(void **state) {
    (void)state;
    test_need_model();
    json_t *document =
        workplace_json(&place, "msa eval ppl " MODEL " -f LICENSE -c 128 --ranges 2 --block 16 "
                               "--topk 3 --json");
    json_t *rows = json_object_get(document, "rows");
    json_t *dense = json_array_get(rows, 0), *proxy = json_array_get(rows, 1);
    assert_int_equal(json_array_size(rows), 2);
    assert_string_equal(json_string_value(json_object_get(dense, "selector")), "dense");
    assert_string_equal(json_string_value(json_object_get(proxy, "selector")), "proxy");
    /* Up to --topk blocks both see the same; beyond, 3 blocks of 16 are not what dense sees. */
    assert_true(json_number_value(json_object_get(dense, "ppl")) > 1);
    assert_true(json_is_null(json_object_get(dense, "difference")));
    assert_true(number_of(proxy, "keys_per_query") < number_of(dense, "keys_per_query"));
    assert_true(fabs(number_of(proxy, "nll") - number_of(dense, "nll") -
                     number_of(proxy, "difference")) < 1e-4);
    assert_true(number_of(proxy, "difference_low") < number_of(proxy, "difference") &&
                number_of(proxy, "difference") < number_of(proxy, "difference_high"));
    rows = json_object_get(document, "by_position");
    assert_int_equal(json_array_size(rows), 4); /* two ranges, two attentions */
    assert_true(number_of(json_array_get(rows, 3), "difference") != 0);
    assert_true(number_of(json_array_get(rows, 3), "tokens") +
                    number_of(json_array_get(rows, 1), "tokens") ==
                number_of(proxy, "tokens"));
    json_decref(document);
    document = workplace_json(&place, "msa eval ppl " MODEL
                                      " -f LICENSE -c 48 --by-position powers --block 16 --topk 3 "
                                      "--selectors oracle,dense,window,random,shared,means,auto "
                                      "--kv-format f32 --chunks 1 --json");
    rows = json_object_get(document, "rows");
    assert_int_equal(json_array_size(rows), 7);
    for (size_t i = 1; i < 7; i++)
        assert_true(fabs(number_of(json_array_get(rows, i), "difference")) < 1e-3);
    assert_string_equal(json_string_value(json_object_get(json_array_get(rows, 6), "selector")),
                        "proxy");
    assert_int_equal(json_array_size(json_object_get(document, "by_position")), 7 * 7);
    json_decref(document);
    /* A name that is no UTF-8 is still printed. */
    document =
        workplace_json(&place, "n=$(printf 'book\\377.txt'); cp LICENSE \"$n\"; msa eval ppl " MODEL
                               " -f \"$n\" -c 48 --chunks 1 --json");
    assert_string_equal(json_string_value(json_object_get(document, "file")),
                        "book\xef\xbf\xbd.txt");
    json_decref(document);
}

static void tokens_join_to_the_text(void **state) {
    (void)state;
    test_need_model();
    json_t *document =
        workplace_json(&place, "msa tokenize " MODEL " -p 'a \xc3\xa9t\xc3\xa9, 12!' --json");
    char joined[64] = "";
    size_t at;
    json_t *row;
    json_array_foreach(json_object_get(document, "rows"), at, row)
        strcat(joined, json_string_value(json_object_get(row, "text")));
    assert_string_equal(joined, "a \xc3\xa9t\xc3\xa9, 12!");
    json_decref(document);
}

/* Of 512 tokens a query reads 96. */
static void the_index_in_weights_is_worth_its_training(void **state) {
    (void)state;
    test_need_model();
    json_t *document = workplace_json(
        &place,
        "msa eval ppl " MODEL " --index weights/smollm2-135m-index.gguf -f CONTRIBUTING.md "
        "-c 512 --chunks 1 --block 16 --topk 6 --selectors index,shared --json 2>/dev/null");
    json_t *rows = json_object_get(document, "rows");
    double trained = row_number(rows, "index", "difference"),
           untrained = row_number(rows, "shared", "difference");
    if (!(trained < 0.6 * untrained)) fail_msg("trained %.4f, untrained %.4f", trained, untrained);
    json_decref(document);
}

static void an_interrupt_ends_the_work_cleanly(void **state) {
    (void)state;
    test_need_model();
    /* A text of minutes; the signal comes after a second. */
    assert_exit(&place,
                "for i in 1 2 3 4 5 6 7 8 9; do cat LICENSE LICENSE LICENSE; done > l; "
                "timeout --foreground -s INT --preserve-status 1 "
                "msa run " MODEL " -f l --raw --attn dense",
                130, "interrupted");
    assert_exit(&place,
                "timeout --foreground -s INT --preserve-status 1 "
                "msa map " MODEL " -f l --chunk 16 -o stopped.png",
                130, "interrupted");
    assert_int_equal(workplace_count(&place, "stopped"), 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_damaged_model_is_refused),
        cmocka_unit_test(a_contradiction_with_the_model_names_the_flags),
        cmocka_unit_test(a_text_longer_than_the_context_says_how_much_fits),
        cmocka_unit_test(an_empty_or_broken_prompt_is_refused),
        cmocka_unit_test(reading_only_prints_no_token),
        cmocka_unit_test(an_answer_is_the_same_streamed_and_as_json),
        cmocka_unit_test(the_prompt_may_come_from_standard_input),
        cmocka_unit_test(a_terminal_gets_a_chat_that_remembers),
        cmocka_unit_test(the_progress_bar_is_for_terminals),
        cmocka_unit_test(a_full_context_ends_the_answer_and_says_so),
        cmocka_unit_test(a_full_disk_stops_every_command),
        cmocka_unit_test(a_map_is_written_as_png_and_svg),
        cmocka_unit_test(a_map_beside_the_oracle_says_what_was_missed),
        cmocka_unit_test(perplexity_stands_side_by_side),
        cmocka_unit_test(tokens_join_to_the_text),
        cmocka_unit_test(the_index_in_weights_is_worth_its_training),
        cmocka_unit_test(an_interrupt_ends_the_work_cleanly),
    };
    return cmocka_run_group_tests(tests, place_open, place_close);
}
