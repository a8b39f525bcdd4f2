/* walk.c: see walk.h. */
#include "attn/walk.h"

#include <omp.h>
#include <string.h>

#include "attn/selection.h"

/* ---- planning ---- */

void walk_plan(msa_plan *plan, int32_t n_sets, size_t partial_floats) {
    plan->n_blocks = 0;
    for (int32_t r = 0; r < plan->n_requests; r++) {
        plan->requests[r].first_block = plan->n_blocks;
        plan->n_blocks += (plan->requests[r].kv_len + plan->shape.block - 1) / plan->shape.block;
    }
    int64_t parts = plan->n_splits ? plan->n_splits : (WALK_ITEMS + n_sets - 1) / n_sets;
    if (parts > plan->n_blocks) parts = plan->n_blocks;
    plan->n_parts = parts < 1 ? 1 : (int32_t)parts;
    size_t query_bytes = partial_floats * (size_t)plan->n_parts * sizeof(float);
    int64_t chunk = (int64_t)(WALK_PARTIAL_BYTES / query_bytes);
    if (chunk < WALK_LEAST_CHUNK) chunk = WALK_LEAST_CHUNK;
    if (chunk > WALK_CHUNK) chunk = WALK_CHUNK;
    if (chunk > plan->total_q) chunk = plan->total_q;
    plan->chunk_q = chunk < 1 ? 1 : chunk;
}

msa_status walk_check_batch(const msa_plan *plan, msa_error *err) {
    if (plan->paged)
        return error_set(err, MSA_E_ARG,
                         "batch: page_table is set; gradients need contiguous keys");
    int64_t end = 0;
    for (int32_t r = 0; r < plan->n_requests; r++) {
        if (plan->requests[r].kv_start < end)
            return error_set(err, MSA_E_ARG,
                             "batch: kv_start[%d] is %lld; expected at least %lld: gradients need "
                             "requests in ascending order that share no token",
                             r, (long long)plan->requests[r].kv_start, (long long)end);
        end = plan->requests[r].kv_start + plan->requests[r].kv_len;
    }
    return MSA_OK;
}

void walk_lay_out(block_walk *w, const msa_plan *plan, carver *c) {
    size_t chunk = (size_t)plan->chunk_q, heads = (size_t)plan->shape.n_kv_heads;
    w->queries = carve(c, chunk, sizeof *w->queries);
    w->takers = carve(c, heads * chunk * (size_t)plan->shape.topk, sizeof *w->takers);
    w->ranges = carve(c, (size_t)plan->n_blocks, heads * sizeof *w->ranges);
    w->bounds = carve(c, heads * ((size_t)plan->n_parts + 1), sizeof *w->bounds);
}

void walk_begin(block_walk *w, const msa_plan *plan, const msa_selection *selection,
                int32_t n_sets) {
    w->plan = plan;
    w->selection = selection;
    w->n_rows = plan->total_q;
    w->n_sets = n_sets;
}

/* ---- a chunk ---- */

/* Queries from the i-th on. `request` is that of the query before, or 0. */
static void take_queries(block_walk *w, int64_t i, int32_t request) {
    const msa_plan *plan = w->plan;
    int64_t left = w->n_rows - i;
    w->n = (int32_t)(left < plan->chunk_q ? left : plan->chunk_q);
    for (int32_t q = 0; q < w->n; q++) {
        int64_t t = w->rows ? w->rows[i + q] : i + q;
        while (t >= plan->requests[request].q_start + plan->requests[request].q_len) request++;
        const plan_request *r = &plan->requests[request];
        w->queries[q] = (walk_query){t, r->position + t - r->q_start, request};
    }
    const plan_request *last = &plan->requests[request];
    w->first_block = plan->requests[w->queries[0].request].first_block;
    w->n_blocks = last->first_block - w->first_block;
    w->n_blocks += (last->kv_len + plan->shape.block - 1) / plan->shape.block;
}

/* All queries of a request that stand behind a block are those from one on. */
static void range_visible(block_walk *w) {
    int64_t B = w->plan->shape.block, local = w->local > 0 ? w->local : 0;
    for (int64_t b = 0; b < w->n_blocks; b++) w->ranges[b] = (walk_range){0, 0};
    for (int32_t first = 0, end; first < w->n; first = end) {
        const plan_request *r = &w->plan->requests[w->queries[first].request];
        for (end = first; end < w->n && w->queries[end].request == w->queries[first].request;)
            end++;
        int64_t n_blocks = (r->kv_len + B - 1) / B;
        int32_t from = first;
        for (int64_t b = w->init; b < n_blocks; b++) {
            while (from < end && w->queries[from].position < (b + local) * B) from++;
            w->ranges[r->first_block - w->first_block + b] = (walk_range){from, end};
        }
    }
}

/* Counting sort of a head's (block, query) pairs. */
static void range_selected(block_walk *w, int32_t head) {
    const msa_plan *plan = w->plan;
    int32_t k = plan->shape.topk, at = 0;
    walk_range *ranges = w->ranges + head * w->n_blocks;
    int32_t *takers = w->takers + head * plan->chunk_q * k;
    memset(ranges, 0, (size_t)w->n_blocks * sizeof *ranges);
    for (int pass = 0; pass < 2; pass++) {
        for (int32_t q = 0; q < w->n; q++) {
            const int32_t *ids =
                selection_list(w->selection, &plan->shape, plan->total_q, w->queries[q].t, head);
            int64_t base = plan->requests[w->queries[q].request].first_block - w->first_block;
            for (int32_t i = 0; i < k; i++) {
                if (ids[i] < 0) continue;
                if (pass) takers[ranges[base + ids[i]].end] = q;
                ranges[base + ids[i]].end++;
            }
        }
        for (int64_t b = 0; b < w->n_blocks && !pass; b++) {
            int32_t n = ranges[b].end;
            ranges[b] = (walk_range){at, at};
            at += n;
        }
    }
}

static walk_range range_of(const block_walk *w, int32_t head, int64_t block) {
    return w->ranges[(w->selection ? head * w->n_blocks : 0) + block];
}

/* Of a block in a set, in rows of queries: opening a block costs about as much as a few. */
static int64_t cost_of(const block_walk *w, int32_t set, int64_t block) {
    int32_t heads = w->plan->shape.n_kv_heads / w->n_sets;
    int64_t group = w->plan->shape.n_q_heads / w->plan->shape.n_kv_heads, cost = 0;
    for (int32_t h = set * heads; h < (set + 1) * heads; h++) {
        walk_range r = range_of(w, h, block);
        if (r.end > r.first) cost += (r.end - r.first) * group + 8;
    }
    return cost;
}

static void cut_parts(block_walk *w, int32_t set) {
    int32_t n_parts = w->plan->n_parts, part = 1;
    int64_t *bounds = w->bounds + set * (n_parts + 1), total = 0, sum = 0;
    for (int64_t b = 0; b < w->n_blocks; b++) total += cost_of(w, set, b);
    bounds[0] = 0;
    for (int64_t b = 0; b < w->n_blocks; b++) {
        int64_t cost = cost_of(w, set, b);
        while (part < n_parts && sum + cost / 2 >= total * part / n_parts) bounds[part++] = b;
        sum += cost;
    }
    while (part <= n_parts) bounds[part++] = w->n_blocks;
}

void walk_part(const block_walk *w, int32_t set, int32_t part, walk_visit_fn *visit, void *worker) {
    const msa_plan *plan = w->plan;
    const int64_t *bounds = w->bounds + set * (plan->n_parts + 1) + part;
    int64_t B = plan->shape.block, k = plan->shape.topk;
    int32_t heads = plan->shape.n_kv_heads / w->n_sets, last = w->queries[w->n - 1].request;
    for (int32_t i = w->queries[0].request; i <= last; i++) {
        const plan_request *r = &plan->requests[i];
        int64_t base = r->first_block - w->first_block, end = base + (r->kv_len + B - 1) / B;
        if (end > bounds[1]) end = bounds[1];
        for (int64_t b = base > bounds[0] ? base : bounds[0]; b < end; b++)
            for (int32_t h = set * heads; h < (set + 1) * heads; h++) {
                walk_range range = range_of(w, h, b);
                const int32_t *takers = w->takers + (w->selection ? h * plan->chunk_q * k : 0);
                if (range.end > range.first)
                    visit(worker, r, h, b - base, takers + range.first, range.end - range.first);
            }
    }
}

/* ---- the run ---- */

static void prepare_chunk(block_walk *w, int64_t i) {
    int32_t heads = w->plan->shape.n_kv_heads;
#pragma omp single
    {
        take_queries(w, i, i == 0 ? 0 : w->queries[w->n - 1].request);
        if (!w->selection) range_visible(w);
    }
    if (w->selection) {
#pragma omp for schedule(static)
        for (int32_t h = 0; h < heads; h++) range_selected(w, h);
    }
#pragma omp for schedule(static)
    for (int32_t set = 0; set < w->n_sets; set++) cut_parts(w, set);
}

static void do_pass(const block_walk *w, const walk_pass *pass, void *job) {
    int32_t n_parts = w->plan->n_parts;
    if (pass->part) {
#pragma omp for schedule(dynamic)
        for (int32_t i = 0; i < w->n_sets * n_parts; i++)
            pass->part(job, omp_get_thread_num(), i / n_parts, i % n_parts);
    }
    if (pass->query) {
#pragma omp for schedule(static)
        for (int32_t q = 0; q < w->n; q++) pass->query(job, q);
    }
}

static void zero_keys(const msa_plan *plan, walk_zero_fn *zero, void *job) {
    const int64_t n = 1024;
    for (int32_t i = 0; i < plan->n_requests; i++) {
        const plan_request *r = &plan->requests[i];
#pragma omp for schedule(static) nowait
        for (int64_t at = 0; at < r->kv_len; at += n)
            zero(job, r->kv_start + at, r->kv_len - at < n ? r->kv_len - at : n);
    }
#pragma omp barrier
}

void walk_run(block_walk *w, walk_zero_fn *zero, const walk_pass *passes, int n_passes, void *job) {
    const msa_plan *plan = w->plan;
    if (!w->selection)
        for (int32_t i = 0; i < plan->chunk_q; i++) w->takers[i] = i;
#pragma omp parallel num_threads(plan->n_threads)
    {
        if (zero) zero_keys(plan, zero, job);
        for (int64_t i = 0; i < w->n_rows; i += plan->chunk_q) {
            prepare_chunk(w, i);
            for (int p = 0; p < n_passes; p++) do_pass(w, &passes[p], job);
        }
    }
}

void walk_sum_parts(const float *part, int64_t stride, int n_parts, int dim, float *out) {
    memcpy(out, part, (size_t)dim * sizeof(float));
    for (int p = 1; p < n_parts; p++)
        for (int c = 0; c < dim; c++) out[c] += part[p * stride + c];
}
