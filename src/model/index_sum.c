/* index_sum.c: see index_sum.h. */
#include "model/index_sum.h"

#include <inttypes.h>
#include <stdio.h>

checksum index_sum_begin(const arch *a) {
    const int32_t facts[] = {a->n_dense_layers, a->index.dim,   a->index.block,
                             a->index.topk,     a->index.local, a->index.init};
    checksum c = checksum_begin();
    checksum_add(&c, facts, sizeof facts);
    return c;
}

void index_sum_tensor(checksum *c, const char *name, size_t n_name, uint32_t type) {
    uint64_t length = n_name; /* so that parts can't trade bytes */
    checksum_add(c, &length, sizeof length);
    checksum_add(c, name, n_name);
    checksum_add(c, &type, sizeof type);
}

void index_sum_text(const checksum *c, char text[INDEX_SUM_TEXT]) {
    snprintf(text, INDEX_SUM_TEXT, "%016" PRIx64, checksum_end(c));
}
