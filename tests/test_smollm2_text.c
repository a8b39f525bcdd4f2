/* test_smollm2_text.c: SmolLM2's tokenizer and chat template against those of Transformers, and the
 * public calls of text on its file. */
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "model/tokenizer_gguf.h"
#include "support/golden.h"
#include "support/tokens.h"

static tokenizer *smollm2(chat_template *chat) {
    test_need_model();
    msa_error err;
    gguf_file *gguf;
    tokenizer *t;
    assert_ok(gguf_open(&gguf, test_path(TEST_MODEL), &err), &err);
    assert_ok(tokenizer_from_gguf(&t, chat, gguf, &err), &err);
    gguf_close(gguf);
    return t;
}

static void smollm2_gives_the_tokens_of_transformers(void **state) {
    (void)state;
    msa_error err;
    chat_template chat;
    tokenizer *t = smollm2(&chat);
    golden *g = golden_open("smollm2");
    size_t n;
    char *text = read_test_file("tests/data/mixed.txt", &n);
    for (int special = 0; special < 2; special++) {
        const char *name = special ? "ids" : "ids_plain";
        size_t n_ids = golden_count(g, name);
        const int32_t *expected = golden_i32(g, name, n_ids);
        msa_tokens ids = encode(t, text, n, special ? MSA_PARSE_SPECIAL : 0);
        for (size_t i = 0; i < n_ids && i < ids.n; i++)
            if (ids.ids[i] != expected[i])
                fail_msg("%s[%zu] is %d, expected %d", name, i, ids.ids[i], expected[i]);
        assert_int_equal(ids.n, n_ids);
        msa_tokens_free(&ids);
        assert_round_trip(t, text, n, special ? MSA_PARSE_SPECIAL : 0);
    }
    free(text);

    const vocab_text empty = {"", 0};
    msa_chat_message question = {"user", golden_string(g, "question")};
    assert_ok(chat_format(&chat, &question, 1, true, empty, empty, &text, &err), &err);
    size_t n_prompt = golden_count(g, "chat_prompt");
    assert_tokens(t, text, MSA_PARSE_SPECIAL, golden_i32(g, "chat_prompt", n_prompt), n_prompt);
    mem_free(text);
    size_t n_answer = golden_count(g, "chat_answer"), n_text = golden_count(g, "chat_text"), n_back;
    assert_ok(tokenizer_decode_all(t, golden_i32(g, "chat_answer", n_answer), n_answer,
                                   MSA_PARSE_SPECIAL, &text, &n_back, &err),
              &err);
    assert_int_equal(n_back, n_text);
    assert_memory_equal(text, golden_text(g, "chat_text", n_text), n_text);
    mem_free(text);
    golden_close(g);
    chat_template_free(&chat);
    tokenizer_free(t);
}

static void smollm2_knows_its_ends_and_lacks_21_bytes(void **state) {
    (void)state;
    chat_template chat;
    tokenizer *t = smollm2(&chat);
    assert_int_equal(tokenizer_size(t), 49152);
    assert_true(tokenizer_is_end(t, 0) && tokenizer_is_end(t, 2) && !tokenizer_is_end(t, 1));
    assert_int_equal(tokenizer_find(t, "<|im_start|>", 12), 1);
    assert_string_equal(chat.name, "chatml-default-system");
    char all[256];
    for (int i = 0; i < 256; i++) all[i] = (char)i;
    msa_tokens ids = encode(t, all, 256, 0);
    assert_int_equal(ids.n_replaced, 21);
    msa_tokens_free(&ids);
    chat_template_free(&chat);
    tokenizer_free(t);
}

static void the_public_calls_read_and_write_smollm2s_text(void **state) {
    (void)state;
    chat_template chat;
    tokenizer_free(smollm2(&chat)); /* skips where there is no file */
    chat_template_free(&chat);
    msa_error err;
    msa_model *m;
    assert_ok(msa_model_load(&m, test_path(TEST_MODEL), &err), &err);
    assert_string_equal(msa_model_get_info(m)->tokenizer, "gpt2 (smollm)");
    assert_string_equal(msa_model_get_info(m)->chat_template, "chatml-default-system");

    msa_chat_message hello = {"user", "Grüße 🙂"};
    char *prompt, *text;
    size_t n, n_streamed = 0;
    assert_ok(msa_chat_format(m, &hello, 1, 1, &prompt, &err), &err);
    msa_tokens ids = {0};
    assert_ok(msa_tokenize(m, prompt, strlen(prompt), MSA_PARSE_SPECIAL, &ids, &err), &err);
    assert_ok(msa_detokenize(m, ids.ids, ids.n, MSA_PARSE_SPECIAL, &text, &n, &err), &err);
    assert_int_equal(n, strlen(prompt));
    assert_string_equal(text, prompt);
    msa_text_free(text);
    msa_text_free(prompt);
    assert_ok(msa_detokenize(m, ids.ids, ids.n, 0, &text, &n, &err), &err);
    assert_null(strstr(text, "<|im_"));

    msa_text_stream *s;
    const char *part;
    size_t n_part;
    assert_ok(msa_text_stream_create(&s, m, &err), &err);
    for (size_t i = 0; i < ids.n; i++) {
        assert_ok(msa_text_stream_push(s, ids.ids[i], &part, &n_part, &err), &err);
        assert_memory_equal(text + n_streamed, part, n_part);
        n_streamed += n_part;
    }
    assert_int_equal(n_streamed, n);
    msa_text_stream_free(s);
    msa_text_free(text);
    assert_true(msa_token_is_end(m, 2) && !msa_token_is_end(m, ids.ids[0]));

    int32_t wild = 49152;
    assert_fails(msa_tokenize(m, "a", 1, 64, &ids, &err), MSA_E_ARG, &err, "flags are 64");
    assert_fails(msa_tokenize(NULL, "a", 1, 0, &ids, &err), MSA_E_ARG, &err, "NULL");
    assert_fails(msa_detokenize(m, &wild, 1, 0, &text, &n, &err), MSA_E_ARG, &err, "49152");
    assert_fails(msa_detokenize(m, &wild, 0, 4, &text, &n, &err), MSA_E_ARG, &err, "flags are 4");
    assert_fails(msa_chat_format(m, &hello, 0, 1, &text, &err), MSA_E_ARG, &err, "at least one");
    assert_null(text);
    msa_tokens_free(&ids);
    msa_tokens_free(NULL);
    msa_model_free(m);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(smollm2_gives_the_tokens_of_transformers),
        cmocka_unit_test(smollm2_knows_its_ends_and_lacks_21_bytes),
        cmocka_unit_test(the_public_calls_read_and_write_smollm2s_text),
    };
    return cmocka_run_group_tests_name("smollm2_text", tests, NULL, NULL);
}
