/* test_tokenizer_json.c: tokenizers written and read as JSON and GGUF, the vocabulary of bytes, and
 * settings that are refused. */
#include "support/support.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/mem.h"
#include "base/utf8.h"
#include "model/byte_alphabet.h"
#include "model/export.h"
#include "model/gguf_out.h"
#include "model/json_file.h"
#include "model/tokenizer_gguf.h"
#include "model/tokenizer_json.h"
#include "support/folder.h"
#include "support/scarce.h"

#define T(text) ((vocab_text){text, sizeof text - 1})

enum { HE = 256, LL, HELL, HELLO, END, USER, HALL, N_TOKENS };

static tokenizer *create_with(const char *pre, int add, int ignore_merges, bool nfc) {
    static const vocab_text more[] = {T("he"),      T("ll"),       T("hell"), T("hello"),
                                      T("<|end|>"), T("<user é>"), T("hall")};
    static const vocab_text merges[] = {T("h e"), T("l l"), T("he ll"), T("hell o")};
    vocab_text tokens[N_TOKENS];
    int32_t types[N_TOKENS];
    char spelling[256][4];
    for (int i = 0; i < N_TOKENS; i++) {
        types[i] = i == END ? VOCAB_CONTROL : i == USER ? VOCAB_USER_DEFINED : VOCAB_NORMAL;
        if (i < 256)
            tokens[i] =
                (vocab_text){spelling[i], utf8_encode(byte_alphabet_code((uint8_t)i), spelling[i])};
        else
            tokens[i] = more[i - 256];
    }
    tokenizer_params p = {.tokens = tokens,
                          .types = types,
                          .n_tokens = N_TOKENS,
                          .merges = merges,
                          .n_merges = 4,
                          .pre = {pre, strlen(pre)},
                          .bos = END,
                          .eos = END,
                          .eot = HELLO,
                          .unk = -1,
                          .pad = USER,
                          .add_bos = add & 1,
                          .add_eos = add >> 1,
                          .ignore_merges = ignore_merges,
                          .nfc = nfc};
    tokenizer *t;
    msa_error err;
    assert_ok(tokenizer_create(&t, &p, &err), &err);
    return t;
}

static tokenizer *create(const char *pre, int add) {
    return create_with(pre, add, -1, false);
}

static void check_alike(const tokenizer *a, const tokenizer *b) {
    static const char text[] = "hello  hell 12345 \xff\x00\r\n<|end|>x<user é>.\tél";
    for (int flags = 0; flags < 4; flags++) {
        msa_tokens x = {0}, y = {0};
        msa_error err;
        assert_ok(tokenizer_encode(a, text, sizeof text - 1, flags, &x, &err), &err);
        assert_ok(tokenizer_encode(b, text, sizeof text - 1, flags, &y, &err), &err);
        assert_int_equal(x.n, y.n);
        assert_memory_equal(x.ids, y.ids, x.n * sizeof *x.ids);
        mem_free(x.ids);
        mem_free(y.ids);
    }
    assert_int_equal(tokenizer_bos(a), tokenizer_bos(b));
    assert_int_equal(tokenizer_eos(a), tokenizer_eos(b));
    assert_int_equal(tokenizer_get_parts(a).pad, tokenizer_get_parts(b).pad);
    assert_int_equal(tokenizer_get_parts(a).eot, tokenizer_get_parts(b).eot);
}

static msa_status save(const tokenizer *t, const vocab_text *chat, const char *folder,
                       msa_error *err) {
    file_out_set set = {0};
    msa_status status = tokenizer_to_json(t, chat, 1024, folder, &set, err);
    if (!status) status = file_out_set_publish(&set, err);
    file_out_set_free(&set);
    return status;
}

static const char *const FAMILIES[] = {"gpt-2", "smollm", "llama-bpe", "qwen2", "gpt-4o"};

static void every_family_comes_back_from_json(void **state) {
    static const vocab_text template = {"{{ messages }}", 14};
    for (size_t f = 0; f < sizeof FAMILIES / sizeof *FAMILIES; f++)
        for (int add = 0; add < 4; add++) {
            tokenizer *t = create(FAMILIES[f], add), *back;
            bytes chat;
            msa_error err;
            assert_ok(save(t, add ? &template : NULL, *state, &err), &err);
            assert_ok(tokenizer_from_json(&back, &chat, *state, N_TOKENS + 3, &err), &err);
            assert_int_equal(tokenizer_size(back), N_TOKENS + 3);
            assert_string_equal(tokenizer_get_parts(back).pre, FAMILIES[f]);
            check_alike(t, back);
            assert_int_equal(chat.n, add ? 14 : 0);
            if (add) assert_memory_equal(chat.data, template.data, 14);
            bytes_free(&chat);
            tokenizer_free(back);
            tokenizer_free(t);
        }
}

static void every_family_comes_back_from_gguf(void **state) {
    const char *path = folder_path(*state, "t.gguf");
    for (size_t f = 0; f < sizeof FAMILIES / sizeof *FAMILIES; f++) {
        tokenizer *t = create(FAMILIES[f], (int)f & 3), *back;
        chat_template chat;
        file_out *file;
        gguf_out *out;
        gguf_file *read;
        msa_error err;
        assert_ok(file_out_create(&file, path, &err), &err);
        assert_ok(gguf_out_create(&out, file, &err), &err);
        assert_ok(tokenizer_to_gguf(t, NULL, N_TOKENS + 2, out, &err), &err);
        assert_ok(gguf_out_begin_data(out, &err), &err);
        assert_ok(gguf_out_finish(out, &err), &err);
        assert_ok(file_out_publish(file, &err), &err);
        gguf_out_free(out);
        file_out_free(file);
        assert_ok(gguf_open(&read, path, &err), &err);
        assert_ok(tokenizer_from_gguf(&back, &chat, read, &err), &err);
        assert_int_equal(tokenizer_size(back), N_TOKENS + 2);
        check_alike(t, back);
        chat_template_free(&chat);
        tokenizer_free(back);
        gguf_close(read);
        tokenizer_free(t);
    }
}

/* "hall" is a token that no merge makes: only a whole word can become it. */
static size_t count_tokens(const tokenizer *t, const char *text) {
    msa_tokens ids = {0};
    msa_error err;
    assert_ok(tokenizer_encode(t, text, strlen(text), 0, &ids, &err), &err);
    mem_free(ids.ids);
    return ids.n;
}

static void what_a_file_says_of_merges_and_nfc_is_kept(void **state) {
    for (size_t f = 0; f < sizeof FAMILIES / sizeof *FAMILIES; f++)
        for (int ignore = 0; ignore < 2; ignore++) {
            tokenizer *t = create_with(FAMILIES[f], 0, ignore, !ignore), *back;
            bytes chat;
            msa_error err;
            bool llama = strcmp(FAMILIES[f], "llama-bpe") == 0;
            assert_int_equal(count_tokens(t, "hall"), ignore ? 1 : 3);
            assert_ok(save(t, NULL, *state, &err), &err);
            assert_ok(tokenizer_from_json(&back, &chat, *state, N_TOKENS, &err), &err);
            assert_int_equal(count_tokens(back, "hall"), ignore ? 1 : 3);
            tokenizer_parts p = tokenizer_get_parts(back);
            assert_int_equal(p.ignore_merges, ignore);
            assert_int_equal(p.usual_merges, llama == ignore);
            assert_int_equal(p.nfc, !ignore);
            arch a = {.n_vocab = N_TOKENS};
            export_source source = {.arch = &a, .tokenizer = back};
            assert_ok(export_check(&source, MSA_FILE_SAFETENSORS, 0, &err), &err);
            msa_status status = export_check(&source, MSA_FILE_GGUF, 0, &err);
            if (llama == ignore)
                assert_ok(status, &err);
            else
                assert_fails(status, MSA_E_UNSUPPORTED, &err, "ignore_merges");
            bytes_free(&chat);
            tokenizer_free(back);
            tokenizer_free(t);
        }
}

static void bytes_are_their_own_tokens(void **state) {
    (void)state;
    static const vocab_text names[] = {T("<|endoftext|>"), T("<|a|>"), T("<|b|>")};
    tokenizer *t;
    msa_error err;
    msa_tokens ids = {0};
    char text[256 + 5];
    for (int i = 0; i < 256; i++) text[i] = (char)i;
    memcpy(text + 256, "<|b|>", 5);
    assert_ok(tokenizer_create_bytes(&t, names, 3, &err), &err);
    assert_int_equal(tokenizer_size(t), 259);
    assert_ok(
        tokenizer_encode(t, text, sizeof text, MSA_PARSE_SPECIAL | MSA_ADD_SPECIAL, &ids, &err),
        &err);
    assert_int_equal(ids.n, 257);
    for (int i = 0; i < 256; i++) assert_int_equal(ids.ids[i], i);
    assert_int_equal(ids.ids[256], 258);
    assert_true(tokenizer_is_end(t, 256) && !tokenizer_is_end(t, 257));
    tokenizer_free(t);
    mem_free(ids.ids);
    assert_fails(tokenizer_create_bytes(&t, (vocab_text[]){T("a"), T("b")}, 2, &err), MSA_E_FORMAT,
                 &err, "twice");
}

/* A change to a good file: key of an object on the way `path`, its JSON. */
static const struct {
    const char *path, *value, *why;
} CHANGES[] = {
    {"model", NULL, "no \"model\""},
    {"model.type", "\"WordPiece\"", "type 'WordPiece'"},
    {"model.byte_fallback", "true", "\"byte_fallback\" on"},
    {"model.dropout", "0.1", "\"dropout\" on"},
    {"model.end_of_word_suffix", "\"</w>\"", "\"end_of_word_suffix\" on"},
    {"model.vocab", NULL, "no \"vocab\""},
    {"model.vocab.he", "\"256\"", "'he' has id -1"},
    {"model.vocab.he", "300", "'he' has id 300, beyond"},
    {"model.vocab.he", "-1", "'he' has id -1, beyond"},
    {"model.vocab.he", "257", "has id 257, as another token has"},
    {"model.merges", NULL, "no \"merges\""},
    {"model.merges", "[1]", "merge 0 is neither"},
    {"model.merges", "[[\"h\"]]", "merge 0 is neither"},
    {"model.merges", "[\"he\"]", "he"},
    {"model.merges", "[\"x y\"]", "x y"},
    {"model.ignore_merges", "1", "\"ignore_merges\" is neither"},
    {"normalizer", "{\"type\":\"Lowercase\"}", "type 'Lowercase'"},
    {"pre_tokenizer", NULL, "\"pre_tokenizer\" has settings"},
    {"pre_tokenizer", "{\"type\":\"Whitespace\"}", "\"pre_tokenizer\" has settings"},
    {"pre_tokenizer.add_prefix_space", "true", "\"pre_tokenizer\" has settings"},
    {"pre_tokenizer.use_regex", "false", "\"pre_tokenizer\" has settings"},
    {"post_processor", "{\"type\":\"BertProcessing\"}", "type 'BertProcessing'"},
    {"post_processor",
     "{\"type\":\"TemplateProcessing\",\"single\":[{\"SpecialToken\":{\"id\":\"he\"}}]}",
     "puts token 'he' before a text"},
    {"added_tokens", "3", "\"added_tokens\" is no list"},
    {"added_tokens", "[{\"id\":1}]", "added token 0 has no \"content\""},
    {"added_tokens", "[{\"id\":1,\"content\":\"x\"}]", "'x' has id 1, as another token has"},
    {"added_tokens", "[{\"id\":260,\"content\":\"<|end|>\",\"lstrip\":true}]", "\"lstrip\" on"},
    {"added_tokens", "[{\"id\":999,\"content\":\"z\"}]", "'z' has id 999"},
};

static void settings_we_do_not_know_are_refused(void **state) {
    tokenizer *t = create("gpt-2", 0), *back;
    msa_error err;
    assert_ok(save(t, NULL, *state, &err), &err);
    tokenizer_free(t);
    for (size_t i = 0; i < sizeof CHANGES / sizeof *CHANGES; i++) {
        json_t *root, *at;
        char path[64], *key = path;
        assert_ok(json_file_read(&root, folder_path(*state, "tokenizer.json"), 0, &err), &err);
        strcpy(path, CHANGES[i].path);
        at = root;
        for (char *dot; (dot = strchr(key, '.')); key = dot + 1) {
            *dot = 0;
            at = json_object_get(at, key);
        }
        json_object_del(at, key);
        if (CHANGES[i].value)
            json_object_set_new(at, key, json_loads(CHANGES[i].value, JSON_DECODE_ANY, NULL));
        msa_status status =
            tokenizer_parse_json(&back, &(tokenizer_jsons){.tokenizer = root}, N_TOKENS, &err);
        json_decref(root);
        assert_null(back);
        if (status == MSA_OK || !strstr(err.text, CHANGES[i].why))
            fail_msg("%s: %s", CHANGES[i].path, status ? err.text : "accepted");
    }
}

static void an_embedding_of_another_size_is_refused(void **state) {
    tokenizer *t = create("gpt-2", 0), *back;
    msa_error err;
    bytes chat;
    assert_ok(save(t, NULL, *state, &err), &err);
    tokenizer_free(t);
    assert_fails(tokenizer_from_json(&back, &chat, *state, 200, &err), MSA_E_FORMAT, &err,
                 "beyond the rows");
    assert_fails(tokenizer_from_json(&back, &chat, *state, 1 << 30, &err), MSA_E_FORMAT, &err,
                 "1073741824 rows");
    write_text(folder_path(*state, "generation_config.json"), "{\"eos_token_id\": [260, 999]}");
    assert_fails(tokenizer_from_json(&back, &chat, *state, 300, &err), MSA_E_FORMAT, &err,
                 "\"eos_token_id\" of generation_config.json has 999 at 1");
    remove(folder_path(*state, "tokenizer.json"));
    assert_fails(tokenizer_from_json(&back, &chat, *state, 300, &err), MSA_E_IO, &err,
                 "tokenizer.json");
}

static void memory_that_runs_out_is_a_clean_error(void **state) {
    tokenizer *t = create("llama-bpe", 3);
    static const vocab_text template = T("{{ x }}");
    bool failed = true;
    for (long i = 0; failed; i++) {
        tokenizer *back = NULL;
        bytes chat = {0};
        msa_error err;
        long before = scarce_live();
        scarce_begin(i);
        msa_status status = save(t, &template, *state, &err);
        if (!status) status = tokenizer_from_json(&back, &chat, *state, N_TOKENS + 1, &err);
        failed = scarce_end();
        bytes_free(&chat);
        tokenizer_free(back);
        assert_int_equal(scarce_live(), before);
        if (!failed) assert_ok(status, &err);
        /* Where PCRE2 has no memory to compile for speed, it goes on without. */
        if (failed && status != MSA_E_NOMEM && status != MSA_E_IO && status != MSA_OK)
            fail_msg("allocation %ld: %s", i, msa_status_name(status));
    }
    tokenizer_free(t);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(every_family_comes_back_from_json, folder_create,
                                        folder_remove),
        cmocka_unit_test_setup_teardown(every_family_comes_back_from_gguf, folder_create,
                                        folder_remove),
        cmocka_unit_test_setup_teardown(what_a_file_says_of_merges_and_nfc_is_kept, folder_create,
                                        folder_remove),
        cmocka_unit_test(bytes_are_their_own_tokens),
        cmocka_unit_test_setup_teardown(settings_we_do_not_know_are_refused, folder_create,
                                        folder_remove),
        cmocka_unit_test_setup_teardown(an_embedding_of_another_size_is_refused, folder_create,
                                        folder_remove),
        cmocka_unit_test_setup_teardown(memory_that_runs_out_is_a_clean_error, folder_create,
                                        folder_remove),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
