/* stamp.h: tells models apart for whom the same question may have another answer. */
#ifndef MSA_EVAL_STAMP_H
#define MSA_EVAL_STAMP_H

#include <stdint.h>

#include "msa/model.h"

typedef struct stamp {  /* hashes */
    uint64_t weights;   /* a row in the middle of every tensor, those of an index branch included */
    uint64_t numbers;   /* what is computed with them: heads, RoPE, eps of norms, experts */
    uint64_t tokenizer; /* tokens, merges, the cutting of words, the ends of texts and turns */
    uint64_t chat;      /* the text of the chat template */
} stamp;

msa_status stamp_model(const msa_model *model, stamp *out, msa_error *err);

#endif
