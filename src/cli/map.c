/* map.c: msa map: a picture of which blocks each query of a text selected. */
#include <libgen.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>

#include "cli/canvas.h"
#include "cli/commands.h"
#include "cli/map_beside.h"
#include "cli/map_draw.h"
#include "cli/output.h"
#include "cli/progress.h"
#include "cli/reading.h"
#include "cli/text.h"

typedef struct map_args {
    model_args model;
    settings_args attention;
    const char *file, *out;
    int64_t layer, group;
    bool all_layers;
    int format, beside;
} map_args;

enum { FORMAT_BOTH = 2 }; /* behind map_format in the choices of --format */

static const option MAP_OPTIONS[] = {
    {.name = "--file",
     .letter = 'f',
     .kind = OPTION_TEXT,
     .offset = offsetof(map_args, file),
     .argument = "FILE",
     .help = "the text, UTF-8; - is standard input"},
    {.name = "--layer",
     .kind = OPTION_INT,
     .offset = offsetof(map_args, layer),
     .argument = "L",
     .min = 0,
     .max = 255,
     .help = "layer, from 0 (default: the middle one)",
     .remedy = "msa info -m FILE says how many there are"},
    {.name = "--all-layers",
     .kind = OPTION_SWITCH,
     .offset = offsetof(map_args, all_layers),
     .help = "every layer that selects, as small pictures side by side"},
    {.name = "--group",
     .kind = OPTION_INT,
     .offset = offsetof(map_args, group),
     .argument = "G",
     .min = 0,
     .max = 255,
     .help = "group of heads (KV head), from 0 (default: 0)",
     .remedy = "msa info -m FILE says how many there are"},
    {.name = "--output",
     .letter = 'o',
     .kind = OPTION_TEXT,
     .offset = offsetof(map_args, out),
     .argument = "FILE",
     .help = "where to; .png and .svg take each other's place (default: map.png)"},
    {.name = "--format",
     .kind = OPTION_CHOICE,
     .offset = offsetof(map_args, format),
     .argument = "F",
     .choices = "png|svg|both",
     .help = "(default: both)"},
    {.name = "--beside",
     .kind = OPTION_CHOICE,
     .offset = offsetof(map_args, beside),
     .argument = "WHAT",
     .choices = "none|oracle",
     .help = "beside a layer's choice the blocks with most attention, and\n"
             "for every layer how many of them were chosen; takes about as long as dense\n"
             "attention (default: none)"},
};

static const help_page PAGE = {
    .usage = "msa map -m MODEL -f FILE [--layer L] [--group G] [-o map.png] [flags]",
    .about =
        "Reads a text with MSA and draws which blocks of keys each query read in one layer and\n"
        "group: a row for each query, a column for each block, forced and scored blocks told\n"
        "apart. Writes a PNG and an SVG and prints their names. With --beside oracle it also "
        "draws\n"
        "the k blocks with most attention and prints for each layer recall, the share of these "
        "that\n"
        "was chosen, and how much of the attention the chosen blocks and the best ones hold "
        "(means\n"
        "over groups and the queries that see more than k blocks).\n",
    .examples = "msa map -m models/SmolLM2-135M-Instruct.Q4_1.gguf "
                "-f /usr/share/common-licenses/Apache-2.0 --layer 12 -o map.png\n"
                "msa map -m models/SmolLM2-135M-Instruct.Q4_1.gguf "
                "-f /usr/share/common-licenses/Apache-2.0 --all-layers",
};

/* ---- watching ------------------------------------------------------------------------------- */

enum { LAYERS_MAX = 256 };

typedef struct watcher {
    const map_args *args;
    int32_t layer;    /* the only one wanted; -1: all */
    int32_t n_layers; /* of the model */
    int64_t n_tokens;
    map_grid
        grids[LAYERS_MAX]; /* of the layers seen so far; of one layer and the oracle's choice */
    int n_grids;
    beside_sums sums[BESIDE_LAYERS]; /* with --beside */
    msa_status status;
    msa_error err;
} watcher;

/* A picture of one layer has the page to itself, or half of it. */
static msa_status add_grid(watcher *w, int32_t layer, const msa_shape *shape) {
    bool many = w->layer < 0, pair = w->args->beside && !many;
    map_tile tile = map_tile_of(w->n_layers < LAYERS_MAX ? w->n_layers : LAYERS_MAX);
    int32_t height = many ? tile.height : MAP_PLOT_HEIGHT;
    int32_t width = many ? tile.width : pair ? MAP_HALF_WIDTH : MAP_PLOT_WIDTH;
    map_grid *grid = &w->grids[w->n_grids];
    msa_status status = map_grid_create(grid, w->n_tokens, shape, height, width, &w->err);
    if (status != MSA_OK) return status;
    grid->layer = layer;
    w->n_grids++;
    return MSA_OK;
}

static map_grid *grid_of(watcher *w, int32_t layer, const msa_shape *shape) {
    for (int i = 0; i < w->n_grids; i++)
        if (w->grids[i].layer == layer) return &w->grids[i];
    if (w->n_grids == LAYERS_MAX) return NULL;
    w->status = add_grid(w, layer, shape);
    return w->status == MSA_OK ? &w->grids[w->n_grids - 1] : NULL;
}

static void watch(void *user, int32_t layer, int64_t first, int64_t n, const msa_shape *shape,
                  const int32_t *ids) {
    watcher *w = user;
    if ((w->layer >= 0 && layer != w->layer) || w->status != MSA_OK) return;
    map_grid *grid = grid_of(w, layer, shape);
    for (int64_t i = 0; i < n && grid; i++)
        map_grid_add(grid, first + i, ids + (i * shape->n_kv_heads + w->args->group) * shape->topk);
}

/* Comes after watch, which made the grid of the layer's own choice. */
static void watch_mass(void *user, int32_t layer, int64_t first, int64_t n, const msa_shape *shape,
                       const int32_t *ids, const float *mass, int64_t n_blocks) {
    watcher *w = user;
    int32_t best[64], groups = shape->n_kv_heads;
    msa_shape free = *shape;
    free.local = free.init = 0; /* nothing is forced on the oracle */
    bool drawn = layer == w->layer;
    if (layer >= BESIDE_LAYERS || w->status != MSA_OK) return;
    if (drawn && w->n_grids == 1) w->status = add_grid(w, layer, &free);
    for (int64_t i = 0; i < n * groups && w->status == MSA_OK; i++) {
        int64_t position = first + i / groups;
        w->status = beside_add(&w->sums[layer], shape, position, ids + i * shape->topk,
                               mass + i * n_blocks, best, &w->err);
        if (drawn && w->status == MSA_OK && i % groups == w->args->group)
            map_grid_add(&w->grids[1], position, best);
    }
}

static msa_status watch_text(watcher *w, msa_session *session, const msa_tokens *tokens,
                             msa_error *err) {
    progress bar = progress_begin("reading", "tokens");
    progress_show(&bar, (int64_t)tokens->n);
    msa_session_watch(session, watch, w);
    if (w->args->beside) msa_session_watch_mass(session, watch_mass, w);
    msa_status status =
        msa_session_feed(session, tokens->ids, tokens->n, progress_callback, &bar, err);
    progress_end(&bar);
    if (status != MSA_OK) return status;
    if (w->status != MSA_OK) return *err = w->err, w->status;
    if (w->n_grids == 0) return fail(err, MSA_E_FORMAT, "--layer: no layer selected anything");
    return MSA_OK;
}

/* ---- writing -------------------------------------------------------------------------------- */

typedef struct words {
    const msa_model *model;
    const msa_tokens *tokens;
} words;

static void words_at(const void *user, int64_t position, char *text, size_t size) {
    const words *w = user;
    char *raw = NULL;
    size_t n = 0, n_ids = w->tokens->n - (size_t)position;
    msa_error ignored;
    text[0] = 0;
    if (msa_detokenize(w->model, w->tokens->ids + position, n_ids < 8 ? n_ids : 8, 0, &raw, &n,
                       &ignored) != MSA_OK)
        return;
    size_t out = 0;
    for (size_t i = 0; i < n && out + 5 < size;) {
        size_t length = text_character(raw + i, n - i);
        bool space = length == 1 && (unsigned char)raw[i] <= ' ';
        if (space && out > 0 && text[out - 1] != ' ') text[out++] = ' ';
        if (length > 0 && !space) memcpy(text + out, raw + i, length), out += length;
        i += length ? length : 1;
    }
    text[out] = 0;
    msa_text_free(raw);
}

/* The path of one format: the ending .png or .svg replaced, or added. A device stays as it is, and
 * so does a folder, which output_check refuses. */
static void format_path(const char *out, map_format format, char *path, size_t size) {
    struct stat info;
    size_t n = strlen(out);
    bool ending = n > 4 && (!strcasecmp(out + n - 4, ".png") || !strcasecmp(out + n - 4, ".svg"));
    if (stat(out, &info) == 0 && !S_ISREG(info.st_mode))
        snprintf(path, size, "%s", out);
    else
        snprintf(path, size, "%.*s%s", (int)(ending ? n - 4 : n), out,
                 format == MAP_PNG ? ".png" : ".svg");
}

enum { PATH_SIZE = 4096 };

static bool is_wanted(const map_args *args, map_format format) {
    return args->format == FORMAT_BOTH || args->format == (int)format;
}

static msa_status check_outputs(const map_args *args, msa_error *err) {
    char path[PATH_SIZE];
    if (args->out[0] == 0) return fail(err, MSA_E_ARG, "-o: expected the name of a file, found ''");
    msa_status status = MSA_OK;
    for (int format = MAP_PNG; format <= MAP_SVG && status == MSA_OK; format++) {
        format_path(args->out, (map_format)format, path, sizeof path);
        if (is_wanted(args, (map_format)format)) status = output_check("-o", path, err);
    }
    return status;
}

static msa_status write_pictures(const map_args *args, const watcher *w, const map_labels *labels,
                                 msa_error *err) {
    char path[PATH_SIZE];
    msa_status status = MSA_OK;
    for (int format = MAP_PNG; format <= MAP_SVG && status == MSA_OK; format++) {
        unsigned char *data = NULL;
        size_t n_bytes = 0;
        if (!is_wanted(args, (map_format)format)) continue;
        status = map_draw(w->grids, w->n_grids, labels, (map_format)format, &data, &n_bytes, err);
        format_path(args->out, (map_format)format, path, sizeof path);
        if (status == MSA_OK) status = output_write("-o", path, data, n_bytes, err);
        if (status == MSA_OK) printf("%s\n", path);
        free(data);
    }
    return status;
}

static msa_status draw_map(const map_args *args, const watcher *w, const msa_model *model,
                           const msa_session_params *params, const msa_tokens *tokens,
                           msa_error *err) {
    char title[256], subtitle[512], file[PATH_SIZE];
    const msa_model_info *info = msa_model_get_info(model);
    const map_grid *grid = &w->grids[0];
    const msa_shape *shape = &grid->shape;
    words text = {model, tokens};
    map_labels labels = {title, subtitle, words_at, &text, args->beside && w->layer >= 0};
    snprintf(file, sizeof file, "%s", args->file);
    const char *name = info->name[0] ? info->name : info->architecture;
    int n = snprintf(title, sizeof title, "Blocks each query reads: %.120s, group %d", name,
                     (int)args->group);
    if (w->layer >= 0) snprintf(title + n, sizeof title - (size_t)n, ", layer %d", grid->layer);
    snprintf(subtitle, sizeof subtitle,
             "MSA, %s selector, B = %d tokens a block, k = %d blocks a query (%d keys)  \xc2\xb7  "
             "text: %.200s, %lld tokens, %lld blocks",
             settings_selector(params, model), shape->block, shape->topk,
             shape->block * shape->topk, strcmp(file, "-") == 0 ? "standard input" : basename(file),
             (long long)grid->n_tokens, (long long)grid->n_blocks);
    if (grid->n_blocks <= shape->topk)
        fprintf(stderr,
                "msa: this text has only %lld blocks, no more than --topk %d: every query reads "
                "everything\n",
                (long long)grid->n_blocks, shape->topk);
    return write_pictures(args, w, &labels, err);
}

/* ---- the command ---------------------------------------------------------------------------- */

static msa_status check_place(const map_args *args, const msa_model *model,
                              const msa_session_params *params, int32_t layer, msa_error *err) {
    const msa_model_info *info = msa_model_get_info(model);
    if (args->all_layers && args->layer != OPTION_UNSET)
        return fail(err, MSA_E_ARG, "--layer and --all-layers exclude each other; leave one out");
    if (layer >= info->n_layers)
        return fail(err, MSA_E_ARG, "--layer: there is no layer %d; this model has layers 0 to %d",
                    layer, info->n_layers - 1);
    if (args->group >= info->n_kv_heads)
        return fail(err, MSA_E_ARG, "--group: there is no group %d; this model has groups 0 to %d",
                    (int)args->group, info->n_kv_heads - 1);
    if (layer >= 0 && settings_is_dense(params, layer))
        return fail(err, MSA_E_ARG, "--layer: layer %d attends densely and selects nothing", layer);
    return MSA_OK;
}

static msa_status map_text(const map_args *args, const msa_model *model, const msa_tokens *tokens,
                           msa_error *err) {
    msa_session_params params;
    msa_session *session = NULL;
    msa_status status = settings_params(&args->attention, model, &params, err);
    if (status != MSA_OK) return status;
    params.attn = MSA_ATTN_MSA;
    settings_no_decode(&params);
    int32_t layer = args->all_layers              ? -1
                    : args->layer == OPTION_UNSET ? msa_model_get_info(model)->n_layers / 2
                                                  : (int32_t)args->layer;
    watcher w = {.args = args,
                 .layer = layer,
                 .n_layers = msa_model_get_info(model)->n_layers,
                 .n_tokens = (int64_t)tokens->n};
    status = check_place(args, model, &params, layer, err);
    if (status == MSA_OK) status = msa_session_create(&session, model, &params, err);
    if (status == MSA_OK)
        status = settings_check_room(msa_session_get_params(session), model, tokens->n, err);
    if (status == MSA_OK) settings_announce(msa_session_get_params(session), model);
    if (status == MSA_OK) status = watch_text(&w, session, tokens, err);
    if (status == MSA_OK)
        status = draw_map(args, &w, model, msa_session_get_params(session), tokens, err);
    if (status == MSA_OK && args->beside) status = beside_print(w.sums, err);
    for (int i = 0; i < w.n_grids; i++) map_grid_free(&w.grids[i]);
    msa_session_free(session);
    return status;
}

msa_status command_map(int argc, char **argv, msa_error *err) {
    map_args args = {.attention = settings_unset(),
                     .layer = OPTION_UNSET,
                     .out = "map.png",
                     .format = FORMAT_BOTH};
    msa_model *model = NULL;
    msa_tokens tokens = {0};
    bool done;
    option_group groups[] = {
        model_group(&args.model, true),
        {"Picture", MAP_OPTIONS, sizeof MAP_OPTIONS / sizeof *MAP_OPTIONS, &args},
        settings_group(&args.attention, false),
    };
    msa_status status = options_parse(&PAGE, groups, 3, argc, argv, &done, err);
    if (status != MSA_OK || done) return status;
    status = canvas_can_draw(err);
    if (status == MSA_OK) status = check_outputs(&args, err);
    if (status == MSA_OK) status = reading_open(&args.model, args.file, &model, &tokens, err);
    if (status == MSA_OK) status = map_text(&args, model, &tokens, err);
    msa_tokens_free(&tokens);
    msa_model_free(model);
    return status;
}
