/* arena.c: see arena.h. */
#include "kv/arena.h"

#include "attn/index8.h"
#include "base/error.h"
#include "base/format.h"
#include "base/mem.h"

/* The kernels of attn ask for value rows that are readable up to their width rounded up to 16
 * (attn/kernels.h). The operators widen odd widths into rows of their own first; with this margin
 * the last row of the last page fulfils the contract as it lies, too. */
#define READABLE_BEHIND MEM_ALIGN

static msa_status check_lane(const char *name, int32_t n_heads, int32_t dim, msa_dtype dtype,
                             float scale, msa_error *err) {
    if (n_heads < 1 || n_heads > 65536)
        return error_set(err, MSA_E_ARG, "%s must have 1..65536 heads, not %d", name, n_heads);
    if (dim < 8 || dim > 256 || dim % 8)
        return error_set(err, MSA_E_ARG,
                         "the width of %s must be a multiple of 8 in 8..256, not %d", name, dim);
    if (format_bits(dtype) == 0)
        return error_set(err, MSA_E_ARG, "number format %d of %s is not known", (int)dtype, name);
    return format_check_scale(dtype, scale, name, &scale, err);
}

static int copied_lane(const msa_kv_params *p) {
    return p->n_index_keys > 0 ? KV_LANE_INDEX : KV_LANE_K;
}

/* Of a head's block. */
static size_t copy_bytes(int32_t block, int32_t dim) {
    return index8_bytes(&(msa_shape){.block = block, .index_dim = dim});
}

static msa_status check_copy(const msa_kv_params *p, msa_error *err) {
    bool index = copied_lane(p) == KV_LANE_INDEX;
    msa_dtype dtype = index ? p->index_dtype : p->k_dtype;
    if (p->index8 < 0 || p->index8 > 1)
        return error_set(err, MSA_E_ARG, "index8 must be 0 or 1, not %d", p->index8);
    if (!p->index8 || index8_is_of(dtype)) return MSA_OK;
    return error_set(
        err, MSA_E_ARG,
        "an int8 copy of %s in %s was asked for (index8); there are copies of f32, f16 "
        "and bf16: store the %s so, or leave index8 off",
        index ? "index keys" : "keys", msa_dtype_name(dtype), index ? "index keys" : "keys");
}

static msa_status check_params(const msa_kv_params *p, msa_error *err) {
    if (p->n_layers < 1 || p->n_layers > 65536)
        return error_set(err, MSA_E_ARG, "n_layers must be in 1..65536, not %d", p->n_layers);
    if (p->block < 16 || p->block > 256 || (p->block & (p->block - 1)))
        return error_set(err, MSA_E_ARG, "block must be a power of two in 16..256, not %d",
                         p->block);
    if (p->n_pages < 1 || p->n_pages > INT32_MAX)
        return error_set(err, MSA_E_ARG, "n_pages must be in 1..2147483647, not %lld",
                         (long long)p->n_pages);
    msa_status status = check_lane("keys", p->n_kv_heads, p->head_dim, p->k_dtype, p->k_scale, err);
    if (!status)
        status = check_lane("values", p->n_kv_heads, p->head_dim, p->v_dtype, p->v_scale, err);
    if (!status && (p->n_index_keys != 0 || p->index_dim != 0))
        status = check_lane("index keys", p->n_index_keys, p->index_dim, p->index_dtype,
                            p->index_scale, err);
    if (!status && (p->first_index_layer < 0 || p->first_index_layer > p->n_layers))
        status = error_set(err, MSA_E_ARG, "first_index_layer must be in 0..%d, not %d",
                           p->n_layers, p->first_index_layer);
    return status ? status : check_copy(p, err);
}

static void describe_lanes(msa_kv *kv) {
    const msa_kv_params *p = &kv->params;
    kv->lane[KV_LANE_K] = (kv_lane){
        .dtype = p->k_dtype, .n_heads = p->n_kv_heads, .dim = p->head_dim, .scale = p->k_scale};
    kv->lane[KV_LANE_V] = (kv_lane){
        .dtype = p->v_dtype, .n_heads = p->n_kv_heads, .dim = p->head_dim, .scale = p->v_scale};
    kv->lane[KV_LANE_INDEX] = (kv_lane){.dtype = p->index_dtype,
                                        .n_heads = p->n_index_keys,
                                        .dim = p->index_dim,
                                        .scale = p->index_scale};
    for (int i = 0; i < KV_LANES; i++) {
        kv_lane *lane = &kv->lane[i];
        size_t rows = (size_t)lane->n_heads * (size_t)p->block;
        if (lane->scale == 0) lane->scale = 1;
        lane->code_bytes = rows * msa_row_bytes(lane->dtype, lane->dim);
        lane->page_bytes = lane->code_bytes + rows * msa_row_scale_bytes(lane->dtype, lane->dim);
    }
    kv->copied = copied_lane(p);
    if (!p->index8) return;
    kv_lane *copy = &kv->lane[KV_COPY];
    *copy = kv->lane[kv->copied];
    copy->page_bytes = (size_t)copy->n_heads * copy_bytes(p->block, copy->dim);
}

/* Heads, widths and the block are small by now: a page fits 64 bits, all of them may not. Each lane
 * begins on a line of the cache: copies must. */
static bool lay_out(msa_kv *kv) {
    const msa_kv_params *p = &kv->params;
    size_t layer = 0, main, index;
    describe_lanes(kv);
    for (int i = 0; i < KV_PARTS; i++) {
        size_t size;
        kv->lane[i].offset = layer;
        if (!size_mul(kv->lane[i].page_bytes, (size_t)p->n_pages, &size) ||
            !size_add(size, MEM_ALIGN - 1, &size))
            return false;
        size = size / MEM_ALIGN * MEM_ALIGN;
        if (!size_add(layer, size, &layer)) return false;
        if (kv_lane_is_main(kv, i)) kv->main_bytes += size;
    }
    kv->index_bytes = layer - kv->main_bytes;
    return size_mul(kv->main_bytes, (size_t)p->n_layers, &main) &&
           size_mul(kv->index_bytes, (size_t)(p->n_layers - p->first_index_layer), &index) &&
           size_add(main, index, &kv->n_bytes) &&
           size_add(kv->n_bytes, READABLE_BEHIND, &kv->n_bytes);
}

msa_status msa_kv_create(msa_kv **out, const msa_kv_params *params, msa_error *err) {
    if (!out || !params) return error_set(err, MSA_E_ARG, "kv and params must not be NULL");
    *out = NULL;
    msa_status status = check_params(params, err);
    if (status) return status;
    msa_kv *kv = mem_calloc(1, sizeof *kv);
    if (!kv) return error_set(err, MSA_E_NOMEM, "no memory for a cache");
    kv->params = *params;
    if (lay_out(kv)) {
        kv->memory = arena_alloc(kv->n_bytes);
        kv->n_holders = mem_calloc((size_t)params->n_pages, sizeof *kv->n_holders);
        kv->free_pages = mem_alloc((size_t)params->n_pages, sizeof *kv->free_pages);
    }
    if (!kv->memory || !kv->n_holders || !kv->free_pages) {
        msa_kv_free(kv);
        return error_set(err, MSA_E_NOMEM,
                         "no memory for a cache of %lld pages of %d tokens over %d layers; ask for "
                         "a shorter context or a smaller format%s",
                         (long long)params->n_pages, params->block, params->n_layers,
                         params->index8 ? ", or none of the int8 copy (index8)" : "");
    }
    kv->n_free = params->n_pages;
    for (int64_t i = 0; i < kv->n_free;
         i++) /* page 0 is taken first: low pages get touched first */
        kv->free_pages[i] = (int32_t)(kv->n_free - 1 - i);
    *out = kv;
    return MSA_OK;
}

void msa_kv_free(msa_kv *kv) {
    if (!kv) return;
    arena_free(kv->memory, kv->n_bytes);
    mem_free(kv->n_holders);
    mem_free(kv->free_pages);
    mem_free(kv);
}

const msa_kv_params *msa_kv_get_params(const msa_kv *kv) {
    return &kv->params;
}

int64_t msa_kv_pages_free(const msa_kv *kv) {
    return kv->n_free;
}

msa_kv_bytes msa_kv_page_bytes(const msa_kv *kv) {
    size_t bytes[KV_PARTS];
    for (int i = 0; i < KV_PARTS; i++) {
        int32_t first = kv_lane_is_main(kv, i) ? 0 : kv->params.first_index_layer;
        bytes[i] = kv->lane[i].page_bytes * (size_t)(kv->params.n_layers - first);
    }
    return (msa_kv_bytes){bytes[KV_LANE_K], bytes[KV_LANE_V], bytes[KV_LANE_INDEX], bytes[KV_COPY]};
}

size_t msa_kv_bytes_per_token(const msa_kv *kv) {
    msa_kv_bytes page = msa_kv_page_bytes(kv);
    size_t block = (size_t)kv->params.block;
    return (page.k + page.v + page.index + page.index8 + block - 1) / block;
}

static msa_lane view_lane(const msa_kv *kv, int32_t layer, int which) {
    const kv_lane *lane = &kv->lane[which];
    if (layer < 0 || layer >= kv->params.n_layers || !kv_lane_exists(kv, layer, which))
        return (msa_lane){0};
    const char *data = kv_lane_start(kv, layer, which);
    int32_t heads = lane->n_heads, block = kv->params.block, dim = lane->dim;
    msa_lane view = which == KV_LANE_V ? msa_lane_hnd(data, lane->dtype, heads, block, dim)
                                       : msa_lane_panels(data, lane->dtype, heads, block, dim);
    size_t scale_bytes = lane->page_bytes - lane->code_bytes;
    if (format_is_narrow(lane->dtype)) { /* bytes are elements, or two, and scales, or four */
        view.stride_page = (int64_t)lane->page_bytes * 8 / format_bits(lane->dtype);
        view.scale = lane->dtype == MSA_INT8 ? 0 : lane->scale;
    }
    if (scale_bytes) {
        view.scales = data + lane->code_bytes;
        view.scale_stride_page = (int64_t)(lane->page_bytes / msa_row_scale_align(lane->dtype));
    }
    return view;
}

void msa_kv_lanes(const msa_kv *kv, int32_t layer, msa_lane *k, msa_lane *v, msa_lane *index) {
    if (k) *k = view_lane(kv, layer, KV_LANE_K);
    if (v) *v = view_lane(kv, layer, KV_LANE_V);
    if (index) *index = view_lane(kv, layer, KV_LANE_INDEX);
}

msa_index8_lane msa_kv_index8(const msa_kv *kv, int32_t layer) {
    const kv_lane *copy = &kv->lane[KV_COPY];
    if (layer < 0 || layer >= kv->params.n_layers || !kv_lane_exists(kv, layer, KV_COPY))
        return (msa_index8_lane){0};
    return (msa_index8_lane){.data = kv_lane_start(kv, layer, KV_COPY),
                             .stride_page = (int64_t)copy->page_bytes,
                             .stride_head = (int64_t)copy_bytes(kv->params.block, copy->dim)};
}

int32_t kv_page_take(msa_kv *kv) {
    int32_t page = kv->free_pages[--kv->n_free];
    kv->n_holders[page] = 1;
    return page;
}

void kv_page_hold(msa_kv *kv, int32_t page) {
    kv->n_holders[page]++;
}

void kv_page_drop(msa_kv *kv, int32_t page) {
    if (--kv->n_holders[page] == 0) kv->free_pages[kv->n_free++] = page;
}

void kv_page_copy(msa_kv *kv, int32_t to, int32_t from) {
    for (int32_t layer = 0; layer < kv->params.n_layers; layer++)
        for (int i = 0; i < KV_LANES; i++) {
            size_t bytes = kv->lane[i].page_bytes;
            if (!kv_lane_exists(kv, layer, i)) continue;
            char *start = kv_lane_start(kv, layer, i);
            memcpy(start + (size_t)to * bytes, start + (size_t)from * bytes, bytes);
        }
}
