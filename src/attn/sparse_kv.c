/* sparse_kv.c: sparse attention with the blocks outside and the queries that chose them inside.
 *
 * A request is walked in chunks of queries. Per chunk: each group's lists become a CSR from block
 * to (query, slot); its rows are cut into items of at most one tile of queries, so that a popular
 * block is shared out; an item writes partial O and LSE to the slots of its queries, which nobody
 * else writes; then each row's slots are merged in order. No atomics, no order of threads. */
#include <omp.h>
#include <string.h>

#include "attn/sparse.h"
#include "base/mem.h"

/* A query of the chunk that chose a block, and which of its sorted slots the block is. */
typedef struct taker {
    int32_t query, slot;
} taker;

typedef struct kv_item {
    int32_t head, block, n;
    int64_t first; /* into takers */
} kv_item;

/* What a chunk works in, laid out in the plan's shared space. */
typedef struct kv_chunk {
    float *part_o;   /* [chunk][k][Hq][d] */
    float *part_lse; /* [chunk][k][Hq] */
    int32_t *lists;  /* [Hkv][chunk][k] sorted */
    int32_t *counts; /* [Hkv][chunk] ids per list */
    int32_t *starts; /* [blocks + 2] counting sort of one group */
    taker *takers;   /* [Hkv][chunk * k] by block, then query */
    kv_item *items;  /* at most Hkv * chunk * k */
    size_t n_items;
} kv_chunk;

static size_t lay_out(kv_chunk *c, const msa_plan *plan, char *base) {
    const msa_shape *s = &plan->shape;
    size_t chunk = (size_t)plan->chunk_q, k = (size_t)s->topk, groups = (size_t)s->n_kv_heads;
    size_t rows = chunk * (size_t)s->n_q_heads * k, blocks = (size_t)(plan->max_kv_len / s->block);
    size_t used = 0;
    const struct {
        void **at;
        size_t bytes;
    } parts[] = {
        {(void **)&c->part_o, rows * (size_t)s->head_dim * sizeof(float)},
        {(void **)&c->part_lse, rows * sizeof(float)},
        {(void **)&c->lists, groups * chunk * k * sizeof(int32_t)},
        {(void **)&c->counts, groups * chunk * sizeof(int32_t)},
        {(void **)&c->starts, groups * (blocks + 3) * sizeof(int32_t)},
        {(void **)&c->takers, groups * chunk * k * sizeof(taker)},
        {(void **)&c->items, groups * chunk * k * sizeof(kv_item)},
    };
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) {
        *parts[i].at = base ? base + used : NULL;
        used += size_round_up(parts[i].bytes, MEM_ALIGN);
    }
    return used;
}

size_t sparse_kv_shared_bytes(const msa_plan *plan) {
    kv_chunk c;
    return lay_out(&c, plan, NULL);
}

/* Counting sort of one group's (block, query, slot) triples; the items of its blocks. */
static void build_group(const attend_run *run, const plan_request *r, int64_t q0, int32_t n,
                        int32_t head, kv_chunk *c) {
    const msa_plan *plan = run->plan;
    int64_t k = plan->shape.topk, chunk = plan->chunk_q,
            blocks = plan->max_kv_len / plan->shape.block;
    int32_t *lists = c->lists + head * chunk * k, *counts = c->counts + head * chunk;
    int32_t *starts = c->starts + head * (blocks + 3);
    taker *takers = c->takers + head * chunk * k;
    memset(starts, 0, (size_t)(blocks + 3) * sizeof *starts);
    for (int32_t i = 0; i < n; i++) {
        const int32_t *ids = attend_list(plan, run->args->selection, r->q_start + q0 + i, head);
        counts[i] = attend_sort_list(ids, (int32_t)k, lists + i * k);
        for (int32_t j = 0; j < counts[i]; j++) starts[lists[i * k + j] + 2]++;
    }
    for (int64_t b = 2; b < blocks + 3; b++) starts[b] += starts[b - 1];
    for (int32_t i = 0; i < n; i++)
        for (int32_t j = 0; j < counts[i]; j++)
            takers[starts[lists[i * k + j] + 1]++] = (taker){i, j};
    int32_t most = attend_tile_queries(&plan->shape);
    for (int64_t b = 0; b <= blocks; b++) {
        for (int32_t at = starts[b]; at < starts[b + 1]; at += most)
            c->items[c->n_items++] =
                (kv_item){.head = head,
                          .block = (int32_t)b,
                          .first = at,
                          .n = starts[b + 1] - at < most ? starts[b + 1] - at : most};
    }
}

static void run_item(attend_worker *w, const plan_request *r, int64_t q0, const kv_chunk *c,
                     const kv_item *item) {
    const msa_plan *plan = w->run->plan;
    const msa_shape *s = &plan->shape;
    int64_t k = s->topk, d = s->head_dim, group = s->n_q_heads / s->n_kv_heads;
    const taker *takers = c->takers + item->head * plan->chunk_q * k + item->first;
    for (int32_t i = 0; i < item->n; i++) {
        w->q_index[i] = q0 + takers[i].query;
        w->cursors[i] = i;
    }
    attend_tile_begin(w, r, item->head, item->n);
    attend_take_block(w, item->block, -1, w->cursors, item->n);
    for (int32_t i = 0; i < item->n; i++) {
        int64_t row = (takers[i].query * k + takers[i].slot) * s->n_q_heads + item->head * group;
        attend_tile_finish(w, i, c->part_o + row * d, d, c->part_lse + row);
    }
}

/* Slots of each row in order. */
static void merge_slots(const attend_run *run, const plan_request *r, int64_t q0, int32_t query,
                        const kv_chunk *c) {
    const msa_shape *s = &run->plan->shape;
    int64_t k = s->topk, d = s->head_dim, heads = s->n_q_heads, group = heads / s->n_kv_heads;
    float unused;
    for (int64_t h = 0; h < heads; h++) {
        int64_t part = query * k * heads + h, row = (r->q_start + q0 + query) * heads + h;
        run->kernels->merge_parts(c->counts[h / group * run->plan->chunk_q + query], (int)d,
                                  c->part_o + part * d, heads * d, c->part_lse + part, heads,
                                  run->args->out + row * d,
                                  run->args->lse ? run->args->lse + row : &unused);
    }
}

void sparse_kv_run(const attend_run *run) {
    const msa_plan *plan = run->plan;
    kv_chunk c;
    lay_out(&c, plan, plan_shared_space(plan));
#pragma omp parallel num_threads(plan->n_threads)
    {
        attend_worker w = attend_worker_make(run, omp_get_thread_num());
        for (int32_t i = 0; i < plan->n_requests; i++) {
            const plan_request *r = &plan->requests[i];
            for (int64_t q0 = 0; q0 < r->q_len; q0 += plan->chunk_q) {
                int64_t left = r->q_len - q0;
                int32_t n = (int32_t)(left < plan->chunk_q ? left : plan->chunk_q);
#pragma omp single
                {
                    c.n_items = 0;
                    for (int32_t head = 0; head < plan->shape.n_kv_heads; head++)
                        build_group(run, r, q0, n, head, &c);
                }
#pragma omp for schedule(dynamic)
                for (size_t j = 0; j < c.n_items; j++) run_item(&w, r, q0, &c, &c.items[j]);
#pragma omp for schedule(static)
                for (int32_t q = 0; q < n; q++) merge_slots(run, r, q0, q, &c);
            }
        }
    }
}
