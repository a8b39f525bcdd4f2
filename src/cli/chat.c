/* chat.c: see chat.h.
 *
 * Every turn formats the whole conversation and tokenises it; the session keeps what it has in
 * common with what it holds and reads the rest. A template that rewrites the past costs time, never
 * correctness. */
#include "cli/chat.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/interrupt.h"
#include "cli/report.h"
#include "cli/sampling.h"
#include "cli/settings.h"
#include "cli/text.h"

static msa_status tokenize_messages(const msa_model *model, const msa_chat_message *messages,
                                    size_t n, msa_tokens *tokens, msa_error *err) {
    msa_status status = msa_chat_tokenize(model, messages, n, NULL, tokens, err);
    if (status == MSA_E_UNSUPPORTED)
        return fail_add(err, status, "; --no-chat-template continues the text as it stands");
    return status;
}

msa_status chat_tokenize_one(const msa_model *model, const char *system, const char *text,
                             msa_tokens *tokens, msa_error *err) {
    msa_chat_message messages[2] = {{"system", system}, {"user", text}};
    return tokenize_messages(model, system ? messages : messages + 1, system ? 2 : 1, tokens, err);
}

void chat_note_stop(const speaker *s, answer_stop stop) {
    if (stop == ANSWER_CONTEXT)
        fprintf(stderr,
                "msa: the answer stops here: the context of %d tokens is full (-c; past what the "
                "model was trained for with --allow-past-context)\n",
                msa_session_get_params(s->session)->n_ctx);
}

/* ---- the conversation on a terminal ---------------------------------------------------------- */

typedef struct conversation {
    msa_chat_message *messages; /* their content is ours */
    size_t n, capacity;
} conversation;

/* Takes over `content`. */
static msa_status add_message(conversation *c, const char *role, char *content, msa_error *err) {
    if (content && c->n == c->capacity) {
        size_t capacity = 2 * c->capacity + 8;
        msa_chat_message *grown = realloc(c->messages, capacity * sizeof *grown);
        if (!grown) return free(content), fail_memory(err, "keeping the conversation");
        c->messages = grown, c->capacity = capacity;
    }
    if (!content) return fail_memory(err, "keeping the conversation");
    c->messages[c->n++] = (msa_chat_message){role, content};
    return MSA_OK;
}

static void drop_messages(conversation *c, size_t n_kept) {
    while (c->n > n_kept) free((char *)c->messages[--c->n].content);
}

/* A line of the user's without its line feed; NULL at the end of input or after Ctrl-C. */
static char *read_line(void) {
    char *line = NULL;
    size_t capacity = 0;
    fputs("\n> ", stderr);
    ssize_t n = getline(&line, &capacity, stdin);
    if (n < 0) return free(line), NULL;
    if (n > 0 && line[n - 1] == '\n') line[n - 1] = 0;
    return line;
}

/* The user's message: the text of the file in front of the first one. Takes over `line`. */
static char *compose(char *line, const char *file_text) {
    if (!file_text) return line;
    size_t size = strlen(line) + strlen(file_text) + 3;
    char *message = malloc(size);
    if (message) snprintf(message, size, "%s\n\n%s", file_text, line);
    free(line);
    return message;
}

static msa_status take_turn(speaker *s, conversation *c, int64_t n_predict, msa_error *err) {
    msa_tokens prompt = {0};
    answer a = {0};
    msa_session_stats_reset(s->session);
    msa_status status = tokenize_messages(s->model, c->messages, c->n, &prompt, err);
    if (status == MSA_OK) status = speaker_listen(s, &prompt, err);
    if (status == MSA_OK) status = speaker_answer(s, n_predict, &a, err);
    msa_tokens_free(&prompt);
    if (status != MSA_OK) return status;
    chat_note_stop(s, a.stop);
    report_print(s->session);
    return add_message(c, "assistant", a.text, err);
}

/* What one line asks for. *leave: the user goes. Failures that only spoil the turn are said here;
 * the turn is forgotten then. */
static msa_status handle_line(speaker *s, conversation *c, size_t n_first, char *line,
                              const char *file_text, int64_t n_predict, bool *leave,
                              msa_error *err) {
    if (strcmp(line, "/exit") == 0) return free(line), *leave = true, MSA_OK;
    if (strcmp(line, "/clear") == 0) return free(line), drop_messages(c, n_first), MSA_OK;
    if (line[0] == 0) return free(line), MSA_OK;
    size_t n_before = c->n;
    msa_status status = text_check("your message", line, strlen(line), err);
    if (status != MSA_OK) {
        free(line);
    } else {
        char *message = compose(line, c->n == n_first ? file_text : NULL);
        status = add_message(c, "user", message, err);
        if (status == MSA_OK) status = take_turn(s, c, n_predict, err);
    }
    if (status == MSA_OK) return MSA_OK;
    drop_messages(c, n_before);
    if (status == MSA_E_CANCELLED) return fputs("msa: interrupted\n", stderr), MSA_OK;
    if (status != MSA_E_FULL && status != MSA_E_FORMAT) return status;
    fprintf(stderr, "msa: %s; /clear begins anew\n", err->text);
    return MSA_OK;
}

msa_status chat_interactive(speaker *s, const msa_sampler_params *sampling, const char *system,
                            const char *file, int64_t n_predict, msa_error *err) {
    conversation c = {0};
    char *file_text = NULL, *line;
    size_t n_bytes;
    bool leave = false;
    msa_status status = MSA_OK;
    if (file) status = text_read("-f", file, &file_text, &n_bytes, err);
    if (status == MSA_OK && system) status = add_message(&c, "system", strdup(system), err);
    if (status == MSA_OK) settings_announce(msa_session_get_params(s->session), s->model);
    if (status == MSA_OK) sampling_announce(sampling);
    if (status == MSA_OK)
        fputs("A line is a message; /clear begins anew, /exit or Ctrl-D ends.\n", stderr);
    size_t n_first = c.n;
    while (status == MSA_OK && !leave) {
        interrupt_arm();
        line = read_line();
        if (!line) fputc('\n', stderr);
        if (!line && interrupt_seen())
            status = fail(err, MSA_E_CANCELLED, "interrupted");
        else if (!line)
            leave = true;
        else
            status = handle_line(s, &c, n_first, line, file_text, n_predict, &leave, err);
    }
    drop_messages(&c, 0);
    free(c.messages);
    free(file_text);
    return status;
}
