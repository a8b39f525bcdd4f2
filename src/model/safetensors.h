/* safetensors.h: a safetensors file, or a checkpoint of several with their index, opened by mapping
 * and checked whole before anyone reads it.
 *
 * A file is an u64 (little-endian) length, so many bytes of JSON, then the data:
 * { "NAME": {"dtype": "F32", "shape": [n_out, n_in], "data_offsets": [begin, end]}, ... }, with an
 * optional "__metadata__" of strings. After safetensors_open succeeded every tensor has exactly the
 * bytes its shape asks for, the tensors of a file cover its data without hole or overlap, names are
 * unique over all files, and the index, where there is one, says of each tensor where it is.
 * Nothing is copied: data point into the maps and live until safetensors_close. */
#ifndef MSA_MODEL_SAFETENSORS_H
#define MSA_MODEL_SAFETENSORS_H

#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

enum { SAFETENSORS_MAX_DIMS = 8, SAFETENSORS_MAX_HEADER = 100000000 };

typedef struct safetensors_tensor {
    const char *name;
    const char *dtype; /* as the format spells it: "BF16"; static storage */
    uint32_t type;     /* QUANT_F32, QUANT_F16, QUANT_BF16; QUANT_TYPE_COUNT: any other */
    int n_dims;        /* 0: a single number */
    uint64_t shape[SAFETENSORS_MAX_DIMS]; /* outermost first; 1 beyond n_dims */
    uint64_t n_bytes;
    const uint8_t *data; /* at any address: an odd one too */
} safetensors_tensor;

typedef struct safetensors safetensors;

/* A .safetensors file, or the index.json of several in its folder: told apart by content.
 * MSA_E_IO where a file can't be mapped; MSA_E_FORMAT or MSA_E_UNSUPPORTED, with the file's name
 * and the tensor, where it is not one to trust. *out is NULL then. */
msa_status safetensors_open(safetensors **out, const char *path, msa_error *err);
/* One file from bytes of the caller's, which must outlive the handle. `name` is for messages. */
msa_status safetensors_open_memory(safetensors **out, const void *data, size_t n_bytes,
                                   const char *name, msa_error *err);
void safetensors_close(safetensors *s); /* NULL is fine */

const char *safetensors_name(const safetensors *s); /* path or name it was opened with */
uint64_t safetensors_file_bytes(const safetensors *s);

/* All tensors, by name in order of bytes. */
size_t safetensors_count(const safetensors *s);
const safetensors_tensor *safetensors_at(const safetensors *s, size_t i);
/* NULL where there is none of that name. */
const safetensors_tensor *safetensors_find(const safetensors *s, const char *name);

/* "[128, 64]" into out. Returns out. */
const char *safetensors_shape_text(const safetensors_tensor *t, char *out, size_t n_bytes);

#endif
