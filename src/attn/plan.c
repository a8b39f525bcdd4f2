/* plan.c: checking shapes, batches and lanes once, so that kernels may trust them. */
#include "attn/plan.h"

#include <math.h>
#include <omp.h>
#include <stdlib.h>
#include <string.h>

#include "base/format.h"
#include "base/mem.h"

#define MAX_LENGTH ((int64_t)1 << 40) /* tokens; keeps every product of offsets inside 63 bits */

msa_shape msa_shape_m3(void) {
    return (msa_shape){.n_q_heads = 64,
                       .n_kv_heads = 4,
                       .head_dim = 128,
                       .n_index_heads = 4,
                       .n_index_keys = 1,
                       .index_dim = 128,
                       .block = 128,
                       .topk = 16,
                       .local = 1,
                       .init = 0};
}

static msa_status check_range(const char *name, int64_t value, int64_t low, int64_t high,
                              msa_error *err) {
    if (value >= low && value <= high) return MSA_OK;
    return error_set(err, MSA_E_ARG, "shape: %s is %lld; expected %lld to %lld", name,
                     (long long)value, (long long)low, (long long)high);
}

static msa_status check_width(const char *name, int32_t value, msa_error *err) {
    if (value >= 8 && value <= 256 && value % 8 == 0) return MSA_OK;
    return error_set(err, MSA_E_ARG, "shape: %s is %d; expected a multiple of 8 from 8 to 256",
                     name, value);
}

msa_status msa_shape_check(const msa_shape *s, msa_error *err) {
    if (!s) return error_set(err, MSA_E_ARG, "shape is NULL");
    msa_status status;
    if ((status = check_range("n_kv_heads", s->n_kv_heads, 1, 65536, err)) ||
        (status = check_range("n_q_heads", s->n_q_heads, s->n_kv_heads, 65536, err)) ||
        (status = check_width("head_dim", s->head_dim, err)) ||
        (status = check_width("index_dim", s->index_dim, err)) ||
        (status = check_range("topk", s->topk, 1, 64, err)) ||
        (status = check_range("local", s->local, 0, s->topk, err)) ||
        (status = check_range("init", s->init, 0, s->topk - s->local, err)) ||
        (status = check_range("block", s->block, 16, 256, err)))
        return status;
    if (s->block & (s->block - 1))
        return error_set(err, MSA_E_ARG, "shape: block is %d; expected a power of two", s->block);
    if (s->n_q_heads % s->n_kv_heads)
        return error_set(err, MSA_E_ARG,
                         "shape: n_q_heads is %d; expected a multiple of n_kv_heads, %d",
                         s->n_q_heads, s->n_kv_heads);
    if (s->n_index_heads != s->n_kv_heads)
        return error_set(err, MSA_E_ARG,
                         "shape: n_index_heads is %d; expected one per group, n_kv_heads = %d",
                         s->n_index_heads, s->n_kv_heads);
    if (s->n_index_keys != 1 && s->n_index_keys != s->n_index_heads)
        return error_set(err, MSA_E_ARG,
                         "shape: n_index_keys is %d; expected 1 (shared) or n_index_heads = %d",
                         s->n_index_keys, s->n_index_heads);
    return MSA_OK;
}

static msa_status check_request(const msa_batch *b, int32_t r, int32_t block, msa_error *err) {
    int64_t q_len = (int64_t)b->cu_seqlens_q[r + 1] - b->cu_seqlens_q[r], kv_len = b->kv_len[r];
    if (q_len < 0)
        return error_set(err, MSA_E_ARG, "batch: cu_seqlens_q falls from %d to %d at request %d",
                         b->cu_seqlens_q[r], b->cu_seqlens_q[r + 1], r);
    if (kv_len < 0 || kv_len > MAX_LENGTH)
        return error_set(err, MSA_E_ARG, "batch: kv_len[%d] is %lld; expected 0 to 2^40", r,
                         (long long)kv_len);
    int64_t position = b->qo_offset ? b->qo_offset[r] : kv_len - q_len;
    if (position < 0 || position > kv_len - q_len)
        return error_set(err, MSA_E_ARG,
                         "batch: request %d has %lld queries from position %lld and %lld keys; "
                         "every query needs its own token among the keys",
                         r, (long long)q_len, (long long)position, (long long)kv_len);
    if (b->kv_start && (b->kv_start[r] < 0 || b->kv_start[r] > MAX_LENGTH))
        return error_set(err, MSA_E_ARG, "batch: kv_start[%d] is %lld; expected 0 to 2^40", r,
                         (long long)b->kv_start[r]);
    int64_t n_blocks = (kv_len + block - 1) / block;
    if (n_blocks > INT32_MAX)
        return error_set(err, MSA_E_ARG,
                         "batch: kv_len[%d] is %lld, %lld blocks; a selection numbers them in 31 "
                         "bits",
                         r, (long long)kv_len, (long long)n_blocks);
    if (!b->page_table) return MSA_OK;
    if (n_blocks > b->page_table_stride)
        return error_set(err, MSA_E_ARG,
                         "batch: request %d needs %lld pages, page_table_stride is %lld", r,
                         (long long)n_blocks, (long long)b->page_table_stride);
    for (int64_t i = 0; i < n_blocks; i++) {
        int32_t page = b->page_table[r * b->page_table_stride + i];
        if (page < 0 || page >= b->n_pages)
            return error_set(err, MSA_E_ARG,
                             "batch: page %lld of request %d is %d; expected 0 to n_pages - 1 = "
                             "%lld",
                             (long long)i, r, page, (long long)b->n_pages - 1);
    }
    return MSA_OK;
}

static msa_status check_batch(const msa_batch *b, const msa_shape *shape, msa_error *err) {
    if (!b) return error_set(err, MSA_E_ARG, "batch is NULL");
    if (b->n_requests < 0)
        return error_set(err, MSA_E_ARG, "batch: n_requests is %d; expected 0 or more",
                         b->n_requests);
    if (b->n_requests == 0) return MSA_OK;
    if (!b->cu_seqlens_q || !b->kv_len)
        return error_set(err, MSA_E_ARG, "batch: cu_seqlens_q and kv_len must not be NULL");
    if (b->cu_seqlens_q[0] != 0)
        return error_set(err, MSA_E_ARG, "batch: cu_seqlens_q[0] is %d; expected 0",
                         b->cu_seqlens_q[0]);
    for (int32_t r = 0; r < b->n_requests; r++) {
        msa_status status = check_request(b, r, shape->block, err);
        if (status) return status;
    }
    return MSA_OK;
}

static msa_status check_options(const msa_plan_options *o, msa_error *err) {
    if (o->n_threads < 0 || o->n_threads > 4096)
        return error_set(err, MSA_E_ARG, "options: n_threads is %d; expected 0 to 4096",
                         o->n_threads);
    if ((int)o->order < 0 || o->order > MSA_ORDER_KV)
        return error_set(err, MSA_E_ARG, "options: order is %d; expected an msa_order",
                         (int)o->order);
    if (o->n_splits < 0 || o->n_splits > 1024)
        return error_set(err, MSA_E_ARG, "options: n_splits is %d; expected 0 to 1024",
                         o->n_splits);
    if (o->p_e4m3 < 0 || o->p_e4m3 > 1)
        return error_set(err, MSA_E_ARG, "options: p_e4m3 is %d; expected 0 or 1", o->p_e4m3);
    if (o->index8 < 0 || o->index8 > 1)
        return error_set(err, MSA_E_ARG, "options: index8 is %d; expected 0 or 1", o->index8);
    return MSA_OK;
}

/* Copies the batch; memory is had before anything of the plan changes. */
static msa_status copy_batch(msa_plan *plan, const msa_shape *shape, const msa_batch *b,
                             msa_error *err) {
    size_t n_table = 0;
    for (int32_t r = 0; b->page_table && r < b->n_requests; r++)
        n_table += (size_t)((b->kv_len[r] + shape->block - 1) / shape->block);
    if (!mem_grow((void **)&plan->requests, &plan->requests_capacity, (size_t)b->n_requests,
                  sizeof *plan->requests) ||
        !mem_grow((void **)&plan->page_table, &plan->page_table_capacity, n_table,
                  sizeof *plan->page_table))
        return error_set(err, MSA_E_NOMEM, "no memory to plan %d requests of %zu pages",
                         b->n_requests, n_table);
    plan->paged = b->page_table != NULL;
    plan->n_pages = b->n_pages;
    plan->n_requests = b->n_requests;
    plan->total_q = plan->max_kv_len = plan->max_q_len = 0;
    int32_t *pages = plan->page_table;
    int64_t kv_start = 0;
    for (int32_t r = 0; r < b->n_requests; r++) {
        plan_request *out = &plan->requests[r];
        *out = (plan_request){.q_start = b->cu_seqlens_q[r],
                              .q_len = b->cu_seqlens_q[r + 1] - b->cu_seqlens_q[r],
                              .kv_len = b->kv_len[r],
                              .kv_start = b->kv_start ? b->kv_start[r] : kv_start};
        out->position = b->qo_offset ? b->qo_offset[r] : out->kv_len - out->q_len;
        kv_start += out->kv_len;
        plan->total_q += out->q_len;
        if (out->kv_len > plan->max_kv_len) plan->max_kv_len = out->kv_len;
        if (out->q_len > plan->max_q_len) plan->max_q_len = out->q_len;
        if (!plan->paged) continue;
        size_t n = (size_t)((out->kv_len + shape->block - 1) / shape->block);
        out->pages = pages;
        if (n) memcpy(pages, b->page_table + r * b->page_table_stride, n * sizeof *pages);
        pages += n;
    }
    return MSA_OK;
}

msa_status plan_prepare(msa_plan **plan, plan_op op, const msa_shape *shape, const msa_batch *batch,
                        const msa_plan_options *options, msa_error *err) {
    static const msa_plan_options none = {0};
    if (!options) options = &none;
    if (!plan) return error_set(err, MSA_E_ARG, "plan is NULL; expected where to put it");
    msa_status status;
    if ((status = msa_shape_check(shape, err)) || (status = check_batch(batch, shape, err)) ||
        (status = check_options(options, err)))
        return status;
    if (*plan && (*plan)->op != op)
        return error_set(err, MSA_E_ARG,
                         "the plan to be reused belongs to another operator; pass NULL or one of "
                         "the same");
    if (options->p_e4m3 && (op == PLAN_INDEX || op == PLAN_DECODE || op == PLAN_INDEX_LOSS ||
                            op == PLAN_MEANS || op == PLAN_MASS || op == PLAN_INDEX8))
        return error_set(err, MSA_E_UNSUPPORTED,
                         "options: p_e4m3 is set; dense, sparse and their gradients know it");
    if (options->index8 && op != PLAN_INDEX)
        return error_set(err, MSA_E_UNSUPPORTED,
                         "options: index8 is set; only msa_index_plan knows it");
    if (options->p_e4m3 && batch->page_table)
        return error_set(err, MSA_E_UNSUPPORTED,
                         "options: p_e4m3 is set; it needs contiguous keys, not a page table");
    msa_plan *p = *plan ? *plan : mem_calloc(1, sizeof *p);
    if (!p) return error_set(err, MSA_E_NOMEM, "no memory for a plan");
    p->op = op;
    p->ready = false;
    status = copy_batch(p, shape, batch, err);
    if (status) {
        if (!*plan) msa_plan_free(p);
        return status;
    }
    p->shape = *shape;
    p->n_threads = options->n_threads ? options->n_threads : omp_get_max_threads();
    p->p_e4m3 = options->p_e4m3 != 0;
    p->index8 = options->index8 != 0;
    p->order = options->order;
    p->n_splits = options->n_splits;
    p->n_items = 0;
    *plan = p;
    return MSA_OK;
}

void msa_plan_free(msa_plan *plan) {
    if (!plan) return;
    mem_free(plan->requests);
    mem_free(plan->page_table);
    mem_free(plan->items);
    mem_free(plan->workspace);
    mem_free(plan);
}

size_t msa_plan_bytes(const msa_plan *plan) {
    if (!plan) return 0;
    return sizeof *plan + plan->requests_capacity * sizeof *plan->requests +
           plan->page_table_capacity * sizeof *plan->page_table +
           plan->items_capacity * sizeof *plan->items + plan->workspace_capacity;
}

msa_status plan_reserve_items(msa_plan *plan, size_t n, msa_error *err) {
    if (mem_grow((void **)&plan->items, &plan->items_capacity, n, sizeof *plan->items))
        return MSA_OK;
    return error_set(err, MSA_E_NOMEM, "no memory for %zu work items", n);
}

msa_status plan_make_tiles(msa_plan *plan, int64_t tile, msa_error *err) {
    size_t n = 0;
    for (int32_t r = 0; r < plan->n_requests; r++)
        n += (size_t)((plan->requests[r].q_len + tile - 1) / tile);
    msa_status status = plan_reserve_items(plan, n * (size_t)plan->shape.n_kv_heads, err);
    if (status) return status;
    plan_item *item = plan->items;
    for (int32_t r = 0; r < plan->n_requests; r++) {
        int64_t q_len = plan->requests[r].q_len;
        for (int64_t q = (q_len - 1) / tile * tile; q_len && q >= 0; q -= tile)
            for (int32_t head = 0; head < plan->shape.n_kv_heads; head++) {
                int32_t n_q = (int32_t)(q_len - q < tile ? q_len - q : tile);
                *item++ = (plan_item){.request = r, .head = head, .q_first = q, .n_q = n_q};
            }
    }
    plan->n_items = (size_t)(item - plan->items);
    return MSA_OK;
}

static int compare_items(const void *left, const void *right) {
    const plan_item *a = left, *b = right;
    if (a->cost != b->cost) return a->cost > b->cost ? -1 : 1;
    if (a->request != b->request) return a->request < b->request ? -1 : 1;
    if (a->q_first != b->q_first) return a->q_first < b->q_first ? -1 : 1;
    if (a->head != b->head) return a->head < b->head ? -1 : 1;
    return (a->split > b->split) - (a->split < b->split);
}

void plan_sort_items(msa_plan *plan) {
    if (plan->n_items) qsort(plan->items, plan->n_items, sizeof *plan->items, compare_items);
}

msa_status plan_reserve_workspace(msa_plan *plan, size_t thread_bytes, size_t shared_bytes,
                                  msa_error *err) {
    size_t bytes;
    thread_bytes = size_round_up(thread_bytes, MEM_ALIGN);
    if (size_mul(thread_bytes, (size_t)plan->n_threads, &bytes) &&
        size_add(bytes, shared_bytes, &bytes)) {
        if (bytes > plan->workspace_capacity) { /* nothing in it is worth copying */
            char *workspace = mem_alloc(bytes, 1);
            if (!workspace)
                return error_set(err, MSA_E_NOMEM, "no memory for a workspace of %zu bytes", bytes);
            mem_free(plan->workspace);
            plan->workspace = workspace;
            plan->workspace_capacity = bytes;
        }
        plan->thread_bytes = thread_bytes;
        plan->shared_bytes = shared_bytes;
        plan->ready = true;
        return MSA_OK;
    }
    return error_set(err, MSA_E_NOMEM, "the workspace of this plan is beyond any memory");
}

msa_status plan_check(const msa_plan *plan, plan_op op, msa_error *err) {
    static const char *const names[] = {"index",      "dense",       "sparse",     "decode",
                                        "dense_grad", "sparse_grad", "index_loss", "means",
                                        "mass",       "index8"};
    if (!plan)
        return error_set(err, MSA_E_ARG, "plan is NULL; make one with msa_%s_plan", names[op]);
    if (plan->op != op)
        return error_set(err, MSA_E_ARG, "the plan is of msa_%s_plan; expected one of msa_%s_plan",
                         names[plan->op], names[op]);
    if (!plan->ready)
        return error_set(err, MSA_E_ARG, "the last msa_%s_plan of this plan failed; plan it again",
                         names[op]);
    return MSA_OK;
}

/* What lanes with scales and halved bytes need besides. */
static msa_status check_format(const msa_lane *lane, const char *name, int64_t block,
                               int32_t n_heads, int32_t dim, msa_error *err) {
    float scale;
    msa_status status = format_check_scale(lane->dtype, lane->scale, name, &scale, err);
    if (status) return status;
    if (lane->dtype == MSA_NVFP4 &&
        (lane->stride_head % 2 || lane->stride_token % 2 || lane->stride_page % 2))
        return error_set(err, MSA_E_ARG, "%s: strides of nvfp4 must be even", name);
    int32_t n = format_scales(lane->dtype, dim);
    if (n == 0) return MSA_OK;
    if (!lane->scales)
        return error_set(err, MSA_E_ARG, "%s: scales is NULL; %s has %d a row", name,
                         msa_dtype_name(lane->dtype), n);
    if ((uintptr_t)lane->scales % msa_row_scale_align(lane->dtype))
        return error_set(err, MSA_E_ARG, "%s: scales is not aligned to %zu bytes", name,
                         msa_row_scale_align(lane->dtype));
    if (lane->scale_stride_head < 0 || lane->scale_stride_token < 0 || lane->scale_stride_page < 0)
        return error_set(err, MSA_E_ARG, "%s: strides of scales must not be negative", name);
    if (lane->layout == MSA_TOKENS && lane->scale_stride_token < n)
        return error_set(err, MSA_E_ARG, "%s: scale_stride_token is %lld; expected at least %d",
                         name, (long long)lane->scale_stride_token, n);
    if (lane->layout == MSA_PANELS && n_heads > 1 && lane->scale_stride_head < block * n)
        return error_set(err, MSA_E_ARG, "%s: scale_stride_head is %lld; expected at least %lld",
                         name, (long long)lane->scale_stride_head, (long long)(block * n));
    return MSA_OK;
}

msa_status plan_check_lane(const msa_plan *plan, const msa_lane *lane, const char *name,
                           int32_t n_heads, int32_t dim, bool panels_allowed, msa_error *err) {
    int64_t block = plan->shape.block;
    if (plan->total_q == 0) return MSA_OK;
    if (!lane->data) return error_set(err, MSA_E_ARG, "%s: data is NULL", name);
    if (!format_bits(lane->dtype))
        return error_set(err, MSA_E_ARG, "%s: dtype %d is not known", name, (int)lane->dtype);
    if ((uintptr_t)lane->data % msa_row_align(lane->dtype))
        return error_set(err, MSA_E_ARG, "%s: data is not aligned to %zu bytes", name,
                         msa_row_align(lane->dtype));
    if (lane->stride_head < 0 || lane->stride_token < 0 || lane->stride_page < 0)
        return error_set(err, MSA_E_ARG, "%s: strides must not be negative", name);
    msa_status status = check_format(lane, name, block, n_heads, dim, err);
    if (status) return status;
    if (lane->layout == MSA_TOKENS) {
        if (lane->stride_token < dim)
            return error_set(err, MSA_E_ARG, "%s: stride_token is %lld; expected at least %d", name,
                             (long long)lane->stride_token, dim);
        return MSA_OK;
    }
    if (lane->layout != MSA_PANELS || !panels_allowed)
        return error_set(err, MSA_E_ARG, "%s: layout %d is not possible here", name,
                         (int)lane->layout);
    if (!plan->paged)
        return error_set(err, MSA_E_ARG, "%s: panels need a page table in the batch", name);
    if (n_heads > 1 && lane->stride_head < block * dim)
        return error_set(err, MSA_E_ARG, "%s: stride_head is %lld; a head of a page holds %lld",
                         name, (long long)lane->stride_head, (long long)(block * dim));
    return MSA_OK;
}

msa_status plan_check_scale(const msa_shape *shape, float scale, float *out, msa_error *err) {
    if (!(scale >= 0) || !isfinite(scale))
        return error_set(err, MSA_E_ARG,
                         "scale is %g; expected 0 (for 1/sqrt(d)) or finite and > 0",
                         (double)scale);
    *out = scale > 0 ? scale : (float)(1 / sqrt(shape->head_dim));
    return MSA_OK;
}

msa_lane msa_lane_ragged(const void *data, msa_dtype dtype, int32_t n_heads, int32_t dim) {
    int32_t n = format_scales(dtype, dim);
    return (msa_lane){.data = data,
                      .dtype = dtype,
                      .layout = MSA_TOKENS,
                      .stride_token = (int64_t)n_heads * dim,
                      .stride_head = dim,
                      .scale_stride_token = (int64_t)n_heads * n,
                      .scale_stride_head = n};
}

msa_lane msa_lane_hnd(const void *data, msa_dtype dtype, int32_t n_heads, int32_t block,
                      int32_t dim) {
    int32_t n = format_scales(dtype, dim);
    return (msa_lane){.data = data,
                      .dtype = dtype,
                      .layout = MSA_TOKENS,
                      .stride_page = (int64_t)n_heads * block * dim,
                      .stride_token = dim,
                      .stride_head = (int64_t)block * dim,
                      .scale_stride_page = (int64_t)n_heads * block * n,
                      .scale_stride_token = n,
                      .scale_stride_head = (int64_t)block * n};
}

msa_lane msa_lane_panels(const void *data, msa_dtype dtype, int32_t n_heads, int32_t block,
                         int32_t dim) {
    msa_lane lane = msa_lane_hnd(data, dtype, n_heads, block, dim);
    lane.layout = MSA_PANELS;
    lane.stride_token = lane.scale_stride_token = 0;
    return lane;
}
