/* random.h: random numbers by counter: the i-th number of a stream is found without those before
 * it, so results depend on no thread and no order. Streams are seeds mixed with what they are for.
 * Splitmix64: good for shuffling and starting weights, not for secrets. */
#ifndef MSA_BASE_RANDOM_H
#define MSA_BASE_RANDOM_H

#include <stdint.h>

static inline uint64_t random_mix(uint64_t x) {
    x += 0x9e3779b97f4a7c15u;
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
    return x ^ (x >> 31);
}

/* The stream of a seed that serves one purpose: a layer, a step, the hash of a name. */
static inline uint64_t random_stream(uint64_t seed, uint64_t purpose) {
    return random_mix(random_mix(seed) ^ purpose);
}

static inline uint64_t random_u64(uint64_t stream, uint64_t i) {
    return random_mix(stream + i);
}

/* Uniform in (0, 1). */
static inline double random_uniform(uint64_t stream, uint64_t i) {
    return ((double)(random_u64(stream, i) >> 12) + 0.5) * 0x1p-52;
}

/* Uniform in 0..n-1, n >= 1; for n far below 2^32 no number is favoured noticeably. */
static inline uint64_t random_below(uint64_t stream, uint64_t i, uint64_t n) {
    return (random_u64(stream, i) >> 32) * n >> 32;
}

#endif
