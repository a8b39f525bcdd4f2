/* sparse_kv.c: sparse attention with the blocks outside and the queries that chose them inside, by
 * walk.h. A part's tile is the whole chunk: rows of O, m and l for every query, of which a block
 * takes those that chose it. */
#include <math.h>
#include <string.h>

#include "attn/sparse.h"
#include "attn/walk.h"

typedef struct kv_job {
    block_walk walk;
    const attend_run *run;
    int64_t group, dim, padded;
    float *q;          /* [Hkv][chunk_q * G + 8][dim]: a group's rows side by side */
    float *o;          /* [Hkv][n_parts][chunk_q][G][padded] */
    float *m, *l;      /* [Hkv][n_parts][chunk_q][G]; m becomes the lse of the part */
    int64_t *position; /* [chunk_q] */
} kv_job;

static void lay_out(kv_job *j, const msa_plan *plan, carver *c) {
    const msa_shape *s = &plan->shape;
    size_t heads = (size_t)s->n_kv_heads, chunk = (size_t)plan->chunk_q;
    size_t group = (size_t)(s->n_q_heads / s->n_kv_heads), dim = (size_t)s->head_dim;
    size_t rows = heads * (size_t)plan->n_parts * chunk * group;
    walk_lay_out(&j->walk, plan, c);
    j->group = (int64_t)group;
    j->dim = s->head_dim;
    j->padded = (int64_t)size_round_up(dim, 16);
    j->q = carve(c, heads * (chunk * group + 8) * dim, sizeof(float));
    j->o = carve(c, rows * (size_t)j->padded, sizeof(float));
    j->m = carve(c, rows, sizeof(float));
    j->l = carve(c, rows, sizeof(float));
    j->position = carve(c, chunk, sizeof(int64_t));
}

msa_status sparse_kv_plan(msa_plan *plan, msa_error *err) {
    const msa_shape *s = &plan->shape;
    size_t row = size_round_up((size_t)s->head_dim, 16) + 2;
    walk_plan(plan, s->n_kv_heads, (size_t)s->n_q_heads * row);
    plan->n_splits = 1;
    kv_job j;
    carver c = {0};
    lay_out(&j, plan, &c);
    return plan_reserve_workspace(plan, attend_thread_bytes(s), c.used, err);
}

static void gather_query(void *job, int32_t query) {
    kv_job *j = job;
    const msa_plan *plan = j->walk.plan;
    const walk_query *q = &j->walk.queries[query];
    j->position[query] = q->position;
    for (int64_t head = 0; head < plan->shape.n_kv_heads; head++)
        memcpy(j->q + (head * (plan->chunk_q * j->group + 8) + query * j->group) * j->dim,
               j->run->args->q + (q->t * plan->shape.n_q_heads + head * j->group) * j->dim,
               (size_t)(j->group * j->dim) * sizeof(float));
}

/* A worker whose tile are the chunk's rows in one part. */
typedef struct kv_part {
    attend_worker w;
    int32_t most; /* queries that are taken at once */
} kv_part;

static void visit_block(void *worker, const plan_request *r, int32_t head, int64_t block,
                        const int32_t *queries, int32_t n) {
    kv_part *p = worker;
    p->w.request = r;
    p->w.head = head;
    attend_keys keys = attend_open_block(&p->w, block, -1, queries, n);
    for (int32_t i = 0; i < n; i += p->most)
        attend_take_opened(&p->w, &keys, block, queries + i, n - i < p->most ? n - i : p->most);
}

static int64_t first_row(const kv_job *j, int32_t head, int32_t part) {
    const msa_plan *plan = j->walk.plan;
    return ((int64_t)head * plan->n_parts + part) * plan->chunk_q * j->group;
}

static void take_part(void *job, int thread, int32_t head, int32_t part) {
    kv_job *j = job;
    const msa_plan *plan = j->walk.plan;
    kv_part p = {attend_worker_make(j->run, thread), attend_tile_queries(&plan->shape)};
    attend_tile *tile = &p.w.tile;
    int64_t row = first_row(j, head, part), rows = j->walk.n * j->group;
    tile->q = j->q + head * (plan->chunk_q * j->group + 8) * j->dim;
    tile->o = j->o + row * j->padded;
    tile->m = j->m + row;
    tile->l = j->l + row;
    p.w.position = j->position;
    memset(tile->o, 0, (size_t)(rows * j->padded) * sizeof(float));
    memset(tile->l, 0, (size_t)rows * sizeof(float));
    for (int64_t i = 0; i < rows; i++) tile->m[i] = -INFINITY;
    walk_part(&j->walk, head, part, visit_block, &p);
    for (int32_t q = 0; q < j->walk.n; q++) /* in place, and the lse where m was */
        attend_tile_finish(&p.w, q, tile->o + q * j->group * j->padded, j->padded,
                           tile->m + q * j->group);
}

static void merge_query(void *job, int32_t query) {
    kv_job *j = job;
    const msa_plan *plan = j->walk.plan;
    int64_t heads = plan->shape.n_q_heads, step = plan->chunk_q * j->group;
    for (int64_t h = 0; h < heads; h++) {
        int64_t part = first_row(j, (int32_t)(h / j->group), 0) + query * j->group + h % j->group;
        int64_t row = j->walk.queries[query].t * heads + h;
        float unused;
        j->run->kernels->merge_parts(plan->n_parts, (int)j->dim, j->o + part * j->padded,
                                     step * j->padded, j->m + part, step,
                                     j->run->args->out + row * j->dim,
                                     j->run->args->lse ? j->run->args->lse + row : &unused);
    }
}

void sparse_kv_run(const attend_run *run) {
    const msa_plan *plan = run->plan;
    kv_job j = {.run = run};
    carver c = {.base = plan_shared_space(plan)};
    lay_out(&j, plan, &c);
    walk_begin(&j.walk, plan, run->args->selection, plan->shape.n_kv_heads);
    static const walk_pass passes[] = {{NULL, gather_query}, {take_part, merge_query}};
    walk_run(&j.walk, NULL, passes, 2, &j);
}
