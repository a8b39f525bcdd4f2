/* json_file.h: JSON in files: read whole and checked, written through a buffer of ours. */
#ifndef MSA_MODEL_JSON_FILE_H
#define MSA_MODEL_JSON_FILE_H

#include <jansson.h>

#include "base/bytes.h"
#include "base/error.h"

/* Most bytes of a file: parsed JSON takes up to forty times its text, and the largest there is, the
 * tokenizer.json of a vocabulary of 200,000, has some thirty million. */
enum { JSON_FILE_MOST = 128 << 20 };

/* An object, freed with json_decref. flags: 0, or JSON_DECODE_INT_AS_REAL where whole numbers may
 * have any size and matter to nobody. Doubled keys, invalid UTF-8, more than 2,048 levels, numbers
 * that don't fit, more than JSON_FILE_MOST bytes and anything but an object are MSA_E_FORMAT and
 * name the place; MSA_E_IO as
 * file_map_open. Messages name the file. */
msa_status json_file_read(json_t **out, const char *path, size_t flags, msa_error *err);
/* The same from bytes at hand. `name` is for messages. */
msa_status json_file_parse(json_t **out, const void *data, size_t n_bytes, size_t flags,
                           const char *name, msa_error *err);

/* The text of `value` behind what b holds; b->failed where there is no memory, or value is NULL.
 * flags as json_dumps takes them. */
void json_file_append(bytes *b, const json_t *value, size_t flags);
/* The same as a file of its own, indented. */
msa_status json_file_save(const json_t *value, const char *path, msa_error *err);

#endif
