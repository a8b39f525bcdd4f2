/* test_bench.c: what msa bench counts, promises in JSON, and refuses. Never a time. */
#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "support/program.h"
#include "support/support.h"

#define SMALL                                                                                      \
    "msa bench attn -t 2 --heads 4/2 --dim 16 --index-dim 24 --block 16 --topk 4 -r 1 --chunk 8 "

static const json_t *find_row(const json_t *document, const char *op, const char *attn) {
    size_t i;
    json_t *row;
    json_array_foreach(
        json_object_get(document, "rows"), i,
        row) if (!strcmp(json_string_value(json_object_get(row, "op")), op) &&
                 !strcmp(json_string_value(json_object_get(row, "attn")), attn)) return row;
    fail_msg("no row %s, %s", op, attn);
    return NULL;
}

static double number(const json_t *row, const char *key) {
    const json_t *value = json_object_get(row, key);
    if (!json_is_number(value)) fail_msg("%s is not a number", key);
    return json_number_value(value);
}

static void assert_members(const json_t *object, const char *const *names, size_t n) {
    assert_int_equal(json_object_size(object), n);
    for (size_t i = 0; i < n; i++)
        if (!json_object_get(object, names[i])) fail_msg("member %s is missing", names[i]);
}

static void the_json_has_the_promised_members_and_no_other(void **state) {
    static const char *const TOP[] = {"machine", "rows"};
    static const char *const MACHINE[] = {"cpu", "isa", "threads", "fma_gflops", "read_gbps"};
    static const char *const ROW[] = {"op",           "attn",    "n",       "queries",
                                      "format",       "time_us", "gflops",  "gbps",
                                      "index_format", "speedup", "roofline"};
    (void)state;
    json_t *document = workplace_json(&place, SMALL "--n 256,512 --format f16 --json");
    assert_members(document, TOP, 2);
    assert_members(json_object_get(document, "machine"), MACHINE, 5);
    size_t i;
    json_t *row;
    json_array_foreach(json_object_get(document, "rows"), i, row) assert_members(row, ROW, 11);
    assert_int_equal(i, 2 * 8 + 2);
    json_decref(document);
}

static void assert_work(const json_t *row, double flops, double bytes) {
    double seconds = number(row, "time_us") * 1e-6;
    assert_true(seconds > 0);
    assert_true(fabs(number(row, "gflops") * 1e9 * seconds / flops - 1) < 1e-6);
    if (bytes > 0) assert_true(fabs(number(row, "gbps") * 1e9 * seconds / bytes - 1) < 1e-6);
    assert_true(number(row, "roofline") > 0);
}

/* 8 queries at 504..511, 2 groups of 2 heads of 16, 2 index queries of 24, 4 blocks of 16. */
static void the_work_is_counted_by_the_formulas(void **state) {
    (void)state;
    json_t *document =
        workplace_json(&place, SMALL "--n 512 --format bf16 --index-format f32 --json");
    double rows = 2 * 8 * 4 * 16 * 4; /* bytes of queries and outputs */
    double listed = 8 * 3 * 16 + (9 + 10 + 11 + 12 + 13 + 14 + 15 + 16);
    assert_work(find_row(document, "prefill", "dense"), 4.0 * 4 * 16 * (8 * 512 - 28),
                2.0 * 512 * 2 * 16 * 2 + rows);
    assert_work(find_row(document, "prefill-index", "msa"), 2.0 * 2 * 24 * 8 * (512 - 16),
                (512 - 16) * 24 * 4 + 8 * 2 * 24 * 4 + 8 * 2 * 4 * 4);
    assert_work(find_row(document, "prefill-sparse", "msa"), 4.0 * 4 * 16 * listed, 0);
    assert_work(find_row(document, "prefill", "msa"),
                2.0 * 2 * 24 * 8 * (512 - 16) + 4.0 * 4 * 16 * listed, 0);
    assert_work(find_row(document, "decode-sparse", "msa"), 4.0 * 4 * 16 * 64,
                2.0 * 2 * 64 * 16 * 2 + rows / 8);
    assert_work(find_row(document, "decode", "dense"), 4.0 * 4 * 16 * 512,
                2.0 * 512 * 2 * 16 * 2 + rows / 8);
    json_decref(document);
}

/* 8 queries at 252..259 for MSA, one at 255 for dense, scaled to all 512; 4 blocks of 16. */
static void training_is_counted_by_the_formulas_and_scaled(void **state) {
    static const char *const ROW[] = {"op",           "attn",    "n",       "queries",
                                      "format",       "time_us", "gflops",  "gbps",
                                      "index_format", "speedup", "roofline"};
    (void)state;
    json_t *document = workplace_json(&place, SMALL "--suite train --n 512 --json");
    double listed = 8 * 3 * 16 + (13 + 14 + 15 + 16) + (1 + 2 + 3 + 4), main = 4 * 16;
    const json_t *train = find_row(document, "train", "msa");
    assert_members(train, ROW, 11);
    assert_true(number(train, "queries") == 8);
    assert_work(train, 64 * 14 * main * listed, 0);
    assert_work(find_row(document, "forward", "msa"), 64 * 4 * main * listed, 0);
    assert_work(find_row(document, "backward", "msa"), 64 * 10 * main * listed, 0);
    assert_work(find_row(document, "index-kl", "msa"), 64 * 2 * (main + 3 * 2 * 24) * listed, 0);
    assert_work(find_row(document, "index", "msa"), 64 * 2 * 2 * 24 * 4 * (15 + 16) * 16, 0);
    const json_t *dense = find_row(document, "train", "dense");
    assert_work(dense, 512 * 14 * main * 256, 0);
    double ratio = number(dense, "time_us") / number(train, "time_us");
    assert_true(fabs(number(train, "speedup") / ratio - 1) < 1e-6);
    json_decref(document);
}

static void training_that_no_memory_holds_is_left_out(void **state) {
    (void)state;
    outcome o = workplace_run(&place, "msa bench attn -t 2 --heads 64/64 --dim 256 --suite train "
                                      "--n 1073741824 -r 1 --json");
    assert_int_equal(o.code, 0);
    assert_non_null(strstr(o.err, "left out"));
    assert_non_null(strstr(o.out, "\"rows\": []"));
    outcome_free(&o);
}

static void speedup_is_dense_time_over_msa_time(void **state) {
    (void)state;
    json_t *document = workplace_json(&place, SMALL "--n 1K --ops prefill --order kv --json");
    const json_t *msa = find_row(document, "prefill", "msa");
    const json_t *dense = find_row(document, "prefill", "dense");
    double ratio = number(dense, "time_us") / number(msa, "time_us");
    assert_true(fabs(number(msa, "speedup") / ratio - 1) < 1e-6);
    assert_true(number(dense, "speedup") == 1);
    const json_t *part = find_row(document, "prefill-index", "msa");
    assert_true(json_is_null(json_object_get(part, "speedup")));
    json_decref(document);
}

/* A prefill holds lists of k blocks a query, never scores of N/B: what the plans hold must not
 * follow the length of the context, apart from the copied page table. */
static void the_memory_of_a_prefill_does_not_grow_with_the_context(void **state) {
    static const char *const OPS[] = {"index_mib", "sparse_query_mib", "sparse_kv_mib"};
    (void)state;
    json_t *document = workplace_json(&place, "msa bench attn --memory --json -t 2");
    double held[3] = {0, 0, 0}, scores = 0, least = 1e9, most = 0;
    size_t i;
    json_t *row;
    json_array_foreach(json_object_get(document, "rows"), i, row) {
        if (number(row, "queries") != 16384) continue;
        if (number(row, "n") < least) {
            least = number(row, "n");
            for (int op = 0; op < 3; op++) held[op] = number(row, OPS[op]);
        }
        if (number(row, "n") <= most) continue;
        most = number(row, "n");
        scores = number(row, "scores_mib");
        double page_table = most / 128 * 4 / (1 << 20);
        for (int op = 0; op < 3; op++)
            assert_true(number(row, OPS[op]) <= 1.1 * held[op] + 2 * page_table);
    }
    assert_true(most >= 32 * least && scores == 2048);
    assert_true(held[0] + held[1] < 16);
    json_decref(document);
}

/* The same work by fewer bytes, on a row of its own that says what the copy could not spare. */
static void the_int8_copy_has_a_row_of_its_own(void **state) {
    (void)state;
    json_t *document = workplace_json(&place, SMALL "--n 2K --index8 --json");
    const json_t *plain = find_row(document, "decode-index", "msa");
    const json_t *copy = find_row(document, "decode-index8", "msa");
    assert_int_equal(json_array_size(json_object_get(document, "rows")), 11);
    assert_string_equal(json_string_value(json_object_get(copy, "index_format")), "int8");
    assert_true(number(copy, "rescored") > 0 && number(copy, "rescored") < 1);
    double seconds = number(plain, "time_us") * 1e-6, plain_bytes = number(plain, "gbps") * 1e9;
    assert_true(number(copy, "bytes") > 0.4 * plain_bytes * seconds);
    seconds = number(copy, "time_us") * 1e-6;
    assert_true(fabs(number(copy, "gbps") * 1e9 * seconds / number(copy, "bytes") - 1) < 1e-6);
    assert_true(json_is_null(json_object_get(copy, "speedup")));
    find_row(document, "prefill-index8", "msa");
    json_decref(document);
}

static void what_cannot_be_measured_is_refused(void **state) {
    (void)state;
    assert_exit(&place, "msa bench attn --heads 8/3", 2, "n_q_heads is 8");
    assert_exit(&place, "msa bench attn --heads 8", 2, "--heads");
    assert_exit(&place, "msa bench attn --n none", 2, "--n");
    assert_exit(&place, "msa bench attn --n 0", 2, "--n");
    assert_exit(&place, "msa bench attn --dim 12", 2, "head_dim");
    assert_exit(&place, "msa bench attn --format int4", 2, "--format");
    assert_exit(&place, "msa bench attn --decode-queries 17", 2, "--decode-queries");
    static const char *const UNREAD[][2] = {
        {"--suite train --ops decode", "--ops is not read"},
        {"--suite train --order kv", "--order is not read"},
        {"--suite train --pages in-order", "--pages is not read"},
        {"--suite train --format bf16", "--format is not read here: --suite train times forward"},
        {"--suite train --index-format f32", "--index-format is not read"},
        {"--suite train --decode-queries 1", "--decode-queries is not read"},
        {"--suite train --index8", "--index8 is not read"},
        {"--suite prefill --n 8K", "--n is not read"},
        {"--suite decode --chunk 64", "--chunk is not read"},
        {"--memory --ops all", "--memory measures nothing"},
    };
    for (size_t i = 0; i < sizeof UNREAD / sizeof *UNREAD; i++) {
        char line[128];
        snprintf(line, sizeof line, "msa bench attn %s", UNREAD[i][0]);
        assert_exit(&place, line, 2, UNREAD[i][1]);
    }
    assert_exit(&place, "msa bench model", 2, "-m");
    assert_exit(&place, "msa bench model -m nowhere.gguf", 1, "nowhere.gguf");
}

static void the_model_table_has_llama_benchs_tests(void **state) {
    static const char *const TESTS[] = {"pp8",       "pp8",       "tg2",       "tg2",
                                        "pp8 @ d80", "pp8 @ d80", "tg2 @ d80", "tg2 @ d80"};
    (void)state;
    test_need_model();
#define MODEL "msa bench model -m " TEST_MODEL " "
    json_t *document = workplace_json(&place, MODEL "-p 8 -n 2 -d 0,80 -r 2 -ub 32 -o json");
    size_t i;
    json_t *row;
    json_array_foreach(json_object_get(document, "rows"), i, row) {
        assert_string_equal(json_string_value(json_object_get(row, "test")), TESTS[i]);
        assert_string_equal(json_string_value(json_object_get(row, "attn")),
                            i % 2 ? "msa" : "dense");
        assert_true(number(row, "avg_ts") > 0 && number(row, "stddev_ts") >= 0);
        assert_int_equal(json_array_size(json_object_get(row, "samples_ts")), 2);
    }
    assert_int_equal(i, 8);
    json_decref(document);
    assert_exit(&place, MODEL "-p 0 -n 0", 2, "nothing to measure");
    assert_exit(&place, MODEL "-p 64 -d 8 -c 71", 2, "-c 71");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_json_has_the_promised_members_and_no_other),
        cmocka_unit_test(the_work_is_counted_by_the_formulas),
        cmocka_unit_test(training_is_counted_by_the_formulas_and_scaled),
        cmocka_unit_test(training_that_no_memory_holds_is_left_out),
        cmocka_unit_test(speedup_is_dense_time_over_msa_time),
        cmocka_unit_test(the_memory_of_a_prefill_does_not_grow_with_the_context),
        cmocka_unit_test(the_int8_copy_has_a_row_of_its_own),
        cmocka_unit_test(what_cannot_be_measured_is_refused),
        cmocka_unit_test(the_model_table_has_llama_benchs_tests),
    };
    return cmocka_run_group_tests(tests, place_open, place_close);
}
