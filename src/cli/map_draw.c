/* map_draw.c: see map_draw.h.
 *
 * The cells are an image with one pixel a screen pixel, so that PNG and SVG show the same and the
 * SVG of a long text stays small; everything else is lines and text. */
#include "cli/map_draw.h"

#include "cli/canvas.h"

enum { WIDTH = 1200, HEIGHT = 1000 };
enum { TILES_LEFT = 34, TILES_TOP = 150, TILES_GAP = 15, TILE_WIDEST = 900 };

static int tiles_end(const map_tile *t) {
    return TILES_TOP + t->rows * (t->height + 2 * TILES_GAP);
}

map_tile map_tile_of(int n) {
    map_tile t;
    for (double width = TILE_WIDEST;; width *= 0.97) {
        t.width = (int32_t)width, t.height = (int32_t)(width * 0.79);
        t.columns = (WIDTH - 2 * TILES_LEFT + TILES_GAP) / (t.width + TILES_GAP);
        t.rows = (n + t.columns - 1) / t.columns;
        if (tiles_end(&t) < HEIGHT) return t;
    }
}

#if !defined(MSA_HAVE_CAIRO)

msa_status map_draw(const map_grid *grids, int n, const map_labels *labels, map_format format,
                    unsigned char **data, size_t *n_bytes, msa_error *err) {
    (void)grids, (void)n, (void)labels, (void)format, (void)data, (void)n_bytes;
    return canvas_can_draw(err);
}

#else

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { LEFT = 216, TOP = 190, STRIP = 52, GAP = 18 };

static const color UNREAD = {0.905, 0.92, 0.94}, FORCED = {0.11, 0.36, 0.66},
                   SCORED = {0.90, 0.36, 0.05};

typedef struct frame { /* of the plot, in pixels */
    double x, y, width, height;
} frame;

/* Few readers of a cell must still be seen: shares are drawn by their square root. */
static color cell_color(const map_cell *cell) {
    if (cell->visible == 0) return PAPER;
    double forced = (double)cell->forced / cell->visible,
           scored = (double)cell->scored / cell->visible, read = forced + scored;
    if (read <= 0) return UNREAD;
    double strength = sqrt(fmin(read, 1)), f = forced / read * strength,
           s = scored / read * strength, rest = 1 - strength;
    return (color){rest * UNREAD.r + f * FORCED.r + s * SCORED.r,
                   rest * UNREAD.g + f * FORCED.g + s * SCORED.g,
                   rest * UNREAD.b + f * FORCED.b + s * SCORED.b};
}

static uint32_t pixel_of(color k) {
    return 0xff000000u | (uint32_t)lround(255 * k.r) << 16 | (uint32_t)lround(255 * k.g) << 8 |
           (uint32_t)lround(255 * k.b);
}

static void draw_cells(cairo_t *c, const map_grid *grid, frame f) {
    int width = (int)f.width, height = (int)f.height;
    cairo_surface_t *image = cairo_image_surface_create(CAIRO_FORMAT_RGB24, width, height);
    unsigned char *data = cairo_image_surface_get_data(image); /* NULL where it failed */
    int stride = cairo_image_surface_get_stride(image);
    for (int y = 0; y < height && data; y++) {
        const map_cell *row =
            grid->cells + (int64_t)y * grid->n_rows / height * (int64_t)grid->n_columns;
        uint32_t *out = (uint32_t *)(void *)(data + (int64_t)y * stride);
        for (int x = 0; x < width; x++)
            out[x] = pixel_of(cell_color(&row[(int64_t)x * grid->n_columns / width]));
    }
    cairo_surface_mark_dirty(image);
    cairo_set_source_surface(c, image, f.x, f.y);
    cairo_pattern_set_filter(cairo_get_source(c), CAIRO_FILTER_NEAREST);
    cairo_paint(c);
    cairo_surface_destroy(image);
}

/* ---- text ----------------------------------------------------------------------------------- */

/* Cuts the text, at a character, until it fits. */
static void draw_text_within(cairo_t *c, double x, double y, double size, double align, color k,
                             double width, const char *text) {
    char fitting[512];
    cairo_text_extents_t extents;
    snprintf(fitting, sizeof fitting, "%s", text);
    cairo_set_font_size(c, size);
    for (size_t n = strlen(fitting);;) {
        cairo_text_extents(c, fitting, &extents);
        if (extents.x_advance <= width || n == 0) break;
        do n--;
        while (n > 0 && ((unsigned char)fitting[n] & 0xc0) == 0x80);
        snprintf(fitting + n, sizeof fitting - n, "\xe2\x80\xa6"); /* an ellipsis */
    }
    draw_text(c, x, y, size, align, k, fitting);
}

/* ---- axes ----------------------------------------------------------------------------------- */

/* The smallest round step of tokens that gives at most `most` ticks: 2^i, which block borders
 * meet. */
static int64_t tick_step(int64_t n_tokens, int most) {
    int64_t step = 1;
    while (n_tokens / step >= most) step *= 2;
    return step;
}

static void draw_x_axis(cairo_t *c, const map_grid *grid, frame f) {
    int64_t n = grid->n_blocks * grid->shape.block,
            step = tick_step(n, f.width < MAP_PLOT_WIDTH / 2 ? 6 : 12);
    double bottom = f.y + f.height;
    char text[64];
    if (step < grid->shape.block) step = grid->shape.block;
    for (int64_t token = 0; token <= n; token += step) {
        double x = floor(f.x + f.width * (double)token / (double)n) + 0.5;
        draw_line(c, x, bottom, x, bottom + 6, INK);
        snprintf(text, sizeof text, "%lld", (long long)token);
        draw_text(c, x, bottom + 21, 13, 0.5, INK, text);
        snprintf(text, sizeof text, "block %lld", (long long)(token / grid->shape.block));
        if (token < n) draw_text(c, x, bottom + 36, 11, 0.5, FAINT, text);
    }
    snprintf(text, sizeof text, "keys: position in the text (tokens), in blocks of %d",
             grid->shape.block);
    draw_text(c, f.x + f.width / 2, bottom + 60, 15, 0.5, INK, text);
}

static void draw_y_axis(cairo_t *c, const map_grid *grid, const map_labels *labels, frame f) {
    int64_t n = grid->n_tokens, step = tick_step(n, 16);
    char text[256];
    for (int64_t token = 0; token < n; token += step) {
        double y = floor(f.y + f.height * (double)token / (double)n) + 0.5;
        draw_line(c, f.x - 6, y, f.x, y, INK);
        snprintf(text, sizeof text, "%lld", (long long)token);
        draw_text(c, f.x - 10, y + 5, 13, 1, INK, text);
        text[0] = 0;
        if (labels->words_at) labels->words_at(labels->user, token, text, sizeof text);
        draw_text_within(c, f.x - 62, y + 4, 11, 1, FAINT, f.x - 62 - 34, text);
    }
    cairo_save(c);
    cairo_translate(c, 22, f.y + f.height / 2);
    cairo_rotate(c, -M_PI / 2);
    draw_text(c, 0, 0, 15, 0.5, INK, "queries: position in the text (tokens)");
    cairo_restore(c);
}

/* Over each column, the share of the queries that see the block and read it. */
static void draw_strip(cairo_t *c, const map_grid *grid, frame f) {
    double base = f.y - GAP;
    for (int32_t i = 0; i < grid->n_columns; i++) {
        const map_cell *column = &grid->columns[i];
        double x0 = f.x + floor(f.width * i / grid->n_columns),
               x1 = f.x + floor(f.width * (i + 1) / grid->n_columns);
        if (column->visible == 0) continue;
        double forced = STRIP * (double)column->forced / column->visible,
               scored = STRIP * (double)column->scored / column->visible;
        set_color(c, FORCED);
        cairo_rectangle(c, x0, base - forced, x1 - x0, forced);
        cairo_fill(c);
        set_color(c, SCORED);
        cairo_rectangle(c, x0, base - forced - scored, x1 - x0, scored);
        cairo_fill(c);
    }
    draw_line(c, f.x, base + 0.5, f.x + f.width, base + 0.5, FAINT);
    draw_line(c, f.x, base - STRIP + 0.5, f.x + f.width, base - STRIP + 0.5, UNREAD);
    draw_text(c, f.x - 10, base + 4, 11, 1, FAINT, "0 %");
    draw_text(c, f.x - 10, base - STRIP + 8, 11, 1, FAINT, "100 %");
    draw_text(c, f.x - 62, base - STRIP / 2 - 4, 12, 1, INK, "read by, of the");
    draw_text(c, f.x - 62, base - STRIP / 2 + 11, 12, 1, INK, "queries behind it");
}

static double draw_swatch(cairo_t *c, double x, double y, color k, const char *text) {
    cairo_text_extents_t extents;
    set_color(c, k);
    cairo_rectangle(c, x, y - 12, 15, 15);
    cairo_fill(c);
    draw_text(c, x + 22, y, 14, 0, INK, text);
    cairo_text_extents(c, text, &extents);
    return x + 22 + extents.x_advance + 28;
}

static void draw_legend(cairo_t *c, const map_grid *grid, double x, double y) {
    char text[160];
    const msa_shape *s = &grid->shape;
    snprintf(text, sizeof text, "forced: the last %d (own included), the first %d", s->local,
             s->init);
    x = draw_swatch(c, x, y, FORCED, text);
    x = draw_swatch(c, x, y, SCORED, "chosen by score");
    x = draw_swatch(c, x, y, UNREAD, "visible, not read");
    if (grid->n_rows < grid->n_tokens || grid->n_columns < grid->n_blocks)
        draw_text(c, x, y, 13, 0, FAINT, "paler: read by few of a cell\xe2\x80\x99s queries");
}

static void draw_head(cairo_t *c, const map_grid *grid, const map_labels *labels) {
    double width = LEFT + MAP_PLOT_WIDTH - 34;
    cairo_select_font_face(c, "sans-serif", CAIRO_FONT_SLANT_NORMAL, CAIRO_FONT_WEIGHT_BOLD);
    draw_text_within(c, 34, 40, 21, 0, INK, width, labels->title);
    cairo_select_font_face(c, "sans-serif", CAIRO_FONT_SLANT_NORMAL, CAIRO_FONT_WEIGHT_NORMAL);
    draw_text_within(c, 34, 65, 14, 0, FAINT, width, labels->subtitle);
    draw_legend(c, grid, 34, 98);
}

/* Whole pixels to a cell where cells are larger than pixels. */
static frame frame_of(const map_grid *grid, double x, int width) {
    return (frame){x, TOP, width / grid->n_columns * grid->n_columns,
                   MAP_PLOT_HEIGHT / grid->n_rows * grid->n_rows};
}

static void draw_borders(cairo_t *c, frame f) {
    draw_line(c, f.x - 0.5, f.y - 0.5, f.x - 0.5, f.y + f.height + 0.5, INK);
    draw_line(c, f.x - 0.5, f.y + f.height + 0.5, f.x + f.width, f.y + f.height + 0.5, INK);
}

static void draw_plot(cairo_t *c, const map_grid *grid, const map_labels *labels) {
    frame f = frame_of(grid, LEFT, MAP_PLOT_WIDTH);
    draw_strip(c, grid, f);
    draw_cells(c, grid, f);
    draw_x_axis(c, grid, f);
    draw_y_axis(c, grid, labels, f);
    draw_borders(c, f);
}

/* The choice, and what had most attention. */
static void draw_pair(cairo_t *c, const map_grid *grids, const map_labels *labels) {
    static const char *const NAMES[] = {"what was chosen", "the blocks with most attention"};
    for (int i = 0; i < 2; i++) {
        frame f = frame_of(&grids[i], LEFT + i * (MAP_HALF_WIDTH + 24), MAP_HALF_WIDTH);
        draw_text(c, f.x, f.y - 12, 15, 0, INK, NAMES[i]);
        draw_cells(c, &grids[i], f);
        draw_x_axis(c, &grids[i], f);
        draw_borders(c, f);
        if (i == 0) draw_y_axis(c, &grids[i], labels, f);
    }
}

static void draw_tiles(cairo_t *c, const map_grid *grids, int n) {
    map_tile t = map_tile_of(n);
    char text[128];
    snprintf(text, sizeof text,
             "each picture: keys from left to right, queries from top to bottom, tokens 0 to %lld",
             (long long)grids[0].n_tokens);
    draw_text(c, TILES_LEFT, 122, 13, 0, FAINT, text);
    for (int i = 0; i < n; i++) {
        frame f = {TILES_LEFT + i % t.columns * (t.width + TILES_GAP),
                   TILES_TOP + i / t.columns * (t.height + 2 * TILES_GAP) + 6, t.width, t.height};
        snprintf(text, sizeof text, "layer %d", grids[i].layer);
        draw_text(c, f.x, f.y - 5, 12, 0, INK, text);
        draw_cells(c, &grids[i], f);
        draw_line(c, f.x - 0.5, f.y, f.x - 0.5, f.y + f.height + 0.5, FAINT);
        draw_line(c, f.x - 0.5, f.y + f.height + 0.5, f.x + f.width, f.y + f.height + 0.5, FAINT);
    }
}

/* ---- the page ------------------------------------------------------------------------------- */

typedef struct page {
    const map_grid *grids;
    int n;
    const map_labels *labels;
} page;

static void draw_page(cairo_t *c, const void *user) {
    const page *p = user;
    draw_head(c, &p->grids[0], p->labels);
    if (p->n == 1)
        draw_plot(c, &p->grids[0], p->labels);
    else if (p->labels->beside)
        draw_pair(c, p->grids, p->labels);
    else
        draw_tiles(c, p->grids, p->n);
}

msa_status map_draw(const map_grid *grids, int n, const map_labels *labels, map_format format,
                    unsigned char **data, size_t *n_bytes, msa_error *err) {
    page p = {grids, n, labels};
    bool tiled = n > 1 && !labels->beside;
    map_tile t = map_tile_of(n);
    return canvas_draw(WIDTH, tiled ? tiles_end(&t) : HEIGHT, format == MAP_SVG, draw_page, &p,
                       data, n_bytes, err);
}

#endif
