/* stamp.h: tells models apart for whom the same question may have another answer. */
#ifndef MSA_EVAL_STAMP_H
#define MSA_EVAL_STAMP_H

#include <stdint.h>

#include "msa/model.h"

/* A hash of a row in the middle of every tensor, those of an index branch included. */
msa_status stamp_model(const msa_model *model, uint64_t *stamp, msa_error *err);

#endif
