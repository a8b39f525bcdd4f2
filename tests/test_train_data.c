/* test_train_data.c: token files, pieces and epochs, tasks and their mixture. */
#include "support/support.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/checksum.h"
#include "base/mem.h"
#include "base/utf8.h"
#include "model/byte_alphabet.h"
#include "support/scarce.h"
#include "train/files.h"
#include "train/mixture.h"

static msa_error err;
static tokenizer *bytes_only; /* 256 bytes and an end */
enum { END = 256 };

/* A token for each byte; `missing` has none. */
static tokenizer *create_bytes(int missing) {
    static char spelling[257][16];
    vocab_text words[257];
    int32_t types[257];
    for (int i = 0; i < 256; i++) {
        words[i] =
            (vocab_text){spelling[i], utf8_encode(byte_alphabet_code((uint8_t)i), spelling[i])};
        types[i] = VOCAB_NORMAL;
    }
    if (missing >= 0) words[missing] = (vocab_text){"two letters", 11};
    words[END] = (vocab_text){"<|end|>", 7};
    types[END] = VOCAB_CONTROL;
    tokenizer_params p = {.tokens = words,
                          .types = types,
                          .n_tokens = 257,
                          .pre = {"gpt-2", 5},
                          .bos = -1,
                          .eos = END,
                          .eot = -1,
                          .unk = -1,
                          .pad = -1};
    tokenizer *t;
    assert_ok(tokenizer_create(&t, &p, &err), &err);
    return t;
}

/* ---- a folder of texts ---------------------------------------------------------------------- */

static char folder[64];

static const char *at(const char *name) {
    static char paths[4][256];
    static int next;
    char *path = paths[next = (next + 1) % 4];
    snprintf(path, 256, "%s/%s", folder, name);
    return path;
}

static void write_file(const char *name, const char *data, size_t n) {
    FILE *f = fopen(at(name), "wb");
    assert_non_null(f);
    assert_int_equal(fwrite(data, 1, n, f), n);
    fclose(f);
}

static int open_folder(void **state) {
    (void)state;
    snprintf(folder, sizeof folder, "/tmp/msa-train-XXXXXX");
    if (!mkdtemp(folder)) return -1;
    mkdir(at("texts"), 0777);
    mkdir(at("texts/sub"), 0777);
    write_file("texts/b.txt", "second", 6);
    write_file("texts/a.txt", "first", 5);
    write_file("texts/sub/c.txt", "x--yz----w", 10);
    write_file("texts/.hidden", "no", 2);
    write_file("texts/binary", "a\0b", 3);
    if (symlink(".", at("texts/loop")) != 0) return -1;
    bytes_only = create_bytes(-1);
    return 0;
}

static int close_folder(void **state) {
    char line[128];
    (void)state;
    tokenizer_free(bytes_only);
    snprintf(line, sizeof line, "rm -rf '%s'", folder);
    return system(line);
}

static config_texts list_of(char **items, int64_t n) {
    return (config_texts){items, n};
}

static tokens_source source_of(const config_texts *paths, const char *separator) {
    return (tokens_source){.paths = paths,
                           .separator = separator,
                           .tokenizer = bytes_only,
                           .tokenizer_name = "bytes",
                           .folder = folder};
}

static tokens open_tokens(const char *name, const char *separator) {
    char path[256], *items[] = {path};
    tokens t;
    snprintf(path, sizeof path, "%s", at(name));
    config_texts paths = list_of(items, 1);
    tokens_source s = source_of(&paths, separator);
    assert_ok(tokens_open(&t, &s, &err), &err);
    return t;
}

/* ---- token files ---------------------------------------------------------------------------- */

static void checksums_are_xxh64(void **state) {
    (void)state;
    /* From the test vectors of xxHash. */
    assert_true(checksum_of("", 0) == 0xef46db3751d8e999u);
    assert_true(checksum_of("a", 1) == 0xd24ec4f1a98c6e5bu);
    assert_true(checksum_of("abc", 3) == 0x44bc2cf5ad770999u);
    const char *text = "Nobody inspects the spammish repetition";
    assert_true(checksum_of(text, strlen(text)) == 0xfbcea83c8a378bf1u);
    for (size_t cut = 0; cut <= strlen(text); cut++) { /* in two parts the same */
        checksum c = checksum_begin();
        checksum_add(&c, text, cut);
        checksum_add(&c, text + cut, strlen(text) - cut);
        assert_true(checksum_end(&c) == 0xfbcea83c8a378bf1u);
    }
}

static void a_directory_is_its_texts_in_order_of_name(void **state) {
    (void)state;
    tokens t = open_tokens("texts", "--");
    static const char EXPECTED[] = "first|second|x|yz|w|";
    assert_int_equal(t.n_docs, 5);
    assert_int_equal(t.n, (int64_t)strlen(EXPECTED));
    for (int64_t i = 0; i < t.n; i++)
        assert_int_equal(t.ids[i], EXPECTED[i] == '|' ? END : EXPECTED[i]);
    assert_int_equal(t.docs[2], 13);
    assert_true(t.made && t.n_skipped == 1);
    uint64_t fingerprint = t.fingerprint;
    tokens_close(&t);
    t = open_tokens("texts", "--");
    assert_true(!t.made && t.fingerprint == fingerprint);
    tokens_close(&t);
    t = open_tokens("texts", ""); /* a file is a document */
    assert_true(t.made && t.fingerprint != fingerprint);
    assert_int_equal(t.n_docs, 3);
    tokens_close(&t);
}

static void a_changed_text_gets_another_file(void **state) {
    (void)state;
    write_file("one.txt", "abcd", 4);
    tokens t = open_tokens("one.txt", "");
    tokens_close(&t);
    write_file("one.txt", "abce", 4);
    t = open_tokens("one.txt", "");
    assert_true(t.made);
    assert_int_equal(t.ids[3], 'e');
    tokens_close(&t);
}

static int append_to_text(void *user, int64_t n_done, int64_t n_total) {
    (void)n_done, (void)n_total;
    FILE *f = fopen(user, "ab");
    assert_non_null(f);
    fputs("more", f);
    fclose(f);
    return 0;
}

static void a_text_that_changes_meanwhile_leaves_no_file(void **state) {
    (void)state;
    char path[256], line[400], *items[] = {path};
    config_texts paths = list_of(items, 1);
    tokens_source s = source_of(&paths, "");
    tokens t;
    write_file("growing.txt", "abcd", 4);
    snprintf(path, sizeof path, "%s", at("growing.txt"));
    snprintf(line, sizeof line, "rm -rf '%s'/grown; mkdir '%s'/grown", folder, folder);
    assert_int_equal(system(line), 0);
    s.folder = at("grown");
    s.progress = append_to_text;
    s.user = path;
    assert_fails(tokens_open(&t, &s, &err), MSA_E_IO, &err, "changed");
    snprintf(line, sizeof line, "test -z \"$(ls '%s'/grown)\"", folder);
    assert_int_equal(system(line), 0);
}

static char *token_file_bytes(const tokens *t, size_t *n) {
    char path[256];
    snprintf(path, sizeof path, "%s/tokens-%016llx.bin", folder,
             (unsigned long long)t->fingerprint);
    FILE *f = fopen(path, "rb");
    assert_non_null(f);
    char *data = mem_alloc(1 << 16, 1);
    *n = fread(data, 1, 1 << 16, f);
    fclose(f);
    return data;
}

static void every_damage_to_a_token_file_is_seen_and_mended(void **state) {
    (void)state;
    write_file("two.txt", "some words", 10);
    tokens t = open_tokens("two.txt", ""), checked;
    size_t n;
    char *data = token_file_bytes(&t, &n);
    char name[64];
    snprintf(name, sizeof name, "tokens-%016llx.bin", (unsigned long long)t.fingerprint);
    tokens_close(&t);
    assert_ok(tokens_check(&checked, (uint8_t *)data, n, 257, "x", &err), &err);
    assert_int_equal(checked.n, 11);
    for (size_t i = 0; i < n; i++) {
        data[i] ^= 0x40;
        assert_fails(tokens_check(&checked, (uint8_t *)data, n, 257, "x", &err), MSA_E_FORMAT, &err,
                     "no whole token file");
        data[i] ^= 0x40;
        assert_fails(tokens_check(&checked, (uint8_t *)data, i, 257, "x", &err), MSA_E_FORMAT, &err,
                     "no whole token file");
    }
    assert_fails(tokens_check(&checked, (uint8_t *)data, n, 200, "x", &err), MSA_E_FORMAT, &err,
                 "vocabulary lacks");
    write_file(name, data, n / 2);
    t = open_tokens("two.txt", "");
    assert_true(t.made && t.n == 11);
    tokens_close(&t);
    mem_free(data);
}

static void missing_and_empty_texts_are_named(void **state) {
    (void)state;
    char path[256], *items[] = {path};
    config_texts paths = list_of(items, 1);
    tokens_source s = source_of(&paths, "");
    tokens t;
    snprintf(path, sizeof path, "%s", at("nowhere.txt"));
    assert_fails(tokens_open(&t, &s, &err), MSA_E_IO, &err, "nowhere.txt");
    mkdir(at("empty"), 0777);
    snprintf(path, sizeof path, "%s", at("empty"));
    assert_fails(tokens_open(&t, &s, &err), MSA_E_ARG, &err, "no file");
    write_file("empty/nothing", "", 0);
    assert_fails(tokens_open(&t, &s, &err), MSA_E_ARG, &err, "no token");
    snprintf(path, sizeof path, "%s", at("texts"));
    s.folder = "/nowhere/at/all";
    assert_fails(tokens_open(&t, &s, &err), MSA_E_IO, &err, "/nowhere/at/all");
}

static void token_files_without_memory_fail_cleanly(void **state) {
    (void)state;
    char path[256], *items[] = {path};
    config_texts paths = list_of(items, 1);
    tokens_source s = source_of(&paths, "-");
    snprintf(path, sizeof path, "%s", at("texts"));
    for (long n = 0;; n++) {
        tokens t;
        char line[128];
        snprintf(line, sizeof line, "rm -f '%s'/tokens-*", folder);
        assert_int_equal(system(line), 0);
        long live = scarce_live();
        scarce_begin(n);
        msa_status status = tokens_open(&t, &s, &err);
        bool failed = scarce_end();
        tokens_close(&t);
        assert_int_equal(scarce_live(), live);
        if (!failed) {
            assert_ok(status, &err);
            return;
        }
    }
}

/* ---- pieces and epochs ---------------------------------------------------------------------- */

/* Documents of these lengths whose tokens are their positions in the whole text. */
static tokens numbered(const int64_t *lengths, int64_t n_docs) {
    tokens t = {.n_docs = n_docs};
    int64_t *docs = mem_alloc((size_t)n_docs + 1, sizeof *docs);
    for (int64_t d = 0; d < n_docs; d++) docs[d] = t.n, t.n += lengths[d];
    docs[n_docs] = t.n;
    int32_t *ids = mem_alloc((size_t)t.n, sizeof *ids);
    for (int64_t i = 0; i < t.n; i++) ids[i] = (int32_t)i;
    t.ids = ids, t.docs = docs;
    return t;
}

static void free_numbered(tokens *t) {
    mem_free((void *)(uintptr_t)t->ids);
    mem_free((void *)(uintptr_t)t->docs);
}

/* Counts each token of a batch; its documents must be runs inside one document of the text, their
 * targets the tokens that follow there. */
static void tally(const tokens *t, const train_batch *b, int *seen) {
    for (int32_t d = 0; d < b->n_docs; d++) {
        int32_t from = b->cu_seqlens[d], to = b->cu_seqlens[d + 1];
        int64_t doc = 0;
        assert_true(to > from);
        while (t->docs[doc + 1] <= b->ids[from]) doc++;
        for (int32_t i = from; i < to; i++) {
            assert_int_equal(b->ids[i], b->ids[from] + i - from);
            assert_true(b->ids[i] < t->docs[doc + 1]);
            assert_int_equal(b->targets[i], b->ids[i] + 1 == t->docs[doc + 1] ? -1 : b->ids[i] + 1);
            seen[b->ids[i]]++;
        }
    }
    assert_int_equal(b->cu_seqlens[b->n_docs], b->n_tokens);
}

static const int64_t LENGTHS[] = {1, 7, 64, 65, 300, 2, 16, 128, 1, 90};
enum { N_LENGTHS = sizeof LENGTHS / sizeof *LENGTHS, CONTEXT = 64, ROOM = 128 };

static void an_epoch_has_every_token_once_but_those_held_out(void **state) {
    (void)state;
    tokens t = numbered(LENGTHS, N_LENGTHS);
    train_batch b;
    corpus *c;
    assert_ok(batch_create(&b, ROOM, &err), &err);
    assert_ok(corpus_create(&c, &t, NULL, 0.2, CONTEXT, ROOM, 7, &err), &err);
    int *held = mem_calloc((size_t)t.n, sizeof *held),
        *seen = mem_calloc((size_t)t.n, sizeof *seen);
    int64_t number = 0, epoch = 0, n_held = 0;
    for (int64_t i = 0; corpus_valid_batch(c, i, &b); i++) tally(&t, &b, held);
    for (int64_t i = 0; i < t.n; i++) n_held += held[i];
    assert_int_equal(n_held, corpus_tokens(c, true));
    assert_true(n_held > 0);
    for (int64_t round = 0; round < 3; round++) {
        memset(seen, 0, (size_t)t.n * sizeof *seen);
        for (;; number++) {
            assert_ok(corpus_batch(c, number, &b, &epoch, &err), &err);
            if (epoch != round) break;
            tally(&t, &b, seen);
        }
        for (int64_t i = 0; i < t.n; i++) assert_int_equal(seen[i] + held[i], 1);
    }
    corpus_free(c);
    free_numbered(&t);
    batch_free(&b);
    mem_free(held);
    mem_free(seen);
}

static void a_batch_does_not_depend_on_those_asked_for_before(void **state) {
    (void)state;
    tokens t = numbered(LENGTHS, N_LENGTHS);
    train_batch a, b;
    corpus *one, *two;
    int64_t epoch;
    assert_ok(batch_create(&a, ROOM, &err), &err);
    assert_ok(batch_create(&b, ROOM, &err), &err);
    assert_ok(corpus_create(&one, &t, NULL, 0.1, CONTEXT, ROOM, 7, &err), &err);
    int differ = 0;
    for (int64_t number = 0; number < 40; number++) {
        assert_ok(corpus_batch(one, number, &a, &epoch, &err), &err);
        assert_ok(corpus_create(&two, &t, NULL, 0.1, CONTEXT, ROOM, 7, &err), &err);
        if (number % 2) assert_ok(corpus_batch(two, 1000, &b, &epoch, &err), &err);
        assert_ok(corpus_batch(two, number, &b, &epoch, &err), &err);
        assert_int_equal(a.n_tokens, b.n_tokens);
        assert_memory_equal(a.ids, b.ids, (size_t)a.n_tokens * sizeof *a.ids);
        corpus_free(two);
        assert_ok(corpus_create(&two, &t, NULL, 0.1, CONTEXT, ROOM, 8, &err), &err);
        assert_ok(corpus_batch(two, number, &b, &epoch, &err), &err);
        differ += a.n_tokens != b.n_tokens ||
                  memcmp(a.ids, b.ids, (size_t)a.n_tokens * sizeof *a.ids) != 0;
        corpus_free(two);
    }
    assert_true(differ > 30); /* another seed is another order */
    corpus_free(one);
    free_numbered(&t);
    batch_free(&a);
    batch_free(&b);
}

static void a_stretch_holds_nothing_that_is_held_out(void **state) {
    (void)state;
    static const int64_t LONG[] = {1000, 7};
    tokens t = numbered(LONG, 2);
    train_batch b;
    corpus *c;
    bool held_out[1007] = {false};
    assert_ok(batch_create(&b, ROOM, &err), &err);
    assert_ok(corpus_create(&c, &t, NULL, 0.3, CONTEXT, ROOM, 7, &err), &err);
    for (int64_t i = 0; corpus_valid_batch(c, i, &b); i++)
        for (int64_t j = 0; j < b.n_tokens; j++) held_out[b.ids[j]] = true;
    for (uint64_t at = 0; at < 500; at++) {
        const int32_t *ids;
        int64_t n = corpus_stretch(c, at * 77, 40, &ids);
        assert_in_range(n, 1, 40);
        for (int64_t j = 0; j < n; j++) assert_false(held_out[ids[j]]);
    }
    corpus_free(c);
    free_numbered(&t);
    batch_free(&b);
}

static void a_text_too_short_to_hold_anything_out_is_refused(void **state) {
    (void)state;
    static const int64_t SHORT[] = {40};
    tokens t = numbered(SHORT, 1);
    corpus *c;
    assert_fails(corpus_create(&c, &t, NULL, 0.2, CONTEXT, ROOM, 7, &err), MSA_E_ARG, &err,
                 "data.valid");
    assert_null(c);
    assert_ok(corpus_create(&c, &t, &t, 0, CONTEXT, ROOM, 7, &err), &err);
    assert_int_equal(corpus_tokens(c, true), 40);
    corpus_free(c);
    free_numbered(&t);
}

/* ---- tasks ---------------------------------------------------------------------------------- */

typedef struct school {
    train_config config;
    tokens text;
    corpus *corpus;
    mixture *mixture;
    train_batch batch;
} school;

static void open_school(school *s, const char *settings) {
    char copy[1024];
    *s = (school){0};
    if (access(at("prose.txt"), F_OK) != 0) {
        size_t n;
        char *prose = read_test_file("LICENSE", &n);
        write_file("prose.txt", prose, n);
        free(prose);
    }
    assert_ok(config_init(&s->config, &err), &err);
    snprintf(copy, sizeof copy, "data.text=prose data.context=512 data.rows=2 %s", settings);
    for (char *one = strtok(copy, " "); one; one = strtok(NULL, " "))
        assert_ok(config_set(&s->config, one, &err), &err);
    assert_ok(config_settle(&s->config, &err), &err);
    s->text = open_tokens("prose.txt", "");
    assert_ok(corpus_create(&s->corpus, &s->text, NULL, 0.1, s->config.data.context,
                            s->config.data.context * s->config.data.rows, 1, &err),
              &err);
    assert_ok(batch_create(&s->batch, s->config.data.context * s->config.data.rows, &err), &err);
    assert_ok(mixture_create(&s->mixture, &s->config, bytes_only, s->corpus, &err), &err);
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
    (void)state;
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
        open_school(&s, CASES[i].settings);
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
    (void)state;
    school s;
    int source;
    int64_t epoch, last = 0;
    open_school(&s, "data.weight=0 tasks.recall.weight=1 tasks.recall.items=40 "
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
    open_school(&s, "data.weight=0 tasks.recall.weight=1 tasks.recall.answers_only=false");
    assert_ok(mixture_batch(s.mixture, 0, 0, &s.batch, &source, &epoch, &err), &err);
    for (int32_t i = 0; i < 511; i++) assert_int_equal(s.batch.targets[i], s.batch.ids[i + 1]);
    assert_int_equal(s.batch.targets[511], -1);
    close_school(&s);
}

static void sources_take_turns_by_weight(void **state) {
    (void)state;
    school s;
    int64_t epoch, counts[MIXTURE_SOURCES] = {0};
    open_school(&s, "data.weight=2 tasks.copy.weight=1 tasks.needle.weight=1 optim.accumulate=2");
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
    (void)state;
    school a, b;
    const char *settings = "tasks.recall.weight=1 tasks.copy.weight=1 tasks.passkey.weight=1 "
                           "tasks.needle.weight=1 tasks.recall.grow_steps=30 "
                           "tasks.recall.start_items=2";
    open_school(&a, settings);
    open_school(&b, settings);
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
    (void)state;
    static const char *const CASES[][2] = {
        {"tasks.recall.weight=1 tasks.recall.items=400", "tasks.recall"},
        {"tasks.copy.weight=1 tasks.copy.items=200", "tasks.copy"},
        {"tasks.passkey.weight=1 tasks.passkey.length=64", "tasks.passkey"},
        {"tasks.needle.weight=1 tasks.needle.start_length=100 tasks.needle.grow_steps=5",
         "tasks.needle"},
        {"tasks.passkey.weight=1e-4", "tasks.passkey.weight"}, /* would never have a turn */
        {"tasks.passkey.weight=1e5", "data.weight"},
    };
    for (size_t i = 0; i < sizeof CASES / sizeof *CASES; i++) {
        school s;
        char copy[256];
        mixture *m;
        open_school(&s, "");
        snprintf(copy, sizeof copy, "%s", CASES[i][0]);
        for (char *one = strtok(copy, " "); one; one = strtok(NULL, " "))
            assert_ok(config_set(&s.config, one, &err), &err);
        assert_ok(config_settle(&s.config, &err), &err);
        assert_fails(mixture_create(&m, &s.config, bytes_only, s.corpus, &err), MSA_E_ARG, &err,
                     CASES[i][1]);
        assert_null(m);
        close_school(&s);
    }
}

static void a_vocabulary_without_the_symbols_of_tasks_will_do_for_text(void **state) {
    (void)state;
    school s;
    mixture *m;
    tokenizer *t = create_bytes('~');
    open_school(&s, "");
    assert_ok(mixture_create(&m, &s.config, t, s.corpus, &err), &err);
    mixture_free(m);
    s.config.tasks[TASK_COPY].weight = 1;
    assert_fails(mixture_create(&m, &s.config, t, s.corpus, &err), MSA_E_UNSUPPORTED, &err,
                 "data.tokenizer");
    close_school(&s);
    tokenizer_free(t);
}

static void mixtures_without_memory_fail_cleanly(void **state) {
    (void)state;
    school s;
    open_school(&s, "tasks.recall.weight=1 tasks.needle.weight=1 tasks.copy.weight=1 "
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
        if (status == MSA_OK) status = mixture_create(&m, &s.config, bytes_only, c, &err);
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
        cmocka_unit_test(checksums_are_xxh64),
        cmocka_unit_test(a_directory_is_its_texts_in_order_of_name),
        cmocka_unit_test(a_changed_text_gets_another_file),
        cmocka_unit_test(a_text_that_changes_meanwhile_leaves_no_file),
        cmocka_unit_test(every_damage_to_a_token_file_is_seen_and_mended),
        cmocka_unit_test(missing_and_empty_texts_are_named),
        cmocka_unit_test(token_files_without_memory_fail_cleanly),
        cmocka_unit_test(an_epoch_has_every_token_once_but_those_held_out),
        cmocka_unit_test(a_batch_does_not_depend_on_those_asked_for_before),
        cmocka_unit_test(a_stretch_holds_nothing_that_is_held_out),
        cmocka_unit_test(a_text_too_short_to_hold_anything_out_is_refused),
        cmocka_unit_test(every_task_can_be_solved_and_not_without_looking_far),
        cmocka_unit_test(an_answer_counts_only_whole),
        cmocka_unit_test(samples_have_the_length_asked_for_and_grow_with_the_steps),
        cmocka_unit_test(sources_take_turns_by_weight),
        cmocka_unit_test(batches_are_functions_of_step_and_configuration),
        cmocka_unit_test(samples_that_do_not_fit_are_refused_with_their_size),
        cmocka_unit_test(a_vocabulary_without_the_symbols_of_tasks_will_do_for_text),
        cmocka_unit_test(mixtures_without_memory_fail_cleanly),
    };
    return cmocka_run_group_tests(tests, open_folder, close_folder);
}
