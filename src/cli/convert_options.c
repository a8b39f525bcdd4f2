/* convert_options.c: what msa convert is told, see convert.h. */
#include <string.h>
#include <sys/stat.h>

#include "cli/convert.h"
#include "cli/fail.h"
#include "cli/output.h"

static const option TEXT_OPTIONS[] = {
    {.name = "--file",
     .letter = 'f',
     .kind = OPTION_TEXTS,
     .offset = offsetof(convert_args, text),
     .argument = "PATH",
     .help = "text to learn from, a file or a directory of files; may be given often"},
    {.name = "--valid",
     .kind = OPTION_TEXTS,
     .offset = offsetof(convert_args, valid),
     .argument = "PATH",
     .help = "text held out for the report (default: 2 % of the text)"},
    {.name = "--context",
     .kind = OPTION_INT,
     .offset = offsetof(convert_args, context),
     .argument = "N",
     .min = 64,
     .max = 1 << 20,
     .help = "tokens of a piece of text, at most what the model was trained for\n"
             "(default: 4096); shorter documents than half of it are left out",
     .remedy = "4096 is the default"},
    {.name = "--facts",
     .kind = OPTION_REAL,
     .offset = offsetof(convert_args, facts),
     .argument = "SHARE",
     .min = 0,
     .max = 0.95,
     .help = "share of the pieces that tell facts somewhere and ask for them at\n"
             "their end, so that finding what is far is learnt too (default: 0)",
     .remedy = "0.25 tells facts in every fourth piece"},
};

static const option INDEX_OPTIONS[] = {
    {.name = "--block",
     .kind = OPTION_INT,
     .offset = offsetof(convert_args, block),
     .argument = "B",
     .min = 16,
     .max = 256,
     .help = "tokens of a block, a power of two (default: 64)",
     .remedy = "64 is the default"},
    {.name = "--topk",
     .kind = OPTION_INT,
     .offset = offsetof(convert_args, topk),
     .argument = "K",
     .min = 1,
     .max = 64,
     .help = "blocks each query reads, forced ones included (default: 8)",
     .remedy = "8 is the default"},
    {.name = "--index-dim",
     .kind = OPTION_INT,
     .offset = offsetof(convert_args, dim),
     .argument = "N",
     .min = 8,
     .max = 256,
     .help = "width of an index head, a multiple of 8 (default: a head's width)",
     .remedy = "leave it out for a head's width"},
    {.name = "--start",
     .kind = OPTION_CHOICE,
     .offset = offsetof(convert_args, start),
     .argument = "START",
     .choices = "heads|random",
     .help = "weights to begin with: the model's own, mean query of each group and\n"
             "mean key, or random ones, as for another width (default: heads);\n"
             "with --index that branch is gone on with, and its blocks count"},
    {.name = "--local",
     .kind = OPTION_INT,
     .offset = offsetof(convert_args, local),
     .argument = "N",
     .min = 0,
     .max = 64,
     .help = "of these always the last N (default: 2)",
     .remedy = "2 is the default"},
    {.name = "--init",
     .kind = OPTION_INT,
     .offset = offsetof(convert_args, init),
     .argument = "N",
     .min = 0,
     .max = 64,
     .help = "of these always the first N (default: 1)",
     .remedy = "1 is the default"},
};

static const option LEARNING_OPTIONS[] = {
    {.name = "--steps",
     .letter = 'n',
     .kind = OPTION_INT,
     .offset = offsetof(convert_args, steps),
     .argument = "N",
     .min = 1,
     .max = 1e9,
     .help = "steps of the index branch (default: 1200)",
     .remedy = "1200 is the default"},
    {.name = "--repeats",
     .kind = OPTION_INT,
     .offset = offsetof(convert_args, repeats),
     .argument = "N",
     .min = 1,
     .max = 1024,
     .help = "steps on one piece of text, which the model reads once (default: 8)",
     .remedy = "8 is the default"},
    {.name = "--rows",
     .kind = OPTION_INT,
     .offset = offsetof(convert_args, rows),
     .argument = "N",
     .min = 1,
     .max = 1 << 20,
     .help = "queries of the piece that a step looks at (default: 384)",
     .remedy = "384 is the default"},
    {.name = "--kl",
     .kind = OPTION_CHOICE,
     .offset = offsetof(convert_args, kl),
     .argument = "SUPPORT",
     .choices = "far|far-mass|visible",
     .help = "\nthe tokens attention is matched on: those outside the forced blocks,\n"
             "the same with each query weighed by its attention there, or all\n"
             "(default: far)"},
    {.name = "--lr",
     .kind = OPTION_REAL,
     .offset = offsetof(convert_args, lr),
     .argument = "RATE",
     .min = 1e-7,
     .max = 1,
     .help = "learning rate of the index branch (default: 1e-3)",
     .remedy = "1e-3 is the default"},
    {.name = "--cpt",
     .kind = OPTION_INT,
     .offset = offsetof(convert_args, cpt),
     .argument = "N",
     .min = 0,
     .max = 1e9,
     .help = "then N steps of the whole model with sparse attention (default: 0);\n"
             "-o becomes a model of its own",
     .remedy = "leave it out to keep the model as it is"},
    {.name = "--cpt-lr",
     .kind = OPTION_REAL,
     .offset = offsetof(convert_args, cpt_lr),
     .argument = "RATE",
     .min = 1e-9,
     .max = 1,
     .help = "learning rate of the model in these (default: 3e-5)",
     .remedy = "3e-5 is the default"},
    {.name = "--seed",
     .letter = 's',
     .kind = OPTION_INT,
     .offset = offsetof(convert_args, seed),
     .argument = "N",
     .min = 0,
     .max = 9007199254740992.0,
     .help = "of the order of texts and the rows (default: 1)",
     .remedy = "1 is the default"},
};

static const option OUTPUT_OPTIONS[] = {
    {.name = "--output",
     .letter = 'o',
     .kind = OPTION_TEXT,
     .offset = offsetof(convert_args, out),
     .argument = "FILE",
     .help = "the index branch as a GGUF file, for --index beside the model"},
    {.name = "--type",
     .kind = OPTION_CHOICE,
     .offset = offsetof(convert_args, type),
     .argument = "TYPE",
     .choices = "f16|bf16|f32",
     .help = "number format of its matrices (default: f16)"},
    {.name = "--folder",
     .kind = OPTION_TEXT,
     .offset = offsetof(convert_args, folder),
     .argument = "DIR",
     .help = "where configuration, checkpoints and log go (default: FILE.run)"},
    {.name = "--resume",
     .kind = OPTION_SWITCH,
     .offset = offsetof(convert_args, resume),
     .help = "go on from the newest whole checkpoint, to the same bits"},
    {.name = "--check",
     .kind = OPTION_SWITCH,
     .offset = offsetof(convert_args, check),
     .help = "check everything, write the configuration, train nothing"},
    {.name = "--json",
     .kind = OPTION_SWITCH,
     .offset = offsetof(convert_args, json),
     .help = "print JSON"},
};

static const help_page PAGE = {
    .usage = "msa convert -m MODEL -f PATH... -o FILE [--steps N] [--cpt N] [--resume] [flags]",
    .about =
        "Gives a dense model an index branch, which chooses the blocks of keys that attention\n"
        "reads. The model stays as it is: the branch learns to rank tokens as the model's own\n"
        "attention does, on the texts at hand, from the mean query of each group of heads and\n"
        "their mean key. Ends with what it was worth on text held out: loss with dense attention,\n"
        "with the branch before and after, and by layer how far it is from the best choice.\n"
        "With --cpt the whole model then learns to live with sparse attention, and is written.\n"
        "DIR/config.json is the run as msa train would make it. Ctrl-C finishes the step, writes\n"
        "a checkpoint and ends; the same command with --resume goes on.\n",
    .examples = "msa convert -m models/SmolLM2-135M-Instruct.Q4_1.gguf "
                "-f /usr/share/common-licenses -o smollm2-index.gguf --check\n"
                "msa convert -m models/SmolLM2-135M-Instruct.Q4_1.gguf "
                "-f /usr/share/common-licenses/GPL -o i.gguf --context 1024 -n 4",
};

static bool is_same_file(const char *a, const char *b) {
    struct stat x, y;
    return stat(a, &x) == 0 && stat(b, &y) == 0 && x.st_dev == y.st_dev && x.st_ino == y.st_ino;
}

static msa_status check_args(const convert_args *args, msa_error *err) {
    if (!args->model.path)
        return fail(err, MSA_E_ARG, "expected -m MODEL, the dense model to convert, found none");
    if (args->text.n == 0)
        return fail(err, MSA_E_ARG, "expected -f PATH, text to learn from, found none");
    if (!args->out) return fail(err, MSA_E_ARG, "expected -o FILE, the file to write, found none");
    if (strlen(args->out) > 3900 || (args->folder && strlen(args->folder) > 3900))
        return fail(err, MSA_E_ARG, "-o, --folder: a path of more than 3900 bytes is too long");
    if (is_same_file(args->out, args->model.path))
        return fail(err, MSA_E_ARG,
                    "-o: '%s' is the model of -m, beside which the index is used; expected another "
                    "file",
                    args->out);
    if (args->model.index && is_same_file(args->out, args->model.index))
        return fail(err, MSA_E_ARG, "-o: '%s' is the branch of --index; expected another file",
                    args->out);
    if (args->model.index && args->start)
        return fail(err, MSA_E_ARG,
                    "--start random begins anew and --index goes on with a branch; expected one of "
                    "them");
    return output_check("-o", args->out, err);
}

/* What of the blocks was not said; beside a branch that has its own, nothing may be. */
static msa_status settle_blocks(convert_args *args, msa_error *err) {
    const char *set = args->block        ? "--block"
                      : args->topk       ? "--topk"
                      : args->dim        ? "--index-dim"
                      : args->local >= 0 ? "--local"
                      : args->init >= 0  ? "--init"
                                         : NULL;
    if (args->model.index && set)
        return fail(err, MSA_E_ARG,
                    "%s: the branch of --index has blocks and forced blocks of its own, which "
                    "count; expected --index without it",
                    set);
    if (!args->block) args->block = 64;
    if (!args->topk) args->topk = 8;
    if (args->local < 0) args->local = 2;
    if (args->init < 0) args->init = 1;
    return MSA_OK;
}

msa_status convert_parse(convert_args *args, int argc, char **argv, bool *done, msa_error *err) {
    *args = (convert_args){.steps = 1200,
                           .rows = 384,
                           .repeats = 8,
                           .context = 4096,
                           .init = -1,
                           .local = -1,
                           .seed = 1,
                           .lr = 1e-3,
                           .cpt_lr = 3e-5};
    option_group groups[] = {
        model_group(&args->model, true),
        {"Text", TEXT_OPTIONS, sizeof TEXT_OPTIONS / sizeof *TEXT_OPTIONS, args},
        {"Index", INDEX_OPTIONS, sizeof INDEX_OPTIONS / sizeof *INDEX_OPTIONS, args},
        {"Learning", LEARNING_OPTIONS, sizeof LEARNING_OPTIONS / sizeof *LEARNING_OPTIONS, args},
        {"Output", OUTPUT_OPTIONS, sizeof OUTPUT_OPTIONS / sizeof *OUTPUT_OPTIONS, args},
    };
    msa_status status = options_parse(&PAGE, groups, 5, argc, argv, done, err);
    if (status != MSA_OK || *done) return status;
    status = check_args(args, err);
    return status == MSA_OK ? settle_blocks(args, err) : status;
}
