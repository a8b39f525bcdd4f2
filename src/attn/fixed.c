/* fixed.c: see fixed.h. */
#include "attn/fixed.h"

#include <stdbool.h>

#include "attn/select.h"
#include "base/random.h"

uint64_t fixed_stream(uint64_t seed, int32_t layer, int64_t position, int32_t group) {
    return random_stream(seed, (uint64_t)layer << 44 | (uint64_t)position << 12 | (uint64_t)group);
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

static void sort(int32_t *ids, int32_t n) {
    for (int32_t i = 1; i < n; i++) {
        int32_t id = ids[i], j = i;
        for (; j > 0 && ids[j - 1] > id; j--) ids[j] = ids[j - 1];
        ids[j] = id;
    }
}

void fixed_random(const msa_shape *shape, int64_t position, uint64_t stream, int32_t *ids) {
    select_range range = select_range_at(shape, position);
    int32_t used = 0;
    for (; used < range.first; used++) ids[used] = used;
    draw(stream, range.first, range.end, range.want, ids + used);
    sort(ids + used, range.want);
    used += range.want;
    for (int32_t id = range.end; id < range.n_visible; id++) ids[used++] = id;
    for (; used < shape->topk; used++) ids[used] = -1;
}

void fixed_window(const msa_shape *shape, int64_t position, int32_t *ids) {
    msa_shape window = *shape;
    if (window.init < 1) window.init = 1;
    if (window.init > window.topk - 1) window.init = window.topk - 1;
    window.local = window.topk - window.init;
    fixed_random(&window, position, 0, ids); /* nothing is left to draw */
}
