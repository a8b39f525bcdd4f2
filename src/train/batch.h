/* batch.h: tokens of one micro-batch: documents packed one behind another, none sees another. */
#ifndef MSA_TRAIN_BATCH_H
#define MSA_TRAIN_BATCH_H

#include <stdint.h>

typedef struct train_batch {
    int64_t n_tokens;
    int32_t n_docs;
    int32_t *ids;        /* [n_tokens] */
    int32_t *targets;    /* [n_tokens]: the token that follows, or -1 where no loss is asked */
    int32_t *cu_seqlens; /* [n_docs + 1] */
    int32_t *source;     /* [n_docs]: which source of the mixture it came from; for the log */
} train_batch;

#endif
