/* test_eval_run.c: evaluations of a tiny model: the same answers whatever the threads, chunks and
 * interruptions; what cannot be asked; memory that runs out. */
#include "support/support.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "eval/sheet.h"
#include "eval/trial.h"
#include "support/eval_case.h"
#include "support/folder.h"
#include "support/scarce.h"
#include "support/tiny_model.h"

static msa_error err;

static void answers_depend_on_neither_threads_nor_chunks(void **state) {
    static const struct { int threads, chunk; } CASES[] = {{1, 0}, {3, 0}, {2, 37}, {1, 100}};
    (void)state;
    for (size_t i = 0; i < sizeof CASES / sizeof *CASES; i++) {
        msa_eval_params p = eval_case_params();
        p.session.n_threads = CASES[i].threads, p.session.chunk = CASES[i].chunk;
        const char *path = folder_path(eval_folder, "again.jsonl");
        eval_case_run(&p, path);
        char *text = read_whole(path, NULL);
        assert_string_equal(text, eval_case_whole());
        free(text);
        unlink(path);
    }
}

static void an_answer_does_not_depend_on_what_else_is_asked(void **state) {
    (void)state;
    msa_eval_params p = eval_case_params();
    const char *task = "train_recall", *selector = "random",
               *path = folder_path(eval_folder, "alone");
    int64_t length = 512;
    p.tasks = &task, p.n_tasks = 1, p.lengths = &length, p.n_lengths = 1;
    p.selectors = &selector, p.n_selectors = 1;
    eval_case_run(&p, path);
    char *text = read_whole(path, NULL), *line = strtok(text, "\n");
    for (int n = 0; line; line = strtok(NULL, "\n"), n++)
        if (!strstr(eval_case_whole(), line)) fail_msg("not in the whole: %s", line);
    free(text);
    unlink(path);
}

/* The record of the first sample of a task at 420 tokens; json_decref. */
static json_t *record_of(const char *task, const char *selector) {
    char *text = strdup(eval_case_whole());
    json_t *found = NULL;
    for (char *line = strtok(text, "\n"); line && !found; line = strtok(NULL, "\n")) {
        json_t *record = json_loads(line, 0, NULL);
        const char *t = json_string_value(json_object_get(record, "task"));
        const char *s = json_string_value(json_object_get(record, "selector"));
        if (t && strcmp(t, task) == 0 && strcmp(s, selector) == 0)
            found = record;
        else
            json_decref(record);
    }
    free(text);
    assert_non_null(found);
    return found;
}

/* The session that the evaluation's dense or proxy runs in, and its first question of a task. */
static msa_session *sit(const char *task, const char *selector, msa_eval **e,
                        msa_eval_question *q) {
    msa_session *session;
    msa_eval_params p = eval_case_params();
    p.tasks = &task, p.n_tasks = 1;
    assert_ok(msa_eval_create(e, eval_model, &p, &err), &err);
    assert_ok(msa_eval_get_question(*e, 0, q, &err), &err);
    p.session.n_ctx = 420;
    p.session.attn = strcmp(selector, "dense") == 0 ? MSA_ATTN_DENSE : MSA_ATTN_MSA;
    assert_ok(msa_session_create(&session, eval_model, &p.session, &err), &err);
    return session;
}

/* The likeliest token behind these. */
static int32_t next_of(msa_session *session, const int32_t *ids, size_t n) {
    assert_ok(msa_session_rewind(session, 0, &err), &err);
    assert_ok(msa_session_feed(session, ids, n, NULL, NULL, &err), &err);
    const float *logits = msa_session_logits(session);
    int32_t best = 0;
    for (int32_t i = 1; i < msa_model_get_info(eval_model)->n_vocab; i++)
        if (logits[i] > logits[best]) best = i;
    return best;
}

static void an_answer_is_what_a_session_goes_on_with(void **state) {
    static const char *const SELECTORS[] = {"dense", "proxy"};
    (void)state;
    for (int i = 0; i < 2; i++) {
        msa_eval *e;
        msa_eval_question q;
        msa_session *session = sit("passkey", SELECTORS[i], &e, &q);
        trial t = {0};
        char *text;
        size_t n_bytes;
        int32_t ids[420];
        assert_ok(trial_run(eval_model, msa_session_get_params(session), &e->question, NULL, NULL,
                            &t, &err),
                  &err);
        assert_in_range(t.n_answer, 1, 16);
        assert_int_equal(t.n_prompt, q.n_ids);
        memcpy(ids, q.ids, q.n_ids * sizeof *ids);
        for (int64_t k = 0; k < t.n_answer; k++)
            ids[(int64_t)q.n_ids + k] = next_of(session, ids, q.n_ids + (size_t)k);
        assert_ok(
            msa_detokenize(eval_model, ids + q.n_ids, (size_t)t.n_answer, 0, &text, &n_bytes, &err),
            &err);
        assert_null(memchr(text, 0, n_bytes)); /* another seed, or it is not the same text */
        assert_int_equal(t.answer.n, n_bytes);
        assert_memory_equal(t.answer.data, text, n_bytes);
        msa_text_free(text);
        trial_free(&t);
        msa_session_free(session);
        msa_eval_free(e);
    }
}

/* "ab" where b is the likeliest token behind a, and a the likeliest of all or the next one. */
static void an_answer_is_right_when_all_its_tokens_are(void **state) {
    (void)state;
    for (int wrong = 0; wrong < 2; wrong++) {
        msa_eval *e;
        msa_eval_question q;
        msa_session *session = sit("mqar", "dense", &e, &q);
        int32_t ids[102];
        bool answer[102] = {false};
        memcpy(ids, q.ids, 100 * sizeof *ids);
        ids[100] = next_of(session, ids, 100) ^ wrong;
        ids[101] = next_of(session, ids, 101);
        answer[100] = answer[101] = true;
        question asked = {.quiz = e->question.quiz};
        asked.sample = (marked){.ids = {.ids = ids, .n = 102}, .answer = answer};
        trial t = {0};
        assert_ok(
            trial_run(eval_model, msa_session_get_params(session), &asked, NULL, NULL, &t, &err),
            &err);
        assert_string_equal(t.answer.data, wrong ? "-" : "+");
        assert_true(t.score == !wrong);
        trial_free(&t);
        msa_session_free(session);
        msa_eval_free(e);
    }
}

typedef struct told {
    const marked *sample;
    char marks[64];
    int n;
    bool right;
} told;

static int look(void *user, int64_t position, const float *logits, int32_t n_vocab) {
    told *t = user;
    const marked *m = t->sample;
    size_t next = (size_t)position + 1;
    int32_t best = 0;
    if (next >= m->ids.n || !m->answer[next]) return 0;
    for (int32_t i = 1; i < n_vocab; i++)
        if (logits[i] > logits[best]) best = i;
    t->right = (!m->answer[position] || t->right) && best == m->ids.ids[next];
    if (next + 1 == m->ids.n || !m->answer[next + 1]) t->marks[t->n++] = t->right ? '+' : '-';
    return 0;
}

static void answers_in_a_sample_are_marked_by_their_logits(void **state) {
    static const char *const SELECTORS[] = {"dense", "proxy"};
    (void)state;
    for (int i = 0; i < 2; i++) {
        msa_eval *e;
        msa_eval_question q;
        msa_session *session = sit("train_recall", SELECTORS[i], &e, &q);
        json_t *record = record_of("train_recall", SELECTORS[i]);
        told t = {.sample = &e->question.sample};
        assert_ok(msa_session_feed_logits(session, q.ids, q.n_ids, look, &t, &err), &err);
        assert_string_equal(json_string_value(json_object_get(record, "answer")), t.marks);
        assert_int_equal(t.n, 8);
        int n_right = 0;
        for (int k = 0; k < t.n; k++) n_right += t.marks[k] == '+';
        assert_true(json_number_value(json_object_get(record, "score")) == n_right / 8.0);
        msa_session_free(session);
        msa_eval_free(e);
        json_decref(record);
    }
}

static int stop_after(void *user, const msa_eval_event *event) {
    int *left = user;
    assert_true(event->n_done >= 0 && event->n_done <= event->n_total);
    return (*left)-- <= 0;
}

static void a_run_that_was_stopped_goes_on_to_the_same_file(void **state) {
    (void)state;
    const char *path = folder_path(eval_folder, "stopped.jsonl");
    int n_stops = 0;
    for (bool done = false; !done; n_stops++) {
        int left = 100; /* a trial has fewer events */
        msa_eval *e;
        msa_eval_params p = eval_case_params();
        p.out = path, p.watch = stop_after, p.user = &left;
        assert_ok(msa_eval_create(&e, eval_model, &p, &err), &err);
        msa_status status = msa_eval_run(e, &err);
        assert_true(status == MSA_OK || status == MSA_E_CANCELLED);
        done = status == MSA_OK;
        msa_eval_free(e);
    }
    assert_true(n_stops > 3);
    char *text = read_whole(path, NULL);
    assert_string_equal(text, eval_case_whole());
    free(text);
    unlink(path);
}

/* At the last token but one of the whole sample. */
static int stop_near_the_end(void *user, int64_t n_done, int64_t n_total) {
    const msa_eval_question *q = user;
    return n_total == (int64_t)q->n_ids && n_done == n_total - 1;
}

static void a_sample_with_its_answers_in_it_can_be_stopped_among_them(void **state) {
    static const char *const TASKS[] = {"mqar", "train_recall"};
    (void)state;
    for (int i = 0; i < 2; i++) {
        msa_eval *e;
        msa_eval_question q;
        msa_session *session = sit(TASKS[i], "proxy", &e, &q);
        trial t = {0};
        assert_fails(trial_run(eval_model, msa_session_get_params(session), &e->question,
                               stop_near_the_end, &q, &t, &err),
                     MSA_E_CANCELLED, &err, "stopped");
        trial_free(&t);
        msa_session_free(session);
        msa_eval_free(e);
    }
}

/* A model that says `next` behind `token`: all it knows is the last token. */
static void teach(tiny_model *m, int token, int next) {
    memcpy(m->output + 64 * next, m->embedding + 64 * token, 64 * sizeof(float));
}

static msa_model *parrot(void) {
    msa_model *loaded;
    tiny_params p = tiny_defaults("llama", 5);
    tiny_model *m = tiny_create(&p);
    assert_int_equal(p.n_embd, 64);
    for (int i = 0; i < p.n_layers; i++) {
        memset(m->layers[i].wo, 0, 64 * 64 * sizeof(float));
        memset(m->layers[i].w_down, 0, (size_t)(64 * p.n_ff) * sizeof(float));
    }
    for (int i = 0; i < 64; i++) m->output_norm[i] = 1;
    memset(m->output, 0, (size_t)(64 * p.n_vocab) * sizeof(float));
    teach(m, 's', 0), teach(m, 0, '7'), teach(m, '7', ' ');
    tiny_write(m, folder_path(eval_folder, "parrot.gguf"));
    tiny_free(m);
    assert_ok(msa_model_load(&loaded, folder_path(eval_folder, "parrot.gguf"), &err), &err);
    return loaded;
}

static void an_answer_goes_on_behind_a_zero_byte(void **state) {
    static const char *const TASK[] = {"passkey"}; /* the prompt ends with "is" */
    (void)state;
    msa_model *m = parrot();
    msa_eval *e;
    msa_eval_question q;
    msa_eval_params p = eval_case_params();
    p.tasks = TASK, p.n_tasks = 1;
    assert_ok(msa_eval_create(&e, m, &p, &err), &err);
    assert_ok(msa_eval_get_question(e, 0, &q, &err), &err);
    prompt_clear(&e->question.prompt);
    prompt_expect(&e->question.prompt, "7");
    trial t = {0};
    p.session.n_ctx = 420;
    assert_ok(trial_run(m, &p.session, &e->question, NULL, NULL, &t, &err), &err);
    assert_string_equal(t.answer.data, "\xef\xbf\xbd"
                                       "7 ");
    assert_true(t.score == 1);
    trial_free(&t);
    msa_eval_free(e);
    msa_model_free(m);
}

/* ---- what can't be --------------------------------------------------------------------------- */

static void assert_refused(msa_eval_params p, const char *word) {
    assert_fails(eval_case_try(eval_model, p, NULL, &err), MSA_E_ARG, &err, word);
}

static void what_cannot_be_asked_is_refused_first(void **state) {
    static const char *const TWICE[] = {"vt", "vt"}, *const ODD[] = {"niah_single_9"},
                             *const NEEDLE[] = {"needle"}, *const QA[] = {"qa_1"},
                             *const TEXT[] = {"train_needle"}, *const BEST[] = {"best"},
                             *const PROXIES[] = {"proxy", "auto"}, *const INDEX[] = {"index"},
                             *const DIGITS[] = {"train_passkey"}, *const KEYS[] = {"train_recall"};
    static const int64_t SAME[] = {512, 512}, TINY[] = {63};
    static const double DEPTH[] = {101}, DEPTHS[] = {50, 50};
    msa_eval_params p;
    (void)state;
    p = eval_case_params(), p.n_tasks = 0, assert_refused(p, "no task");
    p = eval_case_params(), p.n_lengths = 0, assert_refused(p, "no length");
    p = eval_case_params(), p.n_samples = 0, assert_refused(p, "samples");
    p = eval_case_params(), p.tasks = TWICE, assert_refused(p, "twice");
    p = eval_case_params(), p.tasks = ODD, p.n_tasks = 1,
    assert_refused(p, "did you mean 'niah_single_1'?");
    p = eval_case_params(), p.lengths = SAME, assert_refused(p, "twice");
    p = eval_case_params(), p.lengths = TINY, p.n_lengths = 1, assert_refused(p, "length 63");
    p = eval_case_params(), p.selectors = BEST, p.n_selectors = 1, assert_refused(p, "'best'");
    p = eval_case_params(), p.selectors = PROXIES, p.n_selectors = 2,
    assert_refused(p, "proxy is given twice");
    p = eval_case_params(), p.void_below = 101, assert_refused(p, "void_below");
    p = eval_case_params(), p.depths = DEPTH, p.n_depths = 1, assert_refused(p, "depth 101");
    p = eval_case_params(), p.depths = DEPTHS, p.n_depths = 2,
    assert_refused(p, "depth 50 is given twice");
    p = eval_case_params(), p.tasks = NEEDLE, p.n_tasks = 1, p.n_depths = 0,
    assert_refused(p, "no depth");
    p = eval_case_params(), p.tasks = QA, p.n_tasks = 1, assert_refused(p, "SQuAD");
    p = eval_case_params(), p.tasks = TEXT, p.n_tasks = 1, assert_refused(p, "train_needle");
    p = eval_case_params(), p.tasks = DIGITS, p.n_tasks = 1, p.n_items = 19;
    assert_refused(p, "items: train_passkey takes 1 to 18 of them, found 19");
    p = eval_case_params(), p.tasks = KEYS, p.n_tasks = 1, p.n_items = 60000;
    assert_refused(p, "items: train_recall");
    p = eval_case_params(), p.selectors = INDEX, p.n_selectors = 1;
    assert_fails(eval_case_try(eval_model, p, NULL, &err), MSA_E_UNSUPPORTED, &err,
                 "selector index: ");
    assert_fails(msa_eval_create(NULL, eval_model, &p, &err), MSA_E_ARG, &err, "NULL");
    assert_fails(msa_eval_run(NULL, &err), MSA_E_ARG, &err, "NULL");
    assert_null(msa_eval_get_info(NULL));
    msa_eval_free(NULL);
}

static void every_task_has_a_name_and_a_suite(void **state) {
    (void)state;
    size_t n = 0, n_ruler = 0;
    const msa_eval_task *task;
    for (; (task = msa_eval_get_task(n)); n++) {
        assert_true(task->name[0] && task->about[0]);
        n_ruler += strcmp(task->suite, "ruler") == 0;
        assert_true((n < 13) == (strcmp(task->suite, "ruler") == 0));
    }
    assert_int_equal(n_ruler, 13);
}

/* ---- memory ---------------------------------------------------------------------------------- */

static bool live_once(long n) {
    static const char *const TASKS[] = {"niah_multikey_1", "cwe", "fwe", "mqar", "train_recall"};
    static const int64_t LENGTHS[] = {3000};
    msa_eval_params p = eval_case_params();
    msa_eval *e = NULL;
    msa_eval_question q;
    p.tasks = TASKS, p.n_tasks = 5, p.lengths = LENGTHS, p.n_lengths = 1, p.n_samples = 1;
    p.n_selectors = 1, p.text = test_path("LICENSE");
    p.out = folder_path(eval_folder, "scarce.jsonl");
    unlink(p.out);
    long live = scarce_live();
    scarce_begin(n);
    msa_status status = msa_eval_create(&e, eval_model, &p, &err);
    for (size_t i = 0; i < 5 && status == MSA_OK; i++)
        status = msa_eval_get_question(e, i, &q, &err);
    if (status == MSA_OK) {
        size_t n_rows;
        (void)msa_eval_get_rows(e, &n_rows);
    }
    bool failed = scarce_end();
    msa_eval_free(e);
    if (scarce_live() != live) fail_msg("allocation %ld: something is left", n);
    return failed;
}

static void any_allocation_may_fail(void **state) {
    (void)state;
    long step = test_brief() ? 37 : 1;
    assert_false(live_once(1000000));
    for (long n = 0; live_once(n); n += n < 150 ? step : 13 * step) {
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(answers_depend_on_neither_threads_nor_chunks),
        cmocka_unit_test(an_answer_does_not_depend_on_what_else_is_asked),
        cmocka_unit_test(an_answer_is_what_a_session_goes_on_with),
        cmocka_unit_test(an_answer_is_right_when_all_its_tokens_are),
        cmocka_unit_test(answers_in_a_sample_are_marked_by_their_logits),
        cmocka_unit_test(a_run_that_was_stopped_goes_on_to_the_same_file),
        cmocka_unit_test(a_sample_with_its_answers_in_it_can_be_stopped_among_them),
        cmocka_unit_test(an_answer_goes_on_behind_a_zero_byte),
        cmocka_unit_test(what_cannot_be_asked_is_refused_first),
        cmocka_unit_test(every_task_has_a_name_and_a_suite),
        cmocka_unit_test(any_allocation_may_fail),
    };
    return cmocka_run_group_tests(tests, eval_case_open, eval_case_close);
}
