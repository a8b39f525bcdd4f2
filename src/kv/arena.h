/* arena.h: the pages behind msa_kv: where each lane lies, who holds which page.
 *
 * One block of memory, [layer][lane][page]: a layer's keys of all pages are one array, so that the
 * operators see a lane as a base pointer and a stride. A page id means the same page in every layer
 * and lane; one reference count and one entry of the free list stand for all of them, and nothing
 * can hold or lose the lanes of a page singly. */
#ifndef MSA_KV_ARENA_H
#define MSA_KV_ARENA_H

#include <stdbool.h>

#include "msa/kv.h"

enum { KV_LANE_K, KV_LANE_V, KV_LANE_INDEX, KV_LANES };
/* Behind the lanes, the int8 copy of one of them, which follows from it. */
enum { KV_COPY = KV_LANES, KV_PARTS };

typedef struct kv_lane {
    msa_dtype dtype;
    int32_t n_heads, dim; /* n_heads 0: the lane is absent */
    float scale;          /* of the tensor */
    size_t code_bytes;    /* of a page: n_heads * block rows; their scales lie behind them */
    size_t page_bytes;    /* both; a multiple of 64 in KV_COPY, which has neither */
    size_t offset;        /* bytes from the start of a layer */
} kv_lane;

struct msa_kv {
    msa_kv_params params;
    kv_lane lane[KV_PARTS];
    int copied; /* the lane that KV_COPY is of: the index keys, or where there are none the keys */
    size_t main_bytes, index_bytes, n_bytes; /* of a layer: what all have, what those with index
                                                keys have; of all */
    char *memory;
    int32_t *n_holders;  /* [n_pages] sequences that hold the page */
    int32_t *free_pages; /* [n_free] a stack */
    int64_t n_free;
};

/* Whether a lane, or the copy of one, is of all layers or only of those with index keys. */
static inline bool kv_lane_is_main(const msa_kv *kv, int lane) {
    return (lane == KV_COPY ? kv->copied : lane) != KV_LANE_INDEX;
}

/* Whether the layer has the lane, or the copy. */
static inline bool kv_lane_exists(const msa_kv *kv, int32_t layer, int lane) {
    return kv->lane[lane].n_heads > 0 &&
           (kv_lane_is_main(kv, lane) || layer >= kv->params.first_index_layer);
}

/* First byte of a lane of a layer. */
static inline char *kv_lane_start(const msa_kv *kv, int32_t layer, int lane) {
    int32_t before = layer - kv->params.first_index_layer;
    size_t n_index = before > 0 ? (size_t)before : 0;
    return kv->memory + (size_t)layer * kv->main_bytes + n_index * kv->index_bytes +
           kv->lane[lane].offset;
}

/* A page held by one; there must be a free one. */
int32_t kv_page_take(msa_kv *kv);
void kv_page_hold(msa_kv *kv, int32_t page);
void kv_page_drop(msa_kv *kv, int32_t page);
/* All lanes of all layers; not the copy, as a page that is not full has none. */
void kv_page_copy(msa_kv *kv, int32_t to, int32_t from);

/* msa_kv_write with a number of threads, at least 1. */
msa_status kv_write_threads(msa_kv_seq *seq, int32_t layer, int64_t first, int64_t n,
                            const float *k, const float *v, const float *ki, int n_threads,
                            msa_error *err);

#endif
