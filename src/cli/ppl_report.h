/* ppl_report.h: what a scored text came to, on standard output. `cut` NULL: no figures by position.
 * The members of the JSON are described in docs/evaluation.md. */
#ifndef MSA_CLI_PPL_REPORT_H
#define MSA_CLI_PPL_REPORT_H

#include "cli/scoring.h"

msa_status ppl_report_print(const scoring *s, const ppl_cut *cut, msa_error *err);
msa_status ppl_report_json(const scoring *s, const ppl_cut *cut, const char *file,
                           const msa_model *model, msa_error *err);

#endif
