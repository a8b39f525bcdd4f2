/* run.c: msa run: answers a prompt, or chats. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/answer.h"
#include "cli/chat.h"
#include "cli/commands.h"
#include "cli/reading.h"
#include "cli/report.h"
#include "cli/sampling.h"
#include "cli/table.h"
#include "cli/text.h"

typedef struct run_args {
    model_args model;
    settings_args attention;
    sampling_args sampling;
    const char *file, *prompt, *system;
    int64_t n_predict;
    bool raw, json;
} run_args;

static const option RUN_OPTIONS[] = {
    {.name = "--prompt",
     .letter = 'p',
     .kind = OPTION_TEXT,
     .offset = offsetof(run_args, prompt),
     .argument = "TEXT",
     .help = "the question; with -f it follows the file's text"},
    {.name = "--file",
     .letter = 'f',
     .kind = OPTION_TEXT,
     .offset = offsetof(run_args, file),
     .argument = "FILE",
     .help = "a text to read first, UTF-8; - is standard input"},
    {.name = "--predict",
     .letter = 'n',
     .kind = OPTION_INT,
     .offset = offsetof(run_args, n_predict),
     .argument = "N",
     .min = -1,
     .max = INT32_MAX,
     .help = "most tokens of an answer; -1: until the model ends or the context is\n"
             "full; 0: reads the prompt only (default: -1)",
     .remedy = "-1 lets the model end by itself"},
    {.name = "--n-predict",
     .kind = OPTION_INT,
     .offset = offsetof(run_args, n_predict),
     .argument = "N",
     .min = -1,
     .max = INT32_MAX,
     .remedy = "-1 lets the model end by itself"},
    {.name = "--system",
     .kind = OPTION_TEXT,
     .offset = offsetof(run_args, system),
     .argument = "TEXT",
     .help = "system message of the chat (default: the template's own)"},
    {.name = "--raw",
     .kind = OPTION_SWITCH,
     .offset = offsetof(run_args, raw),
     .help = "no chat: continue the text as it stands"},
    {.name = "--no-chat-template",
     .kind = OPTION_SWITCH,
     .offset = offsetof(run_args, raw),
     .help = "the same, for models whose chat template is not known"},
    {.name = "--json",
     .kind = OPTION_SWITCH,
     .offset = offsetof(run_args, json),
     .help = "print answer and figures as JSON, at the end"},
};

static const help_page PAGE = {
    .usage = "msa run -m MODEL [-f FILE] [-p PROMPT] [-n N] [flags]",
    .about =
        "Answers a prompt with MiniMax Sparse Attention. With -f the prompt is the file's text, a\n"
        "blank line, then -p, as one message of a chat. Without -p and -f the prompt comes from\n"
        "standard input; where that is a terminal, a chat begins (also with -f and no -p): a line\n"
        "is a message, /clear begins anew, /exit or Ctrl-D ends.\n\n"
        "The answer streams to standard output. Settings, and at the end tokens per second, the\n"
        "share of attention and the keys read per query, go to standard error. Ctrl-C ends the\n"
        "answer, a second one the program.\n",
    .examples =
        "msa run -m models/SmolLM2-135M-Instruct.Q4_1.gguf -p \"What is the capital of France?\"\n"
        "msa run -m models/SmolLM2-135M-Instruct.Q4_1.gguf --raw -p \"Once upon a time\" -n 40 "
        "--temp 0\n"
        "msa run -m models/SmolLM2-135M-Instruct.Q4_1.gguf -f LICENSE -p \"What may I do with "
        "it?\" "
        "-n 60\n"
        "echo \"Name three colours.\" | msa run -m models/SmolLM2-135M-Instruct.Q4_1.gguf -n 40",
};

/* The text of the prompt: the file, a blank line, -p; or standard input. With --raw nothing is put
 * in between. */
static msa_status gather_text(const run_args *args, char **text, size_t *n_bytes, msa_error *err) {
    const char *file = args->file ? args->file : args->prompt ? NULL : "-";
    size_t n_prompt = args->prompt ? strlen(args->prompt) : 0;
    char *from_file = NULL;
    size_t n_file = 0;
    msa_status status = MSA_OK;
    if (args->prompt) status = text_check("-p", args->prompt, n_prompt, err);
    if (status == MSA_OK && file) status = text_read("-f", file, &from_file, &n_file, err);
    if (status != MSA_OK) return status;
    const char *between = args->raw || !from_file || !args->prompt ? "" : "\n\n";
    *n_bytes = n_file + strlen(between) + n_prompt;
    *text = malloc(*n_bytes + 1);
    if (*text)
        snprintf(*text, *n_bytes + 1, "%s%s%s", from_file ? from_file : "", between,
                 args->prompt ? args->prompt : "");
    free(from_file);
    return *text ? MSA_OK : fail_memory(err, "reading the text");
}

static msa_status tokenize_prompt(const run_args *args, const msa_model *model, msa_tokens *tokens,
                                  msa_error *err) {
    char *text = NULL;
    size_t n_bytes;
    msa_status status = gather_text(args, &text, &n_bytes, err);
    if (status == MSA_OK && args->raw)
        status =
            msa_tokenize(model, text, n_bytes, MSA_ADD_SPECIAL | MSA_PARSE_SPECIAL, tokens, err);
    else if (status == MSA_OK)
        status = chat_tokenize_one(model, args->system, text, tokens, err);
    free(text);
    return status;
}

static json_t *result_json(const speaker *s, const msa_sampler_params *sampling, const answer *a,
                           size_t n_prompt) {
    const msa_model_info *info = msa_model_get_info(s->model);
    return json_pack("{s:o, s:o, s:o, s:I, s:I, s:o, s:s, s:o}", "model",
                     json_text(info->name, strlen(info->name)), "attention",
                     settings_json(msa_session_get_params(s->session), s->model), "sampling",
                     sampling_json(sampling), "prompt_tokens", (json_int_t)n_prompt,
                     "answer_tokens", (json_int_t)a->n_tokens, "text",
                     json_text(a->text, a->n_bytes), "stop", answer_stop_name(a->stop), "cost",
                     report_json(s->session));
}

static msa_status answer_once(const run_args *args, const msa_sampler_params *sampling, speaker *s,
                              msa_error *err) {
    msa_tokens prompt = {0};
    answer a = {0};
    s->silent = args->json;
    msa_status status = tokenize_prompt(args, s->model, &prompt, err);
    if (status == MSA_OK) {
        reading_warn_replaced(&prompt);
        settings_announce(msa_session_get_params(s->session), s->model);
        sampling_announce(sampling);
        status = speaker_listen(s, &prompt, err);
    }
    if (status == MSA_OK) status = speaker_answer(s, args->n_predict, &a, err);
    if (status == MSA_OK && args->json)
        status = json_print(result_json(s, sampling, &a, prompt.n), err);
    if (status == MSA_OK) {
        chat_note_stop(s, a.stop);
        if (!args->json) report_print(s->session);
        if (a.stop == ANSWER_INTERRUPTED) status = fail(err, MSA_E_CANCELLED, "interrupted");
    }
    free(a.text);
    msa_tokens_free(&prompt);
    return status;
}

static msa_status run_with(const run_args *args, const msa_model *model, msa_error *err) {
    msa_session_params params;
    msa_sampler_params sampling = sampling_params(&args->sampling);
    speaker s;
    msa_status status = settings_params(&args->attention, model, &params, err);
    if (status == MSA_OK) status = speaker_create(&s, model, &params, &sampling, err);
    if (status != MSA_OK) return status;
    bool terminal = isatty(STDIN_FILENO) && !args->raw && !args->json;
    bool from_stdin = args->file && strcmp(args->file, "-") == 0;
    if (terminal && !args->prompt && !from_stdin)
        status = chat_interactive(&s, &sampling, args->system, args->file, args->n_predict, err);
    else
        status = answer_once(args, &sampling, &s, err);
    speaker_free(&s);
    return status;
}

msa_status command_run(int argc, char **argv, msa_error *err) {
    run_args args = {.attention = settings_unset(), .sampling = sampling_unset(), .n_predict = -1};
    msa_model *model = NULL;
    bool done;
    option_group groups[] = {
        model_group(&args.model, true),
        {"Text", RUN_OPTIONS, sizeof RUN_OPTIONS / sizeof *RUN_OPTIONS, &args},
        settings_group(&args.attention, true),
        sampling_group(&args.sampling),
    };
    msa_status status = options_parse(&PAGE, groups, 4, argc, argv, &done, err);
    if (status != MSA_OK || done) return status;
    if (args.raw && args.system)
        return fail(err, MSA_E_ARG,
                    "--system has no place with --raw: there is no chat; leave one "
                    "of them out");
    status = model_open(&args.model, &model, err);
    if (status == MSA_OK) status = run_with(&args, model, err);
    msa_model_free(model);
    return status;
}
