/* test_chat.c: chat templates, against what Transformers renders (tests/oracle/chat.py). */
#include "support/support.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "model/chat.h"
#include "model/tokenizer.h"
#include "support/golden.h"
#include "support/scarce.h"

static const vocab_text bos = {"<s>", 3}, eos = {"</s>", 4};

enum { MOST = 16 };

typedef struct conversation {
    msa_chat_message messages[MOST];
    size_t n;
    char text[1024];
} conversation;

static void read_conversation(conversation *c, const golden *g, int i) {
    char name[32];
    snprintf(name, sizeof name, "messages.%d", i);
    size_t n = golden_count(g, name);
    assert_true(n < sizeof c->text);
    memcpy(c->text, golden_text(g, name, n), n);
    c->text[n] = 0;
    c->n = 0;
    for (char *at = c->text; *at; at++) {
        char *content = strchr(at, '\x1d'), *end = strchr(at, '\x1e');
        assert_true(content && end && c->n < MOST);
        *content = *end = 0;
        c->messages[c->n++] = (msa_chat_message){at, content + 1};
        at = end;
    }
}

static void read_template(chat_template *c, const char *name) {
    char relative[64];
    size_t n;
    msa_error err;
    snprintf(relative, sizeof relative, "tests/data/chat/%s.jinja", name);
    char *text = read_test_file(relative, &n);
    assert_ok(chat_template_create(c, text, n, &err), &err);
    free(text);
}

static void recognise(chat_template *c, const char *text) {
    msa_error err;
    assert_ok(chat_template_create(c, text, strlen(text), &err), &err);
}

static const struct {
    const char *file, *name;
} templates[] = {
    {"chatml", "chatml"},
    {"chatml_loop_last", "chatml"},
    {"smollm2", "chatml-default-system"},
    {"qwen2", "chatml-default-system"},
    {"qwen2.5", "qwen2.5"},
    {"qwen3", "qwen3"},
    {"llama2", "llama-2"},
    {"llama3", "llama-3"},
    {"llama3.1", "llama-3.1"},
    {"zephyr", "zephyr"},
    {"minimax-m3", "minimax-m3"},
};

static void every_conversation_is_byte_for_byte_as_transformers_renders_it(void **state) {
    (void)state;
    msa_error err;
    golden *g = golden_open("chat");
    const char *refused = golden_string(g, "refused");
    int n_refused = 0, n_cases = golden_int(g, "n");
    for (size_t t = 0; t < sizeof templates / sizeof *templates; t++) {
        chat_template c;
        read_template(&c, templates[t].file);
        assert_string_equal(c.name, templates[t].name);
        for (int i = 0; i < 2 * n_cases; i++) {
            conversation talk;
            char name[64], *text = NULL;
            read_conversation(&talk, g, i / 2);
            msa_status status =
                chat_format(&c, talk.messages, talk.n, i % 2, bos, eos, &text, &err);
            snprintf(name, sizeof name, "%s.%d ", templates[t].file, i / 2);
            if (strstr(refused, name)) {
                assert_fails(status, MSA_E_ARG, &err, "in turn");
                n_refused++;
                continue;
            }
            assert_ok(status, &err);
            snprintf(name, sizeof name, "%s.%d.%s", templates[t].file, i / 2,
                     i % 2 ? "asked" : "plain");
            size_t n = golden_count(g, name);
            if (strlen(text) != n || memcmp(text, golden_text(g, name, n), n) != 0)
                fail_msg("%s:\nexpected %.*s\nfound    %s", name, (int)n, golden_text(g, name, n),
                         text);
            mem_free(text);
        }
        chat_template_free(&c);
    }
    assert_true(n_refused > 0);
    golden_close(g);
}

/* What prints the same is the same; what could print something else is not. */
static void spelling_does_not_matter_and_meaning_does(void **state) {
    (void)state;
    static const char *const same[] = {
        "{% for message in messages %}{{'<|im_start|>' + message['role'] + '\\n' + "
        "message['content'] + '<|im_end|>' + '\\n'}}{% endfor %}{% if add_generation_prompt %}"
        "{{ '<|im_start|>assistant\\n' }}{% endif %}",
        "{#- ChatML -#}\n{%- for message in messages -%}\n  {{- \"<|im_start|>\" + message.role + "
        "\"\n\" + message[\"content\"] + '<|im_end|>\\n' -}}\n{%- endfor -%}\n"
        "{% if add_generation_prompt %}\n    {{- '<|im_start|>assistant\n' -}}\n{% endif %}\n",
        "{% if not add_generation_prompt is defined %}{% set add_generation_prompt = false %}"
        "{% endif %}{% for message in messages %}{{'<|im_start|>' + message['role'] + '\n' + "
        "message['content'] + '<|im_end|>' + '\n'}}{% endfor %}{% if add_generation_prompt %}"
        "{{ '<|im_start|>assistant\n' }}{% endif %}",
    };
    static const char *const other[] = {
        /* strips the content */
        "{% for message in messages %}{{'<|im_start|>' + message['role'] + '\n' + "
        "message['content']|trim + '<|im_end|>' + '\n'}}{% endfor %}{% if add_generation_prompt %}"
        "{{ '<|im_start|>assistant\n' }}{% endif %}",
        /* a line end between the turns */
        "{% for message in messages %}{{'<|im_start|>' + message['role'] + '\n' + "
        "message['content'] + '<|im_end|>' + '\n'}}\n{% endfor %}{% if add_generation_prompt %}"
        "{{ '<|im_start|>assistant\n' }}{% endif %}",
        /* text in front */
        "Conversation:{% for message in messages %}{{'<|im_start|>' + message['role'] + '\n' + "
        "message['content'] + '<|im_end|>' + '\n'}}{% endfor %}{% if add_generation_prompt %}"
        "{{ '<|im_start|>assistant\n' }}{% endif %}",
        /* Phi-4 */
        "{% for message in messages %}{% if (message['role'] == 'system') %}"
        "{{'<|im_start|>system<|im_sep|>' + message['content'] + '<|im_end|>'}}{% endif %}"
        "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant<|im_sep|>' }}"
        "{% endif %}",
        "{{ '<|im_start|>",
        "{%",
        "{{ 'a' + ",
        "{# never ends",
        "x['y",
        "'\\",
        "{{'\\",
    };
    chat_template c;
    for (size_t i = 0; i < sizeof same / sizeof *same; i++) {
        recognise(&c, same[i]);
        assert_string_equal(c.name, "chatml");
        assert_string_equal(c.prompt, "<|im_start|>assistant\n");
        chat_template_free(&c);
    }
    for (size_t i = 0; i < sizeof other / sizeof *other; i++) {
        recognise(&c, other[i]);
        assert_string_equal(c.name, "unknown");
        chat_template_free(&c);
    }
}

static void a_template_with_bos_prints_it_once(void **state) {
    (void)state;
    msa_error err;
    chat_template c;
    recognise(&c, "{{ bos_token }}{% for message in messages %}{{'<|im_start|>' + message['role'] "
                  "+ '\n' + message['content'] + '<|im_end|>' + '\n'}}{% endfor %}"
                  "{% if add_generation_prompt %}{{ '<|im_start|>bot\n' }}{% endif %}");
    msa_chat_message hello = {"user", "Hi"};
    char *text;
    assert_ok(chat_format(&c, &hello, 1, true, bos, eos, &text, &err), &err);
    assert_string_equal(text, "<s><|im_start|>user\nHi<|im_end|>\n<|im_start|>bot\n");
    mem_free(text);
    chat_template_free(&c);
}

/* Messages of a byte that no template has, and a token of three with a NUL among them. */
static void what_messages_hold_is_told_from_what_the_template_says(void **state) {
    static const vocab_text odd = {"<\0>", 3};
    static const msa_chat_message talk[] = {{"system", "\1"},
                                            {"user", "\1\1"},
                                            {"assistant", "\1</think>\1</mm:think>\1"},
                                            {"user", "\1\1\1"}};
    (void)state;
    msa_error err;
    for (size_t i = 0; i < sizeof templates / sizeof *templates; i++) {
        chat_template c;
        bytes text = {0}, ranges = {0};
        size_t end = 0, n_inside = 0, n_all = 0;
        read_template(&c, templates[i].file);
        assert_ok(chat_format_ranges(&c, talk, 4, true, odd, odd, &text, &ranges, &err), &err);
        const tokenizer_range *r = (const void *)ranges.data;
        for (size_t k = 0; k < ranges.n / sizeof *r; end = r[k++].to) {
            assert_true(r[k].from >= end && r[k].to >= r[k].from && r[k].to <= text.n);
            for (size_t at = r[k].from; at < r[k].to; at++) n_inside += text.data[at] == 1;
        }
        for (size_t at = 0; at < text.n; at++) n_all += text.data[at] == 1;
        if (n_inside != n_all || n_all < 7)
            fail_msg("%s: %zu of %zu", templates[i].file, n_inside, n_all);
        bytes_free(&text);
        bytes_free(&ranges);
        chat_template_free(&c);
    }
}

static void an_unknown_template_is_quoted_and_a_way_round_named(void **state) {
    (void)state;
    msa_error err;
    chat_template c;
    char *text = NULL;
    msa_chat_message hello = {"user", "Hi"};
    recognise(&c, "{% for m in messages %}[gMASK]\n{{ m.content }}{% endfor %}");
    assert_int_equal(c.family, CHAT_UNKNOWN);
    msa_status status = chat_format(&c, &hello, 1, true, bos, eos, &text, &err);
    assert_fails(status, MSA_E_UNSUPPORTED, &err, "{% for m in messages %}[gMASK]\\n");
    assert_fails(status, MSA_E_UNSUPPORTED, &err, "--no-chat-template");
    chat_template_free(&c);

    recognise(&c, "");
    assert_string_equal(c.name, "none");
    status = chat_format(&c, &hello, 1, true, bos, eos, &text, &err);
    assert_fails(status, MSA_E_UNSUPPORTED, &err, "--no-chat-template");
    chat_template_free(&c);

    size_t n = 1 << 22;
    char *huge = malloc(n);
    memset(huge, '\xff', n);
    assert_ok(chat_template_create(&c, huge, n, &err), &err);
    assert_string_equal(c.name, "unknown");
    status = chat_format(&c, &hello, 1, true, bos, eos, &text, &err);
    assert_fails(status, MSA_E_UNSUPPORTED, &err, "\\xff\\xff");
    assert_non_null(strstr(err.text, "..."));
    chat_template_free(&c);
    free(huge);
    assert_null(text);
}

static void messages_that_make_no_sense_are_named(void **state) {
    (void)state;
    msa_error err;
    chat_template c;
    char *text = NULL;
    read_template(&c, "smollm2");
    msa_chat_message messages[3] = {{"user", "a"}, {"tool", "b"}, {NULL, NULL}};
    assert_fails(chat_format(&c, messages, 0, true, bos, eos, &text, &err), MSA_E_ARG, &err,
                 "at least one");
    assert_fails(chat_format(&c, NULL, 1, true, bos, eos, &text, &err), MSA_E_ARG, &err,
                 "at least one");
    assert_fails(chat_format(&c, messages, 2, true, bos, eos, &text, &err), MSA_E_ARG, &err,
                 "'tool'");
    assert_fails(chat_format(&c, messages + 2, 1, true, bos, eos, &text, &err), MSA_E_ARG, &err,
                 "no role");
    messages[2].role = "user";
    assert_fails(chat_format(&c, messages + 2, 1, true, bos, eos, &text, &err), MSA_E_ARG, &err,
                 "no content");
    assert_null(text);
    chat_template_free(&c);
}

static void no_allocation_that_fails_leaks_or_crashes(void **state) {
    (void)state;
    msa_error err;
    msa_chat_message talk[] = {{"system", "Be brief."}, {"user", "Hello"}};
    for (size_t i = 0; i < sizeof templates / sizeof *templates; i++) {
        char relative[64];
        size_t n_source;
        int failures = 0;
        snprintf(relative, sizeof relative, "tests/data/chat/%s.jinja", templates[i].file);
        char *source = read_test_file(relative, &n_source);
        for (long n = 0;; n++) {
            long before = scarce_live();
            chat_template c;
            char *text = NULL;
            scarce_begin(n);
            msa_status status = chat_template_create(&c, source, n_source, &err);
            if (!status) {
                status = chat_format(&c, talk, 2, true, bos, eos, &text, &err);
                mem_free(text);
                chat_template_free(&c);
            }
            bool ran_out = scarce_end();
            if (status) assert_fails(status, MSA_E_NOMEM, &err, "no memory");
            failures += status != MSA_OK;
            assert_int_equal(scarce_live(), before);
            if (!ran_out) break;
        }
        assert_true(failures > 4);
        free(source);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_conversation_is_byte_for_byte_as_transformers_renders_it),
        cmocka_unit_test(spelling_does_not_matter_and_meaning_does),
        cmocka_unit_test(a_template_with_bos_prints_it_once),
        cmocka_unit_test(what_messages_hold_is_told_from_what_the_template_says),
        cmocka_unit_test(an_unknown_template_is_quoted_and_a_way_round_named),
        cmocka_unit_test(messages_that_make_no_sense_are_named),
        cmocka_unit_test(no_allocation_that_fails_leaks_or_crashes),
    };
    return cmocka_run_group_tests_name("chat", tests, NULL, NULL);
}
