/* export.c: msa export: a model into a file or folder that other programs run. */
#include <stdio.h>

#include "cli/commands.h"
#include "cli/settings.h"

typedef struct export_args {
    model_args model;
    const char *out;
    int format, type; /* index of the choice; -1: not given */
    int64_t max_bytes;
} export_args;

static const option EXPORT_OPTIONS[] = {
    {.name = "--output",
     .letter = 'o',
     .kind = OPTION_TEXT,
     .offset = offsetof(export_args, out),
     .argument = "PATH",
     .help = "the file to write, or the folder for safetensors"},
    {.name = "--format",
     .kind = OPTION_CHOICE,
     .offset = offsetof(export_args, format),
     .argument = "FORMAT",
     .choices = "gguf|safetensors|index",
     .help = "gguf for llama.cpp, a folder of safetensors for\n"
             "transformers, or the index branch alone (default: gguf)"},
    {.name = "--type",
     .kind = OPTION_CHOICE,
     .offset = offsetof(export_args, type),
     .argument = "TYPE",
     .choices = "f32|f16|bf16|q8_0",
     .help = "number format of the matrices (default: f32); q8_0 in gguf alone"},
    {.name = "--max-bytes",
     .kind = OPTION_INT,
     .offset = offsetof(export_args, max_bytes),
     .argument = "N",
     .min = 1,
     .max = 9e15,
     .help = "safetensors: begin a new file before one exceeds N bytes (default: one file)",
     .remedy = "2000M is a common size"},
};

static const help_page PAGE = {
    .usage = "msa export -m MODEL [--index FILE] -o PATH [--format F] [--type T] [--max-bytes N]",
    .about =
        "Writes a model, its tokenizer and chat template for other programs. MODEL may be GGUF or\n"
        "safetensors, stored in any format this program reads; --index joins an index branch to "
        "it.\n"
        "Vectors and routers stay f32, and so does an index branch inside a model; written alone\n"
        "it may be f16 or bf16.\n"
        "A file appears when it is complete: where anything fails, what was there before is there\n"
        "still.\n"
        "llama.cpp refuses a Llama with an index branch inside it: keep the two apart for it.\n",
    .examples = "msa export -m models/SmolLM2-135M-Instruct.Q4_1.gguf -o smollm2 "
                "--format safetensors --type bf16\n"
                "msa export -m smollm2 -o smollm2-q8_0.gguf --type q8_0",
};

msa_status command_export(int argc, char **argv, msa_error *err) {
    export_args args = {.format = -1, .type = -1};
    msa_model *model = NULL;
    bool done;
    option_group groups[] = {
        model_group(&args.model, true),
        {"Output", EXPORT_OPTIONS, sizeof EXPORT_OPTIONS / sizeof *EXPORT_OPTIONS, &args},
    };
    msa_status status = options_parse(&PAGE, groups, 2, argc, argv, &done, err);
    if (status != MSA_OK || done) return status;
    if (!args.out)
        return fail(err, MSA_E_ARG, "expected -o PATH, a file or folder to write, found none");
    msa_export_params params = {
        .kind = args.format < 0 ? MSA_FILE_GGUF : (msa_file_kind)args.format,
        .format = args.type < 0 ? MSA_WEIGHTS_F32 : (msa_weight_format)args.type,
        .max_bytes = args.max_bytes,
    };
    if (args.max_bytes && params.kind != MSA_FILE_SAFETENSORS)
        return fail(err, MSA_E_ARG,
                    "--max-bytes %lld: only --format safetensors is cut into files; leave it out",
                    (long long)args.max_bytes);
    status = model_open(&args.model, &model, err);
    if (status == MSA_OK) {
        status = msa_model_export(model, args.out, &params, err);
        if (status != MSA_OK)
            fail_prefix(err, status, "-o: ");
        else
            printf("%s\n", args.out);
    }
    msa_model_free(model);
    return status;
}
