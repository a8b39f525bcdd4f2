/* eval_needle.c: msa eval needle: one number hidden at every depth of texts of every length. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/canvas.h"
#include "cli/commands.h"
#include "cli/eval_grid.h"
#include "cli/output.h"
#include "cli/table.h"

static const help_page PAGE = {
    .usage = "msa eval needle -m MODEL [--lengths LIST] [--depths LIST] [-o FILE] [flags]",
    .about =
        "Hides one number at each depth of a text (--text, else noise) and asks for it: a grid "
        "of\n"
        "scores by length and depth for each selector, as a table and a picture. The same\n"
        "samples for every depth and selector.\n",
    .examples = "msa eval needle -m models/SmolLM2-135M-Instruct.Q4_1.gguf --lengths 384 --depths "
                "0,100 -n 1 -o needle.png\n"
                "msa eval needle -m models/SmolLM2-135M-Instruct.Q4_1.gguf -f LICENSE --lengths "
                "512 --depths 50 --show 0",
};

/* ---- table ----------------------------------------------------------------------------------- */

enum { SHOWN_LENGTHS = 16 }; /* in a table; more of them take another */

/* Rows of one selector are n_selectors apart: lengths, then depths. */
static const msa_eval_row *row_at(const exam_args *args, const msa_eval_row *rows,
                                  size_t n_selectors, size_t length, size_t depth,
                                  size_t selector) {
    return &rows[(length * (size_t)args->depths.n + depth) * n_selectors + selector];
}

/* The lengths from `first` on. */
static msa_status print_part(const exam_args *args, const msa_eval_row *rows,
                             const msa_eval_info *info, size_t selector, size_t first,
                             msa_error *err) {
    table_column columns[1 + SHOWN_LENGTHS] = {{.key = "depth", .heading = "depth"}};
    char headings[SHOWN_LENGTHS][24];
    size_t n = (size_t)args->lengths.n - first;
    if (n > SHOWN_LENGTHS) n = SHOWN_LENGTHS;
    json_t *list = json_array();
    for (size_t l = 0; l < n; l++) {
        snprintf(headings[l], sizeof headings[l], "%lld",
                 (long long)args->lengths.values[first + l]);
        columns[1 + l] = (table_column){.key = headings[l], .heading = headings[l]};
    }
    for (size_t d = 0; d < (size_t)args->depths.n; d++) {
        char text[16];
        snprintf(text, sizeof text, "%lld %%", (long long)args->depths.values[d]);
        json_t *line = json_pack("{s:s}", "depth", text);
        for (size_t l = 0; l < n; l++)
            line = json_with(
                line, headings[l],
                json_number(row_at(args, rows, info->n_selectors, first + l, d, selector)->score));
        list = json_more(list, line);
    }
    if (!list) return fail_memory(err, "the table");
    printf("%s%s\n", selector || first ? "\n" : "", info->selectors[selector]);
    msa_status status = table_print(columns, 1 + n, list, err);
    json_decref(list);
    return status;
}

static msa_status print_selector(const exam_args *args, const msa_eval_row *rows,
                                 const msa_eval_info *info, size_t selector, msa_error *err) {
    msa_status status = MSA_OK;
    for (size_t l = 0; l < (size_t)args->lengths.n && status == MSA_OK; l += SHOWN_LENGTHS)
        status = print_part(args, rows, info, selector, l, err);
    return status;
}

/* ---- picture --------------------------------------------------------------------------------- */

static bool is_svg(const char *path) {
    size_t n = strlen(path);
    return n >= 4 && strcmp(path + n - 4, ".svg") == 0;
}

static msa_status draw(const exam_args *args, const msa_eval_row *rows, const msa_eval_info *info,
                       msa_error *err) {
    size_t n = (size_t)args->lengths.n * (size_t)args->depths.n * info->n_selectors, n_bytes;
    double *scores = malloc(n * sizeof *scores), depths[OPTION_INTS_MAX];
    unsigned char *data = NULL;
    char subtitle[256];
    if (!scores) return fail_memory(err, "drawing");
    for (size_t i = 0; i < n; i++) scores[i] = rows[i].score;
    for (int i = 0; i < args->depths.n; i++) depths[i] = (double)args->depths.values[i];
    const char *file = strrchr(args->model.path, '/');
    snprintf(subtitle, sizeof subtitle,
             "%.120s, hidden in %s, %lld sample%s a cell, score 0 to 100",
             file ? file + 1 : args->model.path, info->haystack, (long long)args->samples,
             args->samples == 1 ? "" : "s");
    grid g = {.lengths = args->lengths.values,
              .depths = depths,
              .selectors = info->selectors,
              .n_lengths = (size_t)args->lengths.n,
              .n_depths = (size_t)args->depths.n,
              .n_selectors = info->n_selectors,
              .scores = scores,
              .title = "A needle at every depth",
              .subtitle = subtitle};
    msa_status status = grid_draw(&g, is_svg(args->picture), &data, &n_bytes, err);
    if (status == MSA_OK) status = output_write("-o", args->picture, data, n_bytes, err);
    if (status == MSA_OK) fprintf(stderr, "picture    %s\n", args->picture);
    free(data);
    free(scores);
    return status;
}

static msa_status print_grid(const exam_args *args, const msa_eval_row *rows, size_t n,
                             const msa_eval_info *info, msa_error *err) {
    msa_status status = MSA_OK;
    (void)n;
    for (size_t s = 0; s < info->n_selectors && status == MSA_OK && !args->json; s++)
        status = print_selector(args, rows, info, s, err);
    if (status == MSA_OK && args->picture) status = draw(args, rows, info, err);
    return status;
}

msa_status command_eval_needle(int argc, char **argv, msa_error *err) {
    exam_args args = exam_unset();
    bool done;
    option_group groups[] = {
        model_group(&args.model, true),
        exam_group_needle(&args),
        exam_group(&args),
        settings_group(&args.attention, false),
    };
    msa_status status = options_parse(&PAGE, groups, 4, argc, argv, &done, err);
    if (status != MSA_OK || done) return status;
    if (args.picture) status = canvas_can_draw(err);
    if (status == MSA_OK && args.picture) status = output_check("-o", args.picture, err);
    if (status == MSA_OK && args.depths.n == 0)
        status = fail(err, MSA_E_ARG, "--depths: expected at least one, found none");
    return status == MSA_OK ? exam_run(&args, "needle", "needle", print_grid, err) : status;
}
