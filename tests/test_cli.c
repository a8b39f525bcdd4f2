/* test_cli.c: the program as a user meets it: usage, bad input, help, examples. */
#include <jansson.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "support/program.h"
#include "support/support.h"

#define MODEL "-m " TEST_MODEL

static const char *const COMMANDS[] = {"run",          "eval ppl",   "eval ruler",  "eval needle",
                                       "eval passkey", "eval mqar",  "eval task",   "map",
                                       "tokenize",     "bench attn", "bench model", "info",
                                       "export",       "convert",    "train",       "plot"};
enum {
    N_COMMANDS = sizeof COMMANDS / sizeof *COMMANDS,
    N_QUICK = N_COMMANDS - 2 /* an example of train's takes minutes, and plot's draws its log */
};

static void an_unknown_command_or_flag_names_the_nearest(void **state) {
    static const call CALLS[] = {
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
    assert_calls(&place, CALLS, sizeof CALLS / sizeof *CALLS);
}

static void a_bad_value_names_its_flag_and_the_range(void **state) {
    static const call CALLS[] = {
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
    assert_calls(&place, CALLS, sizeof CALLS / sizeof *CALLS);
}

static void a_missing_argument_is_asked_for(void **state) {
    static const call CALLS[] = {
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
    assert_calls(&place, CALLS, sizeof CALLS / sizeof *CALLS);
}

static void a_file_that_is_no_model_is_named(void **state) {
    static const call CALLS[] = {
        {"msa run -m nowhere.gguf -p hi", 1, "nowhere.gguf"},
        {"msa info -m nowhere.gguf", 1, "nowhere.gguf"},
        {": > empty.gguf; msa run -m empty.gguf -p hi", 1, "empty.gguf"},
        {"msa run -m LICENSE -p hi", 1, "LICENSE"},
        {"msa run -m / -p hi", 1, "-m: "},
        {"msa run -m /dev/zero -p hi", 1, "/dev/zero"},
        {"printf 'GGUF\\003\\000\\000\\000' > stub.gguf; msa info -m stub.gguf", 1, "stub.gguf"},
    };
    (void)state;
    assert_calls(&place, CALLS, sizeof CALLS / sizeof *CALLS);
}

static void a_text_that_is_no_text_is_refused_before_any_work(void **state) {
    static const call CALLS[] = {
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
    assert_calls(&place, CALLS, sizeof CALLS / sizeof *CALLS);
}

static void a_picture_that_cannot_be_written_is_said_before_any_work(void **state) {
    static const call CALLS[] = {
        {"msa map -m nowhere.gguf -f LICENSE -o none/there.png", 1, "none/there.png"},
        {"mkdir -p folder; msa map -m nowhere.gguf -f LICENSE -o folder", 1, "is a directory"},
        {"msa map -m nowhere.gguf -f LICENSE -o ''", 2, "-o"},
    };
    (void)state;
    assert_calls(&place, CALLS, sizeof CALLS / sizeof *CALLS);
}

static void a_full_disk_behind_standard_output_is_an_error(void **state) {
    static const call CALLS[] = {
        {"msa --help > /dev/full", 1, "standard output"},
        {"msa --version > /dev/full", 1, "standard output"},
        {"msa run --help > /dev/full", 1, "standard output"},
        {"msa info > /dev/full", 1, "standard output"},
        {"msa info --json > /dev/full", 1, "standard output"},
        {"msa info >&-", 1, "standard output"},
    };
    (void)state;
    assert_calls(&place, CALLS, sizeof CALLS / sizeof *CALLS);
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
    for (size_t i = 0; i < N_QUICK; i++) {
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
        cmocka_unit_test(the_examples_of_every_help_page_work),
    };
    return cmocka_run_group_tests(tests, place_open, place_close);
}
