/* index.c: score and select in one pass.
 *
 * A tile is a few queries of a request with the index heads that share a key: its rows meet each
 * block while the block is in the nearest cache, and every score goes straight into the running
 * top-k of its row. Nothing of the size of queries times blocks exists.
 *
 * Where tiles are few, as in decode, a tile is cut along the blocks. Each split keeps its own best;
 * they meet in the shared space and are merged. Since the order of select.h is total, neither cuts
 * nor threads can change a list.
 *
 * With option index8 most blocks of a long request go through certify.h, which scores few of them;
 * the others, and what all lists are made of, stay as they are. */
#include "attn/index.h"

#include <omp.h>

#include "attn/index_tile.h"
#include "attn/selection.h"

static score_tile tile_of(const msa_plan *plan, const plan_item *item) {
    return (score_tile){.request = &plan->requests[item->request],
                        .q_first = item->q_first,
                        .n_q = item->n_q,
                        .head = item->head,
                        .n_heads = index_heads_of(&plan->shape, item->head)};
}

static int32_t *row_ids(const msa_plan *plan, const msa_selection *out, const score_tile *tile,
                        int32_t query, int32_t head) {
    int64_t t = tile->request->q_start + tile->q_first + query;
    return selection_list(out, &plan->shape, plan->total_q, t, tile->head + head);
}

static select_range query_range(const msa_plan *plan, const score_tile *tile, int32_t query) {
    return select_range_at(&plan->shape, tile->request->position + tile->q_first + query);
}

static void start_list(const msa_plan *plan, const score_tile *tile, const index_space *space,
                       int32_t row) {
    int32_t capacity = select_capacity(plan->shape.topk);
    select_list_start(&space->lists[row], space->keys + (int64_t)row * capacity,
                      query_range(plan, tile, row / tile->n_heads).want);
}

static void start_lists(const msa_plan *plan, const score_tile *tile, const index_space *space) {
    for (int32_t row = 0; row < tile->n_q * tile->n_heads; row++)
        start_list(plan, tile, space, row);
}

static void write_list(const msa_plan *plan, const msa_selection *out, const score_tile *tile,
                       const index_space *space, int32_t row) {
    int32_t query = row / tile->n_heads;
    select_range range = query_range(plan, tile, query);
    bool unscored = select_takes_all(&range) && out->order != MSA_SCORE_DESC;
    select_write(&plan->shape, &range, unscored ? NULL : &space->lists[row], out->order,
                 row_ids(plan, out, tile, query, row % tile->n_heads));
}

static void write_lists(const msa_plan *plan, const msa_selection *out, const score_tile *tile,
                        const index_space *space) {
    for (int32_t row = 0; row < tile->n_q * tile->n_heads; row++)
        write_list(plan, out, tile, space, row);
}

/* Scores blocks [first, end) for the queries that need them, into the lists of their rows. */
static void scan_blocks(const msa_plan *plan, const msa_index_args *args, const score_tile *tile,
                        index_range blocks, const index_space *space) {
    const msa_shape *shape = &plan->shape;
    int64_t more_than_k = (int64_t)shape->topk * shape->block;
    int32_t scored = args->out.order == MSA_SCORE_DESC ? 0 : score_first_query(tile, more_than_k);
    for (int64_t b = blocks.first; b < blocks.end; b++) {
        int32_t from = score_first_query(tile, (b + shape->local) * shape->block);
        if (from < scored) from = scored;
        if (from == tile->n_q) continue;
        score_tile_block(plan, args->qi, &args->ki, tile, b, from, space->panels, space->scores);
        select_list *lists = space->lists + from * tile->n_heads;
        int32_t n_rows = (tile->n_q - from) * tile->n_heads;
        for (int32_t row = 0; row < n_rows; row++)
            select_list_push(&lists[row], select_key(space->scores[row], (int32_t)b));
    }
}

/* The split's best of each row: topk keys, 0 in unused slots. */
static void store_lists(const msa_plan *plan, const plan_item *item, const score_tile *tile,
                        const index_space *space) {
    int32_t k = plan->shape.topk;
    for (int32_t row = 0; row < tile->n_q * tile->n_heads; row++) {
        uint64_t *slot = (uint64_t *)index_slot(plan, item->slot + row);
        select_list *list = &space->lists[row];
        select_list_cut(list);
        for (int32_t i = 0; i < k; i++) slot[i] = i < list->n ? list->keys[i] : 0;
    }
}

/* The blocks of an item, and of these, [first, certified) through the copy. */
static index_range item_blocks(const msa_plan *plan, const msa_index_args *args,
                               const plan_item *item, int64_t *certified) {
    score_tile tile = tile_of(plan, item);
    index_range all = index_scored_blocks(&plan->shape, tile.request, tile.q_first, tile.n_q,
                                          args->out.order == MSA_SCORE_DESC);
    int64_t n = all.end - all.first, end = all.first;
    index_range part = {all.first + n * item->split / item->n_splits,
                        all.first + n * (item->split + 1) / item->n_splits};
    if (plan->index8) end = certify_end(&plan->shape, tile.request, tile.q_first, all.first);
    *certified = end < part.first ? part.first : end < part.end ? end : part.end;
    return part;
}

/* Whether some split of the item's tile goes through the copy: then all hand on the same. */
static bool is_certified(const msa_plan *plan, const plan_item *item) {
    const msa_shape *shape = &plan->shape;
    const plan_request *request = &plan->requests[item->request];
    int64_t first = index_scored_blocks(shape, request, item->q_first, item->n_q, false).first;
    return plan->index8 && certify_end(shape, request, item->q_first, first) > first;
}

static certify_tile certify_tile_of(const msa_plan *plan, const msa_index_args *args,
                                    const score_tile *tile, const index_space *space) {
    return (certify_tile){.plan = plan,
                          .args = args,
                          .tile = tile,
                          .space = &space->certify,
                          .lists = space->lists,
                          .widened = space->panels};
}

static void add_stats(msa_index8_stats *sum, const msa_index8_stats *more) {
    if (!sum) return;
#pragma omp critical(msa_index8_stats)
    index8_add(sum, more);
}

static void run_certified(const msa_plan *plan, const msa_index_args *args, const plan_item *item,
                          const index_space *space) {
    score_tile tile = tile_of(plan, item);
    int64_t certified;
    index_range blocks = item_blocks(plan, args, item, &certified);
    certify_tile t = certify_tile_of(plan, args, &tile, space);
    start_lists(plan, &tile, space);
    int32_t n_rows = tile.n_q * tile.n_heads;
    for (int32_t row = 0; row < n_rows; row++)
        certify_start(&t, row, query_range(plan, &tile, row / tile.n_heads).want);
    certify_scan(&t, blocks.first, certified);
    scan_blocks(plan, args, &tile, (index_range){certified, blocks.end}, space);
    int64_t n_keys = (blocks.end - certified) * plan->shape.block;
    t.stats.keys += n_keys;
    t.stats.bytes += n_keys * plan->shape.index_dim * msa_dtype_size(args->ki.dtype);
    for (int32_t row = 0; row < n_rows; row++)
        if (item->n_splits == 1)
            certify_finish(&t, row);
        else
            certify_store(&t, row, index_slot(plan, item->slot + row));
    if (item->n_splits == 1) write_lists(plan, &args->out, &tile, space);
    add_stats(args->stats, &t.stats);
}

static void run_item(const msa_plan *plan, const msa_index_args *args, const plan_item *item,
                     const index_space *space) {
    if (is_certified(plan, item)) {
        run_certified(plan, args, item, space);
        return;
    }
    score_tile tile = tile_of(plan, item);
    int64_t certified;
    index_range part = item_blocks(plan, args, item, &certified);
    start_lists(plan, &tile, space);
    scan_blocks(plan, args, &tile, part, space);
    if (item->n_splits == 1)
        write_lists(plan, &args->out, &tile, space);
    else
        store_lists(plan, item, &tile, space);
}

/* `first` is split 0 of a tile; those of the others follow its slots. */
static void merge_splits(const msa_plan *plan, const msa_index_args *args, const plan_item *first,
                         const index_space *space) {
    score_tile tile = tile_of(plan, first);
    int32_t k = plan->shape.topk, n_rows = tile.n_q * tile.n_heads;
    start_lists(plan, &tile, space);
    for (int64_t i = 0; i < (int64_t)first->n_splits * n_rows; i++) {
        const uint64_t *slot = (const uint64_t *)index_slot(plan, first->slot + i);
        for (int32_t j = 0; j < k; j++) select_list_push(&space->lists[i % n_rows], slot[j]);
    }
    write_lists(plan, &args->out, &tile, space);
}

/* Rescoring is work: each split of a tile finishes the rows whose turn it is. */
static void merge_certified(const msa_plan *plan, const msa_index_args *args, const plan_item *item,
                            const index_space *space) {
    score_tile tile = tile_of(plan, item);
    certify_tile t = certify_tile_of(plan, args, &tile, space);
    int32_t n_rows = tile.n_q * tile.n_heads;
    int64_t first = item->slot - (int64_t)item->split * n_rows;
    for (int32_t row = item->split; row < n_rows; row += item->n_splits) {
        start_list(plan, &tile, space, row);
        certify_start(&t, row, query_range(plan, &tile, row / tile.n_heads).want);
        certify_merge(&t, row, index_slot(plan, first + row), (size_t)n_rows * plan->slot_bytes,
                      item->n_splits);
        write_list(plan, &args->out, &tile, space, row);
    }
    add_stats(args->stats, &t.stats);
}

static void merge_item(const msa_plan *plan, const msa_index_args *args, const plan_item *item,
                       const index_space *space) {
    if (item->n_splits == 1) return;
    if (is_certified(plan, item))
        merge_certified(plan, args, item, space);
    else if (item->split == 0)
        merge_splits(plan, args, item, space);
}

static msa_status check_copy(const msa_plan *plan, const msa_index_args *args, msa_error *err) {
    if (plan->index8 && !args->ki8)
        return error_set(err, MSA_E_ARG,
                         "ki8 is NULL; the plan has option index8: give it the copy of ki");
    if (!plan->index8 && (args->ki8 || args->stats))
        return error_set(err, MSA_E_ARG,
                         "%s is set; the plan would not look at it: plan with option index8",
                         args->ki8 ? "ki8" : "stats");
    msa_status status = plan->index8 ? index8_check_keys(&args->ki, err) : MSA_OK;
    return plan->index8 && !status ? index8_check_lane(plan, args->ki8, "ki8", err) : status;
}

static msa_status check_arguments(const msa_plan *plan, const msa_index_args *args,
                                  msa_error *err) {
    msa_status status = plan_check(plan, PLAN_INDEX, err);
    if (status) return status;
    if (!args) return error_set(err, MSA_E_ARG, "args is NULL");
    if (plan->total_q == 0) return MSA_OK;
    if (!args->qi || !args->out.ids)
        return error_set(err, MSA_E_ARG, "%s is NULL", !args->qi ? "qi" : "out: ids");
    if ((int)args->out.layout < 0 || args->out.layout > MSA_HEAD_MAJOR)
        return error_set(err, MSA_E_ARG, "out: layout is %d; expected an msa_list_layout",
                         (int)args->out.layout);
    if ((status = select_check_order(args->out.order, "out: order", err))) return status;
    status = plan_check_lane(plan, &args->ki, "ki", plan->shape.n_index_keys, plan->shape.index_dim,
                             true, err);
    return status ? status : check_copy(plan, args, err);
}

msa_status msa_index_run(msa_plan *plan, const msa_index_args *args, msa_error *err) {
    msa_status status = check_arguments(plan, args, err);
    if (!status && args->stats) *args->stats = (msa_index8_stats){0};
    if (status || plan->n_items == 0) return status;
    int64_t n_items = (int64_t)plan->n_items;
    int64_t n_rows = plan->index8 ? plan->total_q * plan->shape.n_index_heads : 0;
#pragma omp parallel num_threads(plan->n_threads) if (n_items > 1)
    {
        index_space space;
        index_divide_space(plan, plan_thread_space(plan, omp_get_thread_num()), &space);
#pragma omp for schedule(static)
        for (int64_t row = 0; row < n_rows; row++) certify_round_query(plan, args, row);
#pragma omp for schedule(dynamic, 1)
        for (int64_t i = 0; i < n_items; i++) run_item(plan, args, &plan->items[i], &space);
#pragma omp for schedule(dynamic, 1)
        for (int64_t i = 0; i < n_items; i++) merge_item(plan, args, &plan->items[i], &space);
    }
    return MSA_OK;
}
