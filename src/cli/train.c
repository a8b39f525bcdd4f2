/* train.c: msa train: a model from a configuration, with what there is to see of it at the end. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "cli/answer.h"
#include "cli/canvas.h"
#include "cli/commands.h"
#include "cli/options.h"
#include "cli/plot.h"
#include "cli/table.h"
#include "cli/text.h"
#include "cli/train_watch.h"
#include "msa/train.h"

typedef struct train_args {
    const char *config; /* path, NULL: defaults */
    option_texts set;
    int64_t steps, seed, sample;
    const char *out, *recipe, *prompt;
    bool resume, check, help_config, json;
} train_args;

static const option TRAIN_OPTIONS[] = {
    {.name = "--set",
     .kind = OPTION_TEXTS,
     .offset = offsetof(train_args, set),
     .argument = "KEY=VALUE",
     .help = "another value for a key of the configuration; may be given often"},
    {.name = "--steps",
     .letter = 'n',
     .kind = OPTION_INT,
     .offset = offsetof(train_args, steps),
     .argument = "N",
     .min = 1,
     .max = 1e12,
     .help = "run.steps",
     .remedy = "leave it out for the configuration's"},
    {.name = "--seed",
     .letter = 's',
     .kind = OPTION_INT,
     .offset = offsetof(train_args, seed),
     .argument = "N",
     .min = 0,
     .max = 9007199254740992.0,
     .help = "run.seed",
     .remedy = "leave it out for the configuration's"},
    {.name = "--out",
     .letter = 'o',
     .kind = OPTION_TEXT,
     .offset = offsetof(train_args, out),
     .argument = "DIR",
     .help = "run.out: where checkpoints, log and model go"},
    {.name = "--recipe",
     .kind = OPTION_TEXT,
     .offset = offsetof(train_args, recipe),
     .argument = "R",
     .help = "recipe.kind: full, pt, cpt or index-only"},
    {.name = "--resume",
     .kind = OPTION_SWITCH,
     .offset = offsetof(train_args, resume),
     .help = "go on from the newest whole checkpoint, to the same bits"},
    {.name = "--check",
     .kind = OPTION_SWITCH,
     .offset = offsetof(train_args, check),
     .help = "check everything, print the phases, train nothing"},
    {.name = "--help-config",
     .kind = OPTION_SWITCH,
     .offset = offsetof(train_args, help_config),
     .help = "every key of a configuration: range, default, meaning"},
    {.name = "--prompt",
     .letter = 'p',
     .kind = OPTION_TEXT,
     .offset = offsetof(train_args, prompt),
     .argument = "TEXT",
     .help = "what the sample of text at the end goes on from"},
    {.name = "--sample",
     .kind = OPTION_INT,
     .offset = offsetof(train_args, sample),
     .argument = "N",
     .min = 0,
     .max = 1e6,
     .help = "tokens of that sample (default: 200; 0: none)",
     .remedy = "200 is the default"},
    {.name = "--json",
     .kind = OPTION_SWITCH,
     .offset = offsetof(train_args, json),
     .help = "print JSON"},
};

static const help_page PAGE = {
    .usage = "msa train CONFIG [--set KEY=VALUE]... [--resume] [flags]",
    .about =
        "Trains a model as CONFIG, a JSON file, says: text and tasks, warm-up and sparse phase,\n"
        "checkpoints, a log. Ends with the model as a file, curves as a picture, what the model\n"
        "can do with dense attention and with MSA, and a sample of text. Ctrl-C finishes the "
        "step,\n"
        "writes a checkpoint and ends; --resume goes on.\n",
    .examples = "msa train examples/miniature.json --check\n"
                "msa train examples/miniature.json -o miniature\n"
                "msa train --help-config",
};

/* ---- what there is to see ------------------------------------------------------------------- */

static json_t *exams_json(const msa_trainer *t) {
    size_t n;
    const msa_train_exam *exams = msa_trainer_get_exams(t, &n);
    json_t *rows = json_array();
    for (size_t i = 0; i < n; i++) {
        const msa_train_exam *e = &exams[i];
        bool text = strcmp(e->source, "text") == 0;
        double scale = text ? 1 : 100;
        json_array_append_new(rows,
                              json_pack("{s:s, s:s, s:I, s:o, s:o}", "source", e->source, "measure",
                                        text ? "loss, nats a token" : "answers right, %", "n",
                                        (json_int_t)e->n, "dense", json_number(scale * e->dense),
                                        "msa", json_number(scale * e->sparse)));
    }
    return rows;
}

static double mean_of(const json_t *list) {
    double sum = 0;
    size_t n = json_array_size(list);
    for (size_t i = 0; i < n; i++) sum += json_number_value(json_array_get(list, i));
    return n ? sum / (double)n : NAN;
}

/* Recall and mass of each layer, from the last diagnosis in the log. */
static json_t *layers_json(const char *log_path) {
    json_t *rows = json_array(), *last = plot_last_record(log_path, "diagnosis"), *recall;
    const char *layer;
    json_object_foreach(json_object_get(last, "recall_layers"), layer, recall) {
        double captured = mean_of(json_object_get(json_object_get(last, "captured_layers"), layer));
        double oracle = mean_of(json_object_get(json_object_get(last, "oracle_layers"), layer));
        json_array_append_new(rows, json_pack("{s:s, s:o, s:o, s:o, s:o}", "layer", layer, "recall",
                                              json_number(mean_of(recall)), "captured",
                                              json_number(captured), "oracle", json_number(oracle),
                                              "ratio", json_number(captured / oracle)));
    }
    json_decref(last);
    return rows;
}

static msa_status print_tables(const json_t *exams, const json_t *layers, msa_error *err) {
    static const table_column EXAMS[] = {
        {.key = "source", .heading = "held out"},
        {.key = "measure", .heading = "measure"},
        {.key = "n", .heading = "n"},
        {.key = "dense", .heading = "dense", .decimals = 3},
        {.key = "msa", .heading = "MSA", .decimals = 3},
    };
    static const table_column LAYERS[] = {
        {.key = "layer", .heading = "layer"},
        {.key = "recall", .heading = "block recall", .decimals = 3},
        {.key = "captured", .heading = "mass captured", .decimals = 3},
        {.key = "oracle", .heading = "mass of the best blocks", .decimals = 3},
        {.key = "ratio", .heading = "ratio", .decimals = 3},
    };
    msa_status status = table_print(EXAMS, sizeof EXAMS / sizeof *EXAMS, exams, err);
    if (status != MSA_OK || json_array_size(layers) == 0) return status;
    printf("\n");
    return table_print(LAYERS, sizeof LAYERS / sizeof *LAYERS, layers, err);
}

static msa_status write_sample(const train_args *args, const msa_model *model, answer *text,
                               msa_error *err) {
    speaker s;
    msa_tokens prompt = {0};
    msa_session_params params = msa_session_defaults(model);
    msa_sampler_params sampling = msa_sampler_defaults();
    params.attn = msa_model_get_info(model)->has_index ? MSA_ATTN_MSA : MSA_ATTN_DENSE;
    msa_status status = speaker_create(&s, model, &params, &sampling, err);
    if (status != MSA_OK) return status;
    s.silent = true;
    status = msa_tokenize(model, args->prompt, strlen(args->prompt), 0, &prompt, err);
    if (status == MSA_OK) status = speaker_listen(&s, &prompt, err);
    if (status == MSA_OK) status = speaker_answer(&s, args->sample, text, err);
    msa_tokens_free(&prompt);
    speaker_free(&s);
    return status;
}

/* Loads the file that was written, as any other program would. */
static msa_status sample_text(const train_args *args, const msa_train_info *trained, answer *text,
                              msa_error *err) {
    msa_model *model;
    struct stat info;
    bool beside = trained->base[0] != 0;
    const char *path = beside ? trained->base : trained->model;
    if (args->sample == 0 || stat(path, &info) != 0 || S_ISDIR(info.st_mode)) return MSA_OK;
    msa_status status = msa_model_load(&model, path, err);
    if (status != MSA_OK) return status;
    if (beside) status = msa_model_load_index(model, trained->model, err);
    if (status == MSA_OK) status = write_sample(args, model, text, err);
    msa_model_free(model);
    return status;
}

static msa_status print_result(const train_args *args, const msa_trainer *t, const answer *text,
                               const char *picture, msa_error *err) {
    const msa_train_info *info = msa_trainer_get_info(t);
    json_t *exams = exams_json(t), *layers = layers_json(info->log);
    if (args->json)
        return json_print(
            json_pack("{s:s, s:s, s:s, s:I, s:o, s:o, s:o}", "model", info->model, "log", info->log,
                      "curves", picture, "steps", (json_int_t)info->step, "exams", exams, "layers",
                      layers, "sample",
                      json_text(text->text ? text->text : "", text->text ? text->n_bytes : 0)),
            err);
    msa_status status = print_tables(exams, layers, err);
    json_decref(exams);
    json_decref(layers);
    if (status != MSA_OK) return status;
    if (text->text) printf("\nsample: %s%.*s\n", args->prompt, (int)text->n_bytes, text->text);
    printf("\n");
    if (info->model[0]) printf("model   %s\n", info->model);
    printf("log     %s\n", info->log);
    if (picture[0]) printf("curves  %s\n", picture);
    return MSA_OK;
}

static msa_status show_result(const train_args *args, const msa_trainer *t, msa_error *err) {
    const msa_train_info *info = msa_trainer_get_info(t);
    answer text = {0};
    char picture[4096] = "";
    msa_error ignored;
    msa_status status = MSA_OK;
    if (canvas_can_draw(&ignored) == MSA_OK) {
        const char *logs[] = {info->log};
        snprintf(picture, sizeof picture, "%.4000s/curves.png", info->folder);
        status = plot_logs(logs, 1, picture, err);
        if (status != MSA_OK) picture[0] = 0;
    }
    if (status == MSA_OK) status = sample_text(args, info, &text, err);
    /* The model is written: what is known of it is said whatever else went wrong. */
    msa_status printed = print_result(args, t, &text, picture, status == MSA_OK ? err : &ignored);
    free(text.text);
    return status == MSA_OK ? printed : status;
}

/* ---- the command ---------------------------------------------------------------------------- */

/* Flags that stand for keys, then --set, so that the latter wins. */
typedef struct assignments {
    char text[4][4200];
    const char *list[4 + OPTION_TEXTS_MAX];
    size_t n;
} assignments;

static void assign(assignments *a, const char *key, const char *value) {
    snprintf(a->text[a->n], sizeof a->text[a->n], "%s=%.4096s", key, value);
    a->list[a->n] = a->text[a->n];
    a->n++;
}

static void assign_number(assignments *a, const char *key, int64_t value) {
    char text[32];
    snprintf(text, sizeof text, "%lld", (long long)value);
    assign(a, key, text);
}

static void collect(const train_args *args, assignments *a) {
    a->n = 0;
    if (args->steps != OPTION_UNSET) assign_number(a, "run.steps", args->steps);
    if (args->seed != OPTION_UNSET) assign_number(a, "run.seed", args->seed);
    if (args->out) assign(a, "run.out", args->out);
    if (args->recipe) assign(a, "recipe.kind", args->recipe);
    for (size_t i = 0; i < args->set.n; i++) a->list[a->n++] = args->set.values[i];
}

static msa_status train(const train_args *args, const char *config, size_t n_bytes,
                        msa_error *err) {
    static assignments set;
    train_watcher w = {.showing = MSA_TRAIN_NOTE};
    msa_trainer *t;
    collect(args, &set);
    msa_train_params params = {.config = config,
                               .n_bytes = n_bytes,
                               .name = args->config,
                               .assignments = set.list,
                               .n_assignments = set.n,
                               .resume = args->resume,
                               .watch = train_watch,
                               .user = &w};
    msa_status status = msa_trainer_create(&t, &params, err);
    progress_end(&w.bar);
    if (status != MSA_OK) return status;
    train_announce(msa_trainer_get_info(t));
    if (!args->check) status = msa_trainer_run(t, err);
    progress_end(&w.bar);
    if (status == MSA_E_CANCELLED)
        fprintf(stderr, "msa: %s; --resume goes on from there\n", err->text);
    if (status == MSA_OK && !args->check) status = show_result(args, t, err);
    msa_trainer_free(t);
    return status;
}

static msa_status print_config_help(msa_error *err) {
    char *text = msa_train_help();
    if (!text) return fail_memory(err, "listing the keys");
    fputs(text, stdout);
    msa_train_text_free(text);
    return MSA_OK;
}

msa_status command_train(int argc, char **argv, msa_error *err) {
    train_args args = {.steps = OPTION_UNSET, .seed = OPTION_UNSET, .sample = 200, .prompt = "\n"};
    option_group groups[] = {
        {"Training", TRAIN_OPTIONS, sizeof TRAIN_OPTIONS / sizeof *TRAIN_OPTIONS, &args}};
    int n_names = options_leading_names(argc, argv);
    char *config = NULL;
    size_t n_bytes = 0;
    bool done;
    if (n_names > 1)
        return fail(err, MSA_E_ARG, "'%s' was not expected here: there is one configuration",
                    argv[2]);
    if (n_names == 1) args.config = argv[1];
    msa_status status = options_parse(&PAGE, groups, 1, argc - n_names, argv + n_names, &done, err);
    if (status != MSA_OK || done) return status;
    if (args.help_config) return print_config_help(err);
    if (!args.config && args.set.n == 0)
        return fail(err, MSA_E_ARG,
                    "expected a configuration: msa train CONFIG, or --set; "
                    "msa train --help-config lists the keys");
    if (args.sample > 0 && args.prompt[0] == 0)
        return fail(err, MSA_E_ARG,
                    "-p: expected some text for the sample to go on from, found none; --sample 0 "
                    "writes no sample");
    if (args.config) status = text_read("CONFIG", args.config, &config, &n_bytes, err);
    if (status == MSA_OK) status = train(&args, config, n_bytes, err);
    free(config);
    return status;
}
