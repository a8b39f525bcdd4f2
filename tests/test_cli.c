/* test_cli.c: the program as a user meets it: usage, bad input, full disks, help, examples. */
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "support/program.h"
#include "support/support.h"

#define MODEL "-m " TEST_MODEL

static workplace place;

static int open_place(void **state) {
    (void)state;
    workplace_open(&place);
    return 0;
}

static int close_place(void **state) {
    (void)state;
    workplace_close(&place);
    return 0;
}

typedef struct bad_call {
    const char *line;
    int code;
    const char *word; /* in the message */
} bad_call;

static void check_bad_calls(const bad_call *calls, size_t n) {
    for (size_t i = 0; i < n; i++) assert_exit(&place, calls[i].line, calls[i].code, calls[i].word);
}

static const char *const COMMANDS[] = {"run",        "eval ppl",    "map",  "tokenize",
                                       "bench attn", "bench model", "info", "export"};
enum { N_COMMANDS = sizeof COMMANDS / sizeof *COMMANDS };

/* ---- without a model ------------------------------------------------------------------------- */

static void an_unknown_command_or_flag_names_the_nearest(void **state) {
    static const bad_call CALLS[] = {
        {"msa", 2, "expected a command"},
        {"msa rnu", 2, "'msa run'"},
        {"msa evla ppl", 2, "'msa eval ppl'"},
        {"msa eval pll", 2, "'msa eval ppl'"},
        {"msa zzzzzzzz", 2, "'zzzzzzzz'"},
        {"msa run --selctor proxy", 2, "--selector"},
        {"msa run --temperatur 1", 2, "--temperatur"},
        {"msa run hello", 2, "'hello'"},
        {"msa run -x", 2, "'-x'"},
        {"msa --cpuu scalar info", 2, "--cpu"},
    };
    (void)state;
    check_bad_calls(CALLS, sizeof CALLS / sizeof *CALLS);
}

static void a_bad_value_names_its_flag_and_the_range(void **state) {
    static const bad_call CALLS[] = {
        {"msa run --topk 0", 2, "--topk: expected a whole number from 1 to 64, found '0'"},
        {"msa run --topk 65", 2, "--topk"},
        {"msa run --topk 1.5", 2, "--topk"},
        {"msa run --block 33", 2, "--block: expected one of 16|32|64|128|256, found '33'"},
        {"msa run --local -1", 2, "--local"},
        {"msa run --init 99999999999999999999", 2, "--init"},
        {"msa run -t -1", 2, "--threads: expected a whole number from 1 to 1024, found '-1'"},
        {"msa run -t 0", 2, "--threads"},
        {"msa -t x info", 2, "--threads"},
        {"msa run --layers-dense 999", 2, "--layers-dense"},
        {"msa run --layers-dense 3-1", 2, "--layers-dense"},
        {"msa run --layers-dense 1,,2", 2, "--layers-dense"},
        {"msa run --layers-dense 0-255,0-255", 2, "--layers-dense"},
        {"msa run -c 1e99", 2, "--ctx-size"},
        {"msa run -c -5", 2, "--ctx-size"},
        {"msa run -c 99999999999M", 2, "--ctx-size"},
        {"msa run -c ''", 2, "--ctx-size"},
        {"msa run --temp nan", 2, "--temp: expected a number from 0 to 100, found 'nan'"},
        {"msa run --temp inf", 2, "--temp"},
        {"msa run --temp 1x", 2, "--temp"},
        {"msa run --top-p 1.01", 2, "--top-p"},
        {"msa run --min-p -0.1", 2, "--min-p"},
        {"msa run --repeat-penalty 0", 2, "--repeat-penalty"},
        {"msa run -n -2", 2, "--predict"},
        {"msa run -s 1e3", 2, "--seed"},
        {"msa run --kv-format f8", 2, "--kv-format"},
        {"msa run --attn sparse", 2, "--attn"},
        {"msa run --selector best", 2, "--selector"},
        {"msa run --chunk 0", 2, "--chunk"},
        {"msa run --cpu sse2", 2, "--cpu"},
        {"msa run --json=yes", 2, "--json"},
        {"msa run -p", 2, "-p needs a value"},
        {"msa eval ppl --ranges 0", 2, "--ranges"},
        {"msa eval ppl --chunks 0", 2, "--chunks"},
        {"msa map --layer -1", 2, "--layer"},
        {"msa map --format gif", 2, "--format"},
    };
    (void)state;
    check_bad_calls(CALLS, sizeof CALLS / sizeof *CALLS);
}

static void a_missing_argument_is_asked_for(void **state) {
    static const bad_call CALLS[] = {
        {"msa run", 2, "-m/--model is missing"},
        {"msa run -p hi", 2, "-m/--model is missing"},
        {"msa eval ppl", 2, "-f/--file is missing"},
        {"msa eval ppl -f LICENSE", 2, "-m/--model is missing"},
        {"msa map", 2, "-f/--file is missing"},
        {"msa tokenize " MODEL, 2, "-p TEXT"},
        {"msa tokenize " MODEL " -p a -f LICENSE", 2, "both"},
        {"msa run --raw --system x -p a", 2, "--system"},
    };
    (void)state;
    check_bad_calls(CALLS, sizeof CALLS / sizeof *CALLS);
}

static void a_file_that_is_no_model_is_named(void **state) {
    static const bad_call CALLS[] = {
        {"msa run -m nowhere.gguf -p hi", 1, "nowhere.gguf"},
        {"msa info -m nowhere.gguf", 1, "nowhere.gguf"},
        {": > empty.gguf; msa run -m empty.gguf -p hi", 1, "empty.gguf"},
        {"msa run -m LICENSE -p hi", 1, "LICENSE"},
        {"msa run -m / -p hi", 1, "-m: "},
        {"msa run -m /dev/zero -p hi", 1, "/dev/zero"},
        {"printf 'GGUF\\003\\000\\000\\000' > stub.gguf; msa info -m stub.gguf", 1, "stub.gguf"},
    };
    (void)state;
    check_bad_calls(CALLS, sizeof CALLS / sizeof *CALLS);
}

static void a_text_that_is_no_text_is_refused_before_any_work(void **state) {
    static const bad_call CALLS[] = {
        {"msa eval ppl -m nowhere.gguf -f nothing.txt", 1, "nothing.txt"},
        {": > empty.txt; msa eval ppl -m nowhere.gguf -f empty.txt", 2, "empty.txt"},
        {"msa eval ppl -m nowhere.gguf -f -", 2, "-f standard input: the text is empty"},
        {"printf 'a\\nb\\377c' > latin.txt; msa eval ppl -m nowhere.gguf -f latin.txt", 1,
         "found byte 0xff at byte 3 (line 2)"},
        {"printf 'a\\303' > cut.txt; msa eval ppl -m nowhere.gguf -f cut.txt", 1, "cut.txt"},
        {"printf '\\355\\240\\200' > s.txt; msa eval ppl -m nowhere.gguf -f s.txt", 1, "0xed"},
        {"printf '\\300\\200' > o.txt; msa eval ppl -m nowhere.gguf -f o.txt", 1, "0xc0"},
        {"printf '\\364\\220\\200\\200' > b.txt; msa map -m nowhere.gguf -f b.txt", 1, "0xf4"},
        {"printf 'a\\000b' > zero.txt; msa map -m nowhere.gguf -f zero.txt", 1, "zero byte"},
        {"msa map -m nowhere.gguf -f /", 1, "-f"},
    };
    (void)state;
    check_bad_calls(CALLS, sizeof CALLS / sizeof *CALLS);
}

static void a_picture_that_cannot_be_written_is_said_before_any_work(void **state) {
    static const bad_call CALLS[] = {
        {"msa map -m nowhere.gguf -f LICENSE -o none/there.png", 1, "none/there.png"},
        {"mkdir -p folder; msa map -m nowhere.gguf -f LICENSE -o folder", 1, "is a directory"},
        {"msa map -m nowhere.gguf -f LICENSE -o ''", 2, "-o"},
    };
    (void)state;
    check_bad_calls(CALLS, sizeof CALLS / sizeof *CALLS);
}

static void a_full_disk_behind_standard_output_is_an_error(void **state) {
    static const bad_call CALLS[] = {
        {"msa --help > /dev/full", 1, "standard output"},
        {"msa --version > /dev/full", 1, "standard output"},
        {"msa run --help > /dev/full", 1, "standard output"},
        {"msa info > /dev/full", 1, "standard output"},
        {"msa info --json > /dev/full", 1, "standard output"},
        {"msa info >&-", 1, "standard output"},
    };
    (void)state;
    check_bad_calls(CALLS, sizeof CALLS / sizeof *CALLS);
}

static void help_of_every_command_has_usage_flags_and_an_example(void **state) {
    static const char *const PARTS[] = {"usage: msa ", "--help", "\nExamples:\n  ",
                                        "Exit codes: 0"};
    char line[64];
    (void)state;
    for (size_t i = 0; i <= N_COMMANDS; i++) {
        snprintf(line, sizeof line, "msa %s --help", i < N_COMMANDS ? COMMANDS[i] : "");
        outcome o = workplace_run(&place, line);
        assert_int_equal(o.code, 0);
        assert_string_equal(o.err, "");
        for (size_t p = 0; p < sizeof PARTS / sizeof *PARTS; p++)
            if (!strstr(o.out, PARTS[p])) fail_msg("%s has no '%s':\n%s", line, PARTS[p], o.out);
        if (i < N_COMMANDS && !strstr(o.out, COMMANDS[i])) fail_msg("%s:\n%s", line, o.out);
        for (char *at = strtok(o.out, "\n"); at; at = strtok(NULL, "\n"))
            if (strlen(at) > 120) fail_msg("%s: a line is too wide:\n%s", line, at);
        outcome_free(&o);
    }
}

static void help_and_version_may_follow_leading_flags(void **state) {
    static const char *const FLAGS[] = {"", "--cpu scalar ", "-t 2 ", "--threads=1 --cpu scalar "};
    static const char *const ASKED[][2] = {
        {"--help", "usage: msa COMMAND"}, {"-h", "usage: msa COMMAND"}, {"--version", "msa 0."}};
    (void)state;
    for (size_t i = 0; i < sizeof FLAGS / sizeof *FLAGS; i++)
        for (size_t j = 0; j < sizeof ASKED / sizeof *ASKED; j++) {
            char line[128];
            snprintf(line, sizeof line, "msa %s%s", FLAGS[i], ASKED[j][0]);
            outcome o = workplace_run(&place, line);
            if (o.code != 0 || !strstr(o.out, ASKED[j][1]))
                fail_msg("%s: exit code %d, %s%s", line, o.code, o.out, o.err);
            outcome_free(&o);
        }
    assert_exit(&place, "msa -t 2", 2, "expected a command");
}

static void info_names_the_machine_and_the_kernels(void **state) {
    outcome o = workplace_run(&place, "msa --cpu scalar info --json -t 1");
    json_t *document = json_loads(o.out, 0, NULL), *machine = json_object_get(document, "machine");
    (void)state;
    assert_int_equal(o.code, 0);
    assert_non_null(document);
    assert_string_equal(json_string_value(json_object_get(machine, "isa")), "scalar");
    assert_int_equal(json_integer_value(json_object_get(machine, "threads")), 1);
    assert_true(json_integer_value(json_object_get(machine, "memory_bytes")) > 0);
    assert_non_null(json_object_get(json_object_get(document, "libraries"), "OpenBLAS"));
    json_decref(document);
    outcome_free(&o);
}

/* ---- with the model -------------------------------------------------------------------------- */

static void a_damaged_model_is_refused(void **state) {
    static const bad_call CALLS[] = {
        {"head -c 1000 models/*Q4_1.gguf > cut.gguf; msa run -m cut.gguf -p hi", 1, "cut.gguf"},
        {"head -c 9000000 models/*Q4_1.gguf > cut.gguf; msa run -m cut.gguf -p hi", 1, "cut.gguf"},
        {"sed '1,20s/llama/lxama/' models/*Q4_1.gguf > other.gguf; msa run -m other.gguf -p hi", 1,
         "lxama"},
    };
    (void)state;
    test_need_model();
    check_bad_calls(CALLS, sizeof CALLS / sizeof *CALLS);
}

static void a_contradiction_with_the_model_names_the_flags(void **state) {
    static const bad_call CALLS[] = {
        {"msa run " MODEL " -p hi --layers-dense 99", 2, "layers 0 to 29"},
        {"msa run " MODEL " -p hi --topk 2", 2, "--topk 2"},
        {"msa run " MODEL " -p hi --topk 8 --local 8 --init 1", 2, "--local 8 and --init 1"},
        {"msa run " MODEL " -p hi --selector index", 1, "index"},
        {"msa map " MODEL " -f LICENSE --layer 30", 2, "--layer"},
        {"msa map " MODEL " -f LICENSE --group 3", 2, "--group"},
        {"msa map " MODEL " -f LICENSE --layer 4 --layers-dense 4", 2, "--layer"},
        {"msa eval ppl " MODEL " -f LICENSE -c 1", 2, "-c"},
    };
    (void)state;
    test_need_model();
    check_bad_calls(CALLS, sizeof CALLS / sizeof *CALLS);
}

static void a_text_longer_than_the_context_says_how_much_fits(void **state) {
    static const bad_call CALLS[] = {
        {"msa run " MODEL " -f LICENSE -c 100", 1, "the context holds 100"},
        {"msa map " MODEL " -f LICENSE -c 100", 1, "the context holds 100"},
    };
    (void)state;
    test_need_model();
    check_bad_calls(CALLS, sizeof CALLS / sizeof *CALLS);
}

static void an_empty_or_broken_prompt_is_refused(void **state) {
    static const bad_call CALLS[] = {
        {"msa run " MODEL " -p ''", 2, "-p: the text is empty"},
        {"msa run " MODEL, 2, "standard input: the text is empty"},
        {": > e.txt; msa run " MODEL " -p hi -f e.txt", 2, "e.txt"},
        {"msa run " MODEL " -p \"$(printf 'a\\377')\"", 1, "0xff"},
        {"printf 'a\\377' | msa run " MODEL, 1, "0xff"},
    };
    (void)state;
    test_need_model();
    check_bad_calls(CALLS, sizeof CALLS / sizeof *CALLS);
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

/* Runs the line and gives its JSON. */
static json_t *run_json(const char *line) {
    outcome o = workplace_run(&place, line);
    if (o.code != 0) fail_msg("%s\nexits with %d:\n%s", line, o.code, o.err);
    json_t *document = json_loads(o.out, 0, NULL);
    if (!document) fail_msg("%s\nprints no JSON:\n%s", line, o.out);
    outcome_free(&o);
    return document;
}

static void an_answer_is_the_same_streamed_and_as_json(void **state) {
    (void)state;
    test_need_model();
    outcome o = workplace_run(&place, "msa run " MODEL " -p 'Name a colour.' -n 12 -s 7");
    json_t *document =
        run_json("echo 'unused' | msa run " MODEL " -p 'Name a colour.' -n 12 -s 7 --json");
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
    json_t *document =
        run_json("msa run " MODEL " --raw -p 'One two three' -c 16 --temp 0 --json 2>note");
    assert_string_equal(json_string_value(json_object_get(document, "stop")), "context");
    json_decref(document);
    outcome o = workplace_run(&place, "cat note");
    assert_non_null(strstr(o.out, "context of 16 tokens is full"));
    outcome_free(&o);
}

static void a_full_disk_stops_every_command(void **state) {
    static const bad_call CALLS[] = {
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
    check_bad_calls(CALLS, sizeof CALLS / sizeof *CALLS);
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

static void perplexity_stands_side_by_side(void **state) {
    (void)state;
    test_need_model();
    json_t *document = run_json("msa eval ppl " MODEL " -f LICENSE -c 128 --ranges 2 --block 16 "
                                "--topk 3 --json");
    json_t *rows = json_object_get(document, "rows");
    json_t *first = json_array_get(rows, 0), *second = json_array_get(rows, 1);
    assert_int_equal(json_array_size(rows), 3);
    /* Up to --topk blocks both see the same; beyond, 3 blocks of 16 are not what dense sees. */
    assert_true(json_number_value(json_object_get(first, "ppl_dense")) > 1);
    assert_true(json_number_value(json_object_get(second, "ratio")) != 1);
    json_decref(document);
    document = run_json("msa eval ppl " MODEL " -f LICENSE -c 48 --ranges 1 --block 16 --topk 3 "
                        "--kv-format f32 --chunks 1 --json");
    first = json_array_get(json_object_get(document, "rows"), 0);
    double ratio = json_number_value(json_object_get(first, "ratio"));
    assert_true(ratio > 0.999 && ratio < 1.001);
    json_decref(document);
    /* A name that is no UTF-8 is still printed. */
    document = run_json("n=$(printf 'book\\377.txt'); cp LICENSE \"$n\"; msa eval ppl " MODEL
                        " -f \"$n\" -c 48 --chunks 1 --json");
    assert_string_equal(json_string_value(json_object_get(document, "file")),
                        "book\xef\xbf\xbd.txt");
    json_decref(document);
}

static void tokens_join_to_the_text(void **state) {
    (void)state;
    test_need_model();
    json_t *document = run_json("msa tokenize " MODEL " -p 'a \xc3\xa9t\xc3\xa9, 12!' --json");
    char joined[64] = "";
    size_t at;
    json_t *row;
    json_array_foreach(json_object_get(document, "rows"), at, row)
        strcat(joined, json_string_value(json_object_get(row, "text")));
    assert_string_equal(joined, "a \xc3\xa9t\xc3\xa9, 12!");
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

/* Every command line printed under "Examples:" works as it stands. */
static void run_examples(const char *help) {
    outcome o = workplace_run(&place, help);
    char *at = strstr(o.out, "\nExamples:\n");
    assert_non_null(at);
    for (at += strlen("\nExamples:\n"); strncmp(at, "  ", 2) == 0;) {
        size_t n = strcspn(at, "\n");
        at[n] = 0;
        outcome example = workplace_run(&place, at);
        if (example.code != 0 || !example.out[0])
            fail_msg("the example\n%s\nof %s exits with %d:\n%s", at, help, example.code,
                     example.err);
        outcome_free(&example);
        at += n + 1;
    }
    outcome_free(&o);
}

static void the_examples_of_every_help_page_work(void **state) {
    char line[64];
    (void)state;
    test_need_model();
#if defined(__SANITIZE_ADDRESS__)
    print_message(
        "SKIPPED under the sanitizers: the examples only repeat the tests above at length\n");
    skip();
#endif
    if (access("/usr/share/common-licenses/GPL-3", R_OK) != 0) {
        print_message("SKIPPED: the examples read Debian's /usr/share/common-licenses\n");
        skip();
    }
    run_examples("msa --help");
    for (size_t i = 0; i < N_COMMANDS; i++) {
        snprintf(line, sizeof line, "msa %s --help", COMMANDS[i]);
        run_examples(line);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_unknown_command_or_flag_names_the_nearest),
        cmocka_unit_test(a_bad_value_names_its_flag_and_the_range),
        cmocka_unit_test(a_missing_argument_is_asked_for),
        cmocka_unit_test(a_file_that_is_no_model_is_named),
        cmocka_unit_test(a_text_that_is_no_text_is_refused_before_any_work),
        cmocka_unit_test(a_picture_that_cannot_be_written_is_said_before_any_work),
        cmocka_unit_test(a_full_disk_behind_standard_output_is_an_error),
        cmocka_unit_test(help_of_every_command_has_usage_flags_and_an_example),
        cmocka_unit_test(help_and_version_may_follow_leading_flags),
        cmocka_unit_test(info_names_the_machine_and_the_kernels),
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
        cmocka_unit_test(perplexity_stands_side_by_side),
        cmocka_unit_test(tokens_join_to_the_text),
        cmocka_unit_test(an_interrupt_ends_the_work_cleanly),
        cmocka_unit_test(the_examples_of_every_help_page_work),
    };
    return cmocka_run_group_tests(tests, open_place, close_place);
}
