/* safetensors_out.h: writing a checkpoint: model.safetensors in a folder, or, cut by size,
 * model-00001-of-0000N.safetensors and model.safetensors.index.json beside them.
 *
 *     safetensors_out_create
 *     safetensors_out_tensor ...     all of them
 *     safetensors_out_begin_data
 *     safetensors_out_data ...       the bytes of each tensor, in the same order
 *     safetensors_out_finish, then file_out_set_publish
 *     safetensors_out_free
 *
 * Naming tensors never reports: the first failure sticks, and begin_data tells of it. */
#ifndef MSA_MODEL_SAFETENSORS_OUT_H
#define MSA_MODEL_SAFETENSORS_OUT_H

#include <stddef.h>

#include "base/file_out.h"

typedef struct safetensors_out safetensors_out;

/* Files join `set`, which must outlive the writer. A file ends before the tensor that would take it
 * past `max_bytes` of data; 0: one file. */
msa_status safetensors_out_create(safetensors_out **out, file_out_set *set, const char *folder,
                                  uint64_t max_bytes, msa_error *err);
void safetensors_out_free(safetensors_out *s); /* NULL is fine; the files stay */

/* shape: outermost first. type: F32, F16 or BF16 of nn/quant.h. Put those of more bytes per number
 * first, so that all lie at multiples of their size. */
void safetensors_out_tensor(safetensors_out *s, const char *name, uint32_t type, int n_dims,
                            const uint64_t *shape);
msa_status safetensors_out_begin_data(safetensors_out *s, msa_error *err);
/* Crosses from tensor to tensor and from file to file as it must. */
msa_status safetensors_out_data(safetensors_out *s, const void *data, size_t n_bytes,
                                msa_error *err);
/* MSA_E_ARG where the data given are not those of the tensors named. Finishes the files. */
msa_status safetensors_out_finish(safetensors_out *s, msa_error *err);

/* After publishing: removes from the folder what a reader would take for the checkpoint instead, an
 * index beside the single file or a single file beside the index. */
void safetensors_out_clear(safetensors_out *s);

#endif
