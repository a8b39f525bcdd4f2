/* tensor_view.h: where a tensor of the list lies in safetensors files, whatever the spelling: the
 * published names, those transformers has in memory (gate and up joined, experts stacked), with
 * "model." in front, "language_model.model." or "model.language_model.". */
#ifndef MSA_MODEL_TENSOR_VIEW_H
#define MSA_MODEL_TENSOR_VIEW_H

#include "model/safetensors.h"
#include "model/tensor_list.h"

typedef struct tensor_view {
    const safetensors_tensor *tensor; /* of which it may be a part */
    const uint8_t *data;              /* first row, at any address */
    uint32_t type;                    /* QUANT_F32, QUANT_F16 or QUANT_BF16 */
    size_t row_bytes;
} tensor_view;

/* MSA_E_FORMAT names the tensor that is missing or has another shape than the architecture asks
 * for, MSA_E_UNSUPPORTED one in a format this version does not take. */
msa_status tensor_view_find(const safetensors *files, const arch *a, const tensor_spec *spec,
                            tensor_view *out, msa_error *err);
/* Whether the text model can do without it: the vision part, prediction heads, tables of RoPE. */
bool tensor_view_ignores(const char *name);

/* Row `row` as f32. */
void tensor_view_row(const tensor_view *v, int64_t n_in, int64_t row, float *out);

#endif
