/* selection.h: the lists of blocks that sparse attention is given: where one lies, its ids in
 * order, whether all of them are sound. msa_selection_convert, which rewrites them, is in
 * selection.c too. */
#ifndef MSA_ATTN_SELECTION_H
#define MSA_ATTN_SELECTION_H

#include "attn/plan.h"

/* The k ids of query row t and a group. */
static inline int32_t *selection_list(const msa_selection *s, const msa_shape *shape,
                                      int64_t total_q, int64_t t, int32_t group) {
    int64_t row =
        s->layout == MSA_TOKEN_MAJOR ? t * shape->n_kv_heads + group : group * total_q + t;
    return s->ids + row * shape->topk;
}

/* Copies a list's ids in ascending order, without the -1; returns how many. */
static inline int32_t selection_sort(const int32_t *ids, int32_t k, int32_t *out) {
    int32_t n = 0;
    for (int32_t i = 0; i < k; i++) {
        if (ids[i] < 0) continue;
        int32_t at = n++;
        for (; at > 0 && out[at - 1] > ids[i]; at--) out[at] = out[at - 1];
        out[at] = ids[i];
    }
    return n;
}

/* MSA_E_ARG, naming the first slot at fault, unless every list of the batch holds blocks up to the
 * query's own, each once, and -1. */
msa_status selection_check(const msa_plan *plan, const msa_selection *s, msa_error *err);

#endif
