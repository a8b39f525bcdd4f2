/* test_session.c: the engine on small random models of every family, against a forward pass in
 * double (support/tiny_model.h), and against itself: chunks, rewinds, forks, threads. */
#include "support/support.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "engine/session.h"
#include "msa/model.h"
#include "support/tiny_model.h"

static const char *const FAMILIES[] = {"llama", "qwen2", "qwen3", "minimax-m3"};
enum { M3 = 3, N_FAMILIES = 4, N = 300, N_VOCAB = 300 };

typedef struct fixture {
    tiny_model *tiny;
    msa_model *model;
    int32_t ids[N];
} fixture;

/* A name of a new file. */
static void make_path(char path[32]) {
    strcpy(path, "/tmp/msa-session-XXXXXX");
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    close(fd);
}

static void load_index(fixture *f) {
    char path[32];
    msa_error err;
    make_path(path);
    tiny_write_index(f->tiny, path);
    assert_int_equal(msa_model_get_info(f->model)->has_index, 0);
    msa_status status = msa_model_load_index(f->model, path, &err);
    unlink(path);
    assert_ok(status, &err);
    assert_string_equal(msa_model_get_info(f->model)->index_file, path);
}

static fixture open_fixture(const tiny_params *params) {
    char path[32];
    make_path(path);
    fixture f = {.tiny = tiny_create(params)};
    tiny_write(f.tiny, path);
    msa_error err;
    msa_status status = msa_model_load(&f.model, path, &err);
    unlink(path); /* it stays mapped */
    assert_ok(status, &err);
    if (params->index.beside) load_index(&f);
    assert_int_equal(msa_model_get_info(f.model)->has_index, params->index.dim > 0);
    rng r = rng_seed(params->seed + 1);
    for (int i = 0; i < N; i++) f.ids[i] = (int32_t)rng_below(&r, (uint64_t)params->n_vocab);
    return f;
}

static fixture open_family(int family) {
    uint64_t seed = 100 + (uint64_t)family;
    tiny_params p = family == M3 ? tiny_m3(seed) : tiny_defaults(FAMILIES[family], seed);
    p.tied = family == 1;
    return open_fixture(&p);
}

static void close_fixture(fixture *f) {
    msa_model_free(f->model);
    tiny_free(f->tiny);
}

/* f32 keys and values; blocks of 16, 5 of them chosen of up to 19. */
static msa_session_params small_params(const fixture *f, msa_attn_mode attn) {
    msa_session_params p = msa_session_defaults(f->model);
    p.attn = attn;
    p.kv_dtype = p.index_dtype = MSA_F32;
    p.block = 16, p.topk = 5, p.local = 2, p.init = 1;
    p.chunk = 64;
    return p;
}

static msa_session *open_session(const fixture *f, const msa_session_params *params) {
    msa_session *s;
    msa_error err;
    assert_ok(msa_session_create(&s, f->model, params, &err), &err);
    return s;
}

static void feed(msa_session *s, const int32_t *ids, int n) {
    msa_error err;
    assert_ok(msa_session_feed(s, ids, (size_t)n, NULL, NULL, &err), &err);
}

/* What a run saw: all logits, and all selections. */
typedef struct record {
    float *logits;     /* [N][N_VOCAB] */
    int32_t *selected; /* [layers][N][Hkv][topk] */
    int64_t next;      /* position expected next */
    int n_kv_heads, topk;
} record;

static record new_record(const fixture *f, const msa_session_params *p) {
    const tiny_params *t = &f->tiny->params;
    size_t n_ids = (size_t)(t->n_layers * N * t->n_kv_heads * p->topk);
    record r = {.n_kv_heads = t->n_kv_heads, .topk = p->topk};
    r.logits = calloc((size_t)N * (size_t)t->n_vocab, sizeof *r.logits);
    r.selected = malloc(n_ids * sizeof *r.selected);
    memset(r.selected, 0xff, n_ids * sizeof *r.selected);
    return r;
}

static void free_record(record *r) {
    free(r->logits);
    free(r->selected);
}

static int take_row(void *user, int64_t position, const float *logits, int32_t n_vocab) {
    record *r = user;
    assert_int_equal(position, r->next);
    r->next++;
    memcpy(r->logits + position * n_vocab, logits, (size_t)n_vocab * sizeof *logits);
    return 0;
}

static void take_selection(void *user, int32_t layer, int64_t first, int64_t n,
                           const msa_shape *shape, const int32_t *ids) {
    record *r = user;
    size_t row = (size_t)(shape->n_kv_heads * shape->topk);
    assert_int_equal(shape->topk, r->topk);
    memcpy(r->selected + ((size_t)layer * N + (size_t)first) * row, ids,
           (size_t)n * row * sizeof *ids);
}

/* Feeds the N tokens in pieces of `step` at most. */
static record run(const fixture *f, const msa_session_params *p, int step) {
    msa_error err;
    record r = new_record(f, p);
    msa_session *s = open_session(f, p);
    msa_session_watch(s, take_selection, &r);
    for (int at = 0; at < N; at += step) {
        size_t n = (size_t)(N - at < step ? N - at : step);
        assert_ok(msa_session_feed_logits(s, f->ids + at, n, take_row, &r, &err), &err);
    }
    assert_int_equal(r.next, N);
    assert_int_equal(msa_session_length(s), N);
    assert_memory_equal(msa_session_logits(s), r.logits + (N - 1) * f->tiny->params.n_vocab,
                        (size_t)f->tiny->params.n_vocab * 4);
    msa_session_free(s);
    return r;
}

static double worst_difference(const float *a, const double *b, size_t n) {
    double worst = 0;
    for (size_t i = 0; i < n; i++) worst = larger_error(worst, a[i] - b[i]);
    return worst;
}

static bool indexed(const fixture *f, const msa_session_params *p) {
    return f->tiny->params.index.dim && p->selector != MSA_SELECTOR_PROXY;
}

static msa_shape shape_of(const fixture *f, const msa_session_params *p) {
    const tiny_params *t = &f->tiny->params;
    int32_t n_keys = indexed(f, p) ? 1 : t->n_kv_heads,
            dim = indexed(f, p) ? t->index.dim : t->head_dim;
    return (msa_shape){t->n_q_heads, t->n_kv_heads, t->head_dim, t->n_kv_heads, n_keys,
                       dim,          p->block,      p->topk,     p->local,      p->init};
}

typedef struct agreement {
    double worst, largest; /* difference of a logit; logit of the reference */
} agreement;

/* The selections must be equal. */
static agreement compare_with_reference(const fixture *f, const msa_session_params *p) {
    const tiny_params *t = &f->tiny->params;
    size_t n_logits = (size_t)N * (size_t)t->n_vocab;
    size_t n_ids = (size_t)(t->n_layers * N * t->n_kv_heads * p->topk);
    double *logits = malloc(n_logits * sizeof *logits);
    int32_t *selected = malloc(n_ids * sizeof *selected);
    msa_shape shape = shape_of(f, p);
    uint64_t dense_layers = p->dense_layers[0]; /* and those that have no index */
    if (indexed(f, p)) dense_layers |= ((uint64_t)1 << t->n_dense_layers) - 1;
    tiny_forward(f->tiny, f->ids, N, p->attn == MSA_ATTN_MSA ? &shape : NULL, dense_layers, logits,
                 p->attn == MSA_ATTN_MSA ? selected : NULL);
    record r = run(f, p, N);
    if (p->attn == MSA_ATTN_MSA)
        assert_memory_equal(r.selected, selected, n_ids * sizeof *selected);
    agreement a = {.worst = worst_difference(r.logits, logits, n_logits)};
    for (size_t i = 0; i < n_logits; i++) a.largest = larger_error(a.largest, logits[i]);
    free_record(&r);
    free(logits);
    free(selected);
    return a;
}

static void matches_reference(const fixture *f, const msa_session_params *p) {
    agreement a = compare_with_reference(f, p);
    if (!(a.worst <= 1e-4)) fail_msg("%s: logits off by %g", f->tiny->params.architecture, a.worst);
}

static void every_family_matches_the_double_reference(void **state) {
    (void)state;
    for (int i = 0; i < N_FAMILIES; i += test_brief() ? M3 : 1) {
        fixture f = open_family(i);
        msa_session_params p = small_params(&f, MSA_ATTN_DENSE);
        matches_reference(&f, &p);
        p.attn = MSA_ATTN_MSA;
        matches_reference(&f, &p);
        p.dense_layers[0] = 1; /* the first layer dense, the second not */
        matches_reference(&f, &p);
        close_fixture(&f);
    }
}

/* The branch in the model's file, or beside it; leading dense layers, or none. */
static void an_index_branch_selects_as_the_double_reference_does(void **state) {
    (void)state;
    for (int i = test_brief() ? M3 : 0; i < N_FAMILIES; i++) {
        tiny_params t = i == M3 ? tiny_m3(41) : tiny_defaults(FAMILIES[i], 40 + (uint64_t)i);
        t.index.dim = i == 2 ? 40 : 16, t.index.block = 16, t.index.topk = 4;
        t.index.local = 1, t.index.init = i % 2 && i != M3;
        t.index.beside = i == 1 || i == 2;
        if (i == 1) t.n_layers = 3, t.n_dense_layers = 1;
        fixture f = open_fixture(&t);
        msa_session_params p = msa_session_defaults(f.model);
        assert_int_equal(p.block, 16);
        assert_int_equal(p.topk, 4);
        assert_int_equal(p.local, 1);
        assert_int_equal(p.init, t.index.init);
        assert_int_equal(p.dense_layers[0], (1 << t.n_dense_layers) - 1);
        assert_int_equal(p.index_dtype, MSA_F16);
        p.kv_dtype = p.index_dtype = MSA_F32;
        matches_reference(&f, &p);
        p.dense_layers[0] = 8; /* those without an index attend densely all the same */
        if (t.n_layers < 4) p.dense_layers[0] = 0;
        matches_reference(&f, &p);
        p.topk = 6, p.local = 2, p.init = 1; /* other numbers than it was trained with */
        matches_reference(&f, &p);
        p.selector = MSA_SELECTOR_PROXY;
        matches_reference(&f, &p);
        close_fixture(&f);
    }
}

static void models_of_experts_come_in_all_sizes(void **state) {
    (void)state;
    tiny_params t = tiny_m3(51);
    t.experts.n = 16, t.experts.n_used = 3, t.experts.n_shared = 0, t.experts.n_ff = 24;
    fixture f = open_fixture(&t);
    msa_session_params p = small_params(&f, MSA_ATTN_MSA);
    matches_reference(&f, &p);
    const msa_model_info *info = msa_model_get_info(f.model);
    assert_int_equal(info->n_experts, 16);
    assert_int_equal(info->n_ff_shared, 0);
    assert_int_equal(info->n_parameters - info->n_active_parameters, 2 * 13 * 3 * 24 * 64);
    close_fixture(&f);
    t = tiny_m3(52);
    t.experts.n = 0, t.n_dense_layers = 0;
    f = open_fixture(&t);
    p = small_params(&f, MSA_ATTN_MSA);
    matches_reference(&f, &p);
    close_fixture(&f);
}

/* Index keys of their own format: the selection follows it, what is attended does not. */
static void index_keys_have_a_format_of_their_own(void **state) {
    (void)state;
    fixture f = open_family(M3);
    msa_session_params p = small_params(&f, MSA_ATTN_MSA);
    record exact = run(&f, &p, N);
    p.index_dtype = MSA_BF16;
    record rounded = run(&f, &p, N);
    size_t n_ids = (size_t)(f.tiny->params.n_layers * N * f.tiny->params.n_kv_heads * p.topk);
    size_t n_other = 0;
    for (size_t i = 0; i < n_ids; i++) n_other += exact.selected[i] != rounded.selected[i];
    assert_in_range(n_other, 1, n_ids / 20);
    free_record(&exact);
    free_record(&rounded);
    close_fixture(&f);
}

/* Dense, and without experts: a key rounded to half may change a near tie of a choice. */
static void half_keys_and_values_stay_near(void **state) {
    (void)state;
    for (int i = 0; i < (test_brief() ? 1 : M3); i++) {
        fixture f = open_family(i);
        msa_session_params p = small_params(&f, MSA_ATTN_DENSE);
        p.kv_dtype = MSA_F16;
        agreement f16 = compare_with_reference(&f, &p);
        assert_true(f16.worst <= 2e-3 * f16.largest);
        p.kv_dtype = MSA_BF16;
        agreement bf16 = compare_with_reference(&f, &p);
        assert_true(bf16.worst <= 2e-2 * bf16.largest && bf16.worst > f16.worst);
        close_fixture(&f);
    }
}

static void odd_shapes_match_too(void **state) {
    (void)state;
    tiny_params p = tiny_defaults("qwen3", 7);
    p.n_q_heads = 6, p.n_kv_heads = 1, p.head_dim = 24, p.n_embd = 40, p.n_ff = 72, p.n_layers = 3;
    fixture f = open_fixture(&p);
    msa_session_params params = small_params(&f, MSA_ATTN_MSA);
    params.chunk = 37;
    matches_reference(&f, &params);
    params.topk = 3, params.local = 1, params.init = 0, params.block = 32;
    matches_reference(&f, &params);
    close_fixture(&f);
}

static void every_isa_selects_the_same(void **state) {
    (void)state;
    msa_isa isas[MSA_ISA_COUNT], best = msa_isa_current();
    int n_isas = isas_available(isas);
    for (int family = 0; family < N_FAMILIES; family += M3) {
        fixture f = open_family(family);
        msa_session_params p = small_params(&f, MSA_ATTN_MSA);
        for (int i = 0; i < n_isas; i++) {
            assert_int_equal(msa_isa_use(isas[i], NULL), MSA_OK);
            matches_reference(&f, &p);
        }
        msa_isa_use(best, NULL);
        close_fixture(&f);
    }
}

static void one_by_one_equals_chunks_equals_all_at_once(void **state) {
    (void)state;
    for (int i = test_brief() ? M3 : 0; i < N_FAMILIES; i++) {
        fixture f = open_family(i);
        msa_session_params p = small_params(&f, MSA_ATTN_MSA);
        size_t n_logits = (size_t)N * (size_t)f.tiny->params.n_vocab;
        size_t n_ids = (size_t)(f.tiny->params.n_layers * N * f.tiny->params.n_kv_heads * p.topk);
        p.chunk = N;
        record whole = run(&f, &p, N);
        double *as_double = malloc(n_logits * sizeof *as_double);
        for (size_t j = 0; j < n_logits; j++) as_double[j] = whole.logits[j];
        const int pieces[][2] = {{64, N}, {17, N}, {N, 7}, {N, 1}}; /* chunk, tokens per feed */
        for (size_t j = 0; j < sizeof pieces / sizeof *pieces; j++) {
            p.chunk = pieces[j][0];
            record r = run(&f, &p, pieces[j][1]);
            assert_memory_equal(r.selected, whole.selected, n_ids * sizeof *r.selected);
            double worst = worst_difference(r.logits, as_double, n_logits);
            if (worst > 1e-4) fail_msg("%s: off by %g", FAMILIES[i], worst);
            free_record(&r);
        }
        free(as_double);
        free_record(&whole);
        close_fixture(&f);
    }
}

static void threads_give_the_same_bits(int family) {
    fixture f = open_family(family);
    for (int attn = 0; attn < 2; attn++) {
        msa_session_params p = small_params(&f, (msa_attn_mode)attn);
        p.kv_dtype = MSA_F16;
        p.n_threads = 1;
        record one = run(&f, &p, 90);
        for (int n_threads = 2; n_threads <= 5; n_threads += 3) {
            p.n_threads = n_threads;
            record many = run(&f, &p, 90);
            assert_memory_equal(many.logits, one.logits,
                                (size_t)N * (size_t)f.tiny->params.n_vocab * 4);
            free_record(&many);
        }
        free_record(&one);
    }
    close_fixture(&f);
}

static void any_number_of_threads_gives_the_same_bits(void **state) {
    (void)state;
    if (!test_brief()) threads_give_the_same_bits(2);
    threads_give_the_same_bits(M3);
}

static void reach_of_all_is_dense(int family) {
    fixture f = open_family(family);
    msa_session_params p = small_params(&f, MSA_ATTN_MSA);
    p.topk = 19; /* 304 tokens */
    size_t n_logits = (size_t)N * (size_t)f.tiny->params.n_vocab;
    record sparse = run(&f, &p, N);
    p.attn = MSA_ATTN_DENSE;
    record dense = run(&f, &p, N);
    for (size_t i = 0; i < n_logits; i++)
        assert_true(fabsf(sparse.logits[i] - dense.logits[i]) <= 1e-4f);
    free_record(&sparse);
    free_record(&dense);
    close_fixture(&f);
}

static void all_blocks_in_reach_is_dense(void **state) {
    (void)state;
    if (!test_brief()) reach_of_all_is_dense(0);
    reach_of_all_is_dense(M3);
}

/* Bits of the logits after feeding the tail [from, N) in steps of 23. */
static void feed_tail(msa_session *s, const fixture *f, int from, float *logits) {
    for (int at = from; at < N; at += 23) feed(s, f->ids + at, N - at < 23 ? N - at : 23);
    memcpy(logits, msa_session_logits(s), (size_t)f->tiny->params.n_vocab * sizeof *logits);
}

static void rewound_gives_the_same_bits(int family) {
    fixture f = open_family(family);
    float first[N_VOCAB], again[N_VOCAB];
    for (int attn = 0; attn < 2; attn++) {
        msa_session_params p = small_params(&f, (msa_attn_mode)attn);
        msa_session *s = open_session(&f, &p);
        msa_error err;
        assert_null(msa_session_logits(s));
        feed(s, f.ids, 100);
        feed_tail(s, &f, 100, first);
        assert_ok(msa_session_rewind(s, 170, &err), &err);
        assert_null(msa_session_logits(s));
        assert_int_equal(msa_session_length(s), 170);
        feed(s, f.ids + 5, 50); /* another future */
        assert_ok(msa_session_rewind(s, 100, &err), &err);
        feed_tail(s, &f, 100, again);
        assert_memory_equal(first, again, sizeof first);
        assert_fails(msa_session_rewind(s, N + 1, &err), MSA_E_ARG, &err, "300");
        assert_fails(msa_session_rewind(s, -1, &err), MSA_E_ARG, &err, "0..300");
        assert_int_equal(msa_session_length(s), N);
        assert_ok(msa_session_rewind(s, 0, &err), &err);
        feed(s, f.ids, 100);
        feed_tail(s, &f, 100, again);
        assert_memory_equal(first, again, sizeof first);
        msa_session_free(s);
    }
    close_fixture(&f);
}

static void rewinding_and_feeding_again_gives_the_same_bits(void **state) {
    (void)state;
    if (!test_brief()) rewound_gives_the_same_bits(1);
    rewound_gives_the_same_bits(M3);
}

static void forks_go_their_own_way(int family) {
    fixture f = open_family(family);
    msa_session_params p = small_params(&f, MSA_ATTN_MSA);
    p.kv_pages = 60;
    msa_error err;
    float alone[N_VOCAB], other[N_VOCAB], logits[N_VOCAB];
    msa_session *s = open_session(&f, &p), *fork, *fork_of_fork;
    feed(s, f.ids, 150);
    feed_tail(s, &f, 150, alone);
    assert_ok(msa_session_rewind(s, 150, &err), &err);
    feed(s, f.ids, 40); /* 190 tokens of another text */
    memcpy(other, msa_session_logits(s), sizeof other);
    assert_ok(msa_session_rewind(s, 128, &err), &err);
    feed(s, f.ids + 128, 22); /* the third chunk of 64 once more */

    assert_ok(msa_session_fork(&fork, s, &err), &err);
    assert_int_equal(msa_session_length(fork), 150);
    assert_memory_equal(msa_session_logits(fork), msa_session_logits(s), sizeof alone);
    feed(fork, f.ids, 40);
    assert_ok(msa_session_fork(&fork_of_fork, fork, &err), &err);
    feed_tail(s, &f, 150, logits);
    assert_memory_equal(logits, alone, sizeof alone);
    assert_memory_equal(msa_session_logits(fork), other, sizeof other);
    msa_session_free(s); /* the forks keep what they share */
    msa_session_free(fork);
    assert_memory_equal(msa_session_logits(fork_of_fork), other, sizeof other);
    assert_ok(msa_session_rewind(fork_of_fork, 150, &err), &err);
    feed_tail(fork_of_fork, &f, 150, logits);
    assert_memory_equal(logits, alone, sizeof alone);
    msa_session_free(fork_of_fork);
    close_fixture(&f);
}

static void forks_are_timelines_of_their_own(void **state) {
    (void)state;
    if (!test_brief()) forks_go_their_own_way(0);
    forks_go_their_own_way(M3);
}

static void the_context_limit_is_an_error_before_anything_is_done(void **state) {
    (void)state;
    fixture f = open_family(0);
    msa_session_params p = small_params(&f, MSA_ATTN_MSA);
    msa_error err;
    p.n_ctx = 200;
    p.kv_pages = 13; /* the blocks of the context, none for a fork */
    msa_session *s = open_session(&f, &p), *fork;
    assert_fails(msa_session_feed(s, f.ids, 201, NULL, NULL, &err), MSA_E_FULL, &err, "201");
    feed(s, f.ids, 150);
    float before[N_VOCAB];
    memcpy(before, msa_session_logits(s), sizeof before);
    assert_fails(msa_session_feed(s, f.ids, 51, NULL, NULL, &err), MSA_E_FULL, &err, "50");
    assert_fails(msa_session_feed(s, f.ids, SIZE_MAX, NULL, NULL, &err), MSA_E_FULL, &err, NULL);
    assert_int_equal(msa_session_length(s), 150);
    assert_memory_equal(msa_session_logits(s), before, sizeof before);
    /* Forks share the pages: 13 of 16 tokens, 10 of them held by both. */
    assert_ok(msa_session_fork(&fork, s, &err), &err);
    assert_fails(msa_session_feed(fork, f.ids, 50, NULL, NULL, &err), MSA_E_FULL, &err,
                 "kv_pages) or free a fork");
    assert_int_equal(msa_session_length(fork), 150);
    assert_memory_equal(msa_session_logits(fork), before, sizeof before);
    msa_session_free(fork);
    feed(s, f.ids, 50);
    assert_fails(msa_session_feed(s, f.ids, 1, NULL, NULL, &err), MSA_E_FULL, &err, "context");
    msa_session_free(s);
    close_fixture(&f);
}

static void bad_tokens_are_refused(void **state) {
    (void)state;
    fixture f = open_family(0);
    msa_session_params p = small_params(&f, MSA_ATTN_MSA);
    msa_error err;
    msa_session *s = open_session(&f, &p);
    int32_t ids[3] = {1, 2, N_VOCAB};
    assert_fails(msa_session_feed(s, ids, 0, NULL, NULL, &err), MSA_E_ARG, &err, "1 or more");
    assert_fails(msa_session_feed(s, NULL, 1, NULL, NULL, &err), MSA_E_ARG, &err, "NULL");
    assert_fails(msa_session_feed(s, ids, 3, NULL, NULL, &err), MSA_E_ARG, &err, "300");
    ids[2] = -1;
    assert_fails(msa_session_feed(s, ids, 3, NULL, NULL, &err), MSA_E_ARG, &err, "-1");
    assert_fails(msa_session_feed_logits(s, ids, 2, NULL, NULL, &err), MSA_E_ARG, &err, "rows");
    assert_int_equal(msa_session_length(s), 0);
    assert_null(msa_session_logits(s));
    msa_session_free(s);
    close_fixture(&f);
}

typedef struct stopper {
    int64_t n_calls, stop_at, last_done, total;
} stopper;

static int stop_later(void *user, int64_t n_done, int64_t n_total) {
    stopper *s = user;
    s->last_done = n_done;
    s->total = n_total;
    return ++s->n_calls == s->stop_at;
}

static int stop_row(void *user, int64_t position, const float *logits, int32_t n_vocab) {
    (void)logits;
    (void)n_vocab;
    stopper *s = user;
    s->last_done = position;
    return ++s->n_calls == s->stop_at;
}

static void progress_counts_chunks_and_may_stop(void **state) {
    (void)state;
    fixture f = open_family(0);
    msa_session_params p = small_params(&f, MSA_ATTN_MSA);
    msa_error err;
    float logits[N_VOCAB];
    msa_session *s = open_session(&f, &p);
    stopper all = {0}, some = {.stop_at = 2}, rows = {.stop_at = 70};
    assert_ok(msa_session_feed(s, f.ids, N, stop_later, &all, &err), &err);
    assert_int_equal(all.n_calls, 5);
    assert_int_equal(all.last_done, N);
    assert_int_equal(all.total, N);
    memcpy(logits, msa_session_logits(s), sizeof logits);

    assert_ok(msa_session_rewind(s, 0, &err), &err);
    assert_fails(msa_session_feed(s, f.ids, N, stop_later, &some, &err), MSA_E_CANCELLED, &err,
                 "128 of 300");
    assert_int_equal(msa_session_length(s), 128);
    assert_null(msa_session_logits(s));
    feed(s, f.ids + 128, N - 128); /* goes on as if nothing had been */
    assert_memory_equal(logits, msa_session_logits(s), sizeof logits);

    assert_ok(msa_session_rewind(s, 0, &err), &err);
    assert_fails(msa_session_feed_logits(s, f.ids, N, stop_row, &rows, &err), MSA_E_CANCELLED, &err,
                 "69");
    assert_int_equal(rows.last_done, 69);
    assert_int_equal(msa_session_length(s), 128); /* the chunk it was in was done */
    assert_null(msa_session_logits(s));

    /* Stopped at the very end: everything is fed, but the answer is still "stopped". */
    stopper end = {.stop_at = 5}, last_row = {.stop_at = N};
    assert_ok(msa_session_rewind(s, 0, &err), &err);
    assert_fails(msa_session_feed(s, f.ids, N, stop_later, &end, &err), MSA_E_CANCELLED, &err,
                 "300 of 300");
    assert_int_equal(msa_session_length(s), N);
    assert_null(msa_session_logits(s));
    assert_ok(msa_session_rewind(s, 0, &err), &err);
    assert_fails(msa_session_feed_logits(s, f.ids, N, stop_row, &last_row, &err), MSA_E_CANCELLED,
                 &err, "299");
    assert_null(msa_session_logits(s));
    msa_session_free(s);
    close_fixture(&f);
}

static void parameters_are_checked_and_filled_in(void **state) {
    (void)state;
    fixture f = open_family(0);
    msa_error err;
    msa_session *s = NULL;
    msa_session_params d = msa_session_defaults(f.model);
    assert_int_equal(d.block, 64);
    assert_int_equal(d.topk, 8);
    assert_int_equal(d.init, 1);
    assert_int_equal(d.local, 2);
    assert_int_equal(d.kv_dtype, MSA_F16);
    s = open_session(&f, &d);
    const msa_session_params *p = msa_session_get_params(s);
    assert_int_equal(p->n_ctx, 512);
    assert_int_equal(p->selector, MSA_SELECTOR_PROXY);
    assert_int_equal(p->kv_pages, 512 / 64 + 1);
    msa_session_params longest = d;
    longest.n_ctx = INT32_MAX;
    assert_ok(session_params_resolve(&longest, f.model, &err), &err);
    assert_int_equal(longest.kv_pages, INT32_MAX / 64 + 2);
    assert_true(p->n_threads >= 1 && p->chunk >= 1);
    msa_session_free(s);

    msa_session_params bad = d;
    bad.selector = MSA_SELECTOR_INDEX;
    assert_fails(msa_session_create(&s, f.model, &bad, &err), MSA_E_UNSUPPORTED, &err, "index");
    assert_null(s);
    struct {
        size_t field;
        int32_t value;
        const char *word;
    } cases[] = {
        {offsetof(msa_session_params, n_ctx), -1, "n_ctx"},
        {offsetof(msa_session_params, attn), 2, "attention"},
        {offsetof(msa_session_params, selector), 8, "selector"},
        {offsetof(msa_session_params, block), 48, "block"},
        {offsetof(msa_session_params, topk), 0, "topk"},
        {offsetof(msa_session_params, topk), 65, "topk"},
        {offsetof(msa_session_params, local), -1, "local"},
        {offsetof(msa_session_params, init), -1, "init"},
        {offsetof(msa_session_params, kv_dtype), 9, "format"},
        {offsetof(msa_session_params, index_dtype), 9, "index keys"},
        {offsetof(msa_session_params, n_threads), -1, "n_threads"},
        {offsetof(msa_session_params, chunk), -1, "chunk"},
        {offsetof(msa_session_params, dense_layers), 4, "layer 2"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        bad = d;
        memcpy((char *)&bad + cases[i].field, &cases[i].value, 4);
        assert_fails(msa_session_create(&s, f.model, &bad, &err), MSA_E_ARG, &err, cases[i].word);
        assert_null(s);
    }
    bad = d;
    bad.kv_pages = -1;
    assert_fails(msa_session_create(&s, f.model, &bad, &err), MSA_E_ARG, &err, "kv_pages");
    close_fixture(&f);
}

static void statistics_count_what_was_read(void **state) {
    (void)state;
    fixture f = open_family(0);
    msa_session_params p = small_params(&f, MSA_ATTN_MSA);
    msa_session *s = open_session(&f, &p);
    feed(s, f.ids, 288);
    feed(s, f.ids, 1); /* position 288: the first token of block 18 */
    msa_session_stats stats = msa_session_get_stats(s);
    assert_int_equal(stats.n_prefill_tokens, 288);
    assert_int_equal(stats.n_decode_tokens, 1);
    assert_true(stats.prefill_keys_dense == 288 * 289 / 2);
    assert_true(stats.decode_keys_dense == 289);
    assert_true(stats.decode_keys == 4 * 16 + 1); /* its own block has one key yet */
    double keys = 0; /* up to 5 blocks, the own one as far as it goes */
    for (int t = 0; t < 288; t++) keys += (t / 16 < 5 ? t / 16 : 4) * 16 + t % 16 + 1;
    assert_true(stats.prefill_keys == keys);
    assert_true(stats.prefill_s >= stats.prefill_attn_s && stats.prefill_attn_s > 0);
    assert_true(stats.decode_s >= stats.decode_attn_s && stats.decode_attn_s > 0);
    msa_session_stats_reset(s);
    assert_int_equal(msa_session_get_stats(s).n_prefill_tokens, 0);
    msa_session_free(s);
    p.dense_layers[0] = 2; /* one layer of two dense: halfway */
    s = open_session(&f, &p);
    feed(s, f.ids, 288);
    feed(s, f.ids, 1);
    assert_true(msa_session_get_stats(s).decode_keys == (289 + 65) / 2.0);
    msa_session_free(s);
    close_fixture(&f);
}

static void null_is_refused_or_gives_nothing(void **state) {
    (void)state;
    msa_error err;
    assert_null(msa_session_logits(NULL));
    assert_null(msa_session_get_params(NULL));
    assert_null(msa_model_get_info(NULL));
    assert_int_equal(msa_session_length(NULL), 0);
    assert_int_equal(msa_session_get_stats(NULL).n_prefill_tokens, 0);
    assert_int_equal(msa_session_defaults(NULL).block, 0);
    assert_int_equal(msa_token_is_end(NULL, 0), 0);
    msa_session_stats_reset(NULL);
    msa_session_watch(NULL, NULL, NULL);
    assert_fails(msa_session_rewind(NULL, 0, &err), MSA_E_ARG, &err, "NULL");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_family_matches_the_double_reference),
        cmocka_unit_test(an_index_branch_selects_as_the_double_reference_does),
        cmocka_unit_test(models_of_experts_come_in_all_sizes),
        cmocka_unit_test(index_keys_have_a_format_of_their_own),
        cmocka_unit_test(half_keys_and_values_stay_near),
        cmocka_unit_test(odd_shapes_match_too),
        cmocka_unit_test(every_isa_selects_the_same),
        cmocka_unit_test(one_by_one_equals_chunks_equals_all_at_once),
        cmocka_unit_test(any_number_of_threads_gives_the_same_bits),
        cmocka_unit_test(all_blocks_in_reach_is_dense),
        cmocka_unit_test(rewinding_and_feeding_again_gives_the_same_bits),
        cmocka_unit_test(forks_are_timelines_of_their_own),
        cmocka_unit_test(the_context_limit_is_an_error_before_anything_is_done),
        cmocka_unit_test(bad_tokens_are_refused),
        cmocka_unit_test(progress_counts_chunks_and_may_stop),
        cmocka_unit_test(parameters_are_checked_and_filled_in),
        cmocka_unit_test(null_is_refused_or_gives_nothing),
        cmocka_unit_test(statistics_count_what_was_read),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
