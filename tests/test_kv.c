/* test_kv.c: the paged cache against a reference that keeps every sequence densely, in f32, and
 * reads the pages by the address formula of attn.h. */
#include "support/support.h"

#include <math.h>
#include <omp.h>
#include <stdlib.h>
#include <string.h>

#include "attn/index8.h"
#include "attn/ref.h"
#include "kv/arena.h"
#include "kv/store.h"
#include "msa/kv.h"

enum { MAX_TOKENS = 260, MAX_SEQS = 6 };

/* A sequence as it should be: the f32 rows of each lane, [layer][token][head][c]. */
typedef struct twin {
    msa_kv_seq *seq;
    float *lane[KV_LANES];
    int64_t length;
} twin;

static int64_t lane_width(const msa_kv_params *p, int lane) {
    return lane == KV_LANE_INDEX ? p->n_index_keys * p->index_dim : p->n_kv_heads * p->head_dim;
}

static float *twin_row(const twin *t, const msa_kv_params *p, int lane, int layer, int64_t token) {
    return t->lane[lane] + (layer * MAX_TOKENS + token) * lane_width(p, lane);
}

static twin twin_create(msa_kv *kv) {
    const msa_kv_params *p = msa_kv_get_params(kv);
    twin t = {0};
    msa_error err;
    assert_ok(msa_kv_seq_create(&t.seq, kv, &err), &err);
    for (int i = 0; i < KV_LANES; i++)
        t.lane[i] = calloc((size_t)(p->n_layers * MAX_TOKENS * (lane_width(p, i) + 1)), 4);
    return t;
}

static void twin_free(twin *t) {
    msa_kv_seq_free(t->seq);
    for (int i = 0; i < KV_LANES; i++) free(t->lane[i]);
    *t = (twin){0};
}

static uint32_t stored_bits(msa_dtype dtype, float x) {
    return dtype == MSA_F32 ? f32_bits(x) : dtype == MSA_F16 ? f16_from_f32(x) : bf16_from_f32(x);
}

/* A row as its format gives it back. */
static void stored_row(const msa_lane *lane, const float *from, int dim, float *to) {
    float scale = lane->scale == 0 ? 1 : lane->scale, scales[16];
    char codes[4 * 256];
    format_pack_ref(lane->dtype, scale, from, dim, codes, scales);
    format_unpack_ref(lane->dtype, scale, codes, scales, dim, to);
}

/* All of it, bit for bit. */
static void assert_twin(const msa_kv *kv, const twin *t) {
    const msa_kv_params *p = msa_kv_get_params(kv);
    int64_t n_pages;
    const int32_t *pages = msa_kv_page_table(t->seq, &n_pages);
    assert_int_equal(msa_kv_length(t->seq), t->length);
    assert_true(n_pages * p->block >= t->length);
    for (int layer = 0; layer < p->n_layers; layer++) {
        msa_lane lane[KV_LANES];
        msa_kv_lanes(kv, layer, &lane[0], &lane[1], &lane[2]);
        for (int i = 0; i < KV_LANES; i++) {
            int heads = i == KV_LANE_INDEX ? p->n_index_keys : p->n_kv_heads;
            if (i == KV_LANE_INDEX && layer < p->first_index_layer) {
                assert_null(lane[i].data);
                continue;
            }
            int dim = i == KV_LANE_INDEX ? p->index_dim : p->head_dim;
            const msa_shape shape = {.block = p->block};
            const msa_batch batch = {
                .n_requests = 1, .page_table = pages, .page_table_stride = n_pages};
            for (int64_t token = 0; token < t->length; token++)
                for (int h = 0; h < heads; h++) {
                    float want[256];
                    stored_row(&lane[i], twin_row(t, p, i, layer, token) + h * dim, dim, want);
                    ref_vector row = ref_vector_of(&shape, &batch, &lane[i], dim, 0, token, h);
                    for (int c = 0; c < dim; c++)
                        if (f32_bits(ref_element(row, c)) != f32_bits(want[c]))
                            fail_msg("layer %d lane %d token %d of %d, head %d, element %d: %g, "
                                     "wrote %g",
                                     layer, i, (int)token, (int)t->length, h, c,
                                     (double)ref_element(row, c), (double)want[c]);
                }
        }
    }
}

/* The copies of whole blocks, byte for byte what the operator makes of the stored keys. */
static void assert_copies(const msa_kv *kv, const twin *t) {
    const msa_kv_params *p = msa_kv_get_params(kv);
    int64_t n_pages;
    const int32_t *pages = msa_kv_page_table(t->seq, &n_pages);
    bool index = p->n_index_keys > 0;
    int which = index ? KV_LANE_INDEX : KV_LANE_K, dim = index ? p->index_dim : p->head_dim;
    int heads = index ? p->n_index_keys : p->n_kv_heads;
    char want[256 * 48 + 64];
    for (int layer = 0; layer < p->n_layers; layer++) {
        msa_index8_lane copy = msa_kv_index8(kv, layer);
        if (!p->index8 || (index && layer < p->first_index_layer)) {
            assert_null(copy.data);
            continue;
        }
        msa_lane lane[KV_LANES];
        msa_kv_lanes(kv, layer, &lane[0], &lane[1], &lane[2]);
        assert_int_equal((uintptr_t)copy.data % 64, 0);
        for (int64_t b = 0; b < t->length / p->block; b++)
            for (int h = 0; h < heads; h++) {
                index8_clear(want, dim, p->block);
                for (int j = 0; j < p->block; j++) {
                    float row[256];
                    const float *from = twin_row(t, p, which, layer, b * p->block + j) + h * dim;
                    stored_row(&lane[which], from, dim, row);
                    index8_put(want, dim, p->block, j, row);
                }
                const char *found =
                    (const char *)copy.data + pages[b] * copy.stride_page + h * copy.stride_head;
                size_t n = (size_t)p->block * (size_t)(dim + 2) + sizeof(index8_tail);
                assert_memory_equal(found, want, n);
            }
    }
}

/* Fresh numbers for n tokens behind the length + first, in the twin and in the cache. */
static void twin_write(twin *t, const msa_kv_params *p, rng *r, int64_t first, int64_t n) {
    msa_error err;
    for (int layer = 0; layer < p->n_layers; layer++) {
        float *row[KV_LANES];
        for (int i = 0; i < KV_LANES; i++) {
            row[i] = twin_row(t, p, i, layer, t->length + first);
            rng_fill_normal(r, row[i], (size_t)(n * lane_width(p, i)), 2);
        }
        assert_ok(msa_kv_write(t->seq, layer, first, n, row[0], row[1],
                               p->n_index_keys && layer >= p->first_index_layer ? row[2] : NULL,
                               &err),
                  &err);
    }
}

static void twin_append(twin *t, const msa_kv_params *p, rng *r, int64_t n) {
    msa_error err;
    assert_ok(msa_kv_reserve(t->seq, n, &err), &err);
    twin_write(t, p, r, 0, n);
    assert_ok(msa_kv_commit(t->seq, n, &err), &err);
    t->length += n;
}

static twin twin_fork(const twin *t, const msa_kv_params *p) {
    msa_error err;
    twin f = {.length = t->length};
    assert_ok(msa_kv_seq_fork(&f.seq, t->seq, &err), &err);
    for (int i = 0; i < KV_LANES; i++) {
        size_t n = (size_t)(p->n_layers * MAX_TOKENS * (lane_width(p, i) + 1)) * 4;
        f.lane[i] = malloc(n);
        memcpy(f.lane[i], t->lane[i], n);
    }
    return f;
}

static const msa_kv_params SMALL = {.n_layers = 2,
                                    .n_kv_heads = 2,
                                    .head_dim = 24,
                                    .n_index_keys = 1,
                                    .index_dim = 8,
                                    .block = 16,
                                    .k_dtype = MSA_F16,
                                    .v_dtype = MSA_BF16,
                                    .index_dtype = MSA_F32,
                                    .n_pages = 40};

static msa_kv *create(const msa_kv_params *p) {
    msa_kv *kv;
    msa_error err;
    assert_ok(msa_kv_create(&kv, p, &err), &err);
    return kv;
}

/* Pages in use, counted from the page tables alone. */
static int64_t pages_in_use(twin *seqs) {
    bool used[64] = {0};
    int64_t n = 0;
    for (int i = 0; i < MAX_SEQS; i++) {
        int64_t n_pages;
        if (!seqs[i].seq) continue;
        const int32_t *pages = msa_kv_page_table(seqs[i].seq, &n_pages);
        for (int64_t j = 0; j < n_pages; j++) {
            n += !used[pages[j]];
            used[pages[j]] = true;
        }
    }
    return n;
}

/* Appends n tokens the long way: reserve more than is used, write in two pieces, maybe fork in
 * between. Returns false when the cache was full. */
static bool random_append(msa_kv *kv, twin *seqs, int which, rng *r) {
    const msa_kv_params *p = msa_kv_get_params(kv);
    twin *t = &seqs[which];
    msa_error err;
    int64_t room = MAX_TOKENS - t->length, n = (int64_t)rng_below(r, rng_below(r, 4) ? 6 : 50) + 1;
    int64_t spare = rng_below(r, 3) ? 0 : (int64_t)rng_below(r, 20);
    if (n + spare > room) return true;
    int64_t before = msa_kv_pages_free(kv);
    msa_status status = msa_kv_reserve(t->seq, n + spare, &err);
    if (status) {
        assert_fails(status, MSA_E_FULL, &err, "pages");
        assert_int_equal(msa_kv_pages_free(kv), before);
        return false;
    }
    int64_t half = (int64_t)rng_below(r, (uint64_t)n + 1);
    twin_write(t, p, r, 0, half);
    if (rng_below(r, 8) == 0) /* a fork while tokens are reserved, some of them written */
        for (int i = 0; i < MAX_SEQS; i++)
            if (!seqs[i].seq) {
                seqs[i] = twin_fork(t, p);
                break;
            }
    twin_write(t, p, r, half, n - half);
    int64_t some = (int64_t)rng_below(r, (uint64_t)n + 1);
    assert_ok(msa_kv_commit(t->seq, some, &err), &err);
    t->length += some;
    assert_ok(msa_kv_commit(t->seq, n - some, &err), &err);
    t->length += n - some;
    return true;
}

static void random_histories(const msa_kv_params *p, uint64_t seed, int n_steps) {
    msa_kv *kv = create(p);
    msa_error err;
    rng r = rng_seed(seed);
    twin seqs[MAX_SEQS] = {0};
    int n_full = 0;
    if (test_brief()) n_steps /= 4;
    for (int step = 0; step < n_steps; step++) {
        int which = (int)rng_below(&r, MAX_SEQS), action = (int)rng_below(&r, 16);
        twin *t = &seqs[which];
        if (!t->seq) {
            int from = (int)rng_below(&r, MAX_SEQS);
            *t = seqs[from].seq ? twin_fork(&seqs[from], p) : twin_create(kv);
        } else if (action == 0) {
            twin_free(t);
        } else if (action <= 3) {
            int64_t back = (int64_t)rng_below(&r, rng_below(&r, 3) ? 20 : 200);
            t->length = back > t->length ? 0 : t->length - back;
            assert_ok(msa_kv_truncate(t->seq, t->length, &err), &err);
        } else {
            n_full += !random_append(kv, seqs, which, &r);
        }
        if (t->seq) assert_twin(kv, t);
        if (t->seq) assert_copies(kv, t);
        assert_int_equal(msa_kv_pages_free(kv), p->n_pages - pages_in_use(seqs));
        if (step % 16 == 0)
            for (int i = 0; i < MAX_SEQS; i++)
                if (seqs[i].seq) assert_twin(kv, &seqs[i]), assert_copies(kv, &seqs[i]);
    }
    assert_true(n_full > 0); /* or the histories never filled the cache */
    for (int i = 0; i < MAX_SEQS; i++) twin_free(&seqs[i]);
    assert_int_equal(msa_kv_pages_free(kv), p->n_pages);
    msa_kv_free(kv);
}

/* fp8, int8 and nvfp4, each in each lane; widths that leave half a group of sixteen. */
static void narrow_histories(void) {
    msa_kv_params p = SMALL;
    p.n_pages = 20;
    p.k_dtype = MSA_INT8, p.v_dtype = MSA_FP8, p.index_dtype = MSA_NVFP4, p.v_scale = 0.3f;
    random_histories(&p, 5, 600);
    p.k_dtype = MSA_NVFP4, p.v_dtype = MSA_INT8, p.index_dtype = MSA_FP8, p.k_scale = 3;
    p.head_dim = 40, p.n_index_keys = 2, p.v_scale = 0;
    random_histories(&p, 6, 600);
    p.k_dtype = MSA_FP8, p.v_dtype = MSA_NVFP4, p.index_dtype = MSA_INT8;
    p.head_dim = 8, p.block = 32, p.n_pages = 10;
    random_histories(&p, 7, 600);
}

/* Copies of index keys in some layers and in all, of several heads, of keys. */
static void copies_follow_their_keys(void **state) {
    (void)state;
    msa_kv_params p = SMALL;
    p.n_pages = 20, p.index8 = 1;
    random_histories(&p, 11, 2000);
    p.index_dtype = MSA_F16, p.index_dim = 40, p.n_index_keys = 2, p.block = 32, p.n_pages = 10;
    p.n_layers = 5, p.first_index_layer = 3, p.v_dtype = MSA_NVFP4, p.k_dtype = MSA_INT8;
    random_histories(&p, 12, 600);
    p.n_layers = 2, p.first_index_layer = 0;
    p.n_index_keys = 0, p.index_dim = 0, p.k_dtype = MSA_BF16;
    random_histories(&p, 13, 600);
    p.block = 256, p.n_pages = 3, p.n_kv_heads = 1, p.head_dim = 8, p.v_dtype = MSA_INT8;
    random_histories(&p, 14, 300);
}

/* A block that was whole is written again from its middle on, before it counts and after. */
static void a_copy_is_made_again_with_its_keys(void **state) {
    (void)state;
    msa_kv_params p = SMALL;
    p.index8 = 1;
    msa_kv *kv = create(&p);
    msa_error err;
    rng r = rng_seed(15);
    twin t = twin_create(kv);
    assert_ok(msa_kv_reserve(t.seq, 40, &err), &err);
    twin_write(&t, &p, &r, 0, 40);
    twin_write(&t, &p, &r, 5, 3);
    twin_write(&t, &p, &r, 20, 15);
    assert_ok(msa_kv_commit(t.seq, 40, &err), &err);
    t.length = 40;
    assert_copies(kv, &t);
    assert_ok(msa_kv_truncate(t.seq, 9, &err), &err);
    t.length = 9;
    for (int i = 0; i < 30; i++) twin_append(&t, &p, &r, 1);
    assert_copies(kv, &t);
    twin_free(&t);
    msa_kv_free(kv);
}

static void random_histories_match_the_dense_reference(void **state) {
    (void)state;
    msa_isa isas[MSA_ISA_COUNT], best = msa_isa_current();
    int n_isas = isas_available(isas);
    for (int i = 0; i < n_isas; i++) {
        assert_int_equal(msa_isa_use(isas[i], NULL), MSA_OK);
        msa_kv_params p = SMALL;
        p.n_pages = 20;
        random_histories(&p, 1, 3000);
        p.k_dtype = MSA_BF16, p.v_dtype = MSA_F32, p.index_dtype = MSA_F16;
        p.head_dim = 16, p.index_dim = 40, p.n_index_keys = 2, p.block = 32, p.n_pages = 10;
        random_histories(&p, 2, 600);
        p.n_layers = 5, p.first_index_layer = 3;
        random_histories(&p, 4, 300);
        p.n_layers = 2, p.first_index_layer = 0;
        p.k_dtype = MSA_F32, p.v_dtype = MSA_F16;
        p.n_index_keys = 0, p.index_dim = 0, p.n_kv_heads = 1, p.head_dim = 8;
        random_histories(&p, 3, 600);
        narrow_histories();
    }
    msa_isa_use(best, NULL);
}

/* Every 16-bit pattern's neighbourhood, infinities and NaN among them, through every kernel. */
static void every_kernel_rounds_like_half_h(void **state) {
    (void)state;
    enum { N = 16, DIM = 256 };
    static float src[N][DIM];
    static uint16_t out[N * DIM];
    msa_isa isas[MSA_ISA_COUNT], best = msa_isa_current();
    int n_isas = isas_available(isas);
    rng r = rng_seed(7);
    for (int round = 0; round < 64; round++) {
        for (int i = 0; i < N * DIM; i++)
            src[i / DIM][i % DIM] = f32_from_bits((uint32_t)rng_next(&r));
        for (int i = 0; i < n_isas * 2; i++) {
            msa_dtype dtype = i % 2 ? MSA_F16 : MSA_BF16;
            assert_int_equal(msa_isa_use(isas[i / 2], NULL), MSA_OK);
            store_kernels_current()->panel(out, dtype, src[0], DIM, 0, N, DIM);
            for (int t = 0; t < N; t++)
                for (int c = 0; c < DIM; c++)
                    assert_int_equal(out[c * 16 + t], stored_bits(dtype, src[t][c]));
            store_kernels_current()->rows(out, dtype, src[0], DIM, N, DIM);
            for (int t = 0; t < N; t++)
                for (int c = 0; c < DIM; c++)
                    assert_int_equal(out[t * DIM + c], stored_bits(dtype, src[t][c]));
        }
    }
    msa_isa_use(best, NULL);
}

static void a_part_of_a_panel_leaves_the_rest_alone(void **state) {
    (void)state;
    enum { DIM = 40 };
    static float src[16 * DIM];
    static uint16_t out[16 * DIM];
    msa_isa isas[MSA_ISA_COUNT], best = msa_isa_current();
    int n_isas = isas_available(isas);
    rng r = rng_seed(8);
    rng_fill_normal(&r, src, 16 * DIM, 1);
    for (int i = 0; i < n_isas; i++)
        for (int slot = 0; slot < 16; slot++)
            for (int n = 1; slot + n <= 16; n++) {
                assert_int_equal(msa_isa_use(isas[i], NULL), MSA_OK);
                memset(out, 0xa5, sizeof out);
                store_kernels_current()->panel(out, MSA_BF16, src, DIM, slot, n, DIM);
                for (int c = 0; c < DIM; c++)
                    for (int t = 0; t < 16; t++)
                        assert_int_equal(out[c * 16 + t],
                                         t < slot || t >= slot + n
                                             ? 0xa5a5
                                             : bf16_from_f32(src[(t - slot) * DIM + c]));
            }
    msa_isa_use(best, NULL);
}

static void any_number_of_threads_writes_the_same(void **state) {
    (void)state;
    msa_kv_params p = SMALL;
    p.n_kv_heads = 4, p.head_dim = 64, p.n_index_keys = 4, p.index_dim = 72, p.n_pages = 20;
    p.index8 = 1;
    msa_kv *kv = create(&p);
    rng r = rng_seed(4);
    int max = omp_get_max_threads();
    for (int n_threads = 1; n_threads <= 8; n_threads++) {
        omp_set_num_threads(n_threads);
        twin t = twin_create(kv);
        twin_append(&t, &p, &r, n_threads);
        twin_append(&t, &p, &r, 250);
        assert_twin(kv, &t);
        assert_copies(kv, &t);
        twin_free(&t);
    }
    omp_set_num_threads(max);
    msa_kv_free(kv);
}

static void a_fork_costs_no_page_until_one_side_writes(void **state) {
    (void)state;
    msa_kv *kv = create(&SMALL);
    msa_error err;
    rng r = rng_seed(5);
    twin a = twin_create(kv);
    twin_append(&a, &SMALL, &r, 40); /* two pages and a half */
    assert_int_equal(msa_kv_pages_free(kv), 37);
    twin b = twin_fork(&a, &SMALL), c = twin_fork(&b, &SMALL);
    assert_int_equal(msa_kv_pages_free(kv), 37);
    twin_append(&b, &SMALL, &r, 1); /* its own copy of the third page */
    assert_int_equal(msa_kv_pages_free(kv), 36);
    twin_append(&a, &SMALL, &r, 1);
    assert_int_equal(msa_kv_pages_free(kv), 35);
    twin_append(&c, &SMALL, &r, 1); /* the last holder writes in place */
    assert_int_equal(msa_kv_pages_free(kv), 35);
    assert_twin(kv, &a);
    assert_twin(kv, &b);
    assert_twin(kv, &c);
    assert_ok(msa_kv_truncate(b.seq, b.length = 20, &err), &err); /* into a page all three hold */
    twin_append(&b, &SMALL, &r, 30);
    assert_twin(kv, &a);
    assert_twin(kv, &b);
    assert_twin(kv, &c);
    twin_free(&a);
    twin_free(&b);
    twin_free(&c);
    assert_int_equal(msa_kv_pages_free(kv), SMALL.n_pages);
    msa_kv_free(kv);
}

static void a_full_cache_says_so_and_keeps_what_it_has(void **state) {
    (void)state;
    msa_kv_params p = SMALL;
    p.n_pages = 4;
    msa_kv *kv = create(&p);
    msa_error err;
    rng r = rng_seed(6);
    twin a = twin_create(kv), b = {0};
    twin_append(&a, &p, &r, 40);
    assert_fails(msa_kv_reserve(a.seq, 25, &err), MSA_E_FULL, &err, "need 2 pages");
    assert_fails(msa_kv_reserve(a.seq, INT64_MAX, &err), MSA_E_FULL, &err, "1 of 4 are free");
    assert_twin(kv, &a);
    b = twin_fork(&a, &p);
    twin_append(&b, &p, &r, 1); /* the copy takes the last page */
    assert_fails(msa_kv_reserve(b.seq, 8, &err), MSA_E_FULL, &err, "0 of 4 are free");
    assert_twin(kv, &a);
    assert_twin(kv, &b);
    twin_append(&a, &p, &r, 8);
    assert_fails(msa_kv_reserve(a.seq, 1, &err), MSA_E_FULL, &err, NULL);
    twin_free(&b);
    twin_append(&a, &p, &r, 16);
    assert_twin(kv, &a);
    twin_free(&a);
    msa_kv_free(kv);
}

static void a_missing_lane_or_layer_is_refused(void **state) {
    (void)state;
    msa_kv *kv = create(&SMALL);
    msa_error err;
    float x[48 * 4] = {0};
    msa_kv_seq *seq;
    assert_ok(msa_kv_seq_create(&seq, kv, &err), &err);
    assert_fails(msa_kv_write(seq, 0, 0, 1, x, x, x, &err), MSA_E_ARG, &err, "0 are reserved");
    assert_fails(msa_kv_commit(seq, 1, &err), MSA_E_ARG, &err, "0 are reserved");
    assert_ok(msa_kv_reserve(seq, 4, &err), &err);
    assert_fails(msa_kv_write(seq, 0, 0, 1, x, x, NULL, &err), MSA_E_ARG, &err, "index keys");
    assert_fails(msa_kv_write(seq, 0, 0, 1, x, NULL, x, &err), MSA_E_ARG, &err, "NULL");
    assert_fails(msa_kv_write(seq, 2, 0, 1, x, x, x, &err), MSA_E_ARG, &err, "layer 2");
    assert_fails(msa_kv_write(seq, 0, 1, 1, x, x, x, &err), MSA_E_ARG, &err, "in order");
    assert_fails(msa_kv_write(seq, 0, 0, 5, x, x, x, &err), MSA_E_ARG, &err, "4 are reserved");
    assert_fails(msa_kv_write(seq, 0, INT64_MAX, INT64_MAX, x, x, x, &err), MSA_E_ARG, &err, NULL);
    assert_ok(msa_kv_write(seq, 0, 0, 4, x, x, x, &err), &err);
    assert_ok(msa_kv_write(seq, 1, 0, 3, x, x, x, &err), &err);
    assert_fails(msa_kv_commit(seq, 4, &err), MSA_E_ARG, &err, "layer 1");
    assert_int_equal(msa_kv_length(seq), 0);
    assert_ok(msa_kv_commit(seq, 3, &err), &err);
    assert_int_equal(msa_kv_length(seq), 3);
    assert_fails(msa_kv_commit(seq, 1, &err), MSA_E_ARG, &err, "layer 1");
    assert_ok(msa_kv_write(seq, 1, 0, 1, x, x, x, &err), &err);
    assert_ok(msa_kv_commit(seq, 1, &err), &err);
    assert_fails(msa_kv_truncate(seq, 5, &err), MSA_E_ARG, &err, "0..4");
    assert_fails(msa_kv_truncate(seq, -1, &err), MSA_E_ARG, &err, "0..4");
    assert_fails(msa_kv_reserve(seq, -1, &err), MSA_E_ARG, &err, "negative");
    msa_kv_seq_free(seq);
    msa_kv_free(kv);
}

static void truncating_gives_up_reservations(void **state) {
    (void)state;
    msa_kv *kv = create(&SMALL);
    msa_error err;
    rng r = rng_seed(9);
    twin a = twin_create(kv);
    twin_append(&a, &SMALL, &r, 10);
    assert_ok(msa_kv_reserve(a.seq, 100, &err), &err);
    twin_write(&a, &SMALL, &r, 0, 50);
    assert_ok(msa_kv_truncate(a.seq, 10, &err), &err);
    assert_int_equal(msa_kv_pages_free(kv), SMALL.n_pages - 1);
    assert_fails(msa_kv_commit(a.seq, 1, &err), MSA_E_ARG, &err, "0 are reserved");
    assert_twin(kv, &a);
    twin_free(&a);
    msa_kv_free(kv);
}

static void parameters_out_of_range_are_named(void **state) {
    (void)state;
    struct {
        size_t field;
        int32_t value;
        const char *word;
    } bad[] = {
        {offsetof(msa_kv_params, n_layers), 0, "n_layers"},
        {offsetof(msa_kv_params, n_kv_heads), -1, "keys"},
        {offsetof(msa_kv_params, head_dim), 20, "keys"},
        {offsetof(msa_kv_params, head_dim), 264, "keys"},
        {offsetof(msa_kv_params, n_index_keys), 0, "index keys"},
        {offsetof(msa_kv_params, index_dim), 0, "index keys"},
        {offsetof(msa_kv_params, first_index_layer), -1, "first_index_layer"},
        {offsetof(msa_kv_params, first_index_layer), 3, "first_index_layer"},
        {offsetof(msa_kv_params, block), 48, "block"},
        {offsetof(msa_kv_params, block), 8, "block"},
        {offsetof(msa_kv_params, v_dtype), 99, "values"},
        {offsetof(msa_kv_params, k_dtype), -1, "keys"},
        {offsetof(msa_kv_params, index8), 2, "index8"},
        {offsetof(msa_kv_params, index8), -1, "index8"},
    };
    msa_error err;
    msa_kv *kv = (msa_kv *)&err;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        msa_kv_params p = SMALL;
        memcpy((char *)&p + bad[i].field, &bad[i].value, 4);
        assert_fails(msa_kv_create(&kv, &p, &err), MSA_E_ARG, &err, bad[i].word);
        assert_null(kv);
    }
    msa_kv_params p = SMALL;
    p.k_scale = 2; /* f16 has none */
    assert_fails(msa_kv_create(&kv, &p, &err), MSA_E_ARG, &err, "keys: scale");
    p.k_dtype = MSA_FP8, p.k_scale = -1;
    assert_fails(msa_kv_create(&kv, &p, &err), MSA_E_ARG, &err, "keys: scale");
    p = SMALL;
    p.index8 = 1, p.index_dtype = MSA_INT8;
    assert_fails(
        msa_kv_create(&kv, &p, &err), MSA_E_ARG, &err,
        "index keys in int8 was asked for (index8); there are copies of f32, f16 and bf16");
    p.n_index_keys = p.index_dim = 0, p.k_dtype = MSA_NVFP4;
    assert_fails(msa_kv_create(&kv, &p, &err), MSA_E_ARG, &err, "of keys in nvfp4");
    p = SMALL;
    p.n_pages = 0;
    assert_fails(msa_kv_create(&kv, &p, &err), MSA_E_ARG, &err, "n_pages");
    p.n_pages = INT32_MAX, p.n_kv_heads = 65536, p.n_layers = 65536, p.block = 256;
    assert_fails(msa_kv_create(&kv, &p, &err), MSA_E_NOMEM, &err, "pages");
    assert_null(kv);
}

static void a_layer_that_is_not_there_has_empty_lanes(void **state) {
    (void)state;
    msa_kv *kv = create(&SMALL);
    const int32_t layers[] = {-1, SMALL.n_layers, INT32_MIN, INT32_MAX};
    for (int i = 0; i < 4; i++) {
        msa_lane k = {.data = &k}, v = {.data = &v}, index = {.data = &index};
        msa_kv_lanes(kv, layers[i], &k, &v, &index);
        assert_null(k.data);
        assert_null(v.data);
        assert_null(index.data);
        assert_null(msa_kv_index8(kv, layers[i]).data);
    }
    msa_lane last;
    msa_kv_lanes(kv, SMALL.n_layers - 1, &last, NULL, NULL);
    assert_non_null(last.data);
    msa_kv_free(kv);
}

static void bytes_per_token_count_all_layers_and_lanes(void **state) {
    (void)state;
    msa_kv *kv = create(&SMALL);
    assert_int_equal(msa_kv_bytes_per_token(kv), 2 * (48 * 2 + 48 * 2 + 8 * 4));
    msa_kv_free(kv);
}

/* What 64 more pages take of the system is 64 pages, by their parts; all of any format. */
static void bytes_of_a_page_are_those_it_takes(void **state) {
    (void)state;
    for (int i = 0; i < 2 * 6 * 2 * 2; i++) {
        msa_kv_params p = SMALL;
        p.v_dtype = (msa_dtype)(i / 2 % 6), p.index8 = i % 2, p.block = 16 << i / 12 % 2 * 3;
        p.n_layers = 3, p.first_index_layer = i % 3, p.index_dim = 40, p.n_pages = 64;
        if (i / 24) p.n_index_keys = p.index_dim = 0;
        msa_kv *kv = create(&p);
        p.n_pages = 128;
        msa_kv *larger = create(&p);
        msa_kv_bytes page = msa_kv_page_bytes(kv);
        size_t all = page.k + page.v + page.index + page.index8, block = (size_t)p.block;
        assert_int_equal(larger->n_bytes - kv->n_bytes, 64 * all);
        assert_int_equal(msa_kv_bytes_per_token(kv), (all + block - 1) / block);
        assert_int_equal(page.k, 3 * 48 * block * 2);
        assert_int_equal(page.index, i / 24 ? 0 : (size_t)(3 - i % 3) * 40 * block * 4);
        size_t copy = i / 24 ? 3 * 2 * size_round_up(block * 26 + 16, 64)
                             : (size_t)(3 - i % 3) * size_round_up(block * 42 + 16, 64);
        assert_int_equal(page.index8, i % 2 ? copy : 0);
        msa_kv_free(kv);
        msa_kv_free(larger);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(random_histories_match_the_dense_reference),
        cmocka_unit_test(copies_follow_their_keys),
        cmocka_unit_test(a_copy_is_made_again_with_its_keys),
        cmocka_unit_test(every_kernel_rounds_like_half_h),
        cmocka_unit_test(a_part_of_a_panel_leaves_the_rest_alone),
        cmocka_unit_test(any_number_of_threads_writes_the_same),
        cmocka_unit_test(a_fork_costs_no_page_until_one_side_writes),
        cmocka_unit_test(a_full_cache_says_so_and_keeps_what_it_has),
        cmocka_unit_test(a_missing_lane_or_layer_is_refused),
        cmocka_unit_test(truncating_gives_up_reservations),
        cmocka_unit_test(parameters_out_of_range_are_named),
        cmocka_unit_test(a_layer_that_is_not_there_has_empty_lanes),
        cmocka_unit_test(bytes_per_token_count_all_layers_and_lanes),
        cmocka_unit_test(bytes_of_a_page_are_those_it_takes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
