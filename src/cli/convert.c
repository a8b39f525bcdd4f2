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
        &text,
        convert_cpt_config(args, w->cpt_folder, args->model.path, args->model.index, w->folder),
        err);
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
    status = run(args, convert_cpt_config(args, w->cpt_folder, w->index.model, NULL, w->folder),
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

msa_status command_convert(int argc, char **argv, msa_error *err) {
    static work w;
    convert_args args;
    bool done;
    msa_status status = convert_parse(&args, argc, argv, &done, err);
    if (status != MSA_OK || done) return status;
    snprintf(w.folder, sizeof w.folder, "%s%s", args.folder ? args.folder : args.out,
             args.folder ? "" : ".run");
    status = run_both(&args, &w, err);
    if (status == MSA_OK && args.check) printf("%s/config.json\n", w.folder);
    if (status != MSA_OK || args.check) return status;
    status = move_result(&args, &w, err);
    msa_status printed = print_result(&args, &w, status == MSA_OK ? err : NULL);
    return status == MSA_OK ? printed : status;
}
