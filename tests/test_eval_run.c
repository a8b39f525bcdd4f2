/* test_eval_run.c: evaluations of a tiny model: the same answers whatever the threads, chunks and
 * interruptions; files of answers; scores and differences against sums made by hand. */
#include "support/support.h"

#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "eval/sheet.h"
#include "eval/stats.h"
#include "eval/trial.h"
#include "support/folder.h"
#include "support/scarce.h"
#include "support/tiny_model.h"

static msa_error err;
static msa_model *model, *other; /* of one shape */
static char *folder;

static msa_model *load(uint64_t seed, const char *name) {
    msa_model *loaded;
    tiny_params p = tiny_defaults("llama", seed);
    tiny_model *m = tiny_create(&p);
    tiny_write(m, folder_path(folder, name));
    tiny_free(m);
    assert_ok(msa_model_load(&loaded, folder_path(folder, name), &err), &err);
    return loaded;
}

static int open_all(void **state) {
    if (folder_create(state)) return -1;
    folder = *state;
    model = load(5, "tiny.gguf");
    other = load(6, "other.gguf");
    return 0;
}

static int close_all(void **state) {
    msa_model_free(model);
    msa_model_free(other);
    return folder_remove(state);
}

/* Two tasks, one that is generated and one that is not, at two lengths. */
static msa_eval_params small(void) {
    static const char *const TASKS[] = {"passkey", "train_recall"};
    static const char *const SELECTORS[] = {"proxy", "dense", "random"};
    static const int64_t LENGTHS[] = {420, 512};
    msa_eval_params p = msa_eval_defaults(model);
    p.tasks = TASKS, p.n_tasks = 2;
    p.lengths = LENGTHS, p.n_lengths = 2;
    p.selectors = SELECTORS, p.n_selectors = 3;
    p.n_samples = 2;
    p.session.block = 16, p.session.topk = 3, p.session.local = 1, p.session.init = 1;
    return p;
}

static void run_to(msa_eval_params *p, const char *path) {
    msa_eval *e;
    p->out = path;
    assert_ok(msa_eval_create(&e, model, p, &err), &err);
    assert_ok(msa_eval_run(e, &err), &err);
    const msa_eval_info *info = msa_eval_get_info(e);
    assert_int_equal(info->n_answered, info->n_trials);
    msa_eval_free(e);
}

/* The file of an unbroken run; freed by the caller. */
static char *whole(void) {
    static char *text;
    if (!text) {
        msa_eval_params p = small();
        run_to(&p, folder_path(folder, "whole.jsonl"));
        text = read_whole(folder_path(folder, "whole.jsonl"), NULL);
    }
    return text;
}

/* ---- answers --------------------------------------------------------------------------------- */

static void answers_depend_on_neither_threads_nor_chunks(void **state) {
    static const struct { int threads, chunk; } CASES[] = {{1, 0}, {3, 0}, {2, 37}, {1, 100}};
    (void)state;
    for (size_t i = 0; i < sizeof CASES / sizeof *CASES; i++) {
        msa_eval_params p = small();
        p.session.n_threads = CASES[i].threads, p.session.chunk = CASES[i].chunk;
        const char *path = folder_path(folder, "again.jsonl");
        run_to(&p, path);
        char *text = read_whole(path, NULL);
        assert_string_equal(text, whole());
        free(text);
        unlink(path);
    }
}

static void an_answer_does_not_depend_on_what_else_is_asked(void **state) {
    (void)state;
    msa_eval_params p = small();
    const char *task = "train_recall", *selector = "random", *path = folder_path(folder, "alone");
    int64_t length = 512;
    p.tasks = &task, p.n_tasks = 1, p.lengths = &length, p.n_lengths = 1;
    p.selectors = &selector, p.n_selectors = 1;
    run_to(&p, path);
    char *text = read_whole(path, NULL), *line = strtok(text, "\n");
    for (int n = 0; line; line = strtok(NULL, "\n"), n++)
        if (!strstr(whole(), line)) fail_msg("not in the whole: %s", line);
    free(text);
    unlink(path);
}

/* The record of the first sample of a task at 420 tokens; json_decref. */
static json_t *record_of(const char *task, const char *selector) {
    char *text = strdup(whole());
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
    msa_eval_params p = small();
    p.tasks = &task, p.n_tasks = 1;
    assert_ok(msa_eval_create(e, model, &p, &err), &err);
    assert_ok(msa_eval_get_question(*e, 0, q, &err), &err);
    p.session.n_ctx = 420;
    p.session.attn = strcmp(selector, "dense") == 0 ? MSA_ATTN_DENSE : MSA_ATTN_MSA;
    assert_ok(msa_session_create(&session, model, &p.session, &err), &err);
    return session;
}

/* The likeliest token behind these. */
static int32_t next_of(msa_session *session, const int32_t *ids, size_t n) {
    assert_ok(msa_session_rewind(session, 0, &err), &err);
    assert_ok(msa_session_feed(session, ids, n, NULL, NULL, &err), &err);
    const float *logits = msa_session_logits(session);
    int32_t best = 0;
    for (int32_t i = 1; i < msa_model_get_info(model)->n_vocab; i++)
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
        assert_ok(
            trial_run(model, msa_session_get_params(session), &e->question, NULL, NULL, &t, &err),
            &err);
        assert_in_range(t.n_answer, 1, 16);
        assert_int_equal(t.n_prompt, q.n_ids);
        memcpy(ids, q.ids, q.n_ids * sizeof *ids);
        for (int64_t k = 0; k < t.n_answer; k++)
            ids[(int64_t)q.n_ids + k] = next_of(session, ids, q.n_ids + (size_t)k);
        assert_ok(
            msa_detokenize(model, ids + q.n_ids, (size_t)t.n_answer, 0, &text, &n_bytes, &err),
            &err);
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
        assert_ok(trial_run(model, msa_session_get_params(session), &asked, NULL, NULL, &t, &err),
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
    const char *path = folder_path(folder, "stopped.jsonl");
    int n_stops = 0;
    for (bool done = false; !done; n_stops++) {
        int left = 20; /* a trial has 18 events at most */
        msa_eval *e;
        msa_eval_params p = small();
        p.out = path, p.watch = stop_after, p.user = &left;
        assert_ok(msa_eval_create(&e, model, &p, &err), &err);
        msa_status status = msa_eval_run(e, &err);
        assert_true(status == MSA_OK || status == MSA_E_CANCELLED);
        done = status == MSA_OK;
        msa_eval_free(e);
    }
    assert_true(n_stops > 3);
    char *text = read_whole(path, NULL);
    assert_string_equal(text, whole());
    free(text);
    unlink(path);
}

/* ---- files of answers ------------------------------------------------------------------------ */

static void half_a_last_line_is_dropped_and_asked_again(void **state) {
    (void)state;
    const char *path = folder_path(folder, "half.jsonl");
    size_t n = strlen(whole());
    for (size_t cut = 1; cut < n; cut += n / 23) { /* in a record, at its end, in the header */
        char *text = strdup(whole());
        text[n - cut] = 0;
        write_text(path, text);
        free(text);
        msa_eval_params p = small();
        run_to(&p, path);
        text = read_whole(path, NULL);
        assert_string_equal(text, whole());
        free(text);
    }
    unlink(path);
}

static msa_status open_with(const msa_model *m, msa_eval_params p, const char *path) {
    msa_eval *e = NULL;
    p.out = path;
    msa_status status = msa_eval_create(&e, m, &p, &err);
    assert_true((e != NULL) == (status == MSA_OK));
    msa_eval_free(e);
    return status;
}

static void answers_of_another_model_seed_or_setting_are_refused(void **state) {
    (void)state;
    whole();
    const char *path = folder_path(folder, "whole.jsonl");
    msa_eval_params p = small();
    assert_fails(open_with(other, p, path), MSA_E_FORMAT, &err, "model \"");
    p.seed = 7;
    assert_fails(open_with(model, p, path), MSA_E_FORMAT, &err, "seed \"000000000000002a\"");
    p = small(), p.session.topk = 4;
    assert_fails(open_with(model, p, path), MSA_E_FORMAT, &err, "topk 3, this run has 4");
    p = small(), p.session.kv_dtype = MSA_F32;
    assert_fails(open_with(model, p, path), MSA_E_FORMAT, &err, "kv_format");
    p = small(), p.session.dense_layers[0] = 1;
    assert_fails(open_with(model, p, path), MSA_E_FORMAT, &err, "layers_dense");
    p = small(), p.n_items = 3;
    assert_fails(open_with(model, p, path), MSA_E_FORMAT, &err, "items 0, this run has 3");
    const char *task = "niah_single_2";
    int64_t length = 2048;
    p = small(), p.tasks = &task, p.n_tasks = 1, p.text = test_path("LICENSE");
    p.lengths = &length, p.n_lengths = 1;
    assert_fails(open_with(model, p, path), MSA_E_FORMAT, &err, "text \"noise\"");
    p = small(), p.session.n_threads = 2, p.session.chunk = 8;
    assert_ok(open_with(model, p, path), &err);
    char *text = read_whole(path, NULL);
    assert_string_equal(text, whole()); /* and nothing was changed */
    free(text);
}

static void what_is_no_file_of_answers_stays_as_it_is(void **state) {
    static const char *const TEXTS[] = {"my notes", "my notes\nmore\n", "{\"a\": 1}\n", "[1]\n",
                                        "{\"msa_eval\""};
    (void)state;
    const char *path = folder_path(folder, "notes");
    for (int i = 0; i < 4; i++) {
        write_text(path, TEXTS[i]);
        assert_fails(open_with(model, small(), path), MSA_E_FORMAT, &err, "notes");
        char *text = read_whole(path, NULL);
        assert_string_equal(text, TEXTS[i]);
        free(text);
    }
    write_text(path, TEXTS[4]); /* half a header: ours */
    assert_ok(open_with(model, small(), path), &err);
    char *damaged = strdup(whole());
    strchr(strchr(damaged, '\n') + 1, '{')[0] = '!';
    write_text(path, damaged);
    assert_fails(open_with(model, small(), path), MSA_E_FORMAT, &err, "line 2");
    free(damaged);
    unlink(path);
    assert_fails(open_with(model, small(), "/nowhere/at/all"), MSA_E_IO, &err, "/nowhere");
    assert_fails(open_with(model, small(), folder), MSA_E_IO, &err, "can't write");
}

static void a_file_is_written_by_one_evaluation_at_a_time(void **state) {
    (void)state;
    const char *path = folder_path(folder, "held.jsonl");
    msa_eval *e;
    msa_eval_params p = small();
    p.out = path;
    assert_ok(msa_eval_create(&e, model, &p, &err), &err);
    assert_fails(open_with(model, p, path), MSA_E_IO, &err, "another evaluation is writing");
    msa_eval_free(e);
    assert_ok(open_with(model, p, path), &err);
    unlink(path);
}

static void a_task_more_is_added_to_the_file_of_a_text(void **state) {
    static const char *const TASKS[] = {"passkey", "niah_single_2"};
    static const int64_t LENGTHS[] = {2048};
    (void)state;
    const char *path = folder_path(folder, "more.jsonl");
    msa_eval_params p = small();
    p.tasks = TASKS, p.lengths = LENGTHS, p.n_lengths = 1, p.text = test_path("LICENSE");
    for (p.n_tasks = 1; p.n_tasks <= 2; p.n_tasks++) assert_ok(open_with(model, p, path), &err);
    unlink(path);
}

/* A file of the header and this line. */
static void assert_line_refused(const char *line, const char *word) {
    const char *path = folder_path(folder, "line.jsonl");
    char *text = strdup(whole());
    assert_non_null(text);
    strcpy(strchr(text, '\n') + 1, line); /* the answers are longer */
    write_text(path, text);
    free(text);
    assert_fails(open_with(model, small(), path), MSA_E_FORMAT, &err, word);
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
    const char *path = folder_path(folder, "long.jsonl");
    snprintf(text, sizeof text, "{\"msa_eval\": 1, \"architecture\": \"%0*d\"}\n", 300, 7);
    write_text(path, text);
    assert_fails(open_with(model, small(), path), MSA_E_FORMAT, &err,
                 "architecture something longer, this run has \"llama\"");
    unlink(path);
}

static void a_run_goes_on_when_the_disk_has_room_again(void **state) {
    (void)state;
    const char *path = folder_path(folder, "room.jsonl");
    msa_eval *e;
    msa_eval_params p = small();
    size_t header = (size_t)(strchr(whole(), '\n') + 1 - whole());
    p.out = path;
    assert_ok(msa_eval_create(&e, model, &p, &err), &err);
    disk_fill(header + 40);
    msa_status status = msa_eval_run(e, &err);
    disk_clear();
    assert_fails(status, MSA_E_IO, &err, "room.jsonl");
    assert_int_equal(msa_eval_get_info(e)->n_answered, 0);
    assert_ok(msa_eval_run(e, &err), &err);
    msa_eval_free(e);
    char *text = read_whole(path, NULL);
    assert_string_equal(text, whole());
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

/* ---- rows ------------------------------------------------------------------------------------ */

static void assert_near(double found, double expected) {
    if (isnan(expected) ? !isnan(found) : !(fabs(found - expected) < 5e-4))
        fail_msg("%.6f instead of %.6f", found, expected);
}

/* By hand, to four digits. */
static void intervals_are_those_of_the_formulas(void **state) {
    (void)state;
    interval w = stats_wilson(0.5, 10);
    assert_near(w.low, 0.2366), assert_near(w.high, 0.7634);
    w = stats_wilson(1, 20);
    assert_near(w.low, 0.8389), assert_near(w.high, 1);
    assert_true(isnan(stats_wilson(0, 0).low));
    pairs p = {0}; /* 10 pairs, 3 better, 1 worse: (2 +- 1.96 sqrt(12 * 5 - 4) / sqrt 12) / 12 */
    for (int i = 0; i < 10; i++) pairs_add(&p, i < 3 ? 1 : i < 4 ? -1 : 0);
    interval d = pairs_interval(&p);
    assert_near(d.low, -0.1862), assert_near(d.high, 0.5195);
    assert_near(pairs_p_value(&p), 0.625); /* 2 (1 + 4) / 16 */
    pairs same = {0};
    for (int i = 0; i < 20; i++) pairs_add(&same, 0);
    d = pairs_interval(&same); /* 1.96 sqrt(1 / 22 / 22) */
    assert_near(d.low, -0.0891), assert_near(d.high, 0.0891);
    assert_near(pairs_p_value(&same), 1);
    pairs worse = {0};
    for (int i = 0; i < 6; i++) pairs_add(&worse, -0.5);
    assert_near(pairs_p_value(&worse), 0.03125); /* 2 / 64 */
    pairs many = {.n = 5000, .n_better = 2500, .n_worse = 2400};
    assert_true(pairs_p_value(&many) > 0.14 && pairs_p_value(&many) < 0.17);
}

/* A file with these scores of passkey, of 420 tokens and then of 512: dense, proxy, random. */
static msa_eval *fabricate(const double scores[2][3][4]) {
    static const char *const NAMES[] = {"dense", "proxy", "random"};
    static const int LENGTHS[] = {420, 512};
    const char *path = folder_path(folder, "made.jsonl"), *task = "passkey";
    msa_eval_params p = small();
    msa_eval *e;
    p.tasks = &task, p.n_tasks = 1, p.n_samples = 4;
    unlink(path);
    assert_ok(open_with(model, p, path), &err); /* the header */
    FILE *f = fopen(path, "a");
    assert_non_null(f);
    for (int l = 0; l < 2; l++)
        for (int s = 0; s < 3; s++)
            for (int i = 0; i < 4; i++)
                if (!isnan(scores[l][s][i]))
                    fprintf(f,
                            "{\"task\": \"passkey\", \"length\": %d, \"depth\": null, \"sample\": "
                            "%d, \"selector\": \"%s\", \"score\": %g, \"prompt_tokens\": 400, "
                            "\"keys\": %d, \"keys_dense\": 200}\n",
                            LENGTHS[l], i, NAMES[s], scores[l][s][i], s ? 40 : 200);
    fputs("{\"task\": \"passkey\", \"length\": 99, \"sample\": 0, \"selector\": \"dense\", "
          "\"score\": 1}\n{\"unknown\": true}\n",
          f); /* of other runs */
    fclose(f);
    p.out = path;
    assert_ok(msa_eval_create(&e, model, &p, &err), &err);
    return e;
}

static void rows_hold_scores_and_differences(void **state) {
    static const double SCORES[2][3][4] = {{{1, 1, 0, 1}, {1, 0, 0, NAN}, {0, 0, 0, 0.5}},
                                           {{0, 0, 1, 0}, {1, 1, 1, 1}, {0, 0, 0, 0}}};
    (void)state;
    msa_eval *e = fabricate(SCORES);
    size_t n;
    const msa_eval_row *rows = msa_eval_get_rows(e, &n);
    assert_int_equal(n, 6);
    assert_int_equal(msa_eval_get_info(e)->n_found, 23);
    assert_int_equal(msa_eval_get_info(e)->n_trials, 24);
    static const struct {
        const char *selector;
        int n, better, worse;
        double score, difference, p;
    } EXPECTED[] = {
        {"dense", 4, 0, 0, 75, NAN, NAN},       {"proxy", 3, 0, 1, 33.3333, -33.3333, 1},
        {"random", 4, 0, 3, 12.5, -62.5, 0.25}, {"dense", 4, 0, 0, 25, NAN, NAN},
        {"proxy", 4, 0, 0, 100, NAN, NAN}, /* dense fails: no comparison */
        {"random", 4, 0, 0, 0, NAN, NAN}};
    for (int i = 0; i < 6; i++) {
        const msa_eval_row *r = &rows[i];
        assert_string_equal(r->task, "passkey");
        assert_string_equal(r->selector, EXPECTED[i].selector);
        assert_int_equal(r->length, i < 3 ? 420 : 512);
        assert_int_equal(r->n, EXPECTED[i].n);
        assert_int_equal(r->n_better, EXPECTED[i].better);
        assert_int_equal(r->n_worse, EXPECTED[i].worse);
        assert_near(r->score, EXPECTED[i].score);
        assert_near(r->difference, EXPECTED[i].difference);
        assert_near(r->p_value, EXPECTED[i].p);
        assert_near(r->keys_per_query, strcmp(r->selector, "dense") == 0 ? 200 : 40);
        assert_near(r->keys_per_query_dense, 200);
        assert_true(isnan(r->depth));
    }
    /* random: d = -1, -1, 0, -0.5: sum -2.5, squares 2.25, and two pairs more */
    double mean = -2.5 / 6, half = 1.959964 * sqrt((3.25 / 6 - mean * mean) / 6);
    assert_near(rows[2].difference_low, 100 * (mean - half));
    assert_near(rows[2].difference_high, 100 * (mean + half));
    msa_eval_free(e);
}

static void a_difference_is_over_samples_that_both_answered(void **state) {
    static const double SCORES[2][3][4] = {{{1, NAN, 1, 1}, {1, 0, 1, 0}, {NAN, 1, NAN, NAN}},
                                           {{1, 1, 1, 1}, {1, 1, 1, 1}, {1, 1, 1, 1}}};
    (void)state;
    msa_eval *e = fabricate(SCORES);
    size_t n;
    const msa_eval_row *rows = msa_eval_get_rows(e, &n);
    assert_near(rows[1].score, 50);
    assert_near(rows[1].difference, -33.3333);
    assert_int_equal(rows[1].n_worse, 1);
    assert_near(rows[2].score, 100);
    assert_near(rows[2].difference, NAN); /* none both did */
    msa_eval_free(e);
}

static void assert_same(double a, double b) {
    if (a != b && !(isnan(a) && isnan(b))) fail_msg("%.17g and %.17g", a, b);
}

static void rows_are_the_same_of_answers_just_given_and_of_those_read(void **state) {
    (void)state;
    const char *path = folder_path(folder, "same.jsonl");
    msa_eval *given, *read;
    msa_eval_params p = small();
    size_t n, n_read;
    p.out = path, p.void_below = 0;
    assert_ok(msa_eval_create(&given, model, &p, &err), &err);
    assert_ok(msa_eval_run(given, &err), &err);
    char *text = read_whole(path, NULL);
    const char *copy = folder_path(folder, "copy.jsonl");
    write_text(copy, text);
    free(text);
    p.out = copy;
    assert_ok(msa_eval_create(&read, model, &p, &err), &err);
    const msa_eval_row *a = msa_eval_get_rows(given, &n), *b = msa_eval_get_rows(read, &n_read);
    assert_int_equal(n, n_read);
    for (size_t i = 0; i < n; i++) {
        assert_same(a[i].score, b[i].score);
        assert_same(a[i].difference, b[i].difference);
        assert_same(a[i].keys_per_query, b[i].keys_per_query);
        assert_same(a[i].keys_per_query_dense, b[i].keys_per_query_dense);
    }
    assert_same(sheet_kept(1.0 / 3), 0.333333333); /* so that a third is no better than a third */
    assert_same(sheet_kept(0.2), 0.2);
    msa_eval_free(given);
    msa_eval_free(read);
    unlink(path), unlink(copy);
}

static void averages_are_over_the_tasks_of_a_length(void **state) {
    (void)state;
    msa_eval *e;
    msa_eval_params p = small();
    p.out = folder_path(folder, "whole.jsonl");
    p.void_below = 0;
    whole();
    assert_ok(msa_eval_create(&e, model, &p, &err), &err);
    size_t n;
    const msa_eval_row *rows = msa_eval_get_rows(e, &n);
    assert_int_equal(n, 12 + 6);
    for (size_t s = 0; s < 3; s++)
        for (size_t l = 0; l < 2; l++) {
            const msa_eval_row *a = &rows[l * 3 + s], *b = &rows[6 + l * 3 + s];
            const msa_eval_row *mean = &rows[12 + l * 3 + s];
            assert_string_equal(mean->task, "average");
            assert_string_equal(mean->selector, a->selector);
            assert_int_equal(mean->length, a->length);
            assert_near(mean->score, (a->score + b->score) / 2);
            assert_near(mean->difference, (a->difference + b->difference) / 2);
            double half = hypot(a->score - a->score_low, b->score - b->score_low) / 2;
            assert_near(mean->score_low, mean->score - half);
        }
    msa_eval_free(e);
}

static void keys_read_are_counted(void **state) {
    (void)state;
    msa_eval *e;
    msa_eval_params p = small();
    p.out = folder_path(folder, "whole.jsonl");
    whole();
    assert_ok(msa_eval_create(&e, model, &p, &err), &err);
    size_t n;
    const msa_eval_row *rows = msa_eval_get_rows(e, &n);
    assert_near(rows[0].keys_per_query, rows[0].keys_per_query_dense);
    assert_near(rows[0].keys_per_query, (rows[0].prompt_tokens + 1) / 2);
    assert_true(rows[1].keys_per_query < 48.001 && rows[1].keys_per_query > 35);
    assert_true(rows[2].keys_per_query < 48.001 && rows[2].keys_per_query > 35);
    msa_eval_free(e);
}

/* ---- what can't be --------------------------------------------------------------------------- */

static void assert_refused(msa_eval_params p, const char *word) {
    assert_fails(open_with(model, p, NULL), MSA_E_ARG, &err, word);
}

static void what_cannot_be_asked_is_refused_first(void **state) {
    static const char *const TWICE[] = {"vt", "vt"}, *const ODD[] = {"niah_single_9"},
                             *const NEEDLE[] = {"needle"}, *const QA[] = {"qa_1"},
                             *const TEXT[] = {"train_needle"}, *const BEST[] = {"best"},
                             *const PROXIES[] = {"proxy", "auto"}, *const INDEX[] = {"index"};
    static const int64_t SAME[] = {512, 512}, TINY[] = {63};
    static const double DEPTH[] = {101}, DEPTHS[] = {50, 50};
    msa_eval_params p;
    (void)state;
    p = small(), p.n_tasks = 0, assert_refused(p, "no task");
    p = small(), p.n_lengths = 0, assert_refused(p, "no length");
    p = small(), p.n_samples = 0, assert_refused(p, "samples");
    p = small(), p.tasks = TWICE, assert_refused(p, "twice");
    p = small(), p.tasks = ODD, p.n_tasks = 1, assert_refused(p, "did you mean 'niah_single_1'?");
    p = small(), p.lengths = SAME, assert_refused(p, "twice");
    p = small(), p.lengths = TINY, p.n_lengths = 1, assert_refused(p, "length 63");
    p = small(), p.selectors = BEST, p.n_selectors = 1, assert_refused(p, "'best'");
    p = small(), p.selectors = PROXIES, p.n_selectors = 2,
    assert_refused(p, "proxy is given twice");
    p = small(), p.void_below = 101, assert_refused(p, "void_below");
    p = small(), p.depths = DEPTH, p.n_depths = 1, assert_refused(p, "depth 101");
    p = small(), p.depths = DEPTHS, p.n_depths = 2, assert_refused(p, "depth 50 is given twice");
    p = small(), p.tasks = NEEDLE, p.n_tasks = 1, p.n_depths = 0, assert_refused(p, "no depth");
    p = small(), p.tasks = QA, p.n_tasks = 1, assert_refused(p, "SQuAD");
    p = small(), p.tasks = TEXT, p.n_tasks = 1, assert_refused(p, "train_needle");
    p = small(), p.selectors = INDEX, p.n_selectors = 1;
    assert_fails(open_with(model, p, NULL), MSA_E_UNSUPPORTED, &err, "selector index: ");
    assert_fails(msa_eval_create(NULL, model, &p, &err), MSA_E_ARG, &err, "NULL");
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
    msa_eval_params p = small();
    msa_eval *e = NULL;
    msa_eval_question q;
    p.tasks = TASKS, p.n_tasks = 5, p.lengths = LENGTHS, p.n_lengths = 1, p.n_samples = 1;
    p.n_selectors = 1, p.text = test_path("LICENSE");
    p.out = folder_path(folder, "scarce.jsonl");
    unlink(p.out);
    long live = scarce_live();
    scarce_begin(n);
    msa_status status = msa_eval_create(&e, model, &p, &err);
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
        cmocka_unit_test(half_a_last_line_is_dropped_and_asked_again),
        cmocka_unit_test(answers_of_another_model_seed_or_setting_are_refused),
        cmocka_unit_test(what_is_no_file_of_answers_stays_as_it_is),
        cmocka_unit_test(a_file_is_written_by_one_evaluation_at_a_time),
        cmocka_unit_test(a_task_more_is_added_to_the_file_of_a_text),
        cmocka_unit_test(answers_that_cannot_be_are_refused),
        cmocka_unit_test(a_header_of_any_length_is_told_in_short),
        cmocka_unit_test(a_run_goes_on_when_the_disk_has_room_again),
        cmocka_unit_test(a_full_disk_is_told),
        cmocka_unit_test(intervals_are_those_of_the_formulas),
        cmocka_unit_test(rows_hold_scores_and_differences),
        cmocka_unit_test(a_difference_is_over_samples_that_both_answered),
        cmocka_unit_test(rows_are_the_same_of_answers_just_given_and_of_those_read),
        cmocka_unit_test(averages_are_over_the_tasks_of_a_length),
        cmocka_unit_test(keys_read_are_counted),
        cmocka_unit_test(what_cannot_be_asked_is_refused_first),
        cmocka_unit_test(every_task_has_a_name_and_a_suite),
        cmocka_unit_test(any_allocation_may_fail),
    };
    return cmocka_run_group_tests(tests, open_all, close_all);
}
