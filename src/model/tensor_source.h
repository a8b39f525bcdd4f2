/* tensor_source.h: the tensors of a model file by the names and in the sense of tensor_list.h, as
 * f32: stored formats widened, experts taken from their stack, the 1 that GGUF adds to norms of M3
 * taken off again, rows of llama's Q, K and index put back from adjacent pairs. What a trainer
 * starts from, and what a conversion reads. */
#ifndef MSA_MODEL_TENSOR_SOURCE_H
#define MSA_MODEL_TENSOR_SOURCE_H

#include "model/gguf.h"
#include "model/safetensors.h"
#include "model/tensor_list.h"

typedef struct tensor_source {
    const arch *arch;
    const gguf_file *gguf, *index; /* index: where the index branch lies if not in gguf; or NULL */
    const safetensors *files;      /* instead of gguf */
} tensor_source;

/* A tensor_rows_fn; user is a tensor_source. MSA_E_FORMAT names a tensor that is missing or has
 * another shape, MSA_E_UNSUPPORTED one in a format that can't be widened. */
msa_status tensor_source_rows(void *user, const tensor_spec *spec, int64_t row, int64_t n,
                              float *out, msa_error *err);

#endif
