/* index.c: score and select in one pass.
 *
 * A tile is a few queries of a request with the index heads that share a key: its rows meet each
 * block while the block is in the nearest cache, and every score goes straight into the running
 * top-k of its row. Nothing of the size of queries times blocks exists.
 *
 * Where tiles are few, as in decode, a tile is cut along the blocks. Each split keeps its own best;
 * they meet in the shared space and are merged. Since the order of select.h is total, neither cuts
 * nor threads can change a list. */
#include "attn/index.h"

#include <omp.h>

#include "attn/score.h"
#include "attn/select.h"
#include "attn/selection.h"
#include "base/mem.h"

#define TILE_ROWS        128  /* queries x heads: 64 KB of width 128, so that keys stay near */
#define ENOUGH_ITEMS     128  /* below that many tiles, tiles are split */
#define MIN_SPLIT_TOKENS 8192 /* 2 MB of bf16 keys of width 128: a tenth of a millisecond */

typedef struct index_space {
    float *panels; /* a block widened */
    float *scores; /* [rows] */
    select_list *lists;
    uint64_t *keys;
} index_space;

typedef struct block_range {
    int64_t first, end;
} block_range;

static int32_t heads_per_tile(const msa_shape *shape) {
    if (shape->n_index_keys > 1) return 1;
    return shape->n_index_heads < TILE_ROWS ? shape->n_index_heads : TILE_ROWS;
}

static int32_t queries_per_tile(const msa_shape *shape) {
    int32_t heads = heads_per_tile(shape);
    return heads > 1 && heads < shape->n_index_heads ? 1 : TILE_ROWS / heads;
}

static int32_t heads_of(const msa_shape *shape, int32_t head) {
    int32_t left = shape->n_index_heads - head, most = heads_per_tile(shape);
    return left < most ? left : most;
}

static score_tile tile_of(const msa_plan *plan, const plan_item *item) {
    return (score_tile){.request = &plan->requests[item->request],
                        .q_first = item->q_first,
                        .n_q = item->n_q,
                        .head = item->head,
                        .n_heads = heads_of(&plan->shape, item->head)};
}

/* The blocks that some query of the tile has to score. */
static block_range scored_blocks(const msa_shape *shape, const plan_request *request,
                                 int64_t q_first, int32_t n_q, bool by_score) {
    select_range last = select_range_at(shape, request->position + q_first + n_q - 1);
    if (select_takes_all(&last) && !by_score) return (block_range){0, 0};
    return (block_range){last.first, last.end};
}

/* ---- plan */

static int32_t choose_splits(const msa_plan *plan, int64_t n_tiles, int64_t n_blocks) {
    int64_t most = n_blocks, n = plan->n_splits;
    if (n == 0) {
        n = (ENOUGH_ITEMS + n_tiles - 1) / n_tiles;
        most = n_blocks * plan->shape.block / MIN_SPLIT_TOKENS;
    }
    if (n > most) n = most;
    return (int32_t)(n > 1 ? n : 1);
}

static int64_t count_tiles(const msa_plan *plan) {
    int64_t n = 0, heads = heads_per_tile(&plan->shape), queries = queries_per_tile(&plan->shape);
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
    block_range blocks = scored_blocks(shape, request, item.q_first, item.n_q, false);
    int64_t n_rows = (int64_t)item.n_q * heads_of(shape, item.head), n = blocks.end - blocks.first;
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
    int64_t n_tiles = count_tiles(plan), queries = queries_per_tile(&plan->shape);
    int32_t heads = heads_per_tile(&plan->shape);
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

/* Where a thread's space lies, from `at` (NULL to learn its size). */
static size_t divide_space(const msa_shape *shape, char *at, index_space *space) {
    size_t rows = (size_t)queries_per_tile(shape) * (size_t)heads_per_tile(shape);
    size_t panels = (size_t)shape->block * (size_t)shape->index_dim * sizeof(float);
    size_t scores = size_round_up(rows * sizeof(float), MEM_ALIGN);
    size_t lists = size_round_up(rows * sizeof(select_list), MEM_ALIGN);
    size_t keys = rows * (size_t)select_capacity(shape->topk) * sizeof(uint64_t);
    if (at) {
        space->panels = (float *)at;
        space->scores = (float *)(at + panels);
        space->lists = (select_list *)(at + panels + scores);
        space->keys = (uint64_t *)(at + panels + scores + lists);
    }
    return panels + scores + lists + keys;
}

static msa_status make_room(msa_plan *plan, msa_error *err) {
    int64_t n_slots;
    size_t n = fill_items(plan, NULL, &n_slots), shared;
    if (!size_mul((size_t)n_slots, (size_t)plan->shape.topk * sizeof(uint64_t), &shared))
        return error_set(err, MSA_E_NOMEM, "%lld partial lists are beyond any memory",
                         (long long)n_slots);
    msa_status status;
    if ((status = plan_reserve_items(plan, n, err)) ||
        (status =
             plan_reserve_workspace(plan, divide_space(&plan->shape, NULL, NULL), shared, err)))
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
    if ((status = make_room(*plan, err)) && is_new) {
        msa_plan_free(*plan);
        *plan = NULL;
    }
    return status;
}

/* ---- run */

static int32_t *row_ids(const msa_plan *plan, const msa_selection *out, const score_tile *tile,
                        int32_t query, int32_t head) {
    int64_t t = tile->request->q_start + tile->q_first + query;
    return selection_list(out, &plan->shape, plan->total_q, t, tile->head + head);
}

static select_range query_range(const msa_plan *plan, const score_tile *tile, int32_t query) {
    return select_range_at(&plan->shape, tile->request->position + tile->q_first + query);
}

static void start_lists(const msa_plan *plan, const score_tile *tile, const index_space *space) {
    int32_t capacity = select_capacity(plan->shape.topk);
    for (int32_t row = 0; row < tile->n_q * tile->n_heads; row++)
        select_list_start(&space->lists[row], space->keys + (int64_t)row * capacity,
                          query_range(plan, tile, row / tile->n_heads).want);
}

static void write_lists(const msa_plan *plan, const msa_selection *out, const score_tile *tile,
                        const index_space *space) {
    for (int32_t i = 0; i < tile->n_q; i++) {
        select_range range = query_range(plan, tile, i);
        bool unscored = select_takes_all(&range) && out->order != MSA_SCORE_DESC;
        for (int32_t h = 0; h < tile->n_heads; h++)
            select_write(&plan->shape, &range,
                         unscored ? NULL : &space->lists[i * tile->n_heads + h], out->order,
                         row_ids(plan, out, tile, i, h));
    }
}

/* Scores blocks [first, end) for the queries that need them, into the lists of their rows. */
static void scan_blocks(const msa_plan *plan, const msa_index_args *args, const score_tile *tile,
                        block_range blocks, const index_space *space) {
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
    uint64_t *slot = (uint64_t *)plan_shared_space(plan) + item->slot * k;
    for (int32_t row = 0; row < tile->n_q * tile->n_heads; row++, slot += k) {
        select_list *list = &space->lists[row];
        select_list_cut(list);
        for (int32_t i = 0; i < k; i++) slot[i] = i < list->n ? list->keys[i] : 0;
    }
}

static void run_item(const msa_plan *plan, const msa_index_args *args, const plan_item *item,
                     const index_space *space) {
    score_tile tile = tile_of(plan, item);
    block_range all = scored_blocks(&plan->shape, tile.request, tile.q_first, tile.n_q,
                                    args->out.order == MSA_SCORE_DESC);
    int64_t n = all.end - all.first;
    block_range part = {all.first + n * item->split / item->n_splits,
                        all.first + n * (item->split + 1) / item->n_splits};
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
    const uint64_t *slot = (const uint64_t *)plan_shared_space(plan) + first->slot * k;
    start_lists(plan, &tile, space);
    for (int32_t split = 0; split < first->n_splits; split++)
        for (int32_t row = 0; row < n_rows; row++, slot += k)
            for (int32_t i = 0; i < k; i++) select_list_push(&space->lists[row], slot[i]);
    write_lists(plan, &args->out, &tile, space);
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
    return plan_check_lane(plan, &args->ki, "ki", plan->shape.n_index_keys, plan->shape.index_dim,
                           true, err);
}

msa_status msa_index_run(msa_plan *plan, const msa_index_args *args, msa_error *err) {
    msa_status status = check_arguments(plan, args, err);
    if (status || plan->n_items == 0) return status;
    int64_t n_items = (int64_t)plan->n_items;
#pragma omp parallel num_threads(plan->n_threads) if (n_items > 1)
    {
        index_space space;
        divide_space(&plan->shape, plan_thread_space(plan, omp_get_thread_num()), &space);
#pragma omp for schedule(dynamic, 1)
        for (int64_t i = 0; i < n_items; i++) run_item(plan, args, &plan->items[i], &space);
#pragma omp for schedule(dynamic, 1)
        for (int64_t i = 0; i < n_items; i++) {
            const plan_item *item = &plan->items[i];
            if (item->n_splits > 1 && item->split == 0) merge_splits(plan, args, item, &space);
        }
    }
    return MSA_OK;
}
