/* mem.h: allocation. Sizes are checked before they are used; vectors get cache-line alignment,
 * large ones huge pages. */
#ifndef MSA_BASE_MEM_H
#define MSA_BASE_MEM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define MEM_ALIGN 64

/* *out = a * b, or a + b. False, *out untouched, where that does not fit. */
static inline bool size_mul(size_t a, size_t b, size_t *out) {
    return !__builtin_mul_overflow(a, b, out);
}
static inline bool size_add(size_t a, size_t b, size_t *out) {
    return !__builtin_add_overflow(a, b, out);
}
static inline size_t size_round_up(size_t n, size_t multiple) {
    return (n + multiple - 1) / multiple * multiple;
}

/* n * size bytes aligned to MEM_ALIGN, not cleared; NULL when they can't be had or the product
 * overflows. n * size = 0 gives a valid pointer. Freed with mem_free. */
void *mem_alloc(size_t n, size_t size);
void *mem_calloc(size_t n, size_t size);
void mem_free(void *p);

/* Bytes of memory the machine has, SIZE_MAX where that is not known. Allocations beyond it may well
 * succeed, and end the process where they are used. */
size_t mem_of_machine(void);

/* Grows *p (mem_alloc'd or NULL, holding *capacity elements) to at least `need` elements, keeping
 * its contents. False, nothing changed, when memory can't be had. */
bool mem_grow(void **p, size_t *capacity, size_t need, size_t size);

/* Pages straight from the system, zeroed, in huge pages where it gives them (transparent huge
 * pages, Linux). Touched memory alone counts. NULL when they can't be had. Freed with arena_free
 * and the same size. */
void *arena_alloc(size_t n_bytes);
void arena_free(void *p, size_t n_bytes);

#endif
