/* safetensors_header.h: the header of one safetensors file: its tensors, checked against the bytes
 * behind it. What is wrong is said without the file's name. */
#ifndef MSA_MODEL_SAFETENSORS_HEADER_H
#define MSA_MODEL_SAFETENSORS_HEADER_H

#include "model/safetensors.h"

/* Tensors of one file or several; names are owned by the table, also where reading failed. */
typedef struct safetensors_table {
    safetensors_tensor *tensors;
    size_t n, capacity;
} safetensors_table;

/* Adds the tensors of a file of these bytes. They cover its data from end to end. */
msa_status safetensors_header_read(safetensors_table *table, const uint8_t *data, size_t n_bytes,
                                   msa_error *err);
/* How many bytes of JSON the first 8 claim. */
uint64_t safetensors_header_bytes(const uint8_t *data);

/* A name as it may stand in a message. */
typedef struct safetensors_quoted {
    char text[140];
} safetensors_quoted;
safetensors_quoted safetensors_quote(const char *name);

#endif
