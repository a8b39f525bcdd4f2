/* test_selectors.c: the selectors an evaluation compares: what is fixed by position and chance, by
 * hand; in a session, all of them against the forward pass in double, and against themselves:
 * chunks, threads, forks, rewinds. */
#include "support/support.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "attn/fixed.h"
#include "attn/select.h"
#include "support/session_record.h"

static msa_shape blocks_of_16(int topk, int local, int init) {
    msa_shape shape = msa_shape_m3();
    shape.block = 16;
    shape.topk = topk, shape.local = local, shape.init = init;
    return shape;
}

static void assert_ids(const int32_t *found, const int32_t *expected, int n) {
    for (int i = 0; i < n; i++)
        if (found[i] != expected[i]) fail_msg("id %d is %d, expected %d", i, found[i], expected[i]);
}

/* ---- window ---------------------------------------------------------------------------------- */

static void a_window_is_the_first_blocks_and_the_newest(void **state) {
    (void)state;
    static const struct {
        int topk, local, init;
        int64_t position;
        int32_t ids[4];
    } cases[] = {
        {4, 1, 0, 0, {0, -1, -1, -1}},     /* one block */
        {4, 1, 0, 63, {0, 1, 2, 3}},       /* as many as fit */
        {4, 1, 0, 64, {0, 2, 3, 4}},       /* one more: the sink stays */
        {4, 1, 0, 1600, {0, 98, 99, 100}}, /* local and init 0 do not count */
        {4, 2, 1, 1600, {0, 98, 99, 100}}, /* the same */
        {4, 1, 3, 1600, {0, 1, 2, 100}},   /* init is kept */
        {4, 0, 4, 1600, {0, 1, 2, 100}},   /* but for the query's own block */
        {1, 1, 0, 1600, {100}},            /* no room for a sink */
        {1, 0, 1, 1600, {100}},
        {2, 1, 0, 1615, {0, 100}},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        msa_shape shape = blocks_of_16(cases[i].topk, cases[i].local, cases[i].init);
        int32_t ids[4];
        fixed_window(&shape, cases[i].position, ids);
        assert_ids(ids, cases[i].ids, shape.topk);
    }
}

/* ---- random ---------------------------------------------------------------------------------- */

/* Ascending, inside the row, the forced blocks among them, all slots used that can be. */
static void assert_lawful(const msa_shape *shape, int64_t position, const int32_t *ids) {
    select_range range = select_range_at(shape, position);
    int32_t n = range.n_visible < shape->topk ? range.n_visible : shape->topk;
    for (int32_t i = 0; i < shape->topk; i++)
        if (i < n)
            assert_true(ids[i] < range.n_visible && ids[i] > (i ? ids[i - 1] : -1));
        else
            assert_int_equal(ids[i], -1);
    for (int32_t i = 0; i < range.first; i++) assert_int_equal(ids[i], i);
    for (int32_t b = range.end; b < range.n_visible; b++)
        assert_int_equal(ids[n - (range.n_visible - b)], b);
}

static void random_lists_hold_the_forced_blocks_and_use_every_slot(void **state) {
    (void)state;
    static const int shapes[][3] = {{4, 1, 0}, {4, 0, 0}, {4, 2, 1}, {4, 4, 0},
                                    {4, 0, 4}, {1, 0, 0}, {1, 1, 0}, {64, 3, 2}};
    for (size_t s = 0; s < sizeof shapes / sizeof *shapes; s++) {
        msa_shape shape = blocks_of_16(shapes[s][0], shapes[s][1], shapes[s][2]);
        for (int64_t position = 0; position < 100 * 16; position += 5) {
            int32_t ids[64];
            fixed_random(&shape, position, fixed_stream(7, 3, position, 1), ids);
            assert_lawful(&shape, position, ids);
            fixed_window(&shape, position, ids);
            if (shape.init == 1) assert_lawful(&shape, position, ids);
        }
    }
}

/* 3 of blocks 1..8 beside 0 and 9: each of the 56 sets is as likely. */
static void every_set_of_blocks_is_drawn_as_often(void **state) {
    (void)state;
    msa_shape shape = blocks_of_16(5, 1, 1);
    enum { DRAWS = 56000 };
    int count[1 << 8] = {0}, n_sets = 0;
    for (int i = 0; i < DRAWS; i++) {
        int32_t ids[5];
        fixed_random(&shape, 9 * 16, fixed_stream((uint64_t)i, 0, 9 * 16, 0), ids);
        count[1 << (ids[1] - 1) | 1 << (ids[2] - 1) | 1 << (ids[3] - 1)]++;
    }
    for (int set = 0; set < 1 << 8; set++) {
        if (__builtin_popcount((unsigned)set) == 3) assert_in_range(count[set], 850, 1150);
        n_sets += count[set] > 0;
    }
    assert_int_equal(n_sets, 56);
}

static void chance_hangs_on_seed_layer_position_and_group(void **state) {
    (void)state;
    uint64_t base = fixed_stream(1, 2, 3, 4);
    assert_true(base == fixed_stream(1, 2, 3, 4));
    assert_true(base != fixed_stream(2, 2, 3, 4) && base != fixed_stream(1, 3, 3, 4) &&
                base != fixed_stream(1, 2, 4, 4) && base != fixed_stream(1, 2, 3, 5));
}

/* ---- in a session --------------------------------------------------------------------------- */

static const msa_selector KINDS[] = {MSA_SELECTOR_PROXY,  MSA_SELECTOR_MEANS,  MSA_SELECTOR_SHARED,
                                     MSA_SELECTOR_WINDOW, MSA_SELECTOR_RANDOM, MSA_SELECTOR_ORACLE};
enum { N_KINDS = sizeof KINDS / sizeof *KINDS };

static bool is_fixed(msa_selector kind) {
    return kind == MSA_SELECTOR_WINDOW || kind == MSA_SELECTOR_RANDOM;
}

/* Every id of a run is what fixed.h says of its layer, position and group. */
static void matches_fixed(const session_case *f, const msa_session_params *p) {
    const tiny_params *t = &f->tiny->params;
    msa_shape shape = {.block = p->block, .topk = p->topk, .local = p->local, .init = p->init};
    session_record r = session_record_run(f, p, f->n);
    const int32_t *found = r.selected;
    for (int32_t layer = 0; layer < t->n_layers; layer++)
        for (int64_t at = 0; at < f->n; at++)
            for (int32_t g = 0; g < t->n_kv_heads; g++, found += p->topk) {
                int32_t ids[64];
                if (p->selector == MSA_SELECTOR_WINDOW)
                    fixed_window(&shape, at, ids);
                else
                    fixed_random(&shape, at, fixed_stream(p->seed, layer, at, g), ids);
                assert_ids(found, ids, p->topk);
            }
    session_record_free(&r);
}

static void every_selector_matches_the_double_reference(void **state) {
    (void)state;
    for (int family = test_brief() ? 2 : 0; family < SESSION_M3; family++) {
        session_case f = session_case_family(family);
        for (int i = 0; i < N_KINDS; i++) {
            msa_session_params p = session_case_params(&f, MSA_ATTN_MSA);
            p.selector = KINDS[i], p.seed = 11;
            for (int free = 0; free < 2; free++) { /* then with nothing forced */
                if (is_fixed(p.selector))
                    matches_fixed(&f, &p);
                else
                    session_matches_reference(&f, &p);
                p.local = p.init = 0;
            }
        }
        session_case_close(&f);
    }
}

/* A model with an index branch and dense layers may be run with any of them. */
static void a_model_with_an_index_may_be_run_with_any(void **state) {
    (void)state;
    session_case f = session_case_family(SESSION_M3);
    for (int i = 0; i < N_KINDS; i++) {
        msa_session_params p = session_case_params(&f, MSA_ATTN_MSA);
        p.selector = KINDS[i];
        if (is_fixed(p.selector)) continue;
        session_matches_reference(&f, &p); /* dense layers as the defaults have them */
        p.dense_layers[0] = 1;
        session_matches_reference(&f, &p);
    }
    session_case_close(&f);
}

/* Then nothing is selected, whatever would select. */
static void every_layer_may_be_dense_with_any(void **state) {
    (void)state;
    session_case f = session_case_family(SESSION_M3);
    msa_session_params p = session_case_params(&f, MSA_ATTN_DENSE);
    float dense[SESSION_VOCAB];
    msa_session *s = session_case_start(&f, &p);
    session_case_feed(s, f.ids, f.n);
    memcpy(dense, msa_session_logits(s), sizeof dense);
    msa_session_free(s);
    for (int kind = MSA_SELECTOR_INDEX; kind <= MSA_SELECTOR_ORACLE; kind++) {
        p = session_case_params(&f, MSA_ATTN_MSA);
        p.selector = (msa_selector)kind;
        p.dense_layers[0] = ((uint64_t)1 << f.tiny->params.n_layers) - 1;
        s = session_case_start(&f, &p);
        session_case_feed(s, f.ids, f.n);
        assert_memory_equal(msa_session_logits(s), dense, sizeof dense);
        msa_session_free(s);
    }
    session_case_close(&f);
}

static void one_by_one_and_chunks_select_the_same(void **state) {
    (void)state;
    session_case f = session_case_family(2);
    for (int i = 0; i < N_KINDS; i++)
        for (int local = 0; local < 3; local += 2) {
            msa_session_params p = session_case_params(&f, MSA_ATTN_MSA);
            p.selector = KINDS[i], p.local = local, p.k_dtype = p.v_dtype = p.index_dtype = MSA_F16;
            p.chunk = f.n;
            session_record whole = session_record_run(&f, &p, f.n);
            const int pieces[][2] = {{64, f.n}, {17, f.n}, {f.n, 1}};
            for (size_t j = 0; j < sizeof pieces / sizeof *pieces; j++) {
                p.chunk = pieces[j][0];
                session_record r = session_record_run(&f, &p, pieces[j][1]);
                assert_memory_equal(r.selected, whole.selected, r.n_ids * sizeof *r.selected);
                session_record_free(&r);
            }
            session_record_free(&whole);
        }
    session_case_close(&f);
}

static void threads_and_seeds(const session_case *f, msa_selector kind) {
    msa_session_params p = session_case_params(f, MSA_ATTN_MSA);
    p.selector = kind, p.n_threads = 1, p.seed = 5;
    session_record one = session_record_run(f, &p, 90);
    for (p.n_threads = 2; p.n_threads <= 5; p.n_threads += 3) {
        session_record many = session_record_run(f, &p, 90);
        assert_memory_equal(many.logits, one.logits,
                            (size_t)f->n * (size_t)f->tiny->params.n_vocab * 4);
        assert_memory_equal(many.selected, one.selected, one.n_ids * sizeof *one.selected);
        session_record_free(&many);
    }
    p.seed = 6;
    session_record other = session_record_run(f, &p, 90);
    bool same = memcmp(other.selected, one.selected, one.n_ids * sizeof *one.selected) == 0;
    assert_int_equal(same, kind != MSA_SELECTOR_RANDOM);
    session_record_free(&other);
    session_record_free(&one);
}

static void threads_change_no_bit_and_the_seed_changes_random_alone(void **state) {
    (void)state;
    session_case f = session_case_family(2);
    for (int i = 0; i < N_KINDS; i++) threads_and_seeds(&f, KINDS[i]);
    session_case_close(&f);
}

static void tail_of(msa_session *s, const session_case *f, int from, float *logits) {
    for (int at = from; at < f->n; at += 23)
        session_case_feed(s, f->ids + at, f->n - at < 23 ? f->n - at : 23);
    memcpy(logits, msa_session_logits(s), SESSION_VOCAB * sizeof *logits);
}

static void forks_and_rewinds_keep_the_past(void **state) {
    (void)state;
    session_case f = session_case_family(0);
    msa_error err;
    for (int i = 0; i < N_KINDS; i++) {
        msa_session_params p = session_case_params(&f, MSA_ATTN_MSA);
        p.selector = KINDS[i], p.local = 0, p.kv_pages = 60;
        float alone[SESSION_VOCAB], logits[SESSION_VOCAB];
        msa_session *s = session_case_start(&f, &p), *fork;
        session_case_feed(s, f.ids, 151);
        tail_of(s, &f, 151, alone);
        assert_ok(msa_session_rewind(s, 128, &err), &err);
        session_case_feed(s, f.ids + 128, 23);
        assert_ok(msa_session_fork(&fork, s, &err), &err);
        session_case_feed(s, f.ids + 7, 60); /* another future; the fork's is the first one */
        tail_of(fork, &f, 151, logits);
        assert_memory_equal(logits, alone, sizeof alone);
        assert_ok(msa_session_rewind(s, 151, &err), &err);
        tail_of(s, &f, 151, logits);
        assert_memory_equal(logits, alone, sizeof alone);
        msa_session_free(s);
        msa_session_free(fork);
    }
    session_case_close(&f);
}

/* ---- masses watched -------------------------------------------------------------------------- */

typedef struct mass_watch {
    float *mass; /* [layers][n_tokens][Hkv][BLOCKS] */
    int n_tokens, n_rows;
} mass_watch;
enum { BLOCKS = (SESSION_N + 15) / 16 };

/* Shares of one; by them the oracle chose. */
static void take_masses(void *user, int32_t layer, int64_t first, int64_t n, const msa_shape *shape,
                        const int32_t *ids, const float *mass, int64_t n_blocks) {
    mass_watch *w = user;
    for (int64_t i = 0; i < n * shape->n_kv_heads; i++, mass += n_blocks, ids += shape->topk) {
        int64_t position = first + i / shape->n_kv_heads;
        int32_t expected[64];
        double sum = 0;
        for (int64_t b = 0; b < n_blocks; b++) sum += (double)mass[b];
        assert_true(sum > 1 - 1e-5 && sum < 1 + 1e-5);
        select_ref(shape, position, mass, MSA_ASCENDING, expected);
        assert_ids(ids, expected, shape->topk);
        int64_t row = (layer * w->n_tokens + first) * shape->n_kv_heads + i;
        memcpy(w->mass + row * BLOCKS, mass, (size_t)n_blocks * sizeof *mass);
        w->n_rows++;
    }
}

static mass_watch watch_masses(const session_case *f, int step) {
    const tiny_params *t = &f->tiny->params;
    int rows = t->n_layers * f->n * t->n_kv_heads;
    mass_watch w = {.n_tokens = f->n, .mass = calloc((size_t)rows * BLOCKS, sizeof *w.mass)};
    msa_session_params p = session_case_params(f, MSA_ATTN_MSA);
    p.selector = MSA_SELECTOR_ORACLE;
    msa_session *s = session_case_start(f, &p);
    msa_session_watch_mass(s, take_masses, &w);
    for (int at = 0; at < f->n; at += step)
        session_case_feed(s, f->ids + at, f->n - at < step ? f->n - at : step);
    assert_int_equal(w.n_rows, rows);
    msa_session_watch_mass(s, NULL, NULL);
    assert_ok(msa_session_rewind(s, 0, NULL), NULL);
    session_case_feed(s, f->ids, 70);
    assert_int_equal(w.n_rows, rows);
    msa_session_free(s);
    return w;
}

static void masses_that_are_watched_are_those_the_oracle_chooses_by(void **state) {
    (void)state;
    session_case f = session_case_family(2);
    const tiny_params *t = &f.tiny->params;
    int n = t->n_layers * f.n * t->n_kv_heads * BLOCKS;
    mass_watch whole = watch_masses(&f, f.n), cut = watch_masses(&f, 37);
    for (int i = 0; i < n; i++) assert_true(fabsf(cut.mass[i] - whole.mass[i]) < 1e-5f);
    free(whole.mass);
    free(cut.mass);
    session_case_close(&f);
    msa_session_watch_mass(NULL, NULL, NULL);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_window_is_the_first_blocks_and_the_newest),
        cmocka_unit_test(random_lists_hold_the_forced_blocks_and_use_every_slot),
        cmocka_unit_test(every_set_of_blocks_is_drawn_as_often),
        cmocka_unit_test(chance_hangs_on_seed_layer_position_and_group),
        cmocka_unit_test(every_selector_matches_the_double_reference),
        cmocka_unit_test(a_model_with_an_index_may_be_run_with_any),
        cmocka_unit_test(every_layer_may_be_dense_with_any),
        cmocka_unit_test(one_by_one_and_chunks_select_the_same),
        cmocka_unit_test(threads_change_no_bit_and_the_seed_changes_random_alone),
        cmocka_unit_test(forks_and_rewinds_keep_the_past),
        cmocka_unit_test(masses_that_are_watched_are_those_the_oracle_chooses_by),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
