/* test_checksum.c: XXH64 against published values, whole and in pieces. */
#include <string.h>

#include "base/checksum.h"
#include "support/support.h"

static void sums_are_the_published_ones(void **state) {
    (void)state;
    static const struct {
        const char *text;
        uint64_t sum;
    } known[] = {{"", 0xef46db3751d8e999u},
                 {"a", 0xd24ec4f1a98c6e5bu},
                 {"abc", 0x44bc2cf5ad770999u},
                 {"Nobody inspects the spammish repetition", 0xfbcea83c8a378bf1u},
                 {"The quick brown fox jumps over the lazy dog", 0x0b242d361fda71bcu}};
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        assert_true(checksum_of(known[i].text, strlen(known[i].text)) == known[i].sum);
}

static void pieces_of_any_length_give_the_sum_of_the_whole(void **state) {
    (void)state;
    uint8_t bytes[200];
    for (size_t i = 0; i < sizeof bytes; i++) bytes[i] = (uint8_t)(i * 151);
    for (size_t n = 0; n <= sizeof bytes; n += 13) {
        uint64_t whole = checksum_of(bytes, n);
        for (size_t piece = 1; piece <= 70; piece++) {
            checksum c = checksum_begin();
            for (size_t at = 0; at < n; at += piece) {
                checksum_add(&c, bytes + at, n - at < piece ? n - at : piece);
                checksum_add(&c, NULL, 0);
            }
            assert_true(checksum_end(&c) == whole);
        }
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sums_are_the_published_ones),
        cmocka_unit_test(pieces_of_any_length_give_the_sum_of_the_whole),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
