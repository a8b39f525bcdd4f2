/* tokens.c: see tokens.h. */
#include "support/tokens.h"

#include <stdio.h>
#include <string.h>

#include "base/mem.h"

msa_tokens encode(const tokenizer *t, const char *text, size_t n, int flags) {
    msa_error err;
    msa_tokens out = {0};
    assert_ok(tokenizer_encode(t, text, n, flags, &out, &err), &err);
    return out;
}

void assert_tokens(const tokenizer *t, const char *text, int flags, const int32_t *expected,
                   size_t n) {
    msa_tokens out = encode(t, text, strlen(text), flags);
    if (out.n != n || memcmp(out.ids, expected, n * sizeof *expected) != 0) {
        print_error("'%s' gave", text);
        for (size_t i = 0; i < out.n; i++) print_error(" %d", out.ids[i]);
        fail_msg("expected %zu other tokens", n);
    }
    msa_tokens_free(&out);
}

void assert_round_trip(const tokenizer *t, const char *text, size_t n, int flags) {
    msa_error err;
    msa_tokens ids = encode(t, text, n, flags);
    char *back;
    size_t n_back;
    assert_int_equal(ids.n_replaced, 0);
    assert_ok(tokenizer_decode_all(t, ids.ids, ids.n, MSA_PARSE_SPECIAL, &back, &n_back, &err),
              &err);
    if (n_back != n || memcmp(back, text, n) != 0)
        fail_msg("%zu bytes came back as %zu", n, n_back);
    assert_int_equal(back[n_back], 0);
    mem_free(back);
    msa_tokens_free(&ids);
}
