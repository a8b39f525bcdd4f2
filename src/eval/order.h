/* order.h: random orders.
 *
 * order_at needs no memory: a Feistel network permutes the numbers of 2h bits, and one that falls
 * outside 0 .. n - 1 is permuted again until it is inside. So the i-th key of a sample is found
 * without those before it, and no two are the same. */
#ifndef MSA_EVAL_ORDER_H
#define MSA_EVAL_ORDER_H

#include "train/draw.h"

/* The i-th (i < n) of a random order of 0 .. n - 1 that `key` names; n >= 1, at most 2^62. */
static inline uint64_t order_at(uint64_t key, uint64_t n, uint64_t i) {
    int half = 1;
    while (((uint64_t)1 << 2 * half) < n) half++;
    const uint64_t mask = ((uint64_t)1 << half) - 1;
    do {
        uint64_t left = i >> half, right = i & mask;
        for (uint64_t round = 0; round < 8; round++) {
            uint64_t mixed = hash_u64(key + (round << 56) + right * 0x9e3779b97f4a7c15u) >> 20;
            uint64_t next = left ^ (mixed & mask);
            left = right, right = next;
        }
        i = left << half | right;
    } while (i >= n);
    return i;
}

/* Shuffles n numbers in place. */
static inline void order_shuffle(int32_t *numbers, int64_t n, draw *d) {
    for (int64_t i = n - 1; i > 0; i--) {
        int64_t j = draw_below(d, i + 1);
        int32_t kept = numbers[i];
        numbers[i] = numbers[j], numbers[j] = kept;
    }
}

#endif
