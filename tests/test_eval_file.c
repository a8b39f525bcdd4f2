/* test_eval_file.c: files of answers: cut off, of another run, of strangers, on a full disk. */
#include "support/support.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "eval/ledger.h"
#include "model/model.h"
#include "support/eval_case.h"
#include "support/folder.h"

static msa_error err;

static void half_a_last_line_is_dropped_and_asked_again(void **state) {
    (void)state;
    const char *path = folder_path(eval_folder, "half.jsonl");
    size_t n = strlen(eval_case_whole());
    for (size_t cut = 1; cut < n; cut += n / 23) { /* in a record, at its end, in the header */
        char *text = strdup(eval_case_whole());
        text[n - cut] = 0;
        write_text(path, text);
        free(text);
        msa_eval_params p = eval_case_params();
        eval_case_run(&p, path);
        text = read_whole(path, NULL);
        assert_string_equal(text, eval_case_whole());
        free(text);
    }
    unlink(path);
}

static void answers_of_another_model_seed_or_setting_are_refused(void **state) {
    (void)state;
    eval_case_whole();
    const char *path = folder_path(eval_folder, "whole.jsonl");
    msa_eval_params p = eval_case_params();
    assert_fails(eval_case_try(eval_other, p, path, &err), MSA_E_FORMAT, &err, "model \"");
    p.seed = 7;
    assert_fails(eval_case_try(eval_model, p, path, &err), MSA_E_FORMAT, &err,
                 "seed \"000000000000002a\"");
    p = eval_case_params(), p.session.topk = 4;
    assert_fails(eval_case_try(eval_model, p, path, &err), MSA_E_FORMAT, &err,
                 "topk 3, this run has 4");
    p = eval_case_params(), p.session.k_dtype = p.session.v_dtype = MSA_F32;
    assert_fails(eval_case_try(eval_model, p, path, &err), MSA_E_FORMAT, &err, "kv_format");
    p = eval_case_params(), p.session.dense_layers[0] = 1;
    assert_fails(eval_case_try(eval_model, p, path, &err), MSA_E_FORMAT, &err, "layers_dense");
    p = eval_case_params(), p.n_items = 3;
    assert_fails(eval_case_try(eval_model, p, path, &err), MSA_E_FORMAT, &err,
                 "items 0, this run has 3");
    const char *task = "niah_single_2";
    int64_t length = 2048;
    p = eval_case_params(), p.tasks = &task, p.n_tasks = 1, p.text = test_path("LICENSE");
    p.lengths = &length, p.n_lengths = 1;
    assert_fails(eval_case_try(eval_model, p, path, &err), MSA_E_FORMAT, &err, "text \"noise\"");
    p = eval_case_params(), p.session.n_threads = 2, p.session.chunk = 8;
    assert_ok(eval_case_try(eval_model, p, path, &err), &err);
    char *text = read_whole(path, NULL);
    assert_string_equal(text, eval_case_whole()); /* and nothing was changed */
    free(text);
}

static void assert_other_model(const char *word) {
    const char *path = folder_path(eval_folder, "whole.jsonl");
    assert_fails(eval_case_try(eval_model, eval_case_params(), path, &err), MSA_E_FORMAT, &err,
                 word);
}

/* The weights are the same in all of them. */
static void answers_of_another_rope_norm_or_tokenizer_are_refused(void **state) {
    (void)state;
    eval_case_whole();
    weights *w = eval_model->weights, was = *w;
    w->rope.base = 500000, assert_other_model("numbers \""), *w = was;
    w->rope.linear_factor = 2, assert_other_model("numbers \""), *w = was;
    w->rope.n_rot = 8, assert_other_model("numbers \""), *w = was;
    w->rope.factors = (float[8]){1, 1, 1, 1, 1, 1, 1, 2};
    assert_other_model("numbers \""), *w = was;
    w->arch.norm_eps = 1e-6f, assert_other_model("numbers \""), *w = was;
    tokenizer *own = eval_model->tokenizer, *other;
    assert_ok(tokenizer_create_bytes(&other, NULL, 0, &err), &err);
    eval_model->tokenizer = other, assert_other_model("tokenizer \"");
    eval_model->tokenizer = own;
    tokenizer_free(other);
    const char *path = folder_path(eval_folder, "whole.jsonl");
    assert_ok(eval_case_try(eval_model, eval_case_params(), path, &err), &err);
}

static void what_is_no_file_of_answers_stays_as_it_is(void **state) {
    static const char *const TEXTS[] = {"my notes", "my notes\nmore\n", "{\"a\": 1}\n", "[1]\n",
                                        "{\"msa_eval\""};
    (void)state;
    const char *path = folder_path(eval_folder, "notes");
    for (int i = 0; i < 4; i++) {
        write_text(path, TEXTS[i]);
        assert_fails(eval_case_try(eval_model, eval_case_params(), path, &err), MSA_E_FORMAT, &err,
                     "notes");
        char *text = read_whole(path, NULL);
        assert_string_equal(text, TEXTS[i]);
        free(text);
    }
    write_text(path, TEXTS[4]); /* half a header: ours */
    assert_ok(eval_case_try(eval_model, eval_case_params(), path, &err), &err);
    char *damaged = strdup(eval_case_whole());
    strchr(strchr(damaged, '\n') + 1, '{')[0] = '!';
    write_text(path, damaged);
    assert_fails(eval_case_try(eval_model, eval_case_params(), path, &err), MSA_E_FORMAT, &err,
                 "line 2");
    free(damaged);
    unlink(path);
    assert_fails(eval_case_try(eval_model, eval_case_params(), "/nowhere/at/all", &err), MSA_E_IO,
                 &err, "/nowhere");
    assert_fails(eval_case_try(eval_model, eval_case_params(), eval_folder, &err), MSA_E_IO, &err,
                 "can't write");
}

static void a_file_is_written_by_one_evaluation_at_a_time(void **state) {
    (void)state;
    const char *path = folder_path(eval_folder, "held.jsonl");
    msa_eval *e;
    msa_eval_params p = eval_case_params();
    p.out = path;
    assert_ok(msa_eval_create(&e, eval_model, &p, &err), &err);
    assert_fails(eval_case_try(eval_model, p, path, &err), MSA_E_IO, &err,
                 "another evaluation is writing");
    msa_eval_free(e);
    assert_ok(eval_case_try(eval_model, p, path, &err), &err);
    unlink(path);
}

static void a_task_more_is_added_to_the_file_of_a_text(void **state) {
    static const char *const TASKS[] = {"passkey", "niah_single_2"};
    static const int64_t LENGTHS[] = {2048};
    (void)state;
    const char *path = folder_path(eval_folder, "more.jsonl");
    msa_eval_params p = eval_case_params();
    p.tasks = TASKS, p.lengths = LENGTHS, p.n_lengths = 1, p.text = test_path("LICENSE");
    for (p.n_tasks = 1; p.n_tasks <= 2; p.n_tasks++)
        assert_ok(eval_case_try(eval_model, p, path, &err), &err);
    unlink(path);
}

/* A file of the header and this line. */
static void assert_line_refused(const char *line, const char *word) {
    const char *path = folder_path(eval_folder, "line.jsonl");
    char *text = strdup(eval_case_whole());
    assert_non_null(text);
    strcpy(strchr(text, '\n') + 1, line); /* the answers are longer */
    write_text(path, text);
    free(text);
    assert_fails(eval_case_try(eval_model, eval_case_params(), path, &err), MSA_E_FORMAT, &err,
                 word);
    unlink(path);
}

static void answers_that_cannot_be_are_refused(void **state) {
    (void)state;
    assert_line_refused("{\"task\": \"passkey\", \"length\": 420, \"sample\": 0, \"selector\": "
                        "\"dense\", \"score\": 100}\n",
                        "line 2 is no answer");
    assert_line_refused("{\"task\": \"passkey\", \"length\": 420, \"selector\": \"dense\", "
                        "\"score\": 1}\n",
                        "line 2 is no answer");
}

static void a_header_of_any_length_is_told_in_short(void **state) {
    char text[512];
    (void)state;
    const char *path = folder_path(eval_folder, "long.jsonl");
    snprintf(text, sizeof text, "{\"msa_eval\": 1, \"architecture\": \"%0*d\"}\n", 300, 7);
    write_text(path, text);
    assert_fails(eval_case_try(eval_model, eval_case_params(), path, &err), MSA_E_FORMAT, &err,
                 "architecture something longer, this run has \"llama\"");
    unlink(path);
}

static void a_run_goes_on_when_the_disk_has_room_again(void **state) {
    (void)state;
    const char *path = folder_path(eval_folder, "room.jsonl");
    msa_eval *e;
    msa_eval_params p = eval_case_params();
    size_t header = (size_t)(strchr(eval_case_whole(), '\n') + 1 - eval_case_whole());
    p.out = path;
    assert_ok(msa_eval_create(&e, eval_model, &p, &err), &err);
    disk_fill(header + 40);
    msa_status status = msa_eval_run(e, &err);
    disk_clear();
    assert_fails(status, MSA_E_IO, &err, "room.jsonl");
    assert_int_equal(msa_eval_get_info(e)->n_answered, 0);
    assert_ok(msa_eval_run(e, &err), &err);
    msa_eval_free(e);
    char *text = read_whole(path, NULL);
    assert_string_equal(text, eval_case_whole());
    free(text);
    unlink(path);
}

static void a_full_disk_is_told(void **state) {
    (void)state;
    if (access("/dev/full", W_OK)) skip();
    ledger l = {.log = {.fd = -1}, .path = "/dev/full"};
    FILE *full = fopen("/dev/full", "w");
    assert_non_null(full);
    l.log.fd = fileno(full);
    assert_fails(ledger_write(&l, json_pack("{s:i}", "a", 1), &err), MSA_E_IO, &err,
                 "can't write '/dev/full'");
    fclose(full);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(half_a_last_line_is_dropped_and_asked_again),
        cmocka_unit_test(answers_of_another_model_seed_or_setting_are_refused),
        cmocka_unit_test(answers_of_another_rope_norm_or_tokenizer_are_refused),
        cmocka_unit_test(what_is_no_file_of_answers_stays_as_it_is),
        cmocka_unit_test(a_file_is_written_by_one_evaluation_at_a_time),
        cmocka_unit_test(a_task_more_is_added_to_the_file_of_a_text),
        cmocka_unit_test(answers_that_cannot_be_are_refused),
        cmocka_unit_test(a_header_of_any_length_is_told_in_short),
        cmocka_unit_test(a_run_goes_on_when_the_disk_has_room_again),
        cmocka_unit_test(a_full_disk_is_told),
    };
    return cmocka_run_group_tests(tests, eval_case_open, eval_case_close);
}
