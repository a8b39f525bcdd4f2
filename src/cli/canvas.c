/* canvas.c: see canvas.h. */
#include "cli/canvas.h"

#if !defined(MSA_HAVE_CAIRO)

msa_status canvas_can_draw(msa_error *err) {
    return fail(err, MSA_E_UNSUPPORTED,
                "this msa was built without Cairo and cannot draw; install libcairo2-dev, then "
                "build again");
}

#else

#include <cairo-svg.h>
#include <stdlib.h>
#include <string.h>

msa_status canvas_can_draw(msa_error *err) {
    (void)err;
    return MSA_OK;
}

void set_color(cairo_t *c, color k) {
    cairo_set_source_rgb(c, k.r, k.g, k.b);
}

double text_width(cairo_t *c, double size, const char *text) {
    cairo_text_extents_t extents;
    cairo_set_font_size(c, size);
    cairo_text_extents(c, text, &extents);
    return extents.x_advance;
}

void draw_text(cairo_t *c, double x, double y, double size, double align, color k,
               const char *text) {
    double width = text_width(c, size, text);
    set_color(c, k);
    cairo_move_to(c, x - align * width, y);
    cairo_show_text(c, text);
}

void draw_line(cairo_t *c, double x0, double y0, double x1, double y1, color k) {
    set_color(c, k);
    cairo_set_line_width(c, 1);
    cairo_move_to(c, x0, y0);
    cairo_line_to(c, x1, y1);
    cairo_stroke(c);
}

typedef struct picture {
    unsigned char *data;
    size_t n, capacity;
} picture;

static cairo_status_t append(void *user, const unsigned char *data, unsigned n) {
    picture *p = user;
    if (p->n + n > p->capacity) {
        size_t capacity = 2 * (p->n + n);
        unsigned char *grown = realloc(p->data, capacity);
        if (!grown) return CAIRO_STATUS_NO_MEMORY;
        p->data = grown, p->capacity = capacity;
    }
    memcpy(p->data + p->n, data, n);
    p->n += n;
    return CAIRO_STATUS_SUCCESS;
}

msa_status canvas_draw(int width, int height, bool svg, canvas_fn *draw, const void *user,
                       unsigned char **data, size_t *n_bytes, msa_error *err) {
    picture out = {0};
    cairo_surface_t *surface =
        svg ? cairo_svg_surface_create_for_stream(append, &out, width, height)
            : cairo_image_surface_create(CAIRO_FORMAT_RGB24, width, height);
    if (svg) cairo_svg_surface_set_document_unit(surface, CAIRO_SVG_UNIT_PX);
    cairo_t *c = cairo_create(surface);
    set_color(c, PAPER);
    cairo_paint(c);
    draw(c, user);
    cairo_status_t drawn = cairo_status(c);
    cairo_destroy(c);
    if (!svg && drawn == CAIRO_STATUS_SUCCESS)
        drawn = cairo_surface_write_to_png_stream(surface, append, &out);
    cairo_surface_finish(surface);
    if (drawn == CAIRO_STATUS_SUCCESS) drawn = cairo_surface_status(surface);
    cairo_surface_destroy(surface);
    *data = out.data, *n_bytes = out.n;
    if (drawn == CAIRO_STATUS_SUCCESS) return MSA_OK;
    free(out.data);
    *data = NULL;
    return fail(err, MSA_E_NOMEM, "drawing failed: %s", cairo_status_to_string(drawn));
}

#endif
