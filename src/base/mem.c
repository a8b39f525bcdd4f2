/* mem.c: checked, aligned allocation. All of the library's memory comes through here or from
 * malloc's family, so that a test can make any one of them fail. */
#define _GNU_SOURCE
#include "base/mem.h"

#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#define HUGE_PAGE ((size_t)2 << 20)

void *mem_alloc(size_t n, size_t size) {
    size_t bytes;
    if (!size_mul(n, size, &bytes) || bytes > PTRDIFF_MAX - MEM_ALIGN) return NULL;
    bytes = bytes ? size_round_up(bytes, MEM_ALIGN) : MEM_ALIGN;
    return aligned_alloc(MEM_ALIGN, bytes);
}

void *mem_calloc(size_t n, size_t size) {
    void *p = mem_alloc(n, size);
    if (p) memset(p, 0, n * size);
    return p;
}

size_t mem_of_machine(void) {
    size_t n;
    long pages = sysconf(_SC_PHYS_PAGES), page = sysconf(_SC_PAGESIZE);
    return pages > 0 && page > 0 && size_mul((size_t)pages, (size_t)page, &n) ? n : SIZE_MAX;
}

void mem_free(void *p) {
    free(p);
}

bool mem_grow(void **p, size_t *capacity, size_t need, size_t size) {
    if (need <= *capacity) return true;
    size_t n = *capacity + *capacity / 2;
    if (n < need) n = need;
    void *grown = mem_alloc(n, size);
    if (!grown) return false;
    if (*p) memcpy(grown, *p, *capacity * size);
    mem_free(*p);
    *p = grown;
    *capacity = n;
    return true;
}

void *arena_alloc(size_t n_bytes) {
    if (n_bytes == 0 || n_bytes > PTRDIFF_MAX - HUGE_PAGE) return NULL;
    n_bytes = size_round_up(n_bytes, HUGE_PAGE);
    /* Ask for one huge page more, then give back what lies before the first boundary and behind the
     * last. */
    char *raw = mmap(NULL, n_bytes + HUGE_PAGE, PROT_READ | PROT_WRITE,
                     MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (raw == MAP_FAILED) return NULL;
    char *start = (char *)size_round_up((uintptr_t)raw, HUGE_PAGE);
    size_t before = (size_t)(start - raw), behind = HUGE_PAGE - before;
    if (before) munmap(raw, before);
    if (behind) munmap(start + n_bytes, behind);
#ifdef MADV_HUGEPAGE
    madvise(start, n_bytes, MADV_HUGEPAGE);
#endif
    return start;
}

void arena_free(void *p, size_t n_bytes) {
    if (p) munmap(p, size_round_up(n_bytes, HUGE_PAGE));
}
