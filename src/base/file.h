/* file.h: reading a whole file by mapping it, writing one so that a failure leaves no half of it.
 */
#ifndef MSA_BASE_FILE_H
#define MSA_BASE_FILE_H

#include "base/error.h"

typedef struct file_map {
    const uint8_t *data; /* NULL for an empty file */
    size_t n_bytes;
} file_map;

/* Maps a regular file read-only. Errors name the path and the system's reason. */
msa_status file_map_open(file_map *map, const char *path, msa_error *err);
void file_map_close(file_map *map);

/* Reads a whole stream or file (not only a regular one: pipes too) into *data, NUL-terminated,
 * freed with mem_free. Refuses more than max_bytes. path "-" is standard input. */
msa_status file_read_all(const char *path, size_t max_bytes, char **data, size_t *n_bytes,
                         msa_error *err);

/* Writes the file under a temporary name beside it, flushes it to disk and renames it: all or
 * nothing. Where `path` exists and is not a regular file (/dev/stdout, /dev/full) it is written in
 * place. */
msa_status file_write_all(const char *path, const void *data, size_t n_bytes, msa_error *err);

#endif
