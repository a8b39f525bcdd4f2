/* test_train_data.c: texts become token files: found, named, made, damaged and mended. */
#include "support/support.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "support/scarce.h"
#include "support/texts.h"

static msa_error err;

static int open_folder(void **state) {
    if (texts_open(state) != 0) return -1;
    const texts *here = *state;
    mkdir(texts_path(here, "texts"), 0777);
    mkdir(texts_path(here, "texts/sub"), 0777);
    texts_write(here, "texts/b.txt", "second", 6);
    texts_write(here, "texts/a.txt", "first", 5);
    texts_write(here, "texts/sub/c.txt", "x--yz----w", 10);
    texts_write(here, "texts/.hidden", "no", 2);
    texts_write(here, "texts/binary", "a\0b", 3);
    return symlink(".", texts_path(here, "texts/loop"));
}

static void a_directory_is_its_texts_in_order_of_name(void **state) {
    const texts *here = *state;
    tokens t = texts_tokens(here, "texts", "--");
    static const char EXPECTED[] = "first|second|x|yz|w|";
    assert_int_equal(t.n_docs, 5);
    assert_int_equal(t.n, (int64_t)strlen(EXPECTED));
    for (int64_t i = 0; i < t.n; i++)
        assert_int_equal(t.ids[i], EXPECTED[i] == '|' ? TEXTS_END : EXPECTED[i]);
    assert_int_equal(t.docs[2], 13);
    assert_true(t.made && t.n_skipped == 1);
    uint64_t fingerprint = t.fingerprint;
    tokens_close(&t);
    t = texts_tokens(here, "texts", "--");
    assert_true(!t.made && t.fingerprint == fingerprint);
    tokens_close(&t);
    t = texts_tokens(here, "texts", ""); /* a file is a document */
    assert_true(t.made && t.fingerprint != fingerprint);
    assert_int_equal(t.n_docs, 3);
    tokens_close(&t);
}

static void a_changed_text_gets_another_file(void **state) {
    const texts *here = *state;
    texts_write(here, "one.txt", "abcd", 4);
    tokens t = texts_tokens(here, "one.txt", "");
    tokens_close(&t);
    texts_write(here, "one.txt", "abce", 4);
    t = texts_tokens(here, "one.txt", "");
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
    const texts *here = *state;
    char path[256], line[400], *items[] = {path};
    config_texts paths = {items, 1};
    tokens_source s = texts_source(here, &paths, "");
    tokens t;
    texts_write(here, "growing.txt", "abcd", 4);
    snprintf(path, sizeof path, "%s", texts_path(here, "growing.txt"));
    snprintf(line, sizeof line, "rm -rf '%s'/grown; mkdir '%s'/grown", here->folder, here->folder);
    assert_int_equal(system(line), 0);
    s.folder = texts_path(here, "grown");
    s.progress = append_to_text;
    s.user = path;
    assert_fails(tokens_open(&t, &s, &err), MSA_E_IO, &err, "changed");
    snprintf(line, sizeof line, "test -z \"$(ls '%s'/grown)\"", here->folder);
    assert_int_equal(system(line), 0);
}

static char *token_file_bytes(const texts *here, const tokens *t, size_t *n) {
    char path[256];
    snprintf(path, sizeof path, "%s/tokens-%016llx.bin", here->folder,
             (unsigned long long)t->fingerprint);
    return read_whole(path, n);
}

static void every_damage_to_a_token_file_is_seen_and_mended(void **state) {
    const texts *here = *state;
    texts_write(here, "two.txt", "some words", 10);
    tokens t = texts_tokens(here, "two.txt", ""), checked;
    size_t n;
    char *data = token_file_bytes(here, &t, &n);
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
    texts_write(here, name, data, n / 2);
    t = texts_tokens(here, "two.txt", "");
    assert_true(t.made && t.n == 11);
    tokens_close(&t);
    free(data);
}

static void missing_and_empty_texts_are_named(void **state) {
    const texts *here = *state;
    char path[256], *items[] = {path};
    config_texts paths = {items, 1};
    tokens_source s = texts_source(here, &paths, "");
    tokens t;
    snprintf(path, sizeof path, "%s", texts_path(here, "nowhere.txt"));
    assert_fails(tokens_open(&t, &s, &err), MSA_E_IO, &err, "nowhere.txt");
    mkdir(texts_path(here, "empty"), 0777);
    snprintf(path, sizeof path, "%s", texts_path(here, "empty"));
    assert_fails(tokens_open(&t, &s, &err), MSA_E_ARG, &err, "no file");
    texts_write(here, "empty/nothing", "", 0);
    assert_fails(tokens_open(&t, &s, &err), MSA_E_ARG, &err, "no token");
    snprintf(path, sizeof path, "%s", texts_path(here, "texts"));
    s.folder = "/nowhere/at/all";
    assert_fails(tokens_open(&t, &s, &err), MSA_E_IO, &err, "/nowhere/at/all");
}

static void token_files_without_memory_fail_cleanly(void **state) {
    const texts *here = *state;
    char path[256], *items[] = {path};
    config_texts paths = {items, 1};
    tokens_source s = texts_source(here, &paths, "-");
    snprintf(path, sizeof path, "%s", texts_path(here, "texts"));
    for (long n = 0;; n++) {
        tokens t;
        char line[128];
        snprintf(line, sizeof line, "rm -f '%s'/tokens-*", here->folder);
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

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_directory_is_its_texts_in_order_of_name),
        cmocka_unit_test(a_changed_text_gets_another_file),
        cmocka_unit_test(a_text_that_changes_meanwhile_leaves_no_file),
        cmocka_unit_test(every_damage_to_a_token_file_is_seen_and_mended),
        cmocka_unit_test(missing_and_empty_texts_are_named),
        cmocka_unit_test(token_files_without_memory_fail_cleanly),
    };
    return cmocka_run_group_tests(tests, open_folder, texts_close);
}
