/* gguf_cursor.h: reads the entries of a GGUF file one after another and can't leave it: a length is
 * compared with what is left of the file before anything is computed from it. */
#ifndef MSA_MODEL_GGUF_CURSOR_H
#define MSA_MODEL_GGUF_CURSOR_H

#include "model/gguf.h"

/* The least that an entry takes. */
enum {
    GGUF_MIN_VALUE_BYTES = 8 + 4 + 1,         /* key length, type, the smallest value */
    GGUF_MIN_TENSOR_BYTES = 8 + 4 + 8 + 4 + 8 /* name length, n_dims, one dim, type, offset */
};

typedef struct gguf_cursor {
    const uint8_t *data;
    size_t n_bytes, at;
    msa_error *err;
} gguf_cursor;

/* `what` is for the message: "the version". */
msa_status gguf_read_bytes(gguf_cursor *c, void *out, size_t n, const char *what);
/* A key and its value, which stays where it is in the file. */
msa_status gguf_read_value(gguf_cursor *c, gguf_value *v);
/* All of a tensor but t->data: where the data begin is known once all tensors are read. *offset is
 * where among them it lies. */
msa_status gguf_read_tensor(gguf_cursor *c, gguf_tensor *t, uint64_t *offset);

#endif
