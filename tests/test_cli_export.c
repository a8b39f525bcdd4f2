/* test_cli_export.c: msa export as a user meets it: every direction, bad usage, a full disk. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "support/program.h"
#include "support/support.h"
#include "support/tiny_model.h"

static void write_model(const char *name, const tiny_params *p) {
    char path[160];
    snprintf(path, sizeof path, "%s/%s", place.folder, name);
    tiny_model *m = tiny_create(p);
    tiny_write(m, path);
    tiny_free(m);
}

static int furnish_place(void **state) {
    place_open(state);
    tiny_params llama = tiny_defaults("llama", 3), m3 = tiny_m3(3);
    write_model("llama.gguf", &llama);
    write_model("m3.gguf", &m3);
    return 0;
}

static void every_direction_keeps_the_model(void **state) {
    (void)state;
    static const char *const names[] = {"llama", "m3"};
    char line[256];
    for (int i = 0; i < 2; i++) {
        const char *n = names[i];
        snprintf(line, sizeof line, "msa export -m %s.gguf -o %s --format safetensors", n, n);
        assert_exit(&place, line, 0, NULL);
        snprintf(line, sizeof line, "msa export -m %s/model.safetensors -o %s-2.gguf", n, n);
        assert_exit(&place, line, 0, NULL);
        snprintf(line, sizeof line,
                 "msa export -m %s-2.gguf -o %s-2 --format safetensors --max-bytes 100K", n, n);
        assert_exit(&place, line, 0, NULL);
        snprintf(line, sizeof line, "msa export -m %s-2 -o %s-3.gguf", n, n);
        assert_exit(&place, line, 0, NULL);
        snprintf(line, sizeof line, "cmp %s-2.gguf %s-3.gguf", n, n);
        outcome o = workplace_run(&place, line);
        /* M3's norms lose the last bit of w in 1 + w once, and never again. */
        if (o.code != 0) fail_msg("%s: %s", line, o.out);
        outcome_free(&o);
    }
}

static void bad_usage_and_a_full_disk_say_so(void **state) {
    (void)state;
    static const call CALLS[] = {
        {"msa export -m llama.gguf", 2, "expected -o PATH"},
        {"msa export -o x.gguf", 2, "-m"},
        {"msa export -m nothing.gguf -o x.gguf", 1, "nothing.gguf"},
        {"msa export -m llama.gguf -o x --format onnx", 2, "gguf|safetensors|index"},
        {"msa export -m llama.gguf -o x.gguf --type q4_0", 2, "f32|f16|bf16|q8_0"},
        {"msa export -m llama.gguf -o x --format safetensors --type q8_0", 2, "Q8_0"},
        {"msa export -m llama.gguf -o x.gguf --format index", 2, "has none"},
        {"msa export -m m3.gguf -o x.gguf --format index", 2, "is a MiniMax-M3"},
        {"msa export -m llama.gguf -o none/x.gguf", 1, "none/x.gguf"},
        {"(ulimit -f 64; trap '' XFSZ; msa export -m llama.gguf -o x.gguf)", 1, "x.gguf"},
        {"(ulimit -f 64; trap '' XFSZ; msa export -m llama.gguf -o x --format safetensors)", 1,
         "model.safetensors"},
    };
    assert_calls(&place, CALLS, sizeof CALLS / sizeof *CALLS);
    assert_int_equal(workplace_count(&place, "x"), 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_direction_keeps_the_model),
        cmocka_unit_test(bad_usage_and_a_full_disk_say_so),
    };
    return cmocka_run_group_tests(tests, furnish_place, place_close);
}
