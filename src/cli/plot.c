/* plot.c: msa plot: curves of training logs. */
#include "cli/plot.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "cli/canvas.h"
#include "cli/commands.h"
#include "cli/options.h"
#include "cli/output.h"
#include "cli/plot_draw.h"

typedef struct plot_args {
    const char *out;
} plot_args;

static const option PLOT_OPTIONS[] = {
    {.name = "--output",
     .letter = 'o',
     .kind = OPTION_TEXT,
     .offset = offsetof(plot_args, out),
     .argument = "FILE",
     .help = "where to: .png or .svg (default: curves.png)"},
};

static const help_page PAGE = {
    .usage = "msa plot LOG... [-o curves.png]",
    .about =
        "Draws what msa train wrote into its log: losses, answers right, recall and captured mass\n"
        "of the selection, KL, gradient norms, learning rates. Several logs are drawn over each\n"
        "other, a colour for each. The log of a run that is still going will do.\n",
    .examples = "msa plot miniature/log.jsonl -o curves.png",
};

static bool ends_with(const char *text, const char *ending) {
    size_t n = strlen(text), m = strlen(ending);
    return n >= m && strcasecmp(text + n - m, ending) == 0;
}

msa_status plot_logs(const char *const *logs, size_t n_logs, const char *out, msa_error *err) {
    plot_data d;
    unsigned char *picture = NULL;
    size_t n_bytes = 0;
    msa_status status = plot_data_read(&d, logs, n_logs, err);
    if (status == MSA_OK) status = plot_draw(&d, ends_with(out, ".svg"), &picture, &n_bytes, err);
    if (status == MSA_OK) status = output_write("-o", out, picture, n_bytes, err);
    free(picture);
    plot_data_free(&d);
    return status;
}

typedef struct finder {
    const char *event;
    json_t *last;
} finder;

static msa_status keep_if_wanted(void *user, const json_t *record, msa_error *err) {
    finder *f = user;
    const char *event = json_string_value(json_object_get(record, "event"));
    (void)err;
    if (!event || strcmp(event, f->event) != 0) return MSA_OK;
    json_decref(f->last);
    f->last = json_incref((json_t *)(uintptr_t)record);
    return MSA_OK;
}

json_t *plot_last_record(const char *log_path, const char *event) {
    finder f = {.event = event};
    msa_error ignored;
    plot_data_each(log_path, keep_if_wanted, &f, &ignored);
    return f.last;
}

msa_status command_plot(int argc, char **argv, msa_error *err) {
    plot_args args = {.out = "curves.png"};
    option_group groups[] = {
        {"Picture", PLOT_OPTIONS, sizeof PLOT_OPTIONS / sizeof *PLOT_OPTIONS, &args}};
    int n_logs = options_leading_names(argc, argv);
    bool done;
    msa_status status = options_parse(&PAGE, groups, 1, argc - n_logs, argv + n_logs, &done, err);
    if (status != MSA_OK || done) return status;
    if (n_logs == 0) return fail(err, MSA_E_ARG, "expected a log: msa plot LOG... [-o FILE]");
    if (!ends_with(args.out, ".png") && !ends_with(args.out, ".svg"))
        return fail(err, MSA_E_ARG, "-o: expected a name ending in .png or .svg, found '%s'",
                    args.out);
    status = canvas_can_draw(err);
    if (status == MSA_OK) status = output_check("-o", args.out, err);
    if (status == MSA_OK)
        status = plot_logs((const char *const *)argv + 1, (size_t)n_logs, args.out, err);
    if (status == MSA_OK) printf("%s\n", args.out);
    return status;
}
