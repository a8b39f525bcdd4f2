/* carve.h: one piece of memory cut into aligned arrays. Run over the same list twice: with base
 * NULL it only measures. */
#ifndef MSA_BASE_CARVE_H
#define MSA_BASE_CARVE_H

#include "base/mem.h"

typedef struct carver {
    char *base;
    size_t used; /* bytes so far, a multiple of MEM_ALIGN */
} carver;

/* Room for n elements of `size` bytes; NULL while measuring. */
static inline void *carve(carver *c, size_t n, size_t size) {
    char *p = c->base ? c->base + c->used : NULL;
    c->used += size_round_up(n * size, MEM_ALIGN);
    return p;
}

#endif
