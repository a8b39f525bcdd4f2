/* report.h: what the work cost: speed, share of attention, keys read against dense. */
#ifndef MSA_CLI_REPORT_H
#define MSA_CLI_REPORT_H

#include <jansson.h>

#include "msa/model.h"

/* On standard error, a line each for prefill and decode, and where there is an int8 copy of index
 * keys one for each that read it, or one that says so. */
void report_print(const msa_session *session);
/* {"prefill": {..., "index8": {...}}, "decode": {...}}, index8 null where there is no copy; NULL
 * without memory. */
json_t *report_json(const msa_session *session);

#endif
