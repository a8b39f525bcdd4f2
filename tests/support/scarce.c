/* scarce.c: see scarce.h. */
#include "support/scarce.h"

#include <stdatomic.h>
#include <stddef.h>
#include <sys/mman.h>

void *__real_malloc(size_t n);
void *__real_calloc(size_t n, size_t size);
void *__real_realloc(void *p, size_t n);
void *__real_aligned_alloc(size_t alignment, size_t n);
void __real_free(void *p);
void *__real_mmap(void *p, size_t n, int protection, int flags, int fd, off_t offset);
void *__wrap_malloc(size_t n);
void *__wrap_calloc(size_t n, size_t size);
void *__wrap_realloc(void *p, size_t n);
void *__wrap_aligned_alloc(size_t alignment, size_t n);
void __wrap_free(void *p);
void *__wrap_mmap(void *p, size_t n, int protection, int flags, int fd, off_t offset);

static atomic_long left = -1; /* allocations until one fails; negative: none will */
static atomic_bool failed;
static atomic_long live;

static bool fails(void) {
    if (atomic_load(&left) < 0 || atomic_fetch_sub(&left, 1) != 0) return false;
    atomic_store(&failed, true);
    return true;
}

static void *counted(void *p) {
    if (p) atomic_fetch_add(&live, 1);
    return p;
}

void scarce_begin(long n) {
    atomic_store(&failed, false);
    atomic_store(&left, n);
}

bool scarce_end(void) {
    atomic_store(&left, -1);
    return atomic_load(&failed);
}

long scarce_live(void) {
    return atomic_load(&live);
}

void *__wrap_malloc(size_t n) {
    return fails() ? NULL : counted(__real_malloc(n));
}

void *__wrap_calloc(size_t n, size_t size) {
    return fails() ? NULL : counted(__real_calloc(n, size));
}

void *__wrap_realloc(void *p, size_t n) {
    if (fails()) return NULL;
    void *moved = __real_realloc(p, n);
    return p ? moved : counted(moved);
}

void *__wrap_aligned_alloc(size_t alignment, size_t n) {
    return fails() ? NULL : counted(__real_aligned_alloc(alignment, n));
}

void __wrap_free(void *p) {
    if (p) atomic_fetch_sub(&live, 1);
    __real_free(p);
}

/* Not counted as live: an arena gives its ends back on their own. */
void *__wrap_mmap(void *p, size_t n, int protection, int flags, int fd, off_t offset) {
    return fails() ? MAP_FAILED : __real_mmap(p, n, protection, flags, fd, offset);
}
