/* file.h: reading a whole file by mapping it. */
#ifndef MSA_BASE_FILE_H
#define MSA_BASE_FILE_H

#include "base/error.h"

typedef struct file_map {
    const uint8_t *data; /* NULL for an empty file */
    size_t n_bytes;
} file_map;

/* Maps a regular file read-only; anything else is MSA_E_IO at once. Errors name the path and
 * the system's reason. */
msa_status file_map_open(file_map *map, const char *path, msa_error *err);
void file_map_close(file_map *map);

#endif
