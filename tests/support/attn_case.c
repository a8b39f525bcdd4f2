/* attn_case.c: see attn_case.h. */
#include "support/attn_case.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/format.h"

static void *new (size_t n, size_t size) {
    void *p = calloc(n + 16, size);
    if (!p) fail_msg("no memory for a test case");
    return p;
}

static float *random_floats(rng *r, size_t n, bool integers) {
    float *p = new (n, sizeof *p);
    if (integers)
        rng_fill_integers(r, p, n, 3);
    else
        rng_fill_normal(r, p, n, 1);
    return p;
}

msa_shape small_shape(int hq, int hkv, int d, int block, int topk) {
    return (msa_shape){.n_q_heads = hq,
                       .n_kv_heads = hkv,
                       .head_dim = d,
                       .n_index_heads = hkv,
                       .n_index_keys = 1,
                       .index_dim = 16,
                       .block = block,
                       .topk = topk,
                       .local = 1};
}

attn_case case_make(msa_shape shape, int n, const int *q_len, const int *kv_len, uint64_t seed,
                    bool integers) {
    attn_case c = {.shape = shape, .n_requests = n};
    rng r = rng_seed(seed);
    for (int i = 0; i < n; i++) {
        c.cu[i + 1] = c.cu[i] + q_len[i];
        c.kv_len[i] = kv_len[i];
        c.offset[i] = kv_len[i] - q_len[i];
        c.total_k += kv_len[i];
        if (kv_len[i] > c.max_kv) c.max_kv = kv_len[i];
    }
    c.total_q = c.cu[n];
    size_t tq = (size_t)c.total_q, tk = (size_t)c.total_k;
    c.q = random_floats(&r, tq * (size_t)(shape.n_q_heads * shape.head_dim), integers);
    c.k = random_floats(&r, tk * (size_t)(shape.n_kv_heads * shape.head_dim), integers);
    c.v = random_floats(&r, tk * (size_t)(shape.n_kv_heads * shape.head_dim), integers);
    c.qi = random_floats(&r, tq * (size_t)(shape.n_index_heads * shape.index_dim), integers);
    c.ki = random_floats(&r, tk * (size_t)(shape.n_index_keys * shape.index_dim), integers);
    return c;
}

int case_queries(int n, int group) {
    int few = 16 / group + 2;
    return test_brief() && n > few ? few : n;
}

/* Bytes of the codes and of the scales of a whole lane. */
static size_t lane_codes(msa_dtype dtype, int64_t rows, int32_t dim) {
    return ((size_t)rows * msa_row_bytes(dtype, dim) + 63) / 64 * 64;
}

/* Code c of a packed row to element `at` of a lane; in panels of nvfp4 `token` is the panel's. */
static void put_code(const msa_lane *lane, const char *row, int32_t c, int64_t at, int64_t token) {
    char *data = (char *)lane->data;
    size_t size = (size_t)msa_dtype_size(lane->dtype);
    if (size) {
        memcpy(data + (size_t)at * size, row + (size_t)c * size, size);
        return;
    }
    bool panels = lane->layout == MSA_PANELS;
    int code = row[c / 2] >> c % 2 * 4 & 15;
    int64_t byte = panels ? at / 16 * 8 + token % 8 : at / 2, high = panels ? token / 8 : at % 2;
    data[byte] = (char)((data[byte] & (high ? 0x0f : 0xf0)) | code << 4 * high);
}

/* One row of a lane: `base` and `scale_base` are where its head of its page begins. */
static void put_row(const msa_lane *lane, int32_t dim, int64_t base, int64_t scale_base,
                    int64_t inside, const float *x) {
    char codes[4 * 256], scales[64];
    int n = format_scales(lane->dtype, dim);
    size_t size = msa_row_scale_align(lane->dtype);
    bool panels = lane->layout == MSA_PANELS;
    format_pack_ref(lane->dtype, lane->scale == 0 ? 1 : lane->scale, x, dim, codes, scales);
    for (int32_t c = 0; c < dim; c++) {
        int64_t at =
            panels ? (inside / 16 * dim + c) * 16 + inside % 16 : inside * lane->stride_token + c;
        put_code(lane, codes, c, base + at, inside % 16);
    }
    for (int g = 0; g < n; g++) {
        int64_t at = panels ? (inside / 16 * n + g) * 16 + inside % 16
                            : inside * lane->scale_stride_token + g;
        memcpy((char *)lane->scales + (size_t)(scale_base + at) * size, scales + (size_t)g * size,
               size);
    }
}

/* Everything that is no token of a request is all ones: NaN, in int8 and nvfp4 by its scales. */
static msa_lane store(attn_case *c, int slot, const float *from, case_layout layout,
                      msa_dtype dtype, int32_t heads, int32_t dim, int64_t n_pages) {
    int64_t B = c->shape.block, tokens = layout == CASE_RAGGED ? c->total_k + 1 : n_pages * B;
    size_t codes = lane_codes(dtype, tokens * heads, dim);
    size_t scales = (size_t)(tokens * heads) * msa_row_scale_bytes(dtype, dim);
    free(c->stored[slot]);
    char *data = c->stored[slot] = new (codes + scales + 64, 1);
    memset(data, 0xff, codes + scales);
    msa_lane lane = layout == CASE_RAGGED ? msa_lane_ragged(data, dtype, heads, dim)
                    : layout == CASE_HND  ? msa_lane_hnd(data, dtype, heads, (int32_t)B, dim)
                                          : msa_lane_panels(data, dtype, heads, (int32_t)B, dim);
    if (scales) lane.scales = data + codes;
    if (dtype == MSA_FP8 || dtype == MSA_NVFP4) lane.scale = 0.3f; /* so that products round */
    int64_t token = 0;
    for (int32_t r = 0; r < c->n_requests; r++)
        for (int64_t j = 0; j < c->kv_len[r]; j++, token++)
            for (int32_t h = 0; h < heads; h++) {
                int64_t page = 0, inside = token;
                if (layout != CASE_RAGGED) {
                    page = c->pages[r * c->batch.page_table_stride + j / B];
                    inside = j % B;
                }
                put_row(&lane, dim, page * lane.stride_page + h * lane.stride_head,
                        page * lane.scale_stride_page + h * lane.scale_stride_head, inside,
                        from + (token * heads + h) * dim);
            }
    return lane;
}

void case_lay_out(attn_case *c, case_layout layout, msa_dtype dtype, uint64_t seed) {
    const msa_shape *s = &c->shape;
    int64_t stride = (c->max_kv + s->block - 1) / s->block + 1, n_pages = stride * c->n_requests;
    rng r = rng_seed(seed);
    free(c->pages);
    c->pages = new ((size_t)n_pages, sizeof *c->pages);
    for (int64_t i = 0; i < n_pages; i++) c->pages[i] = (int32_t)i;
    for (int64_t i = n_pages - 1; i > 0; i--) {
        int64_t j = (int64_t)rng_below(&r, (uint64_t)i + 1);
        int32_t page = c->pages[i];
        c->pages[i] = c->pages[j];
        c->pages[j] = page;
    }
    c->batch = (msa_batch){.n_requests = c->n_requests,
                           .cu_seqlens_q = c->cu,
                           .kv_len = c->kv_len,
                           .qo_offset = c->offset,
                           .page_table = layout == CASE_RAGGED ? NULL : c->pages,
                           .page_table_stride = stride,
                           .n_pages = n_pages};
    case_layout values = layout == CASE_PANELS ? CASE_HND : layout;
    c->k_lane = store(c, 0, c->k, layout, dtype, s->n_kv_heads, s->head_dim, n_pages);
    c->v_lane = store(c, 1, c->v, values, dtype, s->n_kv_heads, s->head_dim, n_pages);
    c->ki_lane = store(c, 2, c->ki, layout, dtype, s->n_index_keys, s->index_dim, n_pages);
}

void case_free(attn_case *c) {
    free(c->q);
    free(c->k);
    free(c->v);
    free(c->qi);
    free(c->ki);
    free(c->pages);
    for (int i = 0; i < 3; i++) free(c->stored[i]);
}

const char *case_layout_name(case_layout layout) {
    static const char *const names[] = {"ragged", "hnd", "panels"};
    return names[layout];
}

int32_t *case_random_lists(const attn_case *c, uint64_t seed, bool ascending) {
    const msa_shape *s = &c->shape;
    rng r = rng_seed(seed);
    int32_t *ids = new ((size_t)(c->total_q * s->n_kv_heads * s->topk), sizeof *ids);
    for (int32_t q = 0; q < c->n_requests; q++)
        for (int64_t t = c->cu[q]; t < c->cu[q + 1]; t++)
            for (int32_t g = 0; g < s->n_kv_heads; g++) {
                int32_t *row = ids + (t * s->n_kv_heads + g) * s->topk, n = 0;
                int32_t own = (int32_t)((c->offset[q] + t - c->cu[q]) / s->block);
                int32_t want = rng_below(&r, 4) ? s->topk : (int32_t)rng_below(&r, 3);
                for (int32_t left = own + 1; left > 0 && n < want; left--)
                    if ((int32_t)rng_below(&r, (uint64_t)left) < want - n)
                        row[n++] = ascending ? own + 1 - left : left - 1;
                while (n < s->topk) row[n++] = -1;
            }
    return ids;
}
