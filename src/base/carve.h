/* carve.h: one piece of memory cut into aligned arrays. Run over the same list twice: with base
 * NULL it only measures. */
#ifndef MSA_BASE_CARVE_H
#define MSA_BASE_CARVE_H

#include "base/mem.h"

typedef struct carver {
    char *base;
    size_t used; /* bytes so far, a multiple of MEM_ALIGN; SIZE_MAX: more than can be counted */
} carver;

/* Room for n elements of `size` bytes; NULL while measuring. */
static inline void *carve(carver *c, size_t n, size_t size) {
    char *p = c->base ? c->base + c->used : NULL;
    size_t bytes;
    if (!size_mul(n, size, &bytes) || bytes > SIZE_MAX - MEM_ALIGN ||
        !size_add(c->used, size_round_up(bytes, MEM_ALIGN), &c->used))
        c->used = SIZE_MAX;
    return p;
}

#endif
