/* plot_data.h: what training logs say, as curves in panels. */
#ifndef MSA_CLI_PLOT_DATA_H
#define MSA_CLI_PLOT_DATA_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

#include "cli/fail.h"

typedef enum plot_panel_kind {
    PANEL_LOSS,
    PANEL_ACCURACY,
    PANEL_SELECTION,
    PANEL_KL,
    PANEL_GRADIENT,
    PANEL_RATE,
    PANEL_COUNT
} plot_panel_kind;

/* One curve of one log. */
typedef struct plot_series {
    char name[48]; /* "text", "needle, MSA" */
    int log;       /* which log it is from */
    bool dashed;   /* the dense counterpart of another */
    bool points;   /* few: marked one by one */
    double *x, *y;
    size_t n, capacity;
} plot_series;

typedef struct plot_panel {
    plot_series *series;
    size_t n, capacity;
} plot_panel;

typedef struct plot_phase {
    char name[16];
    double from;
    int log;
} plot_phase;

typedef struct plot_data {
    plot_panel panels[PANEL_COUNT];
    plot_phase *phases;
    size_t n_phases, phases_capacity;
    char (*labels)[96]; /* of the logs */
    size_t n_logs;
    double last_step;
} plot_data;

/* MSA_E_FORMAT where a file is no log: names the line. Half a last line is passed over: the run may
 * still be going. */
msa_status plot_data_read(plot_data *d, const char *const *logs, size_t n_logs, msa_error *err);
void plot_data_free(plot_data *d);

/* Calls for each record of a log, in order; stops where it returns anything but MSA_OK. */
typedef msa_status plot_record_fn(void *user, const json_t *record, msa_error *err);
msa_status plot_data_each(const char *path, plot_record_fn *each, void *user, msa_error *err);

#endif
