/* chat.c: see chat.h.
 *
 * Templates are programs in Jinja. Running strangers' programs to print a prompt is not worth the
 * risk; nearly all models of a family share a handful of them. So a template is brought into a
 * canonical form, compared with the ones known (chat_known.h), and its family's rules are written
 * here as plain C. A template that differs in any way that could print something else is not taken
 * for one that is known. */
#include "model/chat.h"

#include <string.h>

#include "base/bytes.h"
#include "base/mem.h"
#include "base/utf8.h"
#include "model/chat_known.h"
#include "model/jinja_form.h"
#include "model/tokenizer.h"

#define LONGEST_TEMPLATE ((size_t)1 << 16)

static char *copy_text(const char *text, size_t n) {
    char *copy = mem_alloc(n + 1, 1);
    if (!copy) return NULL;
    memcpy(copy, text, n);
    copy[n] = 0;
    return copy;
}

/* Takes `prefix`, a template, off the front of the form. */
static bool take_prefix(bytes *form, bytes *scratch, const char *prefix) {
    scratch->n = 0;
    jinja_form(scratch, prefix, strlen(prefix));
    if (scratch->failed || scratch->n > form->n || memcmp(form->data, scratch->data, scratch->n))
        return false;
    form->n -= scratch->n;
    memmove(form->data, form->data + scratch->n, form->n);
    return true;
}

/* Fills *c from the row that matches, if one does. False: no memory. */
static bool recognise(chat_template *c, const bytes *form, bytes *scratch) {
    for (size_t i = 0; i < sizeof known_templates / sizeof *known_templates; i++) {
        const struct known_template *row = &known_templates[i];
        jinja_holes holes;
        scratch->n = 0;
        jinja_form(scratch, row->jinja, strlen(row->jinja));
        if (scratch->failed) return false;
        if (!jinja_form_matches(form, scratch, &holes)) continue;
        c->family = row->family;
        c->name = row->name;
        c->begins_with_bos = row->begins_with_bos;
        c->always_prompts = row->always_prompts;
        c->prompt = copy_text(holes.prompt ? holes.prompt : "", holes.n_prompt);
        if (holes.system) c->system = copy_text(holes.system, holes.n_system);
        return c->prompt && (c->system || !holes.system);
    }
    return true;
}

msa_status chat_template_create(chat_template *c, const char *text, size_t n, msa_error *err) {
    *c = (chat_template){.family = n ? CHAT_UNKNOWN : CHAT_NONE, .name = n ? "unknown" : "none"};
    if (n == 0) return MSA_OK;
    utf8_quote(c->beginning, sizeof c->beginning, text, n);
    if (n > LONGEST_TEMPLATE) return MSA_OK;
    bytes form = {0}, scratch = {0};
    jinja_form(&form, text, n);
    bool ok = !form.failed;
    if (ok) {
        take_prefix(&form, &scratch,
                    "{% if not add_generation_prompt is defined %}"
                    "{% set add_generation_prompt = false %}{% endif %}");
        ok = recognise(c, &form, &scratch);
    }
    if (ok && c->family == CHAT_UNKNOWN && take_prefix(&form, &scratch, "{{ bos_token }}")) {
        ok = recognise(c, &form, &scratch);
        if (c->family == CHAT_CHATML || c->family == CHAT_QWEN3) {
            c->begins_with_bos = true;
        } else if (c->family != CHAT_UNKNOWN) { /* one that has its own idea of where to begin */
            mem_free(c->system);
            mem_free(c->prompt);
            c->system = c->prompt = NULL;
            c->family = CHAT_UNKNOWN;
            c->name = "unknown";
        }
    }
    ok = ok && !scratch.failed;
    bytes_free(&form);
    bytes_free(&scratch);
    if (ok) return MSA_OK;
    chat_template_free(c);
    return error_set(err, MSA_E_NOMEM, "no memory to read the chat template");
}

void chat_template_free(chat_template *c) {
    mem_free(c->system);
    mem_free(c->prompt);
    *c = (chat_template){0};
}

typedef struct chat_job { /* one call of chat_format */
    const chat_template *template;
    const msa_chat_message *messages;
    size_t n;
    vocab_text bos, eos;
    bytes out;
    bytes ranges; /* of messages' text in it */
} chat_job;

static void put(chat_job *j, const char *text) {
    bytes_append_text(&j->out, text);
}

static void put_token(chat_job *j, vocab_text token) {
    bytes_append(&j->out, token.data, token.n);
}

/* Text of a message. */
static void put_said(chat_job *j, const char *text, size_t n) {
    tokenizer_range range = {j->out.n, j->out.n + n};
    bytes_append(&j->out, text, n);
    bytes_append(&j->ranges, &range, sizeof range);
}

static void put_stripped(chat_job *j, const char *text) {
    size_t n = strlen(text);
    utf8_strip(&text, &n);
    put_said(j, text, n);
}

static bool has_role(const chat_job *j, size_t i, const char *role) {
    return i < j->n && strcmp(j->messages[i].role, role) == 0;
}

static void put_chatml(chat_job *j, const char *role, const char *content) {
    put(j, "<|im_start|>");
    put(j, role);
    put(j, "\n");
    put_said(j, content, strlen(content));
    put(j, "<|im_end|>\n");
}

static void format_chatml(chat_job *j) {
    if (j->template->system && !has_role(j, 0, "system"))
        put_chatml(j, "system", j->template->system);
    for (size_t i = 0; i < j->n; i++) put_chatml(j, j->messages[i].role, j->messages[i].content);
}

static bool begins(const char *text, const char *with) {
    return strncmp(text, with, strlen(with)) == 0;
}

static bool ends(const char *text, const char *with) {
    size_t n = strlen(text), m = strlen(with);
    return n >= m && strcmp(text + n - m, with) == 0;
}

/* The last question asked: reasoning before it is left out of the prompt. */
static size_t last_query(const chat_job *j) {
    for (size_t i = j->n; i-- > 0;) {
        const char *content = j->messages[i].content;
        if (has_role(j, i, "user") &&
            !(begins(content, "<tool_response>") && ends(content, "</tool_response>")))
            return i;
    }
    return j->n - 1;
}

/* The last piece of text[0 .. n) behind `mark`, or all of it. */
static const char *behind_last(const char *text, size_t n, const char *mark) {
    size_t m = strlen(mark);
    for (size_t i = n + 1; i-- > m;)
        if (memcmp(text + i - m, mark, m) == 0) return text + i;
    return text;
}

static void strip_newlines(const char **text, size_t *n) {
    for (; *n && **text == '\n'; (*n)--) (*text)++;
    while (*n && (*text)[*n - 1] == '\n') (*n)--;
}

static const char *skip_newlines(const char *text) {
    return text + strspn(text, "\n");
}

static void put_qwen3_answer(chat_job *j, size_t i, bool keep_reasoning) {
    const char *content = j->messages[i].content, *reasoning = "";
    const char *end = strstr(content, "</think>");
    size_t n_reasoning = 0;
    if (end) {
        n_reasoning = (size_t)(end - content);
        while (n_reasoning && content[n_reasoning - 1] == '\n') n_reasoning--;
        reasoning = behind_last(content, n_reasoning, "<think>");
        n_reasoning -= (size_t)(reasoning - content);
        for (; n_reasoning && *reasoning == '\n'; n_reasoning--) reasoning++;
        content = skip_newlines(behind_last(content, strlen(content), "</think>"));
    }
    put(j, "<|im_start|>assistant\n");
    if (keep_reasoning && (i + 1 == j->n || n_reasoning)) {
        put(j, "<think>\n");
        put_said(j, reasoning, n_reasoning);
        put(j, "\n</think>\n\n");
        content = skip_newlines(content);
    }
    put_said(j, content, strlen(content));
    put(j, "<|im_end|>\n");
}

static void format_qwen3(chat_job *j) {
    size_t last = last_query(j);
    for (size_t i = 0; i < j->n; i++) {
        if (has_role(j, i, "assistant"))
            put_qwen3_answer(j, i, i > last);
        else
            put_chatml(j, j->messages[i].role, j->messages[i].content);
    }
}

/* "text</mm:think>answer" is an answer and the reasoning before it. */
static void put_m3_answer(chat_job *j, const char *content) {
    static const char begin[] = "<mm:think>", end[] = "</mm:think>";
    const char *first_end = strstr(content, end), *answer = content;
    size_t n_answer = strlen(content);
    put(j, "]~b]ai\n");
    if (first_end) {
        size_t n = (size_t)(first_end - content), n_skipped;
        const char *reasoning = content;
        strip_newlines(&reasoning, &n);
        n_skipped = (size_t)(behind_last(reasoning, n, begin) - reasoning);
        reasoning += n_skipped;
        n -= n_skipped;
        strip_newlines(&reasoning, &n);
        if (n) put(j, begin);
        put_said(j, reasoning, n);
        answer = behind_last(content, n_answer, end);
        n_answer = strlen(answer);
        strip_newlines(&answer, &n_answer);
    }
    put(j, end);
    put_said(j, answer, n_answer);
    put(j, "[e~[\n");
}

static void format_m3(chat_job *j) {
    bool developer = has_role(j, 0, "system");
    put(j, "]~!b[]~b]system\n");
    put(j, j->template->system);
    put(j, "\n\n<thinking_instructions>\n" M3_CAPABILITY "<mm:think></mm:think>" M3_CAPABILITY_2
           "</mm:think>" M3_CAPABILITY_3 "\n" M3_ADAPTIVE "\n</thinking_instructions>[e~[\n"
           "]~b]developer\n");
    const char *said = developer ? j->messages[0].content : "";
    put_said(j, said, strlen(said));
    if (!said[0]) put(j, M3_IDENTITY);
    put(j, "[e~[\n");
    for (size_t i = developer; i < j->n; i++) {
        if (has_role(j, i, "assistant")) put_m3_answer(j, j->messages[i].content);
        if (!has_role(j, i, "user")) continue; /* a later system message is not printed */
        put(j, "]~b]user\n");
        put_said(j, j->messages[i].content, strlen(j->messages[i].content));
        put(j, "[e~[\n");
    }
}

static void put_llama3(chat_job *j, size_t i) {
    put(j, "<|start_header_id|>");
    put(j, j->messages[i].role);
    put(j, "<|end_header_id|>\n\n");
    put_stripped(j, j->messages[i].content);
    put(j, "<|eot_id|>");
}

static void format_llama3(chat_job *j) {
    size_t i = 0;
    if (j->template->family == CHAT_LLAMA31) {
        put(j, "<|start_header_id|>system<|end_header_id|>\n\n"
               "Cutting Knowledge Date: December 2023\nToday Date: 26 Jul 2024\n\n");
        if (has_role(j, 0, "system")) put_stripped(j, j->messages[i++].content);
        put(j, "<|eot_id|>");
    }
    for (; i < j->n; i++) put_llama3(j, i);
}

/* Begin-of-text stands before every question; the system message lies inside the first. */
static void format_llama2(chat_job *j) {
    bytes first = {0};
    size_t start = has_role(j, 0, "system");
    for (size_t i = start; i < j->n; i++) {
        if (has_role(j, i, "assistant")) {
            put(j, " ");
            put_stripped(j, j->messages[i].content);
            put(j, " ");
            put_token(j, j->eos);
            continue;
        }
        if (i > start) put_token(j, j->bos);
        put(j, "[INST] ");
        first.n = 0;
        if (start && i == start) {
            bytes_append_text(&first, "<<SYS>>\n");
            bytes_append_text(&first, j->messages[0].content);
            bytes_append_text(&first, "\n<</SYS>>\n\n");
        }
        bytes_append_text(&first, j->messages[i].content);
        bytes_terminate(&first);
        if (!first.failed) put_stripped(j, first.data);
        put(j, " [/INST]");
    }
    j->out.failed |= first.failed;
    bytes_free(&first);
}

static void format_zephyr(chat_job *j) {
    for (size_t i = 0; i < j->n; i++) {
        put(j, "<|");
        put(j, j->messages[i].role);
        put(j, "|>\n");
        put_said(j, j->messages[i].content, strlen(j->messages[i].content));
        put_token(j, j->eos);
        put(j, "\n");
    }
}

static msa_status check_messages(const chat_template *c, const msa_chat_message *messages, size_t n,
                                 msa_error *err) {
    if (n == 0 || !messages)
        return error_set(err, MSA_E_ARG, "a conversation needs at least one message");
    for (size_t i = 0; i < n; i++) {
        const char *role = messages[i].role;
        if (!role || !messages[i].content)
            return error_set(err, MSA_E_ARG, "message %zu has no %s", i, role ? "content" : "role");
        if (strcmp(role, "system") && strcmp(role, "user") && strcmp(role, "assistant")) {
            char quoted[64];
            return error_set(err, MSA_E_ARG,
                             "message %zu has the role '%s'; roles are system, user and assistant",
                             i, utf8_quote(quoted, sizeof quoted, role, strlen(role)));
        }
    }
    if (c->family != CHAT_LLAMA2) return MSA_OK;
    size_t start = strcmp(messages[0].role, "system") == 0;
    if (start == n)
        return error_set(err, MSA_E_ARG, "this model's template needs a message of the user");
    for (size_t i = start; i < n; i++)
        if (strcmp(messages[i].role, (i - start) % 2 ? "assistant" : "user"))
            return error_set(err, MSA_E_ARG,
                             "message %zu has the role '%s'; this model's template needs user and "
                             "assistant in turn, after at most one system message",
                             i, messages[i].role);
    return MSA_OK;
}

msa_status chat_format(const chat_template *c, const msa_chat_message *messages, size_t n,
                       bool add_generation_prompt, vocab_text bos, vocab_text eos, char **text,
                       msa_error *err) {
    bytes all = {0}, ranges = {0};
    msa_status status =
        chat_format_ranges(c, messages, n, add_generation_prompt, bos, eos, &all, &ranges, err);
    bytes_free(&ranges);
    if (status == MSA_OK) *text = all.data;
    return status;
}

msa_status chat_format_ranges(const chat_template *c, const msa_chat_message *messages, size_t n,
                              bool add_generation_prompt, vocab_text bos, vocab_text eos,
                              bytes *text, bytes *ranges, msa_error *err) {
    if (c->family == CHAT_NONE)
        return error_set(err, MSA_E_UNSUPPORTED,
                         "the model file has no chat template; use --no-chat-template to give it "
                         "plain text");
    if (c->family == CHAT_UNKNOWN)
        return error_set(
            err, MSA_E_UNSUPPORTED,
            "the model's chat template is not one this version knows (it begins '%s'); "
            "use --no-chat-template to give it plain text",
            c->beginning);
    msa_status status = check_messages(c, messages, n, err);
    if (status != MSA_OK) return status;
    chat_job j = {.template = c, .messages = messages, .n = n, .bos = bos, .eos = eos};
    if (c->begins_with_bos) put_token(&j, bos);
    switch (c->family) {
    case CHAT_QWEN3: format_qwen3(&j); break;
    case CHAT_LLAMA2: format_llama2(&j); break;
    case CHAT_LLAMA3:
    case CHAT_LLAMA31: format_llama3(&j); break;
    case CHAT_ZEPHYR: format_zephyr(&j); break;
    case CHAT_MINIMAX_M3: format_m3(&j); break;
    default: format_chatml(&j); break;
    }
    if (add_generation_prompt || c->always_prompts) put(&j, c->prompt);
    if (c->family == CHAT_ZEPHYR && add_generation_prompt) put(&j, "\n");
    if (c->family == CHAT_MINIMAX_M3 && add_generation_prompt) put(&j, "]~b]ai\n");
    bytes_terminate(&j.out);
    if (j.out.failed || j.ranges.failed) {
        bytes_free(&j.out);
        bytes_free(&j.ranges);
        return error_set(err, MSA_E_NOMEM, "no memory to format a conversation of %zu messages", n);
    }
    *text = j.out;
    *ranges = j.ranges;
    return MSA_OK;
}
