/* bytes.h: a growing run of bytes. Appending never reports: the first failure to get memory sticks,
 * drops what comes after, and is asked for once at the end. */
#ifndef MSA_BASE_BYTES_H
#define MSA_BASE_BYTES_H

#include <stdbool.h>
#include <stddef.h>

typedef struct bytes { /* start from {0} */
    char *data;        /* freed with mem_free */
    size_t n, capacity;
    bool failed;
} bytes;

void bytes_append(bytes *b, const void *data, size_t n);
void bytes_append_text(bytes *b, const char *text); /* NUL-terminated; the NUL is left out */
void bytes_terminate(bytes *b);                     /* a NUL behind the data, not counted in n */
void bytes_free(bytes *b);

#endif
