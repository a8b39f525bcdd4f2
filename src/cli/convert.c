/* convert.c: msa convert: an index branch for a dense model: the trainer's recipe index-only over
 * the user's texts, then, where it is asked for, cpt with the backbone; before and after by layer.
 *
 * It stands on the trainer: it writes its configuration as FOLDER/config.json, runs it, moves the
 * file that comes out to its place and reads the evaluations back from the log. */
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli/commands.h"
#include "cli/convert.h"
#include "cli/output.h"
#include "cli/table.h"
#include "cli/train_watch.h"

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
     .help = "tokens of a piece of text (default: 4096); shorter documents\n"
             "than half of it are left out",
     .remedy = "4096 is the default"},
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
             "mean key, or random ones, as for another width (default: heads)"},
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
                "-f /usr/share/common-licenses/GPL-3 -o i.gguf --context 1K -n 4",
};

/* ---- a run ---------------------------------------------------------------------------------- */

static msa_status make_folder(const char *folder, msa_error *err) {
    if (mkdir(folder, 0777) == 0 || errno == EEXIST) return MSA_OK;
    return fail(err, MSA_E_IO, "--folder: can't make the directory '%s': %s", folder,
                strerror(errno));
}

/* Once the trainer has taken it: one that is refused leaves that of the run before in its place. */
static msa_status write_config(const char *folder, const char *text, msa_error *err) {
    char path[4200];
    snprintf(path, sizeof path, "%s/config.json", folder);
    return output_write("--folder", path, text, strlen(text), err);
}

/* What outlives a trainer. */
typedef struct outcome {
    char model[4096], log[4096];
    int64_t n_steps;
} outcome;

static msa_status open_trainer(msa_trainer **t, const char *text, bool resume, train_watcher *w,
                               msa_error *err) {
    msa_train_params params = {.config = text,
                               .n_bytes = strlen(text),
                               .name = "the configuration of msa convert",
                               .resume = resume,
                               .watch = train_watch,
                               .user = w};
    msa_status status = msa_trainer_create(t, &params, err);
    progress_end(&w->bar);
    return status;
}

static msa_status train_config(const convert_args *args, const char *text, const char *folder,
                               bool resume, outcome *out, msa_error *err) {
    train_watcher w = {.showing = MSA_TRAIN_NOTE};
    msa_trainer *t;
    msa_status status = open_trainer(&t, text, resume, &w, err);
    if (status != MSA_OK) return status;
    const msa_train_info *info = msa_trainer_get_info(t);
    train_announce(info);
    snprintf(out->model, sizeof out->model, "%s", info->model);
    snprintf(out->log, sizeof out->log, "%s", info->log);
    out->n_steps = info->n_steps;
    status = write_config(folder, text, err);
    if (status == MSA_OK && !args->check) status = msa_trainer_run(t, err);
    progress_end(&w.bar);
    if (status == MSA_E_CANCELLED)
        fprintf(stderr, "msa: %s; the same command with --resume goes on from there\n", err->text);
    msa_trainer_free(t);
    return status;
}

/* Takes over config. *text is freed by the caller. */
static msa_status write_text(char **text, json_t *config, msa_error *err) {
    *text = config ? json_dumps(config, JSON_INDENT(2) | JSON_REAL_PRECISION(9)) : NULL;
    json_decref(config);
    return *text ? MSA_OK : fail_memory(err, "writing a configuration");
}

/* Takes over config. */
static msa_status run(const convert_args *args, json_t *config, const char *folder, bool resume,
                      outcome *out, msa_error *err) {
    char *text;
    msa_status status = write_text(&text, config, err);
    if (status == MSA_OK) status = make_folder(folder, err);
    if (status == MSA_OK) status = train_config(args, text, folder, resume, out, err);
    free(text);
    return status;
}

/* ---- both runs ------------------------------------------------------------------------------ */

typedef struct work {
    char folder[4096], cpt_folder[4160];
    outcome index, cpt;
    bool has_cpt;
} work;

static bool is_there(const char *path) {
    struct stat info;
    return stat(path, &info) == 0;
}

/* A mistake in the second run's configuration is told before the first run's first step: with the
 * model at hand in the place of the first run's. */
static msa_status check_cpt(const convert_args *args, const work *w, msa_error *err) {
    train_watcher watcher = {.showing = MSA_TRAIN_NOTE};
    msa_trainer *t = NULL;
    char *text;
    msa_status status = write_text(
        &text, convert_cpt_config(args, w->cpt_folder, args->model.path, w->folder), err);
    if (status == MSA_OK) status = open_trainer(&t, text, false, &watcher, err);
    msa_trainer_free(t);
    free(text);
    rmdir(w->cpt_folder); /* empty, unless a run has been there */
    return status == MSA_OK ? MSA_OK : fail_prefix(err, status, "--cpt: ");
}

/* The second run begins where the first has left its model; a resumed one may be in it already. */
static msa_status run_both(const convert_args *args, work *w, msa_error *err) {
    snprintf(w->cpt_folder, sizeof w->cpt_folder, "%s/cpt", w->folder);
    bool begun = args->resume && is_there(w->cpt_folder);
    msa_status status = args->cpt && !begun ? check_cpt(args, w, err) : MSA_OK;
    if (status == MSA_OK)
        status = run(args, convert_index_config(args, w->folder), w->folder, args->resume,
                     &w->index, err);
    if (status != MSA_OK || args->cpt == 0 || args->check) return status;
    status = run(args, convert_cpt_config(args, w->cpt_folder, w->index.model, w->folder),
                 w->cpt_folder, begun, &w->cpt, err);
    w->has_cpt = status == MSA_OK;
    return status;
}

static msa_status move_result(const convert_args *args, const work *w, msa_error *err) {
    const char *from = w->has_cpt ? w->cpt.model : w->index.model;
    if (rename(from, args->out) == 0) return MSA_OK;
    return fail(err, MSA_E_IO, "-o: '%s' is written, but can't be moved to '%s': %s", from,
                args->out, strerror(errno));
}

static msa_status print_result(const convert_args *args, const work *w, msa_error *err) {
    json_t *found = convert_findings(w->index.log, w->has_cpt ? w->cpt.log : NULL);
    if (args->json) {
        json_object_set_new(found, "output", json_text(args->out, strlen(args->out)));
        json_object_set_new(found, "folder", json_text(w->folder, strlen(w->folder)));
        json_object_set_new(found, "log", json_text(w->index.log, strlen(w->index.log)));
        json_object_set_new(found, "steps", json_integer((json_int_t)w->index.n_steps));
        json_object_set_new(found, "cpt_steps", json_integer((json_int_t)w->cpt.n_steps));
        return json_print(found, err);
    }
    msa_status status = convert_print(found, err);
    json_decref(found);
    if (status != MSA_OK) return status;
    printf("\n%s  %s\nlog     %s\n", w->has_cpt ? "model " : "index ", args->out, w->index.log);
    return MSA_OK;
}

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
    return output_check("-o", args->out, err);
}

msa_status command_convert(int argc, char **argv, msa_error *err) {
    static work w;
    convert_args args = {.steps = 1200,
                         .rows = 384,
                         .repeats = 8,
                         .context = 4096,
                         .block = 64,
                         .topk = 8,
                         .init = 1,
                         .local = 2,
                         .seed = 1,
                         .lr = 1e-3,
                         .cpt_lr = 3e-5};
    bool done;
    option_group groups[] = {
        model_group(&args.model, false),
        {"Text", TEXT_OPTIONS, sizeof TEXT_OPTIONS / sizeof *TEXT_OPTIONS, &args},
        {"Index", INDEX_OPTIONS, sizeof INDEX_OPTIONS / sizeof *INDEX_OPTIONS, &args},
        {"Learning", LEARNING_OPTIONS, sizeof LEARNING_OPTIONS / sizeof *LEARNING_OPTIONS, &args},
        {"Output", OUTPUT_OPTIONS, sizeof OUTPUT_OPTIONS / sizeof *OUTPUT_OPTIONS, &args},
    };
    msa_status status = options_parse(&PAGE, groups, 5, argc, argv, &done, err);
    if (status != MSA_OK || done) return status;
    status = check_args(&args, err);
    if (status != MSA_OK) return status;
    snprintf(w.folder, sizeof w.folder, "%s%s", args.folder ? args.folder : args.out,
             args.folder ? "" : ".run");
    status = run_both(&args, &w, err);
    if (status == MSA_OK && args.check) printf("%s/config.json\n", w.folder);
    if (status != MSA_OK || args.check) return status;
    status = move_result(&args, &w, err);
    msa_status printed = print_result(&args, &w, status == MSA_OK ? err : NULL);
    return status == MSA_OK ? printed : status;
}
