/* test_session_reference.c: the engine on small random models of every family, against a forward
 * pass in double (support/tiny_model.h), and against itself: chunks, threads, all blocks chosen. */
#include "support/support.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "nn/quant.h"
#include "support/session_record.h"

enum { M3 = SESSION_M3 };

static void every_family_matches_the_double_reference(void **state) {
    (void)state;
    for (int i = 0; i < N_SESSION_FAMILIES; i += test_brief() ? M3 : 1) {
        session_case f = session_case_family(i);
        msa_session_params p = session_case_params(&f, MSA_ATTN_DENSE);
        session_matches_reference(&f, &p);
        p.attn = MSA_ATTN_MSA;
        session_matches_reference(&f, &p);
        p.dense_layers[0] = 1; /* the first layer dense, the second not */
        session_matches_reference(&f, &p);
        session_case_close(&f);
    }
}

/* The branch in the model's file, or beside it; leading dense layers, or none. */
static void an_index_branch_selects_as_the_double_reference_does(void **state) {
    (void)state;
    for (int i = test_brief() ? M3 : 0; i < N_SESSION_FAMILIES; i++) {
        tiny_params t =
            i == M3 ? tiny_m3(41) : tiny_defaults(SESSION_FAMILIES[i], 40 + (uint64_t)i);
        t.index.dim = i == 2 ? 40 : 16, t.index.block = 16, t.index.topk = 4;
        t.index.local = 1, t.index.init = i % 2 && i != M3;
        t.index.beside = i == 1 || i == 2;
        if (i == 1) t.n_layers = 3, t.n_dense_layers = 1;
        session_case f = session_case_open(&t);
        msa_session_params p = msa_session_defaults(f.model);
        assert_int_equal(p.block, 16);
        assert_int_equal(p.topk, 4);
        assert_int_equal(p.local, 1);
        assert_int_equal(p.init, t.index.init);
        assert_int_equal(p.dense_layers[0], (1 << t.n_dense_layers) - 1);
        assert_int_equal(p.index_dtype, MSA_F16);
        p.k_dtype = p.v_dtype = p.index_dtype = MSA_F32;
        session_matches_reference(&f, &p);
        p.dense_layers[0] = 8; /* those without an index attend densely all the same */
        if (t.n_layers < 4) p.dense_layers[0] = 0;
        session_matches_reference(&f, &p);
        p.topk = 6, p.local = 2, p.init = 1; /* other numbers than it was trained with */
        session_matches_reference(&f, &p);
        p.selector = MSA_SELECTOR_PROXY;
        session_matches_reference(&f, &p);
        session_case_close(&f);
    }
}

static void models_of_experts_come_in_all_sizes(void **state) {
    (void)state;
    tiny_params t = tiny_m3(51);
    t.experts.n = 16, t.experts.n_used = 3, t.experts.n_shared = 0, t.experts.n_ff = 24;
    session_case f = session_case_open(&t);
    msa_session_params p = session_case_params(&f, MSA_ATTN_MSA);
    session_matches_reference(&f, &p);
    const msa_model_info *info = msa_model_get_info(f.model);
    assert_int_equal(info->n_experts, 16);
    assert_int_equal(info->n_ff_shared, 0);
    assert_int_equal(info->n_parameters - info->n_active_parameters, 2 * 13 * 3 * 24 * 64);
    session_case_close(&f);
    t = tiny_m3(52);
    t.experts.n = 0, t.n_dense_layers = 0;
    f = session_case_open(&t);
    p = session_case_params(&f, MSA_ATTN_MSA);
    session_matches_reference(&f, &p);
    session_case_close(&f);
}

/* Index keys of their own format: the selection follows it, what is attended does not. */
static void index_keys_have_a_format_of_their_own(void **state) {
    (void)state;
    session_case f = session_case_family(M3);
    msa_session_params p = session_case_params(&f, MSA_ATTN_MSA);
    session_record exact = session_record_run(&f, &p, f.n);
    p.index_dtype = MSA_BF16;
    session_record rounded = session_record_run(&f, &p, f.n);
    size_t n_ids = (size_t)(f.tiny->params.n_layers * f.n * f.tiny->params.n_kv_heads * p.topk);
    size_t n_other = 0;
    for (size_t i = 0; i < n_ids; i++) n_other += exact.selected[i] != rounded.selected[i];
    assert_in_range(n_other, 1, n_ids / 20);
    session_record_free(&exact);
    session_record_free(&rounded);
    session_case_close(&f);
}

/* Dense, and without experts: a key rounded to half may change a near tie of a choice. */
static void half_keys_and_values_stay_near(void **state) {
    (void)state;
    for (int i = 0; i < (test_brief() ? 1 : M3); i++) {
        session_case f = session_case_family(i);
        msa_session_params p = session_case_params(&f, MSA_ATTN_DENSE);
        p.k_dtype = p.v_dtype = MSA_F16;
        session_agreement f16 = session_compare(&f, &p);
        assert_true(f16.worst <= 2e-3 * f16.largest);
        p.k_dtype = p.v_dtype = MSA_BF16;
        session_agreement bf16 = session_compare(&f, &p);
        assert_true(bf16.worst <= 2e-2 * bf16.largest && bf16.worst > f16.worst);
        static const struct {
            msa_dtype k, v;
            double most; /* twice what is found, or so */
        } narrow[] = {{MSA_INT8, MSA_INT8, 4e-2},
                      {MSA_FP8, MSA_FP8, 2e-1},
                      {MSA_NVFP4, MSA_NVFP4, 5e-1},
                      {MSA_FP8, MSA_INT8, 2e-1}};
        for (size_t n = 0; n < sizeof narrow / sizeof *narrow; n++) {
            p.k_dtype = narrow[n].k, p.v_dtype = narrow[n].v;
            session_agreement agreement = session_compare(&f, &p);
            if (!(agreement.worst <= narrow[n].most * agreement.largest))
                fail_msg("%s keys, %s values: %g of %g", msa_dtype_name(p.k_dtype),
                         msa_dtype_name(p.v_dtype), agreement.worst, agreement.largest);
        }
        session_case_close(&f);
    }
}

static void odd_shapes_match_too(void **state) {
    (void)state;
    tiny_params p = tiny_defaults("qwen3", 7);
    p.n_q_heads = 6, p.n_kv_heads = 1, p.head_dim = 24, p.n_embd = 40, p.n_ff = 72, p.n_layers = 3;
    session_case f = session_case_open(&p);
    msa_session_params params = session_case_params(&f, MSA_ATTN_MSA);
    params.chunk = 37;
    session_matches_reference(&f, &params);
    params.topk = 3, params.local = 1, params.init = 0, params.block = 32;
    session_matches_reference(&f, &params);
    session_case_close(&f);
}

/* Few rows at a time, and many. */
static void check_formats(const session_case *f) {
    const tiny_params *t = &f->tiny->params;
    msa_session_params p = session_case_params(f, MSA_ATTN_MSA);
    for (p.chunk = 7; p.chunk <= 40; p.chunk += 33) {
        session_agreement a = session_compare(f, &p);
        if (!(a.worst <= 1e-5 * a.largest))
            fail_msg("formats %u and %u, chunks of %d: logits off by %g of %g", t->types.most,
                     t->types.wide, p.chunk, a.worst, a.largest);
    }
}

/* Many rows go through BLAS, widened: then a file of the same values in F32 gives the same bits. */
static void check_bits(const session_case *f) {
    tiny_params t = f->tiny->params;
    t.types.widened = true;
    session_case g = session_case_open(&t);
    g.n = f->n;
    msa_session_params p = session_case_params(f, MSA_ATTN_MSA);
    p.chunk = 40;
    session_record packed = session_record_run(f, &p, f->n);
    session_record wide = session_record_run(&g, &p, g.n);
    assert_memory_equal(packed.logits, wide.logits,
                        (size_t)f->n * (size_t)t.n_vocab * sizeof *wide.logits);
    session_record_free(&packed);
    session_record_free(&wide);
    session_case_close(&g);
}

/* The mixtures of published files: one format for most, a wider one for the embedding, which may be
 * the output too, V and down. */
static void weights_of_every_format_match_the_double_reference(void **state) {
    (void)state;
    static const uint32_t mixtures[][2] = {{QUANT_Q4_K, QUANT_Q6_K}, {QUANT_Q5_K, QUANT_Q6_K},
                                           {QUANT_Q6_K, QUANT_Q8_0}, {QUANT_Q5_0, QUANT_Q8_0},
                                           {QUANT_Q5_1, QUANT_Q5_0}, {QUANT_Q4_0, QUANT_Q4_1}};
    for (size_t i = 0; i < sizeof mixtures / sizeof *mixtures; i++) {
        tiny_params t = tiny_defaults(SESSION_FAMILIES[i % M3], 60 + i);
        bool k = i < 3;
        t.n_embd = k ? 256 : 64, t.n_ff = k ? 512 : 96, t.head_dim = k ? 64 : 16;
        t.tied = i % 2 == 0;
        t.types.most = mixtures[i][0], t.types.wide = mixtures[i][1];
        session_case f = session_case_open(&t);
        f.n = 120;
        check_formats(&f);
        check_bits(&f);
        session_case_close(&f);
    }
}

static void experts_of_k_formats_match_the_double_reference(void **state) {
    (void)state;
    tiny_params t = tiny_m3(70);
    t.n_embd = t.n_ff = t.experts.n_ff = 256, t.head_dim = 64, t.n_layers = 3;
    t.types.most = QUANT_Q4_K, t.types.wide = QUANT_Q6_K;
    session_case f = session_case_open(&t);
    f.n = 120;
    check_formats(&f);
    session_case_close(&f);
}

static void every_isa_selects_the_same(void **state) {
    (void)state;
    msa_isa isas[MSA_ISA_COUNT], best = msa_isa_current();
    int n_isas = isas_available(isas);
    for (int family = 0; family < N_SESSION_FAMILIES; family += M3) {
        session_case f = session_case_family(family);
        msa_session_params p = session_case_params(&f, MSA_ATTN_MSA);
        for (int i = 0; i < n_isas; i++) {
            assert_int_equal(msa_isa_use(isas[i], NULL), MSA_OK);
            session_matches_reference(&f, &p);
        }
        msa_isa_use(best, NULL);
        session_case_close(&f);
    }
}

static void one_by_one_equals_chunks_equals_all_at_once(void **state) {
    (void)state;
    for (int i = test_brief() ? M3 : 0; i < N_SESSION_FAMILIES; i++) {
        session_case f = session_case_family(i);
        msa_session_params p = session_case_params(&f, MSA_ATTN_MSA);
        size_t n_logits = (size_t)f.n * (size_t)f.tiny->params.n_vocab;
        size_t n_ids = (size_t)(f.tiny->params.n_layers * f.n * f.tiny->params.n_kv_heads * p.topk);
        p.chunk = f.n;
        session_record whole = session_record_run(&f, &p, f.n);
        double *as_double = malloc(n_logits * sizeof *as_double);
        for (size_t j = 0; j < n_logits; j++) as_double[j] = whole.logits[j];
        const int pieces[][2] = {
            {64, f.n}, {17, f.n}, {f.n, 7}, {f.n, 1}}; /* chunk, tokens per feed */
        for (size_t j = 0; j < sizeof pieces / sizeof *pieces; j++) {
            p.chunk = pieces[j][0];
            session_record r = session_record_run(&f, &p, pieces[j][1]);
            assert_memory_equal(r.selected, whole.selected, n_ids * sizeof *r.selected);
            double worst = session_worst(r.logits, as_double, n_logits);
            if (worst > 1e-4) fail_msg("%s: off by %g", SESSION_FAMILIES[i], worst);
            session_record_free(&r);
        }
        free(as_double);
        session_record_free(&whole);
        session_case_close(&f);
    }
}

static void threads_give_the_same_bits(int family) {
    session_case f = session_case_family(family);
    for (int attn = 0; attn < 2; attn++) {
        msa_session_params p = session_case_params(&f, (msa_attn_mode)attn);
        p.k_dtype = p.v_dtype = MSA_F16;
        p.n_threads = 1;
        session_record one = session_record_run(&f, &p, 90);
        for (int n_threads = 2; n_threads <= 5; n_threads += 3) {
            p.n_threads = n_threads;
            session_record many = session_record_run(&f, &p, 90);
            assert_memory_equal(many.logits, one.logits,
                                (size_t)f.n * (size_t)f.tiny->params.n_vocab * 4);
            session_record_free(&many);
        }
        session_record_free(&one);
    }
    session_case_close(&f);
}

static void any_number_of_threads_gives_the_same_bits(void **state) {
    (void)state;
    if (!test_brief()) threads_give_the_same_bits(2);
    threads_give_the_same_bits(M3);
}

static void reach_of_all_is_dense(int family) {
    session_case f = session_case_family(family);
    msa_session_params p = session_case_params(&f, MSA_ATTN_MSA);
    p.topk = 19; /* 304 tokens */
    size_t n_logits = (size_t)f.n * (size_t)f.tiny->params.n_vocab;
    session_record sparse = session_record_run(&f, &p, f.n);
    p.attn = MSA_ATTN_DENSE;
    session_record dense = session_record_run(&f, &p, f.n);
    for (size_t i = 0; i < n_logits; i++)
        assert_true(fabsf(sparse.logits[i] - dense.logits[i]) <= 1e-4f);
    session_record_free(&sparse);
    session_record_free(&dense);
    session_case_close(&f);
}

static void all_blocks_in_reach_is_dense(void **state) {
    (void)state;
    if (!test_brief()) reach_of_all_is_dense(0);
    reach_of_all_is_dense(M3);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_family_matches_the_double_reference),
        cmocka_unit_test(an_index_branch_selects_as_the_double_reference_does),
        cmocka_unit_test(models_of_experts_come_in_all_sizes),
        cmocka_unit_test(index_keys_have_a_format_of_their_own),
        cmocka_unit_test(half_keys_and_values_stay_near),
        cmocka_unit_test(odd_shapes_match_too),
        cmocka_unit_test(weights_of_every_format_match_the_double_reference),
        cmocka_unit_test(experts_of_k_formats_match_the_double_reference),
        cmocka_unit_test(every_isa_selects_the_same),
        cmocka_unit_test(one_by_one_equals_chunks_equals_all_at_once),
        cmocka_unit_test(any_number_of_threads_gives_the_same_bits),
        cmocka_unit_test(all_blocks_in_reach_is_dense),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
