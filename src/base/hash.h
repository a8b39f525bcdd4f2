/* hash.h: hashing for tables in memory (not for checksums, not for keys an adversary profits from).
 */
#ifndef MSA_BASE_HASH_H
#define MSA_BASE_HASH_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

static inline uint64_t hash_u64(uint64_t x) {
    x = (x ^ x >> 32) * 0xd6e8feb86659fd93u;
    x = (x ^ x >> 32) * 0xd6e8feb86659fd93u;
    return x ^ x >> 32;
}

static inline uint64_t hash_bytes(const void *data, size_t n) {
    const uint8_t *p = data;
    uint64_t h = n * 0x9e3779b97f4a7c15u, word;
    for (; n >= 8; p += 8, n -= 8) {
        memcpy(&word, p, 8);
        h = (h ^ word) * 0xff51afd7ed558ccdu;
        h ^= h >> 29;
    }
    word = 0;
    if (n) memcpy(&word, p, n);
    return hash_u64(h ^ word);
}

/* Slots for an open-addressing table of n entries: a power of two, at most half full. */
static inline size_t hash_table_slots(size_t n) {
    size_t slots = 16;
    while (slots / 2 < n) slots *= 2;
    return slots;
}

#endif
