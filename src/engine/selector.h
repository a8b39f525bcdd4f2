/* selector.h: what chooses the blocks of a step's queries: which operator, with which queries and
 * keys.
 *
 *   index           the branch's queries against its keys, the cache's third lane
 *   proxy           the mean query of each group against the group's own keys
 *   means           the same query against the mean key of each block
 *   shared          the same query against one key for all groups, the mean of theirs, which the
 *                   cache keeps in the third lane
 *   window, random  no query, no key
 *   oracle          every head's query against every key: the true attention mass
 *
 * All but random are functions of what a query sees and random is one of the position, so no
 * selection depends on how the tokens were fed. */
#ifndef MSA_ENGINE_SELECTOR_H
#define MSA_ENGINE_SELECTOR_H

#include <stdbool.h>

#include "msa/kv.h"
#include "msa/model.h"

typedef struct selector {
    msa_selector kind; /* never AUTO */
    uint64_t seed;
    msa_shape shape;
    int32_t n_threads;
    bool index8;    /* the cache has an int8 copy of the keys it scores */
    bool copy_read; /* by the step that was planned */
    msa_plan *plan; /* of the operator; NULL where none is needed */
    float *query;   /* [max_tokens, Hkv, d] mean queries; NULL where none are asked */
} selector;

/* Whether it scores token by token, by the index operator: those may have an int8 copy. */
static inline bool selector_scores(msa_selector kind) {
    return kind == MSA_SELECTOR_INDEX || kind == MSA_SELECTOR_PROXY || kind == MSA_SELECTOR_SHARED;
}

/* Whether its keys are a third lane of the cache: of the index branch, or the mean keys. */
static inline bool selector_has_lane(msa_selector kind) {
    return kind == MSA_SELECTOR_INDEX || kind == MSA_SELECTOR_SHARED;
}

/* shape: its index fields say what the index operator meets. max_tokens: of a step. *s is {0} on
 * failure. */
msa_status selector_create(selector *s, const msa_session_params *params, const msa_shape *shape,
                           int64_t max_tokens, msa_error *err);
void selector_free(selector *s);

/* Once a step, for all layers. */
msa_status selector_plan(selector *s, const msa_batch *batch, msa_error *err);

/* A layer's part of the step. q [n, Hq, d]; qi [n, Hkv, di] of the index branch, else unread. */
typedef struct selector_args {
    int32_t layer;
    int64_t first, n; /* positions first .. first + n - 1 */
    const float *q, *qi;
    msa_lane k, index; /* index: the third lane, where it has one */
    msa_index8_lane copy;
    msa_index8_stats *stats; /* what is done through the copy is added */
    int32_t *ids;            /* written: [n, Hkv, k], ascending, -1 behind them */
} selector_args;
msa_status selector_run(selector *s, const selector_args *args, msa_error *err);

#endif
