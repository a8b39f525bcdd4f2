/* checksum.h: a 64-bit checksum of a stream of bytes (XXH64 with seed 0): tells a damaged or
 * half-written file from a whole one. No protection against an adversary. */
#ifndef MSA_BASE_CHECKSUM_H
#define MSA_BASE_CHECKSUM_H

#include <stddef.h>
#include <stdint.h>

typedef struct checksum {
    uint64_t lane[4], n_bytes;
    uint8_t tail[32]; /* the last n_bytes % 32 */
} checksum;

checksum checksum_begin(void);
void checksum_add(checksum *c, const void *data, size_t n_bytes);
uint64_t checksum_end(const checksum *c); /* of what was added so far */
uint64_t checksum_of(const void *data, size_t n_bytes);

#endif
