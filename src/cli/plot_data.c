/* plot_data.c: see plot_data.h. */
#include "cli/plot_data.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/text.h"

/* ---- growing lists -------------------------------------------------------------------------- */

static bool grow(void **list, size_t *capacity, size_t n, size_t size) {
    if (n < *capacity) return true;
    size_t more = 2 * *capacity + 16;
    void *grown = realloc(*list, more * size);
    if (!grown) return false;
    *list = grown, *capacity = more;
    return true;
}

/* n bytes, or as many as fit; what is not UTF-8, or was cut, can't be drawn. */
static void copy_name(char *to, size_t size, const char *from, size_t n) {
    if (n > size - 1) n = size - 1;
    memcpy(to, from, n);
    to[n] = 0;
    for (size_t length; *to; to += length ? length : 1)
        if ((length = text_character(to, strlen(to))) == 0) *to = '?';
}

static plot_series *series_of(plot_panel *p, int log, const char *whole, bool dashed, bool points) {
    char name[sizeof p->series->name];
    copy_name(name, sizeof name, whole, strlen(whole));
    for (size_t i = 0; i < p->n; i++)
        if (p->series[i].log == log && strcmp(p->series[i].name, name) == 0) return &p->series[i];
    void *list = p->series;
    bool room = grow(&list, &p->capacity, p->n, sizeof *p->series);
    p->series = list;
    if (!room) return NULL;
    plot_series *s = &p->series[p->n++];
    *s = (plot_series){.log = log, .dashed = dashed, .points = points};
    memcpy(s->name, name, sizeof name);
    return s;
}

typedef struct reader {
    plot_data *d;
    int log;
    double step;
    bool failed; /* no memory */
} reader;

static void add(reader *r, plot_panel_kind panel, const char *name, const json_t *y, bool dashed,
                bool points) {
    if (!json_is_number(y)) return;
    plot_series *s = series_of(&r->d->panels[panel], r->log, name, dashed, points);
    size_t x_capacity = s ? s->capacity : 0;
    void *xs = s ? s->x : NULL, *ys = s ? s->y : NULL;
    bool room = s && grow(&xs, &x_capacity, s->n, sizeof *s->x);
    if (s) s->x = xs;
    room = room && grow(&ys, &s->capacity, s->n, sizeof *s->y);
    if (s) s->y = ys;
    if (!room) {
        r->failed = true;
        return;
    }
    s->x[s->n] = r->step;
    s->y[s->n++] = json_number_value(y);
}

/* ---- records -------------------------------------------------------------------------------- */

static void add_phases(reader *r, const json_t *phases) {
    plot_data *d = r->d;
    for (size_t i = 0; i < json_array_size(phases); i++) {
        const json_t *phase = json_array_get(phases, i), *name = json_object_get(phase, "name");
        void *list = d->phases;
        bool room = grow(&list, &d->phases_capacity, d->n_phases, sizeof *d->phases);
        d->phases = list;
        if (!room || !json_is_string(name)) {
            r->failed = r->failed || !room;
            continue;
        }
        plot_phase *p = &d->phases[d->n_phases++];
        *p = (plot_phase){.from = json_number_value(json_object_get(phase, "from")), .log = r->log};
        copy_name(p->name, sizeof p->name, json_string_value(name), json_string_length(name));
    }
}

static void add_step(reader *r, const json_t *record) {
    const char *source;
    json_t *loss;
    json_object_foreach(json_object_get(record, "losses"), source, loss)
        add(r, PANEL_LOSS, source, loss, false, false);
    add(r, PANEL_KL, "KL, mean of layers and groups", json_object_get(record, "kl"), false, false);
    add(r, PANEL_GRADIENT, "all but the index", json_object_get(record, "grad_norm"), false, false);
    const json_t *index = json_object_get(record, "index_grad_norm");
    if (json_number_value(index) > 0) add(r, PANEL_GRADIENT, "index branch", index, true, false);
    add(r, PANEL_RATE, "all but the index", json_object_get(record, "lr"), false, false);
    add(r, PANEL_RATE, "index branch", json_object_get(record, "index_lr"), true, false);
}

static void add_diagnosis(reader *r, const json_t *record) {
    add(r, PANEL_SELECTION, "block recall", json_object_get(record, "recall"), false, true);
    add(r, PANEL_SELECTION, "mass captured", json_object_get(record, "captured"), false, true);
    add(r, PANEL_SELECTION, "mass of the best blocks", json_object_get(record, "oracle"), true,
        true);
}

static void add_exam(reader *r, const json_t *record) {
    const char *source;
    json_t *one;
    json_object_foreach(json_object_get(record, "sources"), source, one) {
        char msa[64], dense[64];
        bool text = strcmp(source, "text") == 0;
        plot_panel_kind panel = text ? PANEL_LOSS : PANEL_ACCURACY;
        snprintf(msa, sizeof msa, "%.24s%s, MSA", source, text ? " held out" : "");
        snprintf(dense, sizeof dense, "%.24s%s, dense", source, text ? " held out" : "");
        add(r, panel, msa, json_object_get(one, "sparse"), false, true);
        add(r, panel, dense, json_object_get(one, "dense"), true, true);
    }
}

static msa_status add_record(void *user, const json_t *record, msa_error *err) {
    reader *r = user;
    const char *event = json_string_value(json_object_get(record, "event"));
    const json_t *step = json_object_get(record, "step");
    if (!event || !json_is_integer(step))
        return fail(err, MSA_E_FORMAT, "expected a record with \"event\" and \"step\"");
    r->step = (double)json_integer_value(step);
    if (r->step > r->d->last_step) r->d->last_step = r->step;
    if (strcmp(event, "start") == 0) add_phases(r, json_object_get(record, "phases"));
    if (strcmp(event, "step") == 0) add_step(r, record);
    if (strcmp(event, "diagnosis") == 0) add_diagnosis(r, record);
    if (strcmp(event, "exam") == 0) add_exam(r, record);
    return r->failed ? fail_memory(err, "reading a log") : MSA_OK;
}

/* ---- files ---------------------------------------------------------------------------------- */

msa_status plot_data_each(const char *path, plot_record_fn *each, void *user, msa_error *err) {
    FILE *f = fopen(path, "rb");
    char *line = NULL;
    size_t size = 0, number = 0;
    msa_status status = MSA_OK;
    if (!f) return fail(err, MSA_E_IO, "cannot read '%s': %s", path, strerror(errno));
    for (ssize_t n; status == MSA_OK && (n = getline(&line, &size, f)) > 0;) {
        json_t *record = json_loadb(line, (size_t)n, 0, NULL);
        number++;
        if (!json_is_object(record))
            status = line[n - 1] == '\n' ? fail(err, MSA_E_FORMAT, "expected a record of a log")
                                         : MSA_OK;
        else
            status = each(user, record, err);
        if (status == MSA_E_FORMAT) {
            char place[4200];
            snprintf(place, sizeof place, "'%.4000s', line %zu: ", path, number);
            fail_prefix(err, status, place);
        }
        json_decref(record);
    }
    free(line);
    fclose(f);
    return status;
}

/* "miniature" for miniature/log.jsonl. */
static void label_log(char *label, size_t size, const char *path) {
    const char *end = strrchr(path, '/'), *from = path;
    if (!end) {
        copy_name(label, size, path, strlen(path));
        return;
    }
    for (const char *p = path; p < end; p++)
        if (*p == '/' && p + 1 < end) from = p + 1;
    copy_name(label, size, from, (size_t)(end - from));
}

msa_status plot_data_read(plot_data *d, const char *const *logs, size_t n_logs, msa_error *err) {
    *d = (plot_data){.labels = calloc(n_logs, sizeof *d->labels), .n_logs = n_logs};
    if (!d->labels) return fail_memory(err, "reading the logs");
    msa_status status = MSA_OK;
    for (size_t i = 0; i < n_logs && status == MSA_OK; i++) {
        reader r = {.d = d, .log = (int)i};
        label_log(d->labels[i], sizeof d->labels[i], logs[i]);
        status = plot_data_each(logs[i], add_record, &r, err);
    }
    if (status == MSA_OK && d->last_step == 0)
        status = fail(err, MSA_E_FORMAT, "'%s': expected a log with steps, found none", logs[0]);
    return status;
}

void plot_data_free(plot_data *d) {
    for (int p = 0; p < PANEL_COUNT; p++) {
        for (size_t i = 0; i < d->panels[p].n; i++) {
            free(d->panels[p].series[i].x);
            free(d->panels[p].series[i].y);
        }
        free(d->panels[p].series);
    }
    free(d->phases);
    free(d->labels);
    *d = (plot_data){0};
}
