/* canvas.h: what the pictures share: a page that becomes the bytes of a PNG or an SVG, its colours,
 * text and lines. Needs Cairo; without it only canvas_can_draw is there. */
#ifndef MSA_CLI_CANVAS_H
#define MSA_CLI_CANVAS_H

#include <stdbool.h>
#include <stddef.h>

#include "cli/fail.h"

/* MSA_OK where this build can draw; else MSA_E_UNSUPPORTED, with the reason. */
msa_status canvas_can_draw(msa_error *err);

#if defined(MSA_HAVE_CAIRO)

#include <cairo.h>

typedef struct color {
    double r, g, b;
} color;

static const color PAPER = {1, 1, 1}, INK = {0.13, 0.15, 0.18}, FAINT = {0.42, 0.45, 0.50};

void set_color(cairo_t *c, color k);
double text_width(cairo_t *c, double size, const char *text);
/* align: 0 begins at x, 0.5 is centred there, 1 ends there. y is the base line. */
void draw_text(cairo_t *c, double x, double y, double size, double align, color k,
               const char *text);
void draw_line(cairo_t *c, double x0, double y0, double x1, double y1, color k);

/* A page of width x height pixels, white, as `draw` fills it. *data holds the file's bytes; free().
 * On failure *data is NULL. */
typedef void canvas_fn(cairo_t *c, const void *user);
msa_status canvas_draw(int width, int height, bool svg, canvas_fn *draw, const void *user,
                       unsigned char **data, size_t *n_bytes, msa_error *err);

#endif
#endif
