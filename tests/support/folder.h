/* folder.h: a folder for a test's files, made before it and removed with all it holds after;
 * a disk that is full. */
#ifndef MSA_TESTS_FOLDER_H
#define MSA_TESTS_FOLDER_H

#include <stddef.h>

/* For cmocka's setup and teardown: *state is the path. */
int folder_create(void **state);
int folder_remove(void **state);

/* Path of a file in it; static storage, valid until the fourth call from now. */
const char *folder_path(const char *folder, const char *file);
/* How many files are in it. */
int folder_entries(const char *folder);

/* From here on no file grows beyond a size, as on a disk that is full; then there is room again. */
void disk_fill(size_t n_bytes);
void disk_clear(void);

#endif
