/* tokenize.c: msa tokenize: the tokens of a text. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/commands.h"
#include "cli/settings.h"
#include "cli/table.h"
#include "cli/text.h"

typedef struct tokenize_args {
    model_args model;
    const char *file, *prompt;
    bool special, json;
} tokenize_args;

static const option TOKENIZE_OPTIONS[] = {
    {.name = "--prompt",
     .letter = 'p',
     .kind = OPTION_TEXT,
     .offset = offsetof(tokenize_args, prompt),
     .argument = "TEXT",
     .help = "the text"},
    {.name = "--file",
     .letter = 'f',
     .kind = OPTION_TEXT,
     .offset = offsetof(tokenize_args, file),
     .argument = "FILE",
     .help = "or a file, UTF-8; - is standard input"},
    {.name = "--special",
     .kind = OPTION_SWITCH,
     .offset = offsetof(tokenize_args, special),
     .help = "names like <|im_start|> in the text are special tokens"},
    {.name = "--json",
     .kind = OPTION_SWITCH,
     .offset = offsetof(tokenize_args, json),
     .help = "print JSON"},
};

static const help_page PAGE = {
    .usage = "msa tokenize -m MODEL (-p TEXT | -f FILE) [--special] [--json]",
    .about = "The tokens a model sees: one id and its text a line, in the text's order.\n",
    .examples = "msa tokenize -m models/SmolLM2-135M-Instruct.Q4_1.gguf -p \"Hello, world\"",
};

static json_t *tokens_json(const msa_model *model, const msa_tokens *tokens, msa_error *err) {
    json_t *rows = json_array();
    for (size_t i = 0; i < tokens->n; i++) {
        char *text = NULL;
        size_t n;
        if (msa_detokenize(model, tokens->ids + i, 1, MSA_PARSE_SPECIAL, &text, &n, err) != MSA_OK)
            return json_decref(rows), NULL;
        json_array_append_new(
            rows, json_pack("{s:i, s:o}", "id", (int)tokens->ids[i], "text", json_text(text, n)));
        msa_text_free(text);
    }
    return rows;
}

/* The text of a token as JSON writes it: line feeds and the like are seen. */
static void print_token(const json_t *row) {
    char *quoted = json_dumps(json_object_get(row, "text"), JSON_ENCODE_ANY);
    printf("%6lld %s\n", (long long)json_integer_value(json_object_get(row, "id")),
           quoted ? quoted : "-");
    free(quoted);
}

static msa_status tokenize(const tokenize_args *args, const msa_model *model, const char *text,
                           size_t n_bytes, msa_error *err) {
    msa_tokens tokens = {0};
    int flags = args->special ? MSA_PARSE_SPECIAL : 0;
    msa_status status = msa_tokenize(model, text, n_bytes, flags, &tokens, err);
    if (status == MSA_OK) fail_memory(err, "listing tokens"); /* unless something else fails */
    json_t *rows = status == MSA_OK ? tokens_json(model, &tokens, err) : NULL;
    msa_tokens_free(&tokens);
    if (status != MSA_OK) return status;
    if (!rows) return err->code;
    if (args->json)
        return json_print(json_pack("{s:i, s:o}", "n", (int)json_array_size(rows), "rows", rows),
                          err);
    for (size_t i = 0; i < json_array_size(rows); i++) print_token(json_array_get(rows, i));
    json_decref(rows);
    return MSA_OK;
}

msa_status command_tokenize(int argc, char **argv, msa_error *err) {
    tokenize_args args = {0};
    msa_model *model = NULL;
    char *from_file = NULL;
    size_t n_bytes = 0;
    bool done;
    option_group groups[] = {
        model_group(&args.model, false),
        {"Text", TOKENIZE_OPTIONS, sizeof TOKENIZE_OPTIONS / sizeof *TOKENIZE_OPTIONS, &args},
    };
    msa_status status = options_parse(&PAGE, groups, 2, argc, argv, &done, err);
    if (status != MSA_OK || done) return status;
    if (!args.prompt == !args.file)
        return fail(err, MSA_E_ARG, "expected one of -p TEXT and -f FILE, found %s",
                    args.file ? "both" : "neither");
    status = model_open(&args.model, &model, err);
    if (status == MSA_OK && args.file)
        status = text_read("-f", args.file, &from_file, &n_bytes, err);
    else if (status == MSA_OK)
        status = text_check("-p", args.prompt, n_bytes = strlen(args.prompt), err);
    if (status == MSA_OK)
        status = tokenize(&args, model, from_file ? from_file : args.prompt, n_bytes, err);
    free(from_file);
    msa_model_free(model);
    return status;
}
