/* report.h: what the work cost: speed, share of attention, keys read against dense. */
#ifndef MSA_CLI_REPORT_H
#define MSA_CLI_REPORT_H

#include <jansson.h>

#include "msa/model.h"

/* On standard error, a line each for prefill and decode. */
void report_print(const msa_session_stats *stats);
/* {"prefill": {...}, "decode": {...}}; NULL without memory. */
json_t *report_json(const msa_session_stats *stats);

#endif
