/* gather.c: see gather.h. */
#include "attn/gather.h"

#include <string.h>

gather_visit gather_visit_of(const block_walk *walk, const plan_request *r, int32_t head,
                             int64_t block, const int32_t *queries, int32_t n) {
    int32_t B = walk->plan->shape.block;
    int64_t token = block * B;
    int32_t n_keys = walk_sees(walk->queries[queries[n - 1]].position, token, B);
    return (gather_visit){r, head, n, n_keys, block, token, queries};
}

/* ---- keys ---- */

void gather_keys_lay_out(gather_keys *k, const msa_shape *s, int dim, int what, carver *c) {
    size_t B = (size_t)s->block;
    k->dim = dim;
    k->stride = grad_stride(dim);
    k->panels = what & GATHER_PANELS ? carve(c, B * (size_t)dim, sizeof(float)) : NULL;
    k->rows = what & GATHER_ROWS ? carve(c, B * (size_t)k->stride, sizeof(float)) : NULL;
}

void gather_keys_open(gather_keys *k, const msa_plan *plan, const msa_lane *lane,
                      const gather_visit *v, int32_t head) {
    const attn_kernels *kernels = attn_kernels_get();
    stored_keys from = plan_stored(plan, lane, v->request, head, v->block);
    if (k->panels) kernels->pack_panels(&from, v->n_keys, k->dim, k->panels);
    for (int64_t j = 0; j < v->n_keys && k->rows; j++) {
        kernels->pack_rows(&from, 1, k->dim, k->rows + j * k->stride);
        from = stored_skip(&from, 1);
    }
}

/* ---- rows ---- */

void gather_rows_lay_out(gather_rows *g, int32_t heads, int32_t group, int dim, int n_arrays,
                         carver *c) {
    g->heads = heads;
    g->group = group;
    g->dim = dim;
    g->stride = grad_stride(dim);
    for (int i = 0; i < n_arrays; i++)
        g->to[i] = carve(c, (GRAD_ROWS + 3) * (size_t)g->stride, sizeof(float));
    g->sees = carve(c, GRAD_ROWS, sizeof(int32_t));
    g->row = carve(c, GRAD_ROWS, sizeof(int64_t));
}

/* dst[0..dim) from src, dim a multiple of 8, and zeros up to the next of 16. In pieces of known
 * size, which cost no call: rows are gathered by the million. */
static inline void copy_row(float *restrict dst, const float *restrict src, int dim) {
    int c = 0;
    for (; c + 16 <= dim; c += 16) memcpy(dst + c, src + c, 16 * sizeof(float));
    if (c == dim) return;
    memcpy(dst + c, src + c, 8 * sizeof(float));
    memset(dst + c + 8, 0, 8 * sizeof(float));
}

seen_rows gather_rows_take(const gather_rows *g, const gather_visit *v, int32_t first,
                           int32_t end) {
    int64_t heads = g->heads, base = (int64_t)v->head * g->group;
    int32_t n = end - first < GRAD_ROWS ? end - first : GRAD_ROWS, n_rows = v->n * g->group;
    gather_place p = gather_place_of(first, g->group), next = gather_place_of(first + n, g->group);
    for (int32_t i = 0; i < n; i++) {
        const walk_query *query = &g->walk->queries[v->queries[p.at]];
        int64_t from = (query->t * heads + base + p.head) * g->dim;
        copy_row(g->to[0] + i * g->stride, g->from[0] + from, g->dim);
        if (g->from[1]) copy_row(g->to[1] + i * g->stride, g->from[1] + from, g->dim);
        g->row[i] = v->queries[p.at] * heads + base + p.head;
        g->sees[i] = walk_sees(query->position, v->token, v->n_keys);
        if (first + n + i < n_rows) { /* what the next call will copy */
            from = (g->walk->queries[v->queries[next.at]].t * heads + base + next.head) * g->dim;
            gather_ask_ahead(g->from[0] + from, g->dim);
            if (g->from[1]) gather_ask_ahead(g->from[1] + from, g->dim);
        }
        gather_place_step(&p, g->group);
        gather_place_step(&next, g->group);
    }
    return (seen_rows){n, g->dim, g->stride, g->to[0], g->sees, g->scale_log2};
}
