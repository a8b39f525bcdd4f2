/* index_plan.c: cutting a batch into tiles, and tiles along the blocks where they are few. */
#include "attn/index_tile.h"
#include "base/carve.h"

/* Where tiles are few they are split, into so many items for each thread as even out what threads
 * lose to others, and of so many tokens at least: 256 KB of bf16 keys of width 128, some ten
 * microseconds. A split through the int8 copy first has to find bounds that drop anything, and is
 * longer. Lists do not depend on it. */
#define ITEMS_PER_THREAD 4
#define MIN_TOKENS       1024
#define MIN_TOKENS_COPY  2048

static int32_t choose_splits(const msa_plan *plan, int64_t n_tiles, int64_t n_blocks) {
    int64_t most = n_blocks, n = plan->n_splits;
    if (n == 0) {
        n = (ITEMS_PER_THREAD * plan->n_threads + n_tiles - 1) / n_tiles;
        most = n_blocks * plan->shape.block / (plan->index8 ? MIN_TOKENS_COPY : MIN_TOKENS);
        if (plan->n_threads == 1) most = 1;
    }
    return plan_clamp_splits(n, most);
}

static int64_t count_tiles(const msa_plan *plan) {
    int64_t n = 0, heads = index_heads_per_tile(&plan->shape),
            queries = index_queries_per_tile(&plan->shape);
    for (int32_t r = 0; r < plan->n_requests; r++)
        n += (plan->requests[r].q_len + queries - 1) / queries;
    return n * ((plan->shape.n_index_heads + heads - 1) / heads);
}

/* The splits of one tile, written to `items` unless that is NULL; returns how many. *n_slots counts
 * the lists they hand to the merge. */
static int32_t make_items(const msa_plan *plan, int64_t n_tiles, plan_item item, plan_item *items,
                          int64_t *n_slots) {
    const msa_shape *shape = &plan->shape;
    const plan_request *request = &plan->requests[item.request];
    index_range blocks = index_scored_blocks(shape, request, item.q_first, item.n_q, false);
    int64_t n_rows = (int64_t)item.n_q * index_heads_of(shape, item.head),
            n = blocks.end - blocks.first;
    item.n_splits = choose_splits(plan, n_tiles, n);
    for (int32_t split = 0; split < item.n_splits; split++) {
        item.split = split;
        item.slot = *n_slots;
        item.cost = n / item.n_splits * (n_rows + 8) + n_rows; /* 8: a block must be read at all */
        if (item.n_splits > 1) *n_slots += n_rows;
        if (items) items[split] = item;
    }
    return item.n_splits;
}

/* Makes the items of the plan, or, where there is no room for them yet, counts them. */
static size_t fill_items(const msa_plan *plan, plan_item *items, int64_t *n_slots) {
    int64_t n_tiles = count_tiles(plan), queries = index_queries_per_tile(&plan->shape);
    int32_t heads = index_heads_per_tile(&plan->shape);
    size_t n = 0;
    *n_slots = 0;
    for (int32_t r = 0; r < plan->n_requests; r++) {
        int64_t q_len = plan->requests[r].q_len;
        for (int64_t q = 0; q < q_len; q += queries)
            for (int32_t head = 0; head < plan->shape.n_index_heads; head += heads) {
                plan_item item = {.request = r,
                                  .head = head,
                                  .q_first = q,
                                  .n_q = (int32_t)(q_len - q < queries ? q_len - q : queries)};
                n += (size_t)make_items(plan, n_tiles, item, items ? items + n : NULL, n_slots);
            }
    }
    return n;
}

size_t index_divide_space(const msa_plan *plan, char *at, index_space *space) {
    const msa_shape *shape = &plan->shape;
    carver c = {.base = at};
    size_t rows = (size_t)index_queries_per_tile(shape) * (size_t)index_heads_per_tile(shape);
    space->panels = carve(&c, (size_t)shape->block * (size_t)shape->index_dim, sizeof(float));
    space->scores = carve(&c, rows, sizeof *space->scores);
    space->lists = carve(&c, rows, sizeof *space->lists);
    space->keys = carve(&c, rows * (size_t)select_capacity(shape->topk), sizeof *space->keys);
    if (plan->index8)
        c.used += certify_divide(shape, rows, at ? at + c.used : NULL, &space->certify);
    return c.used;
}

/* What the splits hand on, and with option index8 the rounded queries. */
static size_t divide_shared(msa_plan *plan, int64_t n_slots) {
    plan->slot_bytes = (size_t)plan->shape.topk * sizeof(uint64_t);
    if (plan->index8) plan->slot_bytes = certify_slot_bytes(&plan->shape);
    if (!size_mul((size_t)n_slots, plan->slot_bytes, &plan->queries_at)) return SIZE_MAX;
    plan->queries_at = size_round_up(plan->queries_at, MEM_ALIGN);
    return plan->queries_at + (plan->index8 ? certify_query_bytes(plan) : 0);
}

static msa_status make_room(msa_plan *plan, msa_error *err) {
    int64_t n_slots;
    index_space space;
    size_t n = fill_items(plan, NULL, &n_slots), shared = divide_shared(plan, n_slots);
    if (shared == SIZE_MAX)
        return error_set(err, MSA_E_NOMEM, "%lld partial lists are beyond any memory",
                         (long long)n_slots);
    msa_status status;
    if ((status = plan_reserve_items(plan, n, err)) ||
        (status =
             plan_reserve_workspace(plan, index_divide_space(plan, NULL, &space), shared, err)))
        return status;
    plan->n_items = fill_items(plan, plan->items, &n_slots);
    plan_sort_items(plan);
    return MSA_OK;
}

msa_status msa_index_plan(msa_plan **plan, const msa_shape *shape, const msa_batch *batch,
                          const msa_plan_options *options, msa_error *err) {
    bool is_new = plan && !*plan;
    msa_status status = plan_prepare(plan, PLAN_INDEX, shape, batch, options, err);
    if (status) return status;
    if ((*plan)->index8) index8_number_blocks(*plan);
    if ((status = make_room(*plan, err)) && is_new) {
        msa_plan_free(*plan);
        *plan = NULL;
    }
    return status;
}
