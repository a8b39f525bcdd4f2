/* checksum.c: XXH64 as published by its author (xxHash's doc/xxhash_spec.md), see checksum.h. */
#include "base/checksum.h"

#include <string.h>

static const uint64_t PRIME[5] = {0x9e3779b185ebca87u, 0xc2b2ae3d27d4eb4fu, 0x165667b19e3779f9u,
                                  0x85ebca77c2b2ae63u, 0x27d4eb2f165667c5u};

static uint64_t rotate(uint64_t x, int n) {
    return x << n | x >> (64 - n);
}

static uint64_t read_word(const uint8_t *p, size_t n) { /* little-endian */
    uint64_t x = 0;
    for (size_t i = 0; i < n; i++) x |= (uint64_t)p[i] << 8 * i;
    return x;
}

static uint64_t mix_in(uint64_t lane, uint64_t word) {
    return rotate(lane + word * PRIME[1], 31) * PRIME[0];
}

static void add_stripe(checksum *c, const uint8_t *p) {
    for (size_t i = 0; i < 4; i++) c->lane[i] = mix_in(c->lane[i], read_word(p + 8 * i, 8));
}

checksum checksum_begin(void) {
    return (checksum){.lane = {PRIME[0] + PRIME[1], PRIME[1], 0, 0 - PRIME[0]}};
}

void checksum_add(checksum *c, const void *data, size_t n_bytes) {
    const uint8_t *p = data;
    size_t held = (size_t)(c->n_bytes % 32);
    if (n_bytes == 0) return; /* data may be NULL then */
    c->n_bytes += n_bytes;
    if (held) {
        size_t n = 32 - held < n_bytes ? 32 - held : n_bytes;
        memcpy(c->tail + held, p, n);
        p += n, n_bytes -= n;
        if (held + n < 32) return;
        add_stripe(c, c->tail);
    }
    for (; n_bytes >= 32; p += 32, n_bytes -= 32) add_stripe(c, p);
    if (n_bytes) memcpy(c->tail, p, n_bytes);
}

static uint64_t merge_lanes(const checksum *c) {
    static const int TURN[4] = {1, 7, 12, 18};
    uint64_t h = 0;
    if (c->n_bytes < 32) return PRIME[4];
    for (int i = 0; i < 4; i++) h += rotate(c->lane[i], TURN[i]);
    for (int i = 0; i < 4; i++) h = (h ^ mix_in(0, c->lane[i])) * PRIME[0] + PRIME[3];
    return h;
}

uint64_t checksum_end(const checksum *c) {
    const uint8_t *p = c->tail;
    size_t n = (size_t)(c->n_bytes % 32);
    uint64_t h = merge_lanes(c) + c->n_bytes;
    for (; n >= 8; p += 8, n -= 8)
        h = rotate(h ^ mix_in(0, read_word(p, 8)), 27) * PRIME[0] + PRIME[3];
    if (n >= 4) {
        h = rotate(h ^ read_word(p, 4) * PRIME[0], 23) * PRIME[1] + PRIME[2];
        p += 4, n -= 4;
    }
    for (; n; p++, n--) h = rotate(h ^ *p * PRIME[4], 11) * PRIME[0];
    h = (h ^ h >> 33) * PRIME[1];
    h = (h ^ h >> 29) * PRIME[2];
    return h ^ h >> 32;
}

uint64_t checksum_of(const void *data, size_t n_bytes) {
    checksum c = checksum_begin();
    checksum_add(&c, data, n_bytes);
    return checksum_end(&c);
}
