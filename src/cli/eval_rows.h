/* eval_rows.h: results of an examination as JSON; its members are described in docs/evaluation.md.
 */
#ifndef MSA_CLI_EVAL_ROWS_H
#define MSA_CLI_EVAL_ROWS_H

#include "cli/eval_exam.h"

/* NULL without memory. */
json_t *rows_json(const exam_args *args, const char *name, const msa_model *model,
                  const msa_eval_info *info, const msa_eval_row *rows, size_t n);

#endif
