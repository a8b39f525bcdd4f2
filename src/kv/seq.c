/* seq.c: sequences: a page table, a length, and what has been reserved and written behind it.
 *
 * A page that several sequences hold is never written: reserve copies the partly filled last page
 * when it is shared, and every page behind it is the sequence's own. A reservation outlives a fork
 * of its sequence: the fork holds the last page too, but must copy it before it writes, and looks
 * at no slot behind its own length. */
#include <omp.h>

#include "attn/index8.h"
#include "base/error.h"
#include "base/mem.h"
#include "kv/arena.h"
#include "kv/narrow.h"
#include "kv/store.h"

/* Below this many elements threads cost more than they save. */
#define SERIAL_ELEMS 32768

struct msa_kv_seq {
    msa_kv *kv;
    int32_t *pages;
    size_t n_pages, capacity;
    int64_t length, reserved; /* reserved counts from length */
    int64_t *written;         /* [n_layers] tokens written from length on, without a hole */
};

static int64_t pages_for(const msa_kv_seq *seq, int64_t n_tokens) {
    int64_t block = seq->kv->params.block;
    return n_tokens / block + (n_tokens % block != 0);
}

msa_status msa_kv_seq_create(msa_kv_seq **out, msa_kv *kv, msa_error *err) {
    if (!out || !kv) return error_set(err, MSA_E_ARG, "seq and kv must not be NULL");
    *out = NULL;
    msa_kv_seq *seq = mem_calloc(1, sizeof *seq);
    int64_t *written = mem_calloc((size_t)kv->params.n_layers, sizeof *written);
    if (!seq || !written) {
        mem_free(seq);
        mem_free(written);
        return error_set(err, MSA_E_NOMEM, "no memory for a sequence");
    }
    seq->kv = kv;
    seq->written = written;
    *out = seq;
    return MSA_OK;
}

/* Gives back the pages from page `keep` on. */
static void drop_pages(msa_kv_seq *seq, int64_t keep) {
    while ((int64_t)seq->n_pages > keep) kv_page_drop(seq->kv, seq->pages[--seq->n_pages]);
}

void msa_kv_seq_free(msa_kv_seq *seq) {
    if (!seq) return;
    drop_pages(seq, 0);
    mem_free(seq->pages);
    mem_free(seq->written);
    mem_free(seq);
}

msa_status msa_kv_seq_fork(msa_kv_seq **out, const msa_kv_seq *seq, msa_error *err) {
    if (!out || !seq) return error_set(err, MSA_E_ARG, "fork and seq must not be NULL");
    msa_kv_seq *fork;
    msa_status status = msa_kv_seq_create(&fork, seq->kv, err);
    *out = NULL;
    if (status) return status;
    size_t n = (size_t)pages_for(seq, seq->length);
    if (!mem_grow((void **)&fork->pages, &fork->capacity, n, sizeof *fork->pages)) {
        msa_kv_seq_free(fork);
        return error_set(err, MSA_E_NOMEM, "no memory for a page table of %zu pages", n);
    }
    for (size_t i = 0; i < n; i++) {
        fork->pages[i] = seq->pages[i];
        kv_page_hold(seq->kv, seq->pages[i]);
    }
    fork->n_pages = n;
    fork->length = seq->length;
    *out = fork;
    return MSA_OK;
}

int64_t msa_kv_length(const msa_kv_seq *seq) {
    return seq->length;
}

const int32_t *msa_kv_page_table(const msa_kv_seq *seq, int64_t *n_pages) {
    *n_pages = (int64_t)seq->n_pages;
    return seq->pages;
}

msa_status msa_kv_reserve(msa_kv_seq *seq, int64_t n, msa_error *err) {
    if (!seq) return error_set(err, MSA_E_ARG, "seq must not be NULL");
    if (n < 0) return error_set(err, MSA_E_ARG, "n must not be negative, is %lld", (long long)n);
    if (n == 0) return MSA_OK;
    msa_kv *kv = seq->kv;
    int64_t block = kv->params.block, tail = seq->length / block;
    bool copy_tail = seq->length % block != 0 && kv->n_holders[seq->pages[tail]] > 1;
    /* A sum that does not fit 64 bits does not fit the cache either. */
    int64_t end = n > INT64_MAX - seq->length ? INT64_MAX : seq->length + n;
    int64_t more = pages_for(seq, end) - (int64_t)seq->n_pages;
    int64_t need = (more > 0 ? more : 0) + copy_tail;
    if (need > kv->n_free)
        return error_set(
            err, MSA_E_FULL,
            "the cache is full: %lld more tokens behind %lld need %lld pages of %lld "
            "tokens, %lld of %lld are free; raise n_pages (of a session: kv_pages) or free "
            "a fork",
            (long long)n, (long long)seq->length, (long long)need, (long long)block,
            (long long)kv->n_free, (long long)kv->params.n_pages);
    if (more > 0 && !mem_grow((void **)&seq->pages, &seq->capacity, seq->n_pages + (size_t)more,
                              sizeof *seq->pages))
        return error_set(err, MSA_E_NOMEM, "no memory for a page table of %lld pages",
                         (long long)seq->n_pages + (long long)more);
    if (copy_tail) {
        int32_t shared = seq->pages[tail];
        seq->pages[tail] = kv_page_take(kv);
        kv_page_copy(kv, seq->pages[tail], shared);
        kv_page_drop(kv, shared);
    }
    for (; more > 0; more--) seq->pages[seq->n_pages++] = kv_page_take(kv);
    if (n > seq->reserved) seq->reserved = n;
    return MSA_OK;
}

/* Tokens slot .. slot+n-1 of a page, all of one panel, of one head. */
static void write_slots(const kv_lane *lane, int which, int64_t block, char *page, int32_t head,
                        int64_t slot, int n, const float *from, int64_t stride) {
    const store_kernels *kernels = store_kernels_current();
    bool rows = which == KV_LANE_V;
    int64_t first = rows ? slot : slot / STORE_PANEL * STORE_PANEL, row = head * block + first;
    int at = (int)(slot % STORE_PANEL), dim = lane->dim;
    char *codes = page + (size_t)row * msa_row_bytes(lane->dtype, dim);
    if (format_is_narrow(lane->dtype)) {
        narrow_place to = {lane->dtype, lane->scale, codes,
                           page + lane->code_bytes +
                               (size_t)row * msa_row_scale_bytes(lane->dtype, dim)};
        if (rows)
            narrow_rows(&to, from, stride, n, dim);
        else
            narrow_panel(&to, from, stride, at, n, dim);
    } else if (rows) {
        kernels->rows(codes, lane->dtype, from, stride, n, dim);
    } else {
        kernels->panel(codes, lane->dtype, from, stride, at, n, dim);
    }
}

#define PARALLEL_FLOATS 32768 /* fewer are stored before other threads have woken */

/* Tokens first .. first+n-1 (absolute) of one lane. One task is one panel of one head: no two tasks
 * share a line of the cache, and what is written does not depend on who writes it. */
static void write_lane(const msa_kv_seq *seq, int32_t layer, int which, int64_t first, int64_t n,
                       const float *src, int n_threads) {
    const kv_lane *lane = &seq->kv->lane[which];
    char *start = kv_lane_start(seq->kv, layer, which);
    int64_t block = seq->kv->params.block, dim = lane->dim, stride = lane->n_heads * dim;
    int64_t panel0 = first / STORE_PANEL, n_panels = (first + n - 1) / STORE_PANEL - panel0 + 1;
#pragma omp parallel for collapse(2) schedule(static)                                              \
    num_threads(n_threads) if (n_threads > 1 && n * stride >= PARALLEL_FLOATS)
    for (int64_t panel = 0; panel < n_panels; panel++)
        for (int32_t head = 0; head < lane->n_heads; head++) {
            int64_t token = (panel0 + panel) * STORE_PANEL, end = token + STORE_PANEL;
            if (token < first) token = first;
            if (end > first + n) end = first + n;
            write_slots(lane, which, block,
                        start + (size_t)seq->pages[token / block] * lane->page_bytes, head,
                        token % block, (int)(end - token),
                        src + (token - first) * stride + head * dim, stride);
        }
}

/* Copies the blocks of n tokens from `first` on that are whole up to `end`. Whole blocks alone: so
 * a copy is a function of its keys, however often they were written, truncated, written again. */
static void copy_blocks(const msa_kv_seq *seq, int32_t layer, int64_t first, int64_t n, int64_t end,
                        int n_threads) {
    const msa_kv *kv = seq->kv;
    const kv_lane *keys = &kv->lane[kv->copied];
    const char *start = kv_lane_start(kv, layer, kv->copied);
    msa_index8_lane copies = msa_kv_index8(kv, layer);
    msa_lane as = {.dtype = keys->dtype, .layout = MSA_PANELS};
    int block = kv->params.block, dim = keys->dim;
    size_t head_bytes = (size_t)block * msa_row_bytes(keys->dtype, dim);
    int64_t b0 = first / block, b1 = (first + n - 1) / block + 1;
    if (b1 > end / block) b1 = end / block;
    if (b1 <= b0) return;
    int64_t n_items = (b1 - b0) * keys->n_heads;
#pragma omp parallel for schedule(static) num_threads(n_threads) if (n_threads > 1 && n_items > 1)
    for (int64_t i = 0; i < n_items; i++) {
        int64_t page = seq->pages[b0 + i / keys->n_heads], head = i % keys->n_heads;
        char *copy = (char *)copies.data + page * copies.stride_page + head * copies.stride_head;
        const char *from = start + (size_t)page * keys->page_bytes + (size_t)head * head_bytes;
        index8_put_stored(copy, dim, block, &as, from, 0, block);
    }
}

msa_status kv_write_threads(msa_kv_seq *seq, int32_t layer, int64_t first, int64_t n,
                            const float *k, const float *v, const float *ki, int n_threads,
                            msa_error *err) {
    if (!seq || !k || !v) return error_set(err, MSA_E_ARG, "seq, k and v must not be NULL");
    const msa_kv_params *p = &seq->kv->params;
    if (layer < 0 || layer >= p->n_layers)
        return error_set(err, MSA_E_ARG, "layer %d is not in 0..%d", layer, p->n_layers - 1);
    bool indexed = kv_lane_exists(seq->kv, layer, KV_LANE_INDEX);
    if ((ki != NULL) != indexed)
        return error_set(err, MSA_E_ARG,
                         "this cache has %s lane of index keys in layer %d, but ki is %s",
                         indexed ? "a" : "no", layer, ki ? "given" : "NULL");
    if (first < 0 || n < 0 || first > seq->reserved || n > seq->reserved - first)
        return error_set(err, MSA_E_ARG,
                         "%lld tokens from %lld behind the length were to be written, %lld are "
                         "reserved",
                         (long long)n, (long long)first, (long long)seq->reserved);
    if (first > seq->written[layer])
        return error_set(err, MSA_E_ARG,
                         "layer %d was to be written from token %lld behind the length, but only "
                         "%lld before it are: write in order",
                         layer, (long long)first, (long long)seq->written[layer]);
    if (n == 0) return MSA_OK;
    int few = n * p->n_kv_heads * p->head_dim < SERIAL_ELEMS ? 1 : n_threads;
    int64_t at = seq->length + first;
    write_lane(seq, layer, KV_LANE_K, at, n, k, few);
    write_lane(seq, layer, KV_LANE_V, at, n, v, few);
    if (ki) write_lane(seq, layer, KV_LANE_INDEX, at, n, ki, few);
    if (first + n > seq->written[layer]) seq->written[layer] = first + n;
    if (kv_lane_exists(seq->kv, layer, KV_COPY))
        copy_blocks(seq, layer, at, n, seq->length + seq->written[layer], n_threads);
    return MSA_OK;
}

msa_status msa_kv_write(msa_kv_seq *seq, int32_t layer, int64_t first, int64_t n, const float *k,
                        const float *v, const float *ki, msa_error *err) {
    return kv_write_threads(seq, layer, first, n, k, v, ki, omp_get_max_threads(), err);
}

msa_status msa_kv_commit(msa_kv_seq *seq, int64_t n, msa_error *err) {
    if (!seq) return error_set(err, MSA_E_ARG, "seq must not be NULL");
    if (n < 0 || n > seq->reserved)
        return error_set(err, MSA_E_ARG, "%lld tokens were to be committed, %lld are reserved",
                         (long long)n, (long long)seq->reserved);
    int32_t n_layers = seq->kv->params.n_layers;
    for (int32_t layer = 0; layer < n_layers; layer++)
        if (seq->written[layer] < n)
            return error_set(err, MSA_E_ARG,
                             "%lld tokens were to be committed, but layer %d has only %lld of them "
                             "written",
                             (long long)n, layer, (long long)seq->written[layer]);
    for (int32_t layer = 0; layer < n_layers; layer++) seq->written[layer] -= n;
    seq->length += n;
    seq->reserved -= n;
    return MSA_OK;
}

msa_status msa_kv_truncate(msa_kv_seq *seq, int64_t length, msa_error *err) {
    if (!seq) return error_set(err, MSA_E_ARG, "seq must not be NULL");
    if (length < 0 || length > seq->length)
        return error_set(err, MSA_E_ARG, "length must be in 0..%lld, not %lld",
                         (long long)seq->length, (long long)length);
    drop_pages(seq, pages_for(seq, length));
    memset(seq->written, 0, (size_t)seq->kv->params.n_layers * sizeof *seq->written);
    seq->length = length;
    seq->reserved = 0;
    return MSA_OK;
}
