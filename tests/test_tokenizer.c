/* test_tokenizer.c: tokens of a small vocabulary by hand, any bytes there and back, vocabularies
 * that lie, and memory that runs out. */
#include "support/support.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/utf8.h"
#include "model/byte_alphabet.h"
#include "model/pretok.h"
#include "model/text_stream.h"
#include "model/tokenizer_gguf.h"
#include "support/scarce.h"
#include "support/tokens.h"

#define T(text) ((vocab_text){text, sizeof text - 1})

enum { HE = 256, LL, HELL, HELLO, GH, GHELLO, SPACES, END, OPEN, LONGER, BOX, N_TOKENS };

static const vocab_text merges[] = {T("h e"), T("l l"),     T("he ll"), T("hell o"),
                                    T("Ġ h"), T("Ġ hello"), T("Ġ Ġ")};

typedef struct small {
    vocab_text tokens[N_TOKENS];
    int32_t types[N_TOKENS];
    char spelling[256][4];
    tokenizer_params params;
} small;

static void small_fill(small *v) {
    for (int byte = 0; byte < 256; byte++) {
        size_t n = utf8_encode(byte_alphabet_code((uint8_t)byte), v->spelling[byte]);
        v->tokens[byte] = (vocab_text){v->spelling[byte], n};
    }
    const vocab_text more[] = {T("he"),       T("ll"),        T("hell"),      T("hello"),
                               T("Ġh"),       T("Ġhello"),    T("ĠĠ"),        T("<|end|>"),
                               T("<|open|>"), T("<|open|>>"), T("[box of é]")};
    memcpy(v->tokens + 256, more, sizeof more);
    for (int i = 0; i < N_TOKENS; i++) v->types[i] = VOCAB_NORMAL;
    v->types[END] = v->types[OPEN] = v->types[LONGER] = VOCAB_CONTROL;
    v->types[BOX] = VOCAB_USER_DEFINED;
    v->params = (tokenizer_params){.tokens = v->tokens,
                                   .types = v->types,
                                   .n_tokens = N_TOKENS,
                                   .merges = merges,
                                   .n_merges = sizeof merges / sizeof *merges,
                                   .pre = T("gpt-2"),
                                   .bos = OPEN,
                                   .eos = END,
                                   .eot = -1,
                                   .unk = -1,
                                   .pad = -1,
                                   .add_bos = -1,
                                   .ignore_merges = -1,
                                   .add_eos = -1};
}

static tokenizer *small_tokenizer(const char *pre, int add_bos, int add_eos) {
    msa_error err;
    small v;
    small_fill(&v);
    v.params.pre = (vocab_text){pre, strlen(pre)};
    v.params.add_bos = add_bos;
    v.params.add_eos = add_eos;
    tokenizer *t;
    assert_ok(tokenizer_create(&t, &v.params, &err), &err);
    return t;
}

#define ASSERT_TOKENS(t, text, flags, ...)                                                         \
    assert_tokens(t, text, flags, (const int32_t[]){__VA_ARGS__},                                  \
                  sizeof((const int32_t[]){__VA_ARGS__}) / sizeof(int32_t))

static void merges_happen_in_the_order_of_the_list(void **state) {
    (void)state;
    tokenizer *t = small_tokenizer("gpt-2", 0, 0);
    ASSERT_TOKENS(t, "hello", 0, HELLO);
    ASSERT_TOKENS(t, " hello", 0, GHELLO);
    ASSERT_TOKENS(t, "hellohello hell", 0, HELLO, HELLO, ' ', HELL);
    ASSERT_TOKENS(t, "lll", 0, LL, 'l');                         /* the leftmost of equals first */
    ASSERT_TOKENS(t, "llll helo", 0, LL, LL, ' ', HE, 'l', 'o'); /* "h e" before "Ġ h" */
    ASSERT_TOKENS(t, "    hello", 0, SPACES, ' ', GHELLO);
    ASSERT_TOKENS(t, "hello hello hello hello", 0, HELLO, GHELLO, GHELLO, GHELLO);
    tokenizer_free(t);
}

static void special_tokens_are_seen_only_when_asked(void **state) {
    (void)state;
    tokenizer *t = small_tokenizer("gpt-2", 1, 1);
    ASSERT_TOKENS(t, "<|end|>", 0, '<', '|', 'e', 'n', 'd', '|', '>');
    ASSERT_TOKENS(t, "<|end|>", MSA_PARSE_SPECIAL, END);
    ASSERT_TOKENS(t, "a<|end|>hello", MSA_PARSE_SPECIAL, 'a', END, HELLO);
    ASSERT_TOKENS(t, "<|open|>><|open|>", MSA_PARSE_SPECIAL, LONGER, OPEN); /* the longest */
    ASSERT_TOKENS(t, "<|open|", MSA_PARSE_SPECIAL, '<', '|', 'o', 'p', 'e', 'n', '|');
    ASSERT_TOKENS(t, "x[box of é]y", 0, 'x', BOX, 'y'); /* user-defined ones always */
    ASSERT_TOKENS(t, "hello", MSA_ADD_SPECIAL, OPEN, HELLO, END);
    ASSERT_TOKENS(t, "", MSA_ADD_SPECIAL, OPEN, END);
    ASSERT_TOKENS(t, "<|open|>", MSA_ADD_SPECIAL | MSA_PARSE_SPECIAL, OPEN, OPEN, END);
    msa_tokens none = encode(t, "", 0, 0);
    assert_int_equal(none.n, 0);
    msa_tokens_free(&none);
    tokenizer_free(t);
}

static void llama_takes_whole_words_and_begins_with_bos(void **state) {
    (void)state;
    msa_error err;
    small v;
    small_fill(&v);
    v.params.pre = T("llama-bpe");
    v.params.n_merges = 1; /* "h e" alone: no merge leads to "hello" */
    tokenizer *t;
    assert_ok(tokenizer_create(&t, &v.params, &err), &err);
    ASSERT_TOKENS(t, "hello hell!", 0, HELLO, ' ', HE, 'l', 'l', '!');
    ASSERT_TOKENS(t, "a", MSA_ADD_SPECIAL, OPEN, 'a');
    tokenizer_free(t);
    v.params.pre = T("qwen2");
    assert_ok(tokenizer_create(&t, &v.params, &err), &err);
    ASSERT_TOKENS(t, "hello", MSA_ADD_SPECIAL, HE, 'l', 'l', 'o');
    assert_true(tokenizer_is_end(t, END) && !tokenizer_is_end(t, OPEN));
    assert_false(tokenizer_is_end(t, -1) || tokenizer_is_end(t, N_TOKENS));
    tokenizer_free(t);
}

static void assert_words(const char *name, const char *text, const char *expected) {
    msa_error err;
    pretok *p;
    pretok_walk w;
    char found[512] = "";
    size_t start, n, end = 0;
    assert_ok(pretok_create(&p, name, strlen(name), &err), &err);
    assert_ok(pretok_walk_begin(&w, p, &err), &err);
    pretok_walk_text(&w, text, strlen(text));
    for (;;) {
        assert_ok(pretok_walk_next(&w, &start, &n, &err), &err);
        assert_int_equal(start, end);
        if (n == 0) break;
        snprintf(found + strlen(found), sizeof found - strlen(found), "[%.*s]", (int)n,
                 text + start);
        end += n;
    }
    assert_int_equal(end, strlen(text));
    assert_string_equal(found, expected);
    pretok_walk_end(&w);
    pretok_free(p);
}

/* The expected words are those of the models' own patterns in the `tokenizers` package. */
static void texts_are_cut_into_the_words_of_the_family(void **state) {
    (void)state;
    const char *text = "I'LL pay  $1234.50,\n\n you'll  see";
    assert_words("gpt-2", text,
                 "[I]['][LL][ pay][ ][ $][1234][.][50][,][\n\n][ you]['ll][ ][ see]");
    assert_words("smollm", text,
                 "[I]['][LL][ pay][ ][ $][1][2][3][4][.][5][0][,][\n\n][ you]['ll][ ][ see]");
    assert_words("llama-bpe", text,
                 "[I]['LL][ pay][ ][ $][123][4][.][50][,\n\n][ you]['ll][ ][ see]");
    assert_words("qwen2", text,
                 "[I]['LL][ pay][ ][ $][1][2][3][4][.][5][0][,\n\n][ you]['ll][ ][ see]");
    assert_words("gpt-4o", text, "[I'LL][ pay][ ][ $][123][4][.][50][,\n\n][ you'll][ ][ see]");
    assert_words("minimax-m2", "camelCaseHTTPServer isn't ÉCOLE/été//\n naïve e\xcc\x81t",
                 "[camel][Case][HTTPServer][ isn't][ ÉCOLE][/été][//\n][ naïve][ e\xcc\x81t]");
    assert_words("gpt-2", "a  1\n\n2", "[a][ ][ 1][\n][\n][2]");
    assert_words("smollm", "a  1\n\n2", "[a][  ][1][\n\n][2]"); /* blanks before a digit end here */
    assert_words("llama3", "a  1\n\n2", "[a][ ][ ][1][\n\n][2]");
    /* U+180E was a space until Unicode 6.3, U+0085 is one */
    assert_words("gpt-2", "a\xe1\xa0\x8e \xc2\x85 b", "[a][\xe1\xa0\x8e][ \xc2\x85][ b]");
    assert_words("llama-v3", "x\xff\xfe y\xc3", "[x][\xff\xfe][ y][\xc3]");
    assert_words("qwen2", "", "");
}

static void an_unknown_pre_tokeniser_is_named(void **state) {
    (void)state;
    msa_error err;
    pretok *p;
    assert_fails(pretok_create(&p, "gpt-9\n", 6, &err), MSA_E_UNSUPPORTED, &err, "'gpt-9\\n'");
    assert_fails(pretok_create(&p, "gpt-", 4, &err), MSA_E_UNSUPPORTED, &err, "smollm");
    assert_null(p);
}

static void any_bytes_survive(void **state) {
    (void)state;
    static const char *const families[] = {"gpt-2", "smollm", "llama-bpe", "qwen2", "gpt-4o"};
    static const char *const pieces[] = {"<|end|>",      "<|open|>>", "[box of é]",
                                         "hello",        "\xe6\x97",  "\xf0\x9f\x99\x82",
                                         "\xed\xa0\x80", "\xc0\x80",  "  \n"};
    rng r = rng_seed(17);
    char text[200];
    for (size_t f = 0; f < sizeof families / sizeof *families; f++) {
        tokenizer *t = small_tokenizer(families[f], 0, 0);
        for (int trial = 0; trial < 3000; trial++) {
            size_t n = 0;
            for (size_t want = rng_below(&r, 150); n < want;) {
                const char *piece = pieces[rng_below(&r, sizeof pieces / sizeof *pieces)];
                if (rng_below(&r, 3)) {
                    text[n++] = (char)rng_next(&r);
                } else {
                    memcpy(text + n, piece, strlen(piece));
                    n += strlen(piece);
                }
            }
            assert_round_trip(t, text, n, rng_below(&r, 2) ? MSA_PARSE_SPECIAL : 0);
        }
        tokenizer_free(t);
    }
}

static void a_megabyte_without_a_space_is_no_trouble(void **state) {
    (void)state;
    size_t n = 1 << 20;
    char *text = malloc(n);
    tokenizer *t = small_tokenizer("gpt-2", 0, 0);
    const char *const units[] = {"l", " ", "hello", "\xff", "\n ", "<|open|", "\xe2\x80\x83"};
    for (size_t u = 0; u < sizeof units / sizeof *units; u++) {
        for (size_t i = 0; i < n; i++) text[i] = units[u][i % strlen(units[u])];
        assert_round_trip(t, text, n, MSA_PARSE_SPECIAL);
    }
    msa_tokens ids = encode(t, "lllll", 5, 0);
    assert_int_equal(ids.n, 3);
    msa_tokens_free(&ids);
    tokenizer_free(t);
    free(text);
}

static void bytes_without_a_token_are_replaced_and_counted(void **state) {
    (void)state;
    msa_error err;
    small v;
    small_fill(&v);
    v.tokens[0x07] = T("<none-7>");
    v.tokens[0xff] = T("<none-ff>");
    tokenizer *t;
    assert_ok(tokenizer_create(&t, &v.params, &err), &err);
    msa_tokens ids = encode(t, "a\x07\xff\xff", 4, 0);
    assert_int_equal(ids.n_replaced, 3);
    char *text;
    assert_ok(tokenizer_decode_all(t, ids.ids, ids.n, 0, &text, NULL, &err), &err);
    assert_string_equal(text, "a\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd");
    mem_free(text);
    msa_tokens_free(&ids);
    tokenizer_free(t);

    v.tokens[0xbf] = T("<none-bf>"); /* and no U+FFFD either */
    assert_ok(tokenizer_create(&t, &v.params, &err), &err);
    ids = encode(t, "a\x07z\xff", 4, 0);
    assert_int_equal(ids.n_replaced, 2);
    assert_int_equal(ids.n, 2);
    msa_tokens_free(&ids);
    tokenizer_free(t);
}

static void a_stream_gives_whole_characters_and_loses_nothing(void **state) {
    (void)state;
    msa_error err;
    tokenizer *t = small_tokenizer("gpt-2", 0, 0);
    const char *text = "é€🙂\xf0\x9f\x99 \xe2\x82x\x80\xffz\xed\xa0\x80\xc3";
    size_t n = strlen(text), at = 0, n_part;
    const char *part;
    char all[64];
    msa_text_stream *s;
    assert_ok(text_stream_create(&s, t, &err), &err);
    for (size_t i = 0; i < n; i++) {
        assert_ok(msa_text_stream_push(s, (uint8_t)text[i], &part, &n_part, &err), &err);
        memcpy(all + at, part, n_part);
        at += n_part;
        if (i == 0) assert_int_equal(at, 0);
        if (i == 1) assert_int_equal(at, 2);
        if (i == 4) assert_int_equal(at, 5);
        if (i < 8) assert_int_equal(utf8_valid_prefix(all, at), at);
        assert_true(i + 1 - at <= 3);
        if (i + 1 < n && ((uint8_t)text[i + 1] < 0x80)) assert_true(i + 1 - at <= 3);
    }
    assert_int_equal(at, n - 1);
    assert_ok(msa_text_stream_push(s, END, &part, &n_part, &err), &err); /* shows nothing */
    assert_int_equal(n_part, 0);
    assert_fails(msa_text_stream_push(s, N_TOKENS, &part, &n_part, &err), MSA_E_ARG, &err,
                 "outside the vocabulary");
    assert_fails(msa_text_stream_push(s, -1, &part, &n_part, &err), MSA_E_ARG, &err, "token -1");
    msa_text_stream_flush(s, &part, &n_part);
    assert_int_equal(n_part, 1);
    memcpy(all + at, part, n_part);
    assert_memory_equal(all, text, n);
    msa_text_stream_flush(s, &part, &n_part);
    assert_int_equal(n_part, 0);
    msa_text_stream_free(s);
    msa_text_stream_free(NULL);
    tokenizer_free(t);
}

static void utf8_is_what_the_rfc_says(void **state) {
    (void)state;
    static const struct {
        const char *text;
        size_t valid, tail; /* bytes of the valid prefix; of an end that could go on */
    } cases[] = {
        {"", 0, 0},
        {"abc", 3, 0},
        {"\xc3\xa9", 2, 0},
        {"\xc3", 0, 1},
        {"\xc0\x80", 0, 0},
        {"\xc1\xbf", 0, 0},
        {"\xe0\x80\x80", 0, 0},
        {"\xe0\xa0", 0, 2},
        {"\xe0\x9f", 0, 0},
        {"\xed\x9f\xbf", 3, 0},
        {"\xed\xa0\x80", 0, 0},
        {"\xed\x9f", 0, 2},
        {"\xf0\x8f", 0, 0},
        {"\xf0\x90", 0, 2},
        {"\xf0\x9f\x99", 0, 3},
        {"\xf4\x8f", 0, 2},
        {"\xf4\x90", 0, 0},
        {"\xf5", 0, 0},
        {"\xff", 0, 0},
        {"a\x80", 1, 0},
        {"a\xf4\x8f\xbf\xbf", 5, 0},
        {"ab\xe2\x82", 2, 2},
        {"12345678\xc3\xa9 1234567\x80", 18, 0},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        size_t n = strlen(cases[i].text);
        assert_int_equal(utf8_valid_prefix(cases[i].text, n), cases[i].valid);
        assert_int_equal(utf8_unfinished_tail(cases[i].text, n), cases[i].tail);
    }
    for (uint32_t code = 0; code < 0x110000; code++) {
        char text[4];
        uint32_t back;
        size_t n = utf8_encode(code, text);
        bool surrogate = code >= 0xd800 && code < 0xe000;
        assert_int_equal(utf8_decode(text, n, &back), surrogate ? 0 : n);
        if (!surrogate) assert_int_equal(back, code);
    }
    char out[16];
    assert_string_equal(utf8_quote(out, sizeof out, "a\n\x01\xffé", 6), "a\\n\\x01\\xffé");
    assert_string_equal(utf8_quote(out, sizeof out, "0123456789abcdef", 16), "0123456789ab...");
    assert_string_equal(utf8_quote(out, sizeof out, "0123456789abc", 13), "0123456789abc");
}

static void assert_refused(const small *v, msa_status status, const char *word) {
    msa_error err;
    tokenizer *t;
    assert_fails(tokenizer_create(&t, &v->params, &err), status, &err, word);
    assert_null(t);
}

static void a_vocabulary_that_lies_is_refused_by_name(void **state) {
    (void)state;
    small v;
    small_fill(&v);
    v.params.n_tokens = 0;
    assert_refused(&v, MSA_E_FORMAT, "0");
    v.params.n_tokens = SIZE_MAX / 2;
    assert_refused(&v, MSA_E_FORMAT, "tokens");
    small_fill(&v);
    v.tokens[300 - 40].n = 0;
    assert_refused(&v, MSA_E_FORMAT, "token 260");
    small_fill(&v);
    v.tokens[HELLO] = T("hell");
    assert_refused(&v, MSA_E_FORMAT, "'hell' twice");
    small_fill(&v);
    v.types[7] = 9;
    assert_refused(&v, MSA_E_FORMAT, "type 9");
    small_fill(&v);
    v.params.bos = N_TOKENS;
    assert_refused(&v, MSA_E_FORMAT, "begin-of-text");
    small_fill(&v);
    v.params.eos = -2;
    assert_refused(&v, MSA_E_FORMAT, "end-of-text");
    small_fill(&v);
    v.params.bos = -1;
    v.params.add_bos = 1;
    assert_refused(&v, MSA_E_FORMAT, "begin-of-text");
    small_fill(&v);
    v.params.pre = T("klingon");
    assert_refused(&v, MSA_E_UNSUPPORTED, "klingon");

    static const struct {
        vocab_text merge;
        const char *word;
    } bad[] = {{T("h e"), "there before"}, {T("he"), "a space between"},
               {T("he "), "between"},      {T(" he"), "between"},
               {T(""), "between"},         {T("xy z"), "left"},
               {T("z xy"), "right"},       {T("x y"), "makes"},
               {T("h  e"), "right"},       {{"\xff\0 \1", 4}, "\\xff\\x00 \\x01"}};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        vocab_text list[] = {T("h e"), bad[i].merge};
        small_fill(&v);
        v.params.merges = list;
        v.params.n_merges = 2;
        assert_refused(&v, MSA_E_FORMAT, bad[i].word);
        assert_refused(&v, MSA_E_FORMAT, "merge 1");
    }
    small_fill(&v);
    v.params.n_merges = SIZE_MAX / 4;
    assert_refused(&v, MSA_E_FORMAT, "merges");
}

static void arguments_are_checked(void **state) {
    (void)state;
    msa_error err;
    tokenizer *t = small_tokenizer("gpt-2", 0, 0);
    msa_tokens out = encode(t, "hello", 5, 0);
    assert_fails(tokenizer_encode(t, NULL, 3, 0, &out, &err), MSA_E_ARG, &err, "text");
    assert_fails(tokenizer_encode(t, "a", 1, 8, &out, &err), MSA_E_ARG, &err, "flags");
    assert_int_equal(out.n, 1);
    assert_ok(tokenizer_encode(t, NULL, 0, 0, &out, &err), &err);
    assert_ok(tokenizer_encode(t, " hello", 6, 0, &out, &err), &err); /* appends */
    assert_int_equal(out.n, 2);
    char *text = NULL;
    int32_t wild[] = {HELLO, N_TOKENS};
    assert_fails(tokenizer_decode_all(t, wild, 2, 0, &text, NULL, &err), MSA_E_ARG, &err, "267");
    assert_null(text);
    msa_tokens_free(&out);
    tokenizer_free(t);
    tokenizer_free(NULL);
}

static void no_allocation_that_fails_leaks_or_crashes(void **state) {
    (void)state;
    msa_error err;
    small v;
    small_fill(&v);
    const char *text = "hello <|end|> hellohello \xff [box of é] llama";
    int failures = 0;
    for (long n = 0;; n++) {
        long before = scarce_live();
        tokenizer *t = NULL;
        msa_tokens out = {0};
        msa_text_stream *s = NULL;
        char *back = NULL;
        size_t n_part;
        const char *part;
        scarce_begin(n);
        msa_status status = tokenizer_create(&t, &v.params, &err);
        if (!status) status = tokenizer_encode(t, text, strlen(text), 3, &out, &err);
        if (!status) status = tokenizer_decode_all(t, out.ids, out.n, 2, &back, NULL, &err);
        if (!status) status = text_stream_create(&s, t, &err);
        if (!status) status = msa_text_stream_push(s, GHELLO, &part, &n_part, &err);
        bool ran_out = scarce_end();
        if (status) assert_fails(status, MSA_E_NOMEM, &err, "no memory");
        if (back) assert_string_equal(back, text);
        failures += status != MSA_OK;
        msa_text_stream_free(s);
        mem_free(back);
        msa_tokens_free(&out);
        tokenizer_free(t);
        assert_int_equal(scarce_live(), before);
        if (!ran_out) break;
    }
    assert_true(failures > 20);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(merges_happen_in_the_order_of_the_list),
        cmocka_unit_test(special_tokens_are_seen_only_when_asked),
        cmocka_unit_test(llama_takes_whole_words_and_begins_with_bos),
        cmocka_unit_test(texts_are_cut_into_the_words_of_the_family),
        cmocka_unit_test(an_unknown_pre_tokeniser_is_named),
        cmocka_unit_test(any_bytes_survive),
        cmocka_unit_test(a_megabyte_without_a_space_is_no_trouble),
        cmocka_unit_test(bytes_without_a_token_are_replaced_and_counted),
        cmocka_unit_test(a_stream_gives_whole_characters_and_loses_nothing),
        cmocka_unit_test(utf8_is_what_the_rfc_says),
        cmocka_unit_test(a_vocabulary_that_lies_is_refused_by_name),
        cmocka_unit_test(arguments_are_checked),
        cmocka_unit_test(no_allocation_that_fails_leaks_or_crashes),
    };
    return cmocka_run_group_tests_name("tokenizer", tests, NULL, NULL);
}
