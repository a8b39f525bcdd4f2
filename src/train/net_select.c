/* net_select.c: see net_select.h. */
#include "train/net_select.h"

#include "attn/fixed.h"
#include "base/random.h"

/* Purposes of the random streams of a step; those of a layer's rows are below. */
#define ROWS_STREAM ((uint64_t)1 << 56)

static void fill_row(const net *n, int32_t layer, int64_t position, int32_t group, int32_t *ids) {
    if (n->mode.selection == NET_SELECT_SINK_WINDOW)
        fixed_window(&n->shape, position, ids);
    else
        fixed_random(&n->shape, position, fixed_stream(n->mode.seed, layer, position, group), ids);
}

void select_fixed(const net *n, int32_t layer, int32_t *ids) {
    const int32_t *cu = n->batch->cu_seqlens;
    int32_t hkv = n->shape.n_kv_heads, k = n->shape.topk;
    for (int32_t doc = 0; doc < n->batch->n_docs; doc++)
        for (int32_t t = cu[doc]; t < cu[doc + 1]; t++)
            for (int32_t g = 0; g < hkv; g++)
                fill_row(n, layer, t - cu[doc], g, ids + ((int64_t)t * hkv + g) * k);
}

int64_t select_rows(const train_batch *batch, int32_t most, uint64_t seed, int32_t *rows) {
    int64_t n = 0;
    for (int32_t doc = 0; doc < batch->n_docs; doc++) {
        int64_t first = batch->cu_seqlens[doc], len = batch->cu_seqlens[doc + 1] - first;
        int64_t parts = len < most ? len : most;
        uint64_t stream = random_stream(seed, ROWS_STREAM + (uint64_t)doc);
        for (int64_t i = 0; i < parts; i++) {
            int64_t from = i * len / parts, to = (i + 1) * len / parts;
            int64_t skip = (int64_t)random_below(stream, (uint64_t)i, (uint64_t)(to - from));
            rows[n++] = (int32_t)(first + from + skip);
        }
    }
    return n;
}
