/* bytes.c: see bytes.h. */
#include "base/bytes.h"

#include <string.h>

#include "base/mem.h"

void bytes_append(bytes *b, const void *data, size_t n) {
    size_t need;
    if (b->failed) return;
    if (!size_add(b->n, n, &need) ||
        !mem_grow((void **)&b->data, &b->capacity, need < 64 ? 64 : need, 1)) {
        b->failed = true;
        return;
    }
    if (n) memcpy(b->data + b->n, data, n);
    b->n = need;
}

void bytes_append_text(bytes *b, const char *text) {
    bytes_append(b, text, strlen(text));
}

void bytes_terminate(bytes *b) {
    bytes_append(b, "", 1);
    if (!b->failed) b->n--;
}

void bytes_free(bytes *b) {
    mem_free(b->data);
    *b = (bytes){0};
}
