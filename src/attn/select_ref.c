/* select_ref.c: the truth of a selection: walk the rule as it is written. */
#include "attn/select.h"

enum { SCORED, LEADING, TRAILING };

static int kind_of(const msa_shape *shape, int64_t block, int64_t own) {
    if (block > own - shape->local) return TRAILING;
    return block < shape->init ? LEADING : SCORED;
}

/* Whether a block with score a comes before a later one with score b. */
static bool wins(float a, float b) {
    if (isnan(b)) return true;
    if (isnan(a)) return !(b > -INFINITY);
    return a >= b;
}

/* The best scored block that is not in chosen[0..n). */
static int64_t best_left(const msa_shape *shape, int64_t own, const float *scores,
                         const int32_t *chosen, int n) {
    int64_t best = -1;
    for (int64_t b = 0; b <= own; b++) {
        bool taken = kind_of(shape, b, own) != SCORED;
        for (int i = 0; i < n; i++) taken = taken || chosen[i] == b;
        if (!taken && (best < 0 || !wins(scores[best], scores[b]))) best = b;
    }
    return best;
}

static int place_of(int kind, msa_list_order order) {
    if (order == MSA_LOCAL_LAST) return kind == SCORED ? 0 : kind == LEADING ? 1 : 2;
    return kind == TRAILING ? 0 : kind == LEADING ? 1 : 2;
}

/* Whether id a stands before id b. Chosen blocks stand in the order they were chosen in `rank`. */
static bool before(const msa_shape *shape, int64_t own, msa_list_order order, int32_t a, int32_t b,
                   int rank_a, int rank_b) {
    if (order == MSA_ASCENDING) return a < b;
    int kind_a = kind_of(shape, a, own), kind_b = kind_of(shape, b, own);
    if (kind_a != kind_b) return place_of(kind_a, order) < place_of(kind_b, order);
    if (order == MSA_LOCAL_LAST || kind_a == LEADING) return a < b;
    return kind_a == TRAILING ? a > b : rank_a < rank_b;
}

void select_ref(const msa_shape *shape, int64_t position, const float *scores, msa_list_order order,
                int32_t *ids) {
    int64_t own = position / shape->block;
    int32_t chosen[SELECT_MAX_K];
    int n = 0;
    for (int64_t b = 0; b <= own; b++) {
        if (kind_of(shape, b, own) != SCORED) chosen[n++] = (int32_t)b;
    }
    while (n < shape->topk) {
        int64_t b = best_left(shape, own, scores, chosen, n);
        if (b < 0) break;
        chosen[n++] = (int32_t)b;
    }
    for (int i = 0; i < shape->topk; i++) ids[i] = -1;
    for (int i = 0; i < n; i++) { /* the place of a block is how many stand before it */
        int place = 0;
        for (int j = 0; j < n; j++)
            place += i != j && before(shape, own, order, chosen[j], chosen[i], j, i);
        ids[place] = chosen[i];
    }
}
