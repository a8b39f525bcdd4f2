/* test_train_tasks.c: tasks, their exams, and their mixture with text. */
#include "support/support.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "support/scarce.h"
#include "support/texts.h"
#include "train/mixture.h"

static msa_error err;

typedef struct school {
    train_config config;
    tokens text;
    corpus *corpus;
    mixture *mixture;
    train_batch batch;
} school;

static int open_folder(void **state) {
    if (texts_open(state) != 0) return -1;
    size_t n;
    char *prose = read_test_file("LICENSE", &n);
    texts_write(*state, "prose.txt", prose, n);
    free(prose);
    return 0;
}

/* All that a trainer draws its batches from; settings as "a=1 b=2". */
static void open_school(school *s, const texts *here, const char *settings) {
    char copy[1024];
    *s = (school){0};
    assert_ok(config_init(&s->config, &err), &err);
    snprintf(copy, sizeof copy, "data.text=prose data.context=512 data.rows=2 %s", settings);
    for (char *one = strtok(copy, " "); one; one = strtok(NULL, " "))
        assert_ok(config_set(&s->config, one, &err), &err);
    assert_ok(config_settle(&s->config, &err), &err);
    s->text = texts_tokens(here, "prose.txt", "");
    assert_ok(corpus_create(&s->corpus, &s->text, NULL, 0.1, s->config.data.context,
                            s->config.data.context * s->config.data.rows, 1, &err),
              &err);
    assert_ok(batch_create(&s->batch, s->config.data.context * s->config.data.rows, &err), &err);
    assert_ok(mixture_create(&s->mixture, &s->config, here->bytes, s->corpus, &err), &err);
}

static void close_school(school *s) {
    mixture_free(s->mixture);
    batch_free(&s->batch);
    corpus_free(s->corpus);
    tokens_close(&s->text);
    config_free(&s->config);
}

/* Writes n bytes that answer the question which `text` ends with. */
typedef void solver(const char *text, int n_text, int n, char *answer);

static const char *last_of(const char *text, const char *end, const char *what, size_t n) {
    const char *found = NULL;
    for (const char *p = text; p + n <= end; p++)
        if (memcmp(p, what, n) == 0) found = p;
    return found;
}

static const char *first_of(const char *text, const char *end, const char *what, size_t n) {
    for (const char *p = text; p + n <= end; p++)
        if (memcmp(p, what, n) == 0) return p;
    return NULL;
}

static void copy_answer(const char *from, int n, char *answer) {
    if (from)
        memcpy(answer, from, (size_t)n);
    else
        memset(answer, '#', (size_t)n);
}

/* What followed the same blank and key when it was told. */
static void solve_recall(const char *text, int n_text, int n, char *answer) {
    const char *end = text + n_text, *key = end;
    while (key[-1] != ' ') key--;
    key--;
    const char *told = first_of(text, key, key, (size_t)(end - key));
    copy_answer(told ? told + (end - key) : NULL, n, answer);
}

static void solve_copy(const char *text, int n_text, int n, char *answer) {
    const char *end = text + n_text, *cue = end - 4;
    const char *told = first_of(text, cue, cue, 4);
    copy_answer(told ? told + 4 : NULL, n, answer);
}

static void solve_passkey(const char *text, int n_text, int n, char *answer) {
    static const char TELL[] = "The pass key is";
    const char *told = first_of(text, text + n_text - 20, TELL, sizeof TELL - 1);
    copy_answer(told ? told + sizeof TELL - 1 : NULL, n, answer);
}

static void solve_needle(const char *text, int n_text, int n, char *answer) {
    const char *end = text + n_text, *ask = last_of(text, end, "The code of", 11);
    const char *told = first_of(text, ask, ask, (size_t)(end - ask));
    copy_answer(told ? told + (end - ask) : NULL, n, answer);
}

/* Sees the last `WINDOW` tokens alone: what a local window would. */
enum { WINDOW = 96 };
static solver *cheat_with;
static void cheat(const char *text, int n_text, int n, char *answer) {
    int from = n_text > WINDOW ? n_text - WINDOW : 0;
    char seen[WINDOW + 1] = {0};
    memcpy(seen, text + from, (size_t)(n_text - from));
    memset(answer, '#', (size_t)n);
    if (from > 0 && memchr(seen, ' ', sizeof seen)) cheat_with(seen, n_text - from, n, answer);
}

/* Has seen a sample of the same kind before, and answers by its last answer. */
static void guess(const char *text, int n_text, int n, char *answer) {
    (void)text, (void)n_text;
    memcpy(answer, &" 12345678901234567890"[n == 1 ? 1 : 0], (size_t)n);
}

static exam_score examine(school *s, config_task_kind kind, solver *solve) {
    exam_score score = {0};
    int32_t predicted[1024];
    char text[1024], answer[64];
    for (int64_t number = 0; number < 30; number++) {
        train_batch *b = &s->batch;
        assert_ok(mixture_exam(s->mixture, kind, number, 2, b, &err), &err);
        assert_int_equal(b->n_docs, 2);
        for (int64_t i = 0; i < b->n_tokens; i++)
            text[i] = b->ids[i] < 256 ? (char)b->ids[i] : '|', predicted[i] = -1;
        for (int32_t d = 0; d < b->n_docs; d++)
            for (int32_t i = b->cu_seqlens[d]; i < b->cu_seqlens[d + 1]; i++) {
                int n = 0;
                while (b->targets[i + n] >= 0) n++;
                if (n == 0) continue;
                solve(text + b->cu_seqlens[d], i + 1 - b->cu_seqlens[d], n, answer);
                for (int j = 0; j < n; j++) predicted[i + j] = (uint8_t)answer[j];
                i += n - 1;
            }
        exam_add(&score, b, predicted);
    }
    return score;
}

static void every_task_can_be_solved_and_not_without_looking_far(void **state) {
    static const struct {
        config_task_kind kind;
        solver *solve;
        const char *settings;
        int questions;
    } CASES[] = {
        {TASK_RECALL, solve_recall, "tasks.recall.weight=1 tasks.recall.items=30", 16},
        {TASK_RECALL, solve_recall, "tasks.recall.weight=1 tasks.recall.items=60", 16},
        {TASK_COPY, solve_copy, "tasks.copy.weight=1", 4},
        {TASK_PASSKEY, solve_passkey, "tasks.passkey.weight=1", 1},
        {TASK_NEEDLE, solve_needle, "tasks.needle.weight=1", 4},
        {TASK_NEEDLE, solve_needle, "tasks.needle.weight=1 tasks.needle.items=2", 2},
    };
    for (size_t i = 0; i < sizeof CASES / sizeof *CASES; i++) {
        school s;
        open_school(&s, *state, CASES[i].settings);
        exam_score full = examine(&s, CASES[i].kind, CASES[i].solve);
        assert_int_equal(full.n, 30 * 2 * CASES[i].questions);
        assert_int_equal(full.n_right, full.n);
        cheat_with = CASES[i].solve;
        exam_score near = examine(&s, CASES[i].kind, cheat);
        assert_true(near.n_right * 3 < near.n);
        exam_score blind = examine(&s, CASES[i].kind, guess);
        assert_true(blind.n_right * 8 < blind.n);
        close_school(&s);
    }
}

static void an_answer_counts_only_whole(void **state) {
    (void)state;
    int32_t targets[] = {-1, 5, 6, -1, 7, -1, -1, 8, 9}, said[] = {-1, 5, 6, -1, 0, 0, 0, 8, 1};
    train_batch b = {.n_tokens = 9, .targets = targets};
    exam_score score = {0};
    exam_add(&score, &b, said);
    assert_int_equal(score.n, 3);
    assert_int_equal(score.n_right, 1);
}

static void samples_have_the_length_asked_for_and_grow_with_the_steps(void **state) {
    school s;
    int source;
    int64_t epoch, last = 0;
    open_school(&s, *state,
                "data.weight=0 tasks.recall.weight=1 tasks.recall.items=40 "
                "tasks.recall.start_items=4 tasks.recall.start_length=128 "
                "tasks.recall.grow_steps=50 tasks.recall.questions=4");
    for (int64_t step = 0; step < 60; step++) {
        assert_ok(mixture_batch(s.mixture, step, 0, &s.batch, &source, &epoch, &err), &err);
        assert_int_equal(source, MIXTURE_TASKS + TASK_RECALL);
        int64_t length = s.batch.cu_seqlens[1];
        assert_int_equal(length, step < 50 ? 128 + 384 * step * step / 2500 : 512);
        assert_int_equal(s.batch.n_docs, 1024 / length);
        assert_int_equal(s.batch.n_tokens, s.batch.n_docs * length);
        int64_t told = 0, asked = 0;
        for (int64_t i = 0; i < length; i++) told += s.batch.ids[i] == ' ';
        for (int64_t i = 0; i < length; i++) asked += s.batch.targets[i] >= 0;
        assert_int_equal(asked, 4);
        assert_int_equal(told, asked + (step < 50 ? 4 + 36 * step * step / 2500 : 40));
        assert_true(told >= last);
        last = told;
    }
    close_school(&s);
    open_school(&s, *state, "data.weight=0 tasks.recall.weight=1 tasks.recall.answers_only=false");
    assert_ok(mixture_batch(s.mixture, 0, 0, &s.batch, &source, &epoch, &err), &err);
    for (int32_t i = 0; i < 511; i++) assert_int_equal(s.batch.targets[i], s.batch.ids[i + 1]);
    assert_int_equal(s.batch.targets[511], -1);
    close_school(&s);
}

/* 37 keys are spelt with two letters: from 36 on there are sizes that do not fit. */
static void what_does_not_fit_yet_is_told_with_as_many_items_as_do(void **state) {
    school s;
    int source, n_fewer = 0;
    int64_t epoch;
    open_school(&s, *state,
                "data.weight=0 tasks.recall.weight=1 tasks.recall.items=100 "
                "tasks.recall.length=416 tasks.recall.start_items=4 tasks.recall.start_length=24 "
                "tasks.recall.grow_steps=100 tasks.recall.questions=4");
    for (int64_t step = 0; step <= 100; step++) {
        assert_ok(mixture_batch(s.mixture, step, 0, &s.batch, &source, &epoch, &err), &err);
        task_size size = task_size_at(&s.config.tasks[TASK_RECALL], step);
        int64_t n = size.items, told = -4;
        while ((n + 4) * (n <= 36 ? 3 : 4) > size.length) n--;
        for (int64_t i = 0; i < size.length; i++) told += s.batch.ids[i] == ' ';
        assert_int_equal(told, n);
        n_fewer += n < size.items;
    }
    assert_in_range(n_fewer, 2, 50);
    close_school(&s);
}

static void mixed_samples_have_all_sizes_up_to_the_present_one(void **state) {
    school s;
    int by_octave[4] = {0}, by_items[10] = {0}, n = 0;
    open_school(&s, *state,
                "data.weight=0 tasks.recall.weight=1 tasks.recall.items=9 "
                "tasks.recall.start_items=3 tasks.recall.start_length=32 tasks.recall.grow_from=20 "
                "tasks.recall.grow_steps=10 tasks.recall.questions=2 tasks.recall.mixed=true");
    for (int64_t step = 0; step < 90; step++) {
        int source;
        double share = step < 20 ? 0 : step < 30 ? (double)((step - 20) * (step - 20)) / 100 : 1;
        int64_t epoch, longest = 32 + (int64_t)(480 * share), most = 3 + (int64_t)(6 * share);
        assert_ok(mixture_batch(s.mixture, step, 0, &s.batch, &source, &epoch, &err), &err);
        assert_true(s.batch.n_tokens > 1024 - 32 && s.batch.n_tokens <= 1024);
        for (int32_t d = 0; d < s.batch.n_docs; d++) {
            const int32_t *bounds = s.batch.cu_seqlens + d;
            int told = -2, length = bounds[1] - bounds[0];
            for (int32_t i = bounds[0]; i < bounds[1]; i++) told += s.batch.ids[i] == ' ';
            assert_in_range(length, 32, longest);
            assert_in_range(told, 3, most);
            if (step < 30) continue;
            for (int o = 0; o < 4; o++) by_octave[o] += length >= 32 << o && length < 64 << o;
            by_items[told]++;
            n++;
        }
    }
    for (int o = 0; o < 4; o++) assert_in_range(by_octave[o], n / 8, n / 2);
    for (int i = 3; i < 10; i++) assert_in_range(by_items[i], n / 14, n / 4);
    close_school(&s);
}

static void recall_asks_again_where_questions_outnumber_items(void **state) {
    school s;
    int source;
    int64_t epoch;
    int changes = 0, asked = 0;
    open_school(&s, *state,
                "data.weight=0 tasks.recall.weight=1 tasks.recall.items=2 "
                "tasks.recall.questions=9 tasks.recall.length=33 tasks.recall.start_length=33");
    assert_ok(mixture_batch(s.mixture, 0, 0, &s.batch, &source, &epoch, &err), &err);
    for (int32_t d = 0; d < s.batch.n_docs; d++) {
        const int32_t *ids = s.batch.ids + s.batch.cu_seqlens[d];
        for (int q = 2; q < 11; q++, asked++) {
            assert_int_equal(s.batch.targets[ids - s.batch.ids + 3 * q + 1], ids[3 * q + 2]);
            int told = ids[3 * q + 1] == ids[1] ? 0 : 1;
            assert_int_equal(ids[3 * q + 1], ids[3 * told + 1]);
            assert_int_equal(ids[3 * q + 2], ids[3 * told + 2]);
            changes += q > 2 && ids[3 * q + 1] != ids[3 * q - 2];
        }
    }
    /* Neither in turns nor always the same. */
    assert_int_equal(s.batch.n_docs, 1024 / 33);
    assert_in_range(changes, asked * 3 / 10, asked * 6 / 10);
    close_school(&s);
}

static void sources_take_turns_by_weight(void **state) {
    school s;
    int64_t epoch, counts[MIXTURE_SOURCES] = {0};
    open_school(&s, *state,
                "data.weight=2 tasks.copy.weight=1 tasks.needle.weight=1 optim.accumulate=2");
    assert_float_equal(mixture_share(s.mixture, MIXTURE_TEXT), 0.5, 1e-12);
    for (int64_t number = 0; number < 2100; number++) {
        int source;
        assert_ok(mixture_batch(s.mixture, number / 2, number % 2, &s.batch, &source, &epoch, &err),
                  &err);
        for (int32_t d = 0; d < s.batch.n_docs; d++) assert_int_equal(s.batch.source[d], source);
        counts[source]++;
        int64_t owed = (number + 1) / 4;
        assert_in_range(counts[MIXTURE_TASKS + TASK_COPY], owed ? owed - 1 : 0, owed + 1);
    }
    assert_in_range(counts[MIXTURE_TEXT], 1049, 1051);
    assert_in_range(counts[MIXTURE_TASKS + TASK_NEEDLE], 524, 526);
    close_school(&s);
}

static void batches_are_functions_of_step_and_configuration(void **state) {
    school a, b;
    const char *settings = "tasks.recall.weight=1 tasks.copy.weight=1 tasks.passkey.weight=1 "
                           "tasks.needle.weight=1 tasks.recall.grow_steps=30 "
                           "tasks.recall.start_items=2";
    open_school(&a, *state, settings);
    open_school(&b, *state, settings);
    for (int64_t step = 99; step >= 0; step--) { /* one backwards, the other jumping about */
        int sa, sb;
        int64_t epoch;
        assert_ok(mixture_batch(a.mixture, step, 0, &a.batch, &sa, &epoch, &err), &err);
        assert_ok(mixture_batch(b.mixture, step * 37 % 100, 0, &b.batch, &sb, &epoch, &err), &err);
        assert_ok(mixture_exam(b.mixture, TASK_NEEDLE, step, 1, &b.batch, &err), &err);
        assert_ok(mixture_batch(b.mixture, step, 0, &b.batch, &sb, &epoch, &err), &err);
        assert_int_equal(sa, sb);
        assert_int_equal(a.batch.n_tokens, b.batch.n_tokens);
        size_t n = (size_t)a.batch.n_tokens * sizeof(int32_t);
        assert_memory_equal(a.batch.ids, b.batch.ids, n);
        assert_memory_equal(a.batch.targets, b.batch.targets, n);
    }
    close_school(&a);
    close_school(&b);
}

static void samples_that_do_not_fit_are_refused_with_their_size(void **state) {
    const texts *here = *state;
    static const char *const CASES[][2] = {
        {"tasks.recall.weight=1 tasks.recall.items=400", "tasks.recall"},
        {"tasks.copy.weight=1 tasks.copy.items=200", "tasks.copy"},
        {"tasks.passkey.weight=1 tasks.passkey.length=64", "tasks.passkey"},
        {"tasks.needle.weight=1 tasks.needle.start_length=100 tasks.needle.grow_steps=5",
         "tasks.needle"},
        /* Grows at once, but samples of the first size stay among the others. */
        {"tasks.recall.weight=1 tasks.recall.mixed=true tasks.recall.start_length=30",
         "tasks.recall"},
        {"tasks.passkey.weight=1e-4", "tasks.passkey.weight"}, /* would never have a turn */
        {"tasks.passkey.weight=1e5", "data.weight"},
    };
    for (size_t i = 0; i < sizeof CASES / sizeof *CASES; i++) {
        school s;
        char copy[256];
        mixture *m;
        open_school(&s, *state, "");
        snprintf(copy, sizeof copy, "%s", CASES[i][0]);
        for (char *one = strtok(copy, " "); one; one = strtok(NULL, " "))
            assert_ok(config_set(&s.config, one, &err), &err);
        assert_ok(config_settle(&s.config, &err), &err);
        assert_fails(mixture_create(&m, &s.config, here->bytes, s.corpus, &err), MSA_E_ARG, &err,
                     CASES[i][1]);
        assert_null(m);
        close_school(&s);
    }
}

static void a_vocabulary_without_the_symbols_of_tasks_will_do_for_text(void **state) {
    school s;
    mixture *m;
    tokenizer *t = texts_tokenizer('~');
    open_school(&s, *state, "");
    assert_ok(mixture_create(&m, &s.config, t, s.corpus, &err), &err);
    mixture_free(m);
    s.config.tasks[TASK_COPY].weight = 1;
    assert_fails(mixture_create(&m, &s.config, t, s.corpus, &err), MSA_E_UNSUPPORTED, &err,
                 "data.tokenizer");
    close_school(&s);
    tokenizer_free(t);
}

static void mixtures_without_memory_fail_cleanly(void **state) {
    const texts *here = *state;
    school s;
    open_school(&s, *state,
                "tasks.recall.weight=1 tasks.needle.weight=1 tasks.copy.weight=1 "
                "tasks.passkey.weight=1");
    for (long n = 0;; n++) {
        mixture *m = NULL;
        train_batch b = {0};
        corpus *c = NULL;
        int source;
        int64_t epoch;
        long live = scarce_live();
        scarce_begin(n);
        msa_status status = batch_create(&b, 1024, &err);
        if (status == MSA_OK) status = corpus_create(&c, &s.text, NULL, 0.1, 512, 1024, 1, &err);
        if (status == MSA_OK) status = mixture_create(&m, &s.config, here->bytes, c, &err);
        for (int64_t i = 0; i < 5 && status == MSA_OK; i++)
            status = mixture_batch(m, i, 0, &b, &source, &epoch, &err);
        bool failed = scarce_end();
        mixture_free(m);
        corpus_free(c);
        batch_free(&b);
        assert_int_equal(scarce_live(), live);
        if (!failed) {
            assert_ok(status, &err);
            break;
        }
        assert_true(status != MSA_OK);
    }
    close_school(&s);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_task_can_be_solved_and_not_without_looking_far),
        cmocka_unit_test(an_answer_counts_only_whole),
        cmocka_unit_test(samples_have_the_length_asked_for_and_grow_with_the_steps),
        cmocka_unit_test(what_does_not_fit_yet_is_told_with_as_many_items_as_do),
        cmocka_unit_test(mixed_samples_have_all_sizes_up_to_the_present_one),
        cmocka_unit_test(recall_asks_again_where_questions_outnumber_items),
        cmocka_unit_test(sources_take_turns_by_weight),
        cmocka_unit_test(batches_are_functions_of_step_and_configuration),
        cmocka_unit_test(samples_that_do_not_fit_are_refused_with_their_size),
        cmocka_unit_test(a_vocabulary_without_the_symbols_of_tasks_will_do_for_text),
        cmocka_unit_test(mixtures_without_memory_fail_cleanly),
    };
    return cmocka_run_group_tests(tests, open_folder, texts_close);
}
