/* plot_draw.c: see plot_draw.h. One log: a colour for each curve. Several: a colour for each log,
 * and curves of one kind told apart by their dashes. */
#include "cli/plot_draw.h"

#include "cli/canvas.h"

#if !defined(MSA_HAVE_CAIRO)

msa_status plot_draw(const plot_data *d, bool svg, unsigned char **data, size_t *n_bytes,
                     msa_error *err) {
    (void)d, (void)svg, (void)data, (void)n_bytes;
    return canvas_can_draw(err);
}

#else

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { WIDTH = 1440, HEIGHT = 940, TOP = 62, MARGIN = 24, COLUMNS = 3, ROWS = 2 };

static const color GRID = {0.90, 0.91, 0.93};
/* Okabe and Ito's, which colour-blind readers tell apart; yellow left out. */
static const color CURVES[] = {{0, 0.45, 0.70},    {0.84, 0.37, 0},    {0, 0.62, 0.45},
                               {0.80, 0.47, 0.65}, {0.34, 0.71, 0.91}, {0.90, 0.62, 0},
                               {0.25, 0.25, 0.25}};
enum { N_CURVES = sizeof CURVES / sizeof *CURVES };

typedef struct panel_style {
    const char *title;
    bool log_scale, share; /* share: 0 to 1, shown in % */
} panel_style;

static const panel_style STYLES[PANEL_COUNT] = {
    [PANEL_LOSS] = {"Loss, nats a token", false, false},
    [PANEL_ACCURACY] = {"Answers right, held-out samples", false, true},
    [PANEL_SELECTION] = {"Selection against the best blocks", false, true},
    [PANEL_KL] = {"KL loss of the index", true, false},
    [PANEL_GRADIENT] = {"Gradient norm, before clipping", true, false},
    [PANEL_RATE] = {"Learning rate", false, false},
};

typedef struct frame {
    double x, y, width, height; /* of the plot, in pixels */
    double x_max, y_min, y_max; /* y in decades where log_scale */
    bool log_scale, share;
} frame;

/* ---- small words ---------------------------------------------------------------------------- */

static double value_of(const frame *f, double y) {
    return f->log_scale ? log10(y) : y;
}

static bool can_show(const frame *f, double y) {
    return isfinite(y) && (!f->log_scale || y > 0);
}

static double x_of(const frame *f, double x) {
    return f->x + f->width * x / f->x_max;
}

static double y_of(const frame *f, double y) {
    double share = (value_of(f, y) - f->y_min) / (f->y_max - f->y_min);
    return f->y + f->height * (1 - fmin(fmax(share, 0), 1));
}

/* ---- axes ----------------------------------------------------------------------------------- */

/* 1, 2 or 5 times a power of ten that gives at most `most` steps. */
static double nice_step(double range, int most) {
    double step = pow(10, floor(log10(range / most)));
    while (range / step > most) {
        step *= 2;
        if (range / step <= most) break;
        step *= 2.5;
        if (range / step <= most) break;
        step *= 2;
    }
    return step;
}

static void fit_values(frame *f, const plot_panel *p) {
    double low = INFINITY, high = -INFINITY;
    for (size_t i = 0; i < p->n; i++)
        for (size_t j = 0; j < p->series[i].n; j++) {
            double y = p->series[i].y[j];
            if (!can_show(f, y)) continue;
            low = fmin(low, value_of(f, y));
            high = fmax(high, value_of(f, y));
        }
    if (f->share || !(low <= high)) low = 0, high = 1;
    if (!f->share && !f->log_scale) low = 0; /* how much is left is seen from 0 */
    if (high - low < 1e-12) high = low + 1;
    double room = f->share ? 0 : 0.04 * (high - low);
    f->y_min = f->log_scale ? low - room : low;
    f->y_max = high + room;
}

static void label_value(char *text, size_t size, double y, bool share) {
    if (share)
        snprintf(text, size, "%.0f %%", 100 * y);
    else if (y != 0 && (fabs(y) < 1e-4 || fabs(y) >= 1e5))
        snprintf(text, size, "%.1e", y);
    else
        snprintf(text, size, "%.4g", y);
}

static void draw_y_tick(cairo_t *c, const frame *f, double y) {
    char text[32];
    double at = floor(y_of(f, y)) + 0.5;
    draw_line(c, f->x, at, f->x + f->width, at, GRID);
    label_value(text, sizeof text, y, f->share);
    draw_text(c, f->x - 7, at + 4, 12, 1, INK, text);
}

static void draw_y_axis(cairo_t *c, const frame *f) {
    if (f->log_scale) {
        static const double PARTS[] = {1, 2, 5};
        bool wide = f->y_max - f->y_min > 3;
        for (int decade = (int)floor(f->y_min); decade <= (int)ceil(f->y_max); decade++)
            for (int i = 0; i < (wide ? 1 : 3); i++) {
                double y = PARTS[i] * pow(10, decade);
                if (log10(y) >= f->y_min && log10(y) <= f->y_max) draw_y_tick(c, f, y);
            }
        return;
    }
    double step = f->share ? 0.2 : nice_step(f->y_max - f->y_min, 6);
    for (double i = 0; i * step <= f->y_max * (1 + 1e-9); i++) draw_y_tick(c, f, i * step);
}

static void draw_x_axis(cairo_t *c, const frame *f) {
    double step = nice_step(f->x_max, 6), bottom = f->y + f->height;
    char text[32];
    for (double i = 0; i * step <= f->x_max + 1e-9; i++) {
        double at = floor(x_of(f, i * step)) + 0.5;
        draw_line(c, at, bottom, at, bottom + 4, INK);
        snprintf(text, sizeof text, "%.0f", i * step);
        draw_text(c, at, bottom + 18, 12, 0.5, INK, text);
    }
    draw_line(c, f->x, bottom + 0.5, f->x + f->width, bottom + 0.5, INK);
    draw_text(c, f->x + f->width, bottom + 33, 12, 1, FAINT, "step");
}

static void draw_phases(cairo_t *c, const frame *f, const plot_data *d) {
    static const double DASH[] = {2, 3};
    for (size_t i = 0; i < d->n_phases; i++) {
        const plot_phase *p = &d->phases[i];
        double at = floor(x_of(f, p->from)) + 0.5;
        if (p->log != 0 || p->from >= f->x_max) continue;
        cairo_set_dash(c, DASH, 2, 0);
        if (p->from > 0) draw_line(c, at, f->y, at, f->y + f->height, FAINT);
        cairo_set_dash(c, NULL, 0, 0);
        draw_text(c, at + 4, f->y - 5, 11, 0, FAINT, p->name);
    }
}

/* ---- curves --------------------------------------------------------------------------------- */

static color color_of(const plot_data *d, const plot_panel *p, size_t i) {
    const plot_series *s = &p->series[i];
    if (d->n_logs > 1) return CURVES[s->log % N_CURVES];
    if (!s->dashed || i == 0) return CURVES[i % N_CURVES];
    return CURVES[(s->points ? i - 1 : i) % N_CURVES]; /* beside the one it is compared with */
}

/* Of several logs, the curves of a kind are told apart by dashes. */
static void set_dash(cairo_t *c, const plot_data *d, const plot_panel *p, size_t i) {
    static const double LONG[] = {7, 4}, SHORT[] = {2, 3}, MIXED[] = {9, 3, 2, 3};
    int kind = 0;
    for (size_t j = 0; j < i; j++) kind += p->series[j].log == p->series[i].log;
    if (d->n_logs == 1) kind = p->series[i].dashed;
    switch (kind % 4) {
    case 0: cairo_set_dash(c, NULL, 0, 0); break;
    case 1: cairo_set_dash(c, LONG, 2, 0); break;
    case 2: cairo_set_dash(c, SHORT, 2, 0); break;
    case 3: cairo_set_dash(c, MIXED, 4, 0); break;
    }
}

static void draw_series(cairo_t *c, const frame *f, const plot_series *s) {
    bool drawing = false;
    cairo_set_line_width(c, 1.6);
    for (size_t j = 0; j < s->n; j++) {
        bool shown = can_show(f, s->y[j]);
        if (shown && drawing) cairo_line_to(c, x_of(f, s->x[j]), y_of(f, s->y[j]));
        if (shown && !drawing) cairo_move_to(c, x_of(f, s->x[j]), y_of(f, s->y[j]));
        drawing = shown;
    }
    cairo_stroke(c);
    cairo_set_dash(c, NULL, 0, 0);
    for (size_t j = 0; (s->points || s->n == 1) && j < s->n; j++) {
        if (!can_show(f, s->y[j])) continue;
        cairo_arc(c, x_of(f, s->x[j]), y_of(f, s->y[j]), 2.6, 0, 2 * M_PI);
        cairo_fill(c);
    }
}

/* In rows below the title, as many to a row as fit. */
static double draw_legend(cairo_t *c, const plot_data *d, const plot_panel *p, double x, double y,
                          double width, bool count_only) {
    double at = x, size = 12;
    for (size_t i = 0; i < p->n; i++) {
        if (p->series[i].log != p->series[0].log) continue;
        double needed = 26 + text_width(c, size, p->series[i].name) + 14;
        if (at > x && at + needed > x + width) at = x, y += 17;
        if (!count_only) {
            set_color(c, d->n_logs > 1 ? INK : color_of(d, p, i));
            set_dash(c, d, p, i);
            cairo_set_line_width(c, 1.8);
            cairo_move_to(c, at, y - 4);
            cairo_line_to(c, at + 20, y - 4);
            cairo_stroke(c);
            cairo_set_dash(c, NULL, 0, 0);
            draw_text(c, at + 26, y, size, 0, INK, p->series[i].name);
        }
        at += needed;
    }
    return y;
}

static void draw_panel(cairo_t *c, const plot_data *d, plot_panel_kind kind, double x, double y,
                       double width, double height) {
    const panel_style *style = &STYLES[kind];
    const plot_panel *p = &d->panels[kind];
    cairo_select_font_face(c, "sans-serif", CAIRO_FONT_SLANT_NORMAL, CAIRO_FONT_WEIGHT_BOLD);
    draw_text(c, x, y + 16, 15, 0, INK, style->title);
    cairo_select_font_face(c, "sans-serif", CAIRO_FONT_SLANT_NORMAL, CAIRO_FONT_WEIGHT_NORMAL);
    double below = draw_legend(c, d, p, x, y + 36, width, false) - y + 26;
    frame f = {.x = x + 50,
               .y = y + below,
               .width = width - 56,
               .height = height - below - 42,
               .x_max = d->last_step,
               .log_scale = style->log_scale,
               .share = style->share};
    fit_values(&f, p);
    draw_y_axis(c, &f);
    draw_phases(c, &f, d);
    for (size_t i = 0; i < p->n; i++) {
        set_color(c, color_of(d, p, i));
        set_dash(c, d, p, i);
        draw_series(c, &f, &p->series[i]);
    }
    draw_x_axis(c, &f);
    if (p->n == 0)
        draw_text(c, f.x + f.width / 2, f.y + f.height / 2, 13, 0.5, FAINT, "not in the log");
}

static void draw_head(cairo_t *c, const plot_data *d) {
    double x = MARGIN;
    cairo_select_font_face(c, "sans-serif", CAIRO_FONT_SLANT_NORMAL, CAIRO_FONT_WEIGHT_BOLD);
    draw_text(c, x, 36, 20, 0, INK, "Training");
    x += text_width(c, 20, "Training") + 24;
    cairo_select_font_face(c, "sans-serif", CAIRO_FONT_SLANT_NORMAL, CAIRO_FONT_WEIGHT_NORMAL);
    for (size_t i = 0; i < d->n_logs; i++) {
        color k = d->n_logs > 1 ? CURVES[i % N_CURVES] : FAINT;
        draw_text(c, x, 36, 15, 0, k, d->labels[i]);
        x += text_width(c, 15, d->labels[i]) + 24;
    }
}

static void draw_all(cairo_t *c, const void *user) {
    const plot_data *d = user;
    double gap = 30, width = (WIDTH - 2 * MARGIN - (COLUMNS - 1) * gap) / COLUMNS;
    double height = (double)(HEIGHT - TOP - MARGIN) / ROWS;
    draw_head(c, d);
    for (int i = 0; i < PANEL_COUNT; i++)
        draw_panel(c, d, (plot_panel_kind)i, MARGIN + i % COLUMNS * (width + gap),
                   TOP + i / COLUMNS * height, width, height - 6);
}

msa_status plot_draw(const plot_data *d, bool svg, unsigned char **data, size_t *n_bytes,
                     msa_error *err) {
    return canvas_draw(WIDTH, HEIGHT, svg, draw_all, d, data, n_bytes, err);
}

#endif
