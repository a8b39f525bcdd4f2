/* net_select.c: see net_select.h. */
#include "train/net_select.h"

#include "base/random.h"

/* Purposes of the random streams of a step; those of a layer's rows are below. */
#define ROWS_STREAM ((uint64_t)1 << 56)

static void sort(int32_t *ids, int32_t n) {
    for (int32_t i = 1; i < n; i++) {
        int32_t id = ids[i], j = i;
        for (; j > 0 && ids[j - 1] > id; j--) ids[j] = ids[j - 1];
        ids[j] = id;
    }
}

static bool holds(const int32_t *ids, int32_t n, int32_t id) {
    for (int32_t i = 0; i < n; i++)
        if (ids[i] == id) return true;
    return false;
}

/* m different numbers of first .. end - 1 (Floyd's way: no list of candidates). */
static void draw(uint64_t stream, int32_t first, int32_t end, int32_t m, int32_t *out) {
    int32_t n = 0;
    for (int32_t j = end - first - m; j < end - first; j++) {
        int32_t pick = first + (int32_t)random_below(stream, (uint64_t)n, (uint64_t)j + 1);
        out[n] = holds(out, n, pick) ? first + j : pick;
        n++;
    }
}

static void fill_row(const net *n, int32_t layer, int64_t position, int32_t group, int32_t *ids) {
    const msa_shape *s = &n->shape;
    int32_t own = (int32_t)(position / s->block), k = s->topk, used = 0;
    int32_t init = s->init, local = s->local, m;
    if (own < k) {
        for (; used <= own; used++) ids[used] = used;
        for (; used < k; used++) ids[used] = -1;
        return;
    }
    if (n->mode.selection == NET_SELECT_SINK_WINDOW) {
        init = s->init > 1 ? s->init : 1;
        if (init > k - 1) init = k - 1;
        local = k - init;
    }
    for (int32_t i = 0; i < init; i++) ids[used++] = i;
    for (int32_t i = 0; i < local; i++) ids[used++] = own - i;
    if ((m = k - init - local) > 0) {
        uint64_t purpose = (uint64_t)layer << 44 | (uint64_t)position << 12 | (uint64_t)group;
        draw(random_stream(n->mode.seed, purpose), init, own + 1 - local, m, ids + used);
    }
    sort(ids, k);
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
