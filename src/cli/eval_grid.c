/* eval_grid.c: see eval_grid.h. */
#include "cli/eval_grid.h"

#include "cli/canvas.h"

#if !defined(MSA_HAVE_CAIRO)

msa_status grid_draw(const grid *g, bool svg, unsigned char **data, size_t *n_bytes,
                     msa_error *err) {
    (void)g, (void)svg, (void)data, (void)n_bytes;
    return canvas_can_draw(err);
}

#else

#include <math.h>
#include <stdio.h>

enum { LEFT = 92, TOP = 118, BOTTOM = 64, RIGHT = 30, GAP = 40, CELL_HEIGHT = 34, PER_ROW = 3 };

static const color NEVER = {0.80, 0.22, 0.16}, HALF = {0.97, 0.86, 0.55},
                   ALWAYS = {0.13, 0.52, 0.36}, NOT_ASKED = {0.92, 0.93, 0.95};

static color mix(color a, color b, double share) {
    return (color){a.r + share * (b.r - a.r), a.g + share * (b.g - a.g), a.b + share * (b.b - a.b)};
}

static color score_color(double score) {
    if (isnan(score)) return NOT_ASKED;
    return score < 50 ? mix(NEVER, HALF, score / 50) : mix(HALF, ALWAYS, score / 50 - 1);
}

static double cell_width(const grid *g) {
    double width = 360.0 / (double)g->n_lengths;
    return width > 90 ? 90 : width < 34 ? 34 : width;
}

static double panel_width(const grid *g) {
    return cell_width(g) * (double)g->n_lengths;
}

static double panel_height(const grid *g) {
    return CELL_HEIGHT * (double)g->n_depths;
}

static void draw_cell(cairo_t *c, double x, double y, double width, double score) {
    char text[16];
    set_color(c, score_color(score));
    cairo_rectangle(c, x, y, width - 2, CELL_HEIGHT - 2);
    cairo_fill(c);
    if (isnan(score)) return;
    snprintf(text, sizeof text, "%.0f", score);
    draw_text(c, x + width / 2 - 1, y + CELL_HEIGHT / 2 + 4, 12, 0.5,
              score > 30 && score < 75 ? INK : PAPER, text);
}

static void draw_panel(cairo_t *c, const grid *g, size_t selector, double x, double y) {
    double width = cell_width(g);
    char text[48];
    draw_text(c, x, y - 10, 15, 0, INK, g->selectors[selector]);
    for (size_t l = 0; l < g->n_lengths; l++) {
        for (size_t d = 0; d < g->n_depths; d++)
            draw_cell(c, x + (double)l * width, y + (double)d * CELL_HEIGHT, width,
                      g->scores[(l * g->n_depths + d) * g->n_selectors + selector]);
        snprintf(text, sizeof text, "%lld", (long long)g->lengths[l]);
        draw_text(c, x + ((double)l + 0.5) * width, y + panel_height(g) + 16, 12, 0.5, INK, text);
    }
    draw_text(c, x + panel_width(g) / 2, y + panel_height(g) + 36, 12, 0.5, FAINT,
              "length, tokens");
    for (size_t d = 0; d < g->n_depths; d++) {
        snprintf(text, sizeof text, "%g %%", g->depths[d]);
        draw_text(c, x - 8, y + ((double)d + 0.5) * CELL_HEIGHT + 4, 12, 1, INK, text);
    }
    draw_text(c, x - 8, y - 10, 12, 1, FAINT, "depth");
}

static size_t panels_in_a_row(const grid *g) {
    return g->n_selectors < PER_ROW ? g->n_selectors : PER_ROW;
}

static void draw_page(cairo_t *c, const void *user) {
    const grid *g = user;
    size_t columns = panels_in_a_row(g);
    cairo_select_font_face(c, "sans-serif", CAIRO_FONT_SLANT_NORMAL, CAIRO_FONT_WEIGHT_BOLD);
    draw_text(c, 30, 38, 19, 0, INK, g->title);
    cairo_select_font_face(c, "sans-serif", CAIRO_FONT_SLANT_NORMAL, CAIRO_FONT_WEIGHT_NORMAL);
    draw_text(c, 30, 62, 13, 0, FAINT, g->subtitle);
    for (size_t i = 0; i < g->n_selectors; i++)
        draw_panel(c, g, i, LEFT + (double)(i % columns) * (LEFT + panel_width(g) + GAP / 2.0),
                   TOP + (double)(i / columns) * (panel_height(g) + BOTTOM + GAP));
}

msa_status grid_draw(const grid *g, bool svg, unsigned char **data, size_t *n_bytes,
                     msa_error *err) {
    size_t columns = panels_in_a_row(g), lines = (g->n_selectors + columns - 1) / columns;
    double width = (double)columns * (LEFT + panel_width(g) + GAP / 2.0) + RIGHT;
    double height = TOP + (double)lines * (panel_height(g) + BOTTOM + GAP);
    if (width < 760) width = 760;
    if (width > 8000 || height > 8000)
        return fail(err, MSA_E_ARG,
                    "--output: a grid of %zu lengths and %zu depths is too large to "
                    "draw; expected fewer of them",
                    g->n_lengths, g->n_depths);
    return canvas_draw((int)width, (int)height, svg, draw_page, g, data, n_bytes, err);
}

#endif
