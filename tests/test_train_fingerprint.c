/* test_train_fingerprint.c: token files know the tokenizer they were made with, all of it. */
#include "support/support.h"

#include <stdlib.h>
#include <string.h>

#include "support/folder.h"
#include "support/gguf_writer.h"
#include "train/tokens_make.h"

static msa_error err;

/* Of a model file with n letters in front of its merges, or behind its keys as a tensor. */
static uint64_t fingerprint(const char *folder, size_t n_before, const char *merge, float weight) {
    static const config_texts NO_FILES;
    const char *path = folder_path(folder, "words.gguf");
    tokens_source source = {.separator = "", .tokenizer_name = path};
    uint64_t found = 0, shape[1] = {8};
    float data[8] = {weight};
    gguf_writer w = {0};
    char *filler = malloc(n_before + 1);
    assert_non_null(filler);
    memset(filler, 'x', n_before);
    filler[n_before] = 0;
    gguf_write_string(&w, "general.description", filler);
    gguf_write_string(&w, "tokenizer.ggml.merge", merge);
    gguf_write_tensor(&w, "t", 0, 1, shape, data, sizeof data);
    free(filler);
    gguf_writer_save(&w, path);
    assert_ok(tokens_fingerprint(&source, &NO_FILES, &found, &err), &err);
    return found;
}

static void every_key_of_the_tokenizers_file_counts(void **state) {
    for (size_t n = 10; n <= (size_t)20 << 20; n += (size_t)20 << 19) {
        uint64_t first = fingerprint(*state, n, "a b", 1);
        assert_true(fingerprint(*state, n, "a b", 1) == first);
        assert_true(fingerprint(*state, n, "a c", 1) != first);
    }
}

static void weights_behind_a_large_vocabulary_do_not(void **state) {
    size_t n = (size_t)20 << 20;
    assert_true(fingerprint(*state, n, "a b", 1) == fingerprint(*state, n, "a b", 2));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_key_of_the_tokenizers_file_counts),
        cmocka_unit_test(weights_behind_a_large_vocabulary_do_not),
    };
    return cmocka_run_group_tests(tests, folder_create, folder_remove);
}
