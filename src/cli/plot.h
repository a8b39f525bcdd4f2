/* plot.h: curves of training logs as a picture. */
#ifndef MSA_CLI_PLOT_H
#define MSA_CLI_PLOT_H

#include <jansson.h>

#include "cli/fail.h"

/* Draws the logs over each other into a PNG, or an SVG where the name ends so. */
msa_status plot_logs(const char *const *logs, size_t n_logs, const char *out, msa_error *err);
/* The last record of a log with this "event"; NULL: none. */
json_t *plot_last_record(const char *log_path, const char *event);

#endif
