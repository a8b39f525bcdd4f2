/* report.h: what the work cost: speed, share of attention, keys read against dense. */
#ifndef MSA_CLI_REPORT_H
#define MSA_CLI_REPORT_H

#include <jansson.h>

#include "msa/model.h"

/* On standard error, a line each for prefill and decode, and one for what went through the int8
 * copy, where there is one. */
void report_print(const msa_session *session);
/* {"prefill": {...}, "decode": {...}, "index8": {...}}, the last null where there is no copy; NULL
 * without memory. */
json_t *report_json(const msa_session *session);

#endif
