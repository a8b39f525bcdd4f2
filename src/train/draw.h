/* draw.h: random numbers that are functions of what they are for: a stream is named by a seed and
 * up to three numbers (step, row, ...), its n-th number is the same everywhere. No state outlives a
 * step, so a resumed run draws what an unbroken one would have. */
#ifndef MSA_TRAIN_DRAW_H
#define MSA_TRAIN_DRAW_H

#include <stdint.h>

#include "base/hash.h"

typedef struct draw {
    uint64_t key, n;
} draw;

/* What streams are for; keeps them apart. */
typedef enum draw_purpose {
    DRAW_EPOCH = 1, /* order of an epoch */
    DRAW_VALID,     /* which pieces are held out */
    DRAW_TASK,      /* samples to learn from */
    DRAW_EXAM,      /* samples to be examined on */
    DRAW_NET        /* what a step samples inside the network */
} draw_purpose;

static inline draw draw_begin(uint64_t seed, draw_purpose purpose, int64_t a, int64_t b) {
    uint64_t key = hash_u64(seed + 0x9e3779b97f4a7c15u);
    key = hash_u64(key ^ (uint64_t)purpose);
    key = hash_u64(key + (uint64_t)a);
    return (draw){hash_u64(key + (uint64_t)b * 0x9e3779b97f4a7c15u), 0};
}

static inline uint64_t draw_next(draw *d) {
    return hash_u64(d->key + ++d->n * 0x9e3779b97f4a7c15u);
}

/* Uniform in [0, n); n >= 1, at most 2^32 (the bias is below 2^-32). */
static inline int64_t draw_below(draw *d, int64_t n) {
    return (int64_t)((draw_next(d) >> 32) * (uint64_t)n >> 32);
}

/* Uniform in [0, 1). */
static inline double draw_unit(draw *d) {
    return (double)(draw_next(d) >> 11) * 0x1p-53;
}

#endif
