/* test_net.c: a whole model forward and backward: gradients against PyTorch's autograd in float64,
 * what moves what, and what must not change a bit. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/random.h"
#include "support/golden.h"
#include "support/scarce.h"
#include "support/support.h"
#include "support/train_case.h"
#include "train/net.h"

static const int32_t LENGTHS[] = {200, 1, 33, 64, 17};
enum { DOCS = 5, TOKENS = 315, SIGNS = 77 };

typedef struct fixture {
    arch a;
    params *p;
    train_batch batch;
    net *n;
    double kl[16];
    float nll[TOKENS];
    int32_t predicted[TOKENS];
    net_losses losses;
} fixture;

static fixture *make(const arch *a, uint64_t seed, bool checkpoint, int n_threads) {
    fixture *f = calloc(1, sizeof *f);
    msa_error err;
    assert_non_null(f);
    f->a = *a;
    f->p = train_params(a, seed);
    f->batch = train_batch_make(a, LENGTHS, DOCS, seed);
    f->losses = (net_losses){.kl_layer = f->kl, .nll = f->nll, .predicted = f->predicted};
    assert_ok(net_create(&f->n, f->p, TOKENS + 3, checkpoint, n_threads, &err), &err);
    return f;
}

static void drop(fixture *f) {
    net_free(f->n);
    params_free(f->p);
    train_batch_free(&f->batch);
    free(f);
}

static void step(fixture *f, const net_mode *mode) {
    msa_error err;
    assert_ok(net_step(f->n, &f->batch, mode, 1, &f->losses, &err), &err);
}

typedef enum model { M3, M3_VALUE, LLAMA, QWEN2, QWEN3 } model;

typedef struct named_case {
    const char *name;
    model model;
    net_mode mode;
} named_case;

#define BASE     .lm = true, .lambda = 0.5f, .detach = true, .seed = 5
#define SPARSE   .sparse = true
#define KL(kind) .kl = NET_KL_##kind
static const named_case CASES[] = {
    {"m3_dense", M3, {BASE}},
    {"m3_warm", M3, {BASE, KL(VISIBLE)}},
    {"m3_sparse", M3, {BASE, SPARSE, KL(SELECTED)}},
    {"m3_sparse_visible", M3, {BASE, SPARSE, KL(VISIBLE)}},
    {"m3_far", M3, {.lm = true, .lambda = 2, .detach = true, .seed = 5, SPARSE, KL(FAR)}},
    {"m3_warm_far_rows", M3, {BASE, KL(FAR), .kl_rows = 20}},
    {"m3_rows", M3, {BASE, SPARSE, KL(SELECTED), .kl_rows = 15}},
    {"m3_no_detach", M3, {.lm = true, .lambda = 0.5f, .seed = 5, SPARSE, KL(SELECTED)}},
    {"m3_no_detach_kl", M3, {.lambda = 0.5f, .seed = 5, KL(VISIBLE)}},
    {"m3_index_only", M3, {.lambda = 0.5f, .detach = true, .seed = 5, KL(FAR)}},
    {"m3_window", M3, {BASE, SPARSE, .selection = NET_SELECT_SINK_WINDOW}},
    {"m3_random", M3, {BASE, SPARSE, .selection = NET_SELECT_RANDOM, KL(SELECTED)}},
    {"m3_value_warm", M3_VALUE, {BASE, KL(VISIBLE), .index_value = true}},
    {"m3_value",
     M3_VALUE,
     {.lm = true, .lambda = 0.5f, .seed = 5, SPARSE, KL(SELECTED), .index_value = true}},
    {"m3_lm_index_dense", M3, {BASE, .lm_index = true}},
    {"m3_lm_index", M3, {BASE, SPARSE, .lm_index = true}},
    {"llama_dense", LLAMA, {BASE}},
    {"llama_warm", LLAMA, {BASE, KL(VISIBLE)}},
    {"llama_sparse", LLAMA, {BASE, SPARSE, KL(SELECTED)}},
    {"llama_far", LLAMA, {BASE, SPARSE, KL(FAR), .kl_rows = 25}},
    {"qwen2_sparse", QWEN2, {BASE, SPARSE, KL(SELECTED)}},
    {"qwen3_sparse", QWEN3, {BASE, SPARSE, KL(SELECTED)}},
};
enum { N_CASES = sizeof CASES / sizeof *CASES };

static arch arch_of(const named_case *c) {
    arch a = c->model <= M3_VALUE ? train_arch_m3() : train_arch_llama();
    a.index.value = c->model == M3_VALUE;
    if (c->model == QWEN2) a.family = ARCH_QWEN2, a.qkv_bias = true;
    if (c->model == QWEN3) a.family = ARCH_QWEN3, a.qk_norm = true;
    return a;
}

/* The norm of a gradient and its products with eight vectors of signs. */
static void summarise(const params *p, int32_t k, double out[9]) {
    const param *t = &p->list[k];
    uint64_t stream = random_stream(SIGNS, (uint64_t)k);
    memset(out, 0, 9 * sizeof *out);
    for (int64_t i = 0; i < t->n_out * t->n_in; i++) {
        double g = (double)p->g[t->at + i];
        uint64_t bits = random_u64(stream, (uint64_t)i);
        out[0] += g * g;
        for (int j = 0; j < 8; j++) out[1 + j] += bits >> j & 1 ? -g : g;
    }
    out[0] = sqrt(out[0]);
}

static void check_gradients(const params *p, const char *name, const float *expected) {
    for (int32_t k = 0; k < p->n; k++) {
        double found[9], norm = (double)expected[k * 9];
        summarise(p, k, found);
        for (int j = 0; j < 9; j++) {
            double error = fabs(found[j] - (double)expected[k * 9 + j]);
            if (!(error <= 1e-4 * norm))
                fail_msg("%s: %s: %s %d is %.9g, expected %.9g (norm %.9g)", name, p->list[k].name,
                         j ? "product" : "norm", j, found[j], (double)expected[k * 9 + j], norm);
        }
    }
}

static void check_case(const golden *g, const named_case *c) {
    char key[64];
    arch a = arch_of(c);
    snprintf(key, sizeof key, "%s.seed", c->name);
    fixture *f = make(&a, (uint64_t)golden_int(g, key), false, 2);
    step(f, &c->mode);
    snprintf(key, sizeof key, "%s.losses", c->name);
    const float *losses = golden_f32(g, key, 2);
    if (c->mode.lm && fabs(f->losses.lm - (double)losses[0]) > 2e-6 * (double)losses[0])
        fail_msg("%s: loss %.9g, expected %.9g", c->name, f->losses.lm, (double)losses[0]);
    if (!(fabs(f->losses.kl - (double)losses[1]) <= 2e-6))
        fail_msg("%s: KL %.9g, expected %.9g", c->name, f->losses.kl, (double)losses[1]);
    int32_t cells = a.n_layers * a.n_kv_heads;
    snprintf(key, sizeof key, "%s.kl", c->name);
    const float *kl = golden_f32(g, key, (size_t)cells);
    for (int32_t i = 0; i < cells; i++) assert_true(fabs(f->kl[i] - (double)kl[i]) <= 4e-6);
    snprintf(key, sizeof key, "%s.gradients", c->name);
    check_gradients(f->p, c->name, golden_f32(g, key, (size_t)f->p->n * 9));
    if (a.moe.present) {
        snprintf(key, sizeof key, "%s.load", c->name);
        size_t n = (size_t)(a.n_layers * a.moe.n_experts);
        const int32_t *load = golden_i32(g, key, n);
        for (size_t i = 0; i < n; i++) assert_int_equal(net_load(f->n)[i], load[i]);
    }
    drop(f);
}

static void losses_and_gradients_equal_those_of_pytorch(void **state) {
    (void)state;
    golden *g = golden_open("train_grad");
    for (int i = 0; i < N_CASES; i++)
        if (!test_brief() || i % 4 == 2) check_case(g, &CASES[i]);
    golden_close(g);
}

static bool is_zero(const params *p, bool index) {
    for (int32_t k = 0; k < p->n; k++) {
        const param *t = &p->list[k];
        for (int64_t i = 0; t->index == index && i < t->n_out * t->n_in; i++)
            if (p->g[t->at + i] != 0) return false;
    }
    return true;
}

static void without_kl_no_index_weight_moves(void **state) {
    (void)state;
    arch a = train_arch_m3();
    fixture *f = make(&a, 0, false, 2);
    net_mode mode = train_mode();
    mode.sparse = true;
    step(f, &mode);
    assert_true(is_zero(f->p, true));
    assert_false(is_zero(f->p, false));
    drop(f);
}

static void kl_moves_index_weights_and_no_bit_of_another_gradient(void **state) {
    (void)state;
    arch a = train_arch_m3();
    for (int sparse = 0; sparse < 2; sparse++) {
        fixture *with = make(&a, 0, false, 2), *without = make(&a, 0, false, 2);
        net_mode mode = train_mode();
        mode.sparse = sparse;
        step(without, &mode);
        mode.kl = sparse ? NET_KL_SELECTED : NET_KL_VISIBLE;
        step(with, &mode);
        assert_false(is_zero(with->p, true));
        for (int32_t k = 0; k < with->p->n; k++) {
            const param *t = &with->p->list[k];
            if (!t->index)
                assert_memory_equal(with->p->g + t->at, without->p->g + t->at,
                                    (size_t)(t->n_out * t->n_in) * sizeof(float));
        }
        memset(with->p->g, 0, (size_t)with->p->n_floats * sizeof(float));
        mode.lm = false;
        step(with, &mode);
        assert_true(is_zero(with->p, false));
        assert_false(is_zero(with->p, true));
        drop(with);
        drop(without);
    }
}

/* Copies every tensor that both have. */
static void copy_weights(params *to, const params *from) {
    for (int32_t k = 0; k < to->n; k++) {
        const param *t = params_find(from, to->list[k].name);
        memcpy(to->w + to->list[k].at, from->w + t->at,
               (size_t)(t->n_out * t->n_in) * sizeof(float));
    }
}

static void warm_up_leaves_the_main_branch_dense_to_the_bit(void **state) {
    (void)state;
    arch a = train_arch_m3();
    a.index.block = 128; /* what a model without an index is cut into; sums follow the blocks */
    arch plain = a;
    plain.index.present = false;
    fixture *warm = make(&a, 3, false, 2), *dense = make(&plain, 3, false, 2);
    copy_weights(dense->p, warm->p);
    net_mode mode = train_mode();
    step(dense, &mode);
    mode.kl = NET_KL_VISIBLE;
    step(warm, &mode);
    assert_true(warm->losses.kl > 0);
    assert_true(warm->losses.lm == dense->losses.lm);
    assert_memory_equal(warm->nll, dense->nll, sizeof warm->nll);
    for (int32_t k = 0; k < dense->p->n; k++) {
        const param *t = &dense->p->list[k], *u = params_find(warm->p, t->name);
        assert_memory_equal(dense->p->g + t->at, warm->p->g + u->at,
                            (size_t)(t->n_out * t->n_in) * sizeof(float));
    }
    drop(warm);
    drop(dense);
}

static void assert_same_step(const fixture *a, const fixture *b) {
    assert_true(a->losses.lm == b->losses.lm && a->losses.kl == b->losses.kl);
    assert_memory_equal(a->kl, b->kl, sizeof a->kl);
    assert_memory_equal(a->nll, b->nll, sizeof a->nll);
    assert_memory_equal(a->predicted, b->predicted, sizeof a->predicted);
    assert_memory_equal(a->p->g, b->p->g, (size_t)a->p->n_floats * sizeof(float));
}

static void the_bits_depend_neither_on_threads_nor_on_checkpointing(void **state) {
    (void)state;
    for (int i = 0; i < N_CASES; i++) {
        if (test_brief() && i % 4 != 2) continue;
        arch a = arch_of(&CASES[i]);
        fixture *first = make(&a, 1, false, 1);
        step(first, &CASES[i].mode);
        for (int n_threads = 1; n_threads <= 3; n_threads++) {
            fixture *f = make(&a, 1, n_threads != 2, n_threads);
            net_mode mode = CASES[i].mode;
            mode.checkpoint = n_threads != 2;
            step(f, &mode);
            assert_same_step(first, f);
            drop(f);
        }
        drop(first);
    }
}

static void a_second_step_finds_nothing_of_the_first(void **state) {
    (void)state;
    arch a = train_arch_m3();
    net_mode sparse = CASES[2].mode, dense = CASES[1].mode;
    fixture *f = make(&a, 1, false, 2), *fresh = make(&a, 1, false, 2);
    step(f, &dense);
    train_batch all = f->batch; /* a shorter batch between */
    f->batch.n_docs = 2;
    f->batch.n_tokens = f->batch.cu_seqlens[2];
    step(f, &sparse);
    f->batch = all;
    memset(f->p->g, 0, (size_t)f->p->n_floats * sizeof(float));
    step(f, &sparse);
    step(fresh, &sparse);
    assert_same_step(f, fresh);
    drop(f);
    drop(fresh);
}

static void gradients_add_up_and_scale(void **state) {
    (void)state;
    arch a = train_arch_llama();
    fixture *once = make(&a, 1, false, 2), *twice = make(&a, 1, false, 2);
    msa_error err;
    step(once, &CASES[18].mode);
    for (int i = 0; i < 2; i++)
        assert_ok(net_step(twice->n, &twice->batch, &CASES[18].mode, 0.5f, &twice->losses, &err),
                  &err);
    double worst = 0, most = 0;
    for (int64_t i = 0; i < once->p->n_floats; i++) {
        double g = (double)once->p->g[i];
        worst = larger_error(worst, (double)twice->p->g[i] - g);
        most = larger_error(most, g);
    }
    assert_true(most > 0 && worst < 1e-5 * most);
    drop(once);
    drop(twice);
}

static void frozen_weights_get_no_gradient_and_change_no_other(void **state) {
    (void)state;
    arch a = train_arch_m3();
    fixture *f = make(&a, 1, false, 2), *all = make(&a, 1, false, 2);
    params_freeze(f->p, true, false);
    step(f, &CASES[2].mode);
    step(all, &CASES[2].mode);
    assert_true(is_zero(f->p, false));
    for (int32_t k = 0; k < f->p->n; k++) {
        const param *t = &f->p->list[k];
        if (t->index)
            assert_memory_equal(f->p->g + t->at, all->p->g + t->at,
                                (size_t)(t->n_out * t->n_in) * sizeof(float));
    }
    drop(f);
    drop(all);
}

static void evaluation_gives_the_losses_of_a_step_and_no_gradient(void **state) {
    (void)state;
    arch a = train_arch_m3();
    fixture *f = make(&a, 1, false, 2), *other = make(&a, 1, true, 2);
    msa_error err;
    step(f, &CASES[2].mode);
    assert_ok(net_evaluate(other->n, &other->batch, &CASES[2].mode, &other->losses, &err), &err);
    assert_true(is_zero(other->p, false) && is_zero(other->p, true));
    memset(f->p->g, 0, (size_t)f->p->n_floats * sizeof(float));
    assert_same_step(f, other);
    double sum = 0;
    int64_t n_targets = 0;
    for (int t = 0; t < TOKENS; t++) {
        assert_true((f->batch.targets[t] >= 0) == (f->predicted[t] >= 0));
        n_targets += f->batch.targets[t] >= 0;
        sum += (double)f->nll[t];
    }
    assert_int_equal(n_targets, f->losses.n_targets);
    assert_true(fabs(sum / (double)n_targets - f->losses.lm) < 1e-5);
    drop(f);
    drop(other);
}

/* The same documents in another order: each token's loss stays what it was, within rounding. */
static void documents_do_not_see_each_other(void **state) {
    (void)state;
    static const int32_t ORDER[DOCS] = {3, 0, 4, 2, 1};
    arch a = train_arch_m3();
    fixture *f = make(&a, 2, false, 2), *moved = make(&a, 2, false, 2);
    train_batch *b = &moved->batch;
    for (int32_t d = 0; d < DOCS; d++) {
        int32_t from = f->batch.cu_seqlens[ORDER[d]], n = LENGTHS[ORDER[d]];
        b->cu_seqlens[d + 1] = b->cu_seqlens[d] + n;
        for (int32_t t = 0; t < n; t++) {
            b->ids[b->cu_seqlens[d] + t] = f->batch.ids[from + t];
            b->targets[b->cu_seqlens[d] + t] = f->batch.targets[from + t];
        }
    }
    step(f, &CASES[2].mode);
    step(moved, &CASES[2].mode);
    double worst = 0;
    for (int32_t d = 0; d < DOCS; d++)
        for (int32_t t = 0; t < LENGTHS[ORDER[d]]; t++)
            worst = larger_error(worst, (double)moved->nll[b->cu_seqlens[d] + t] -
                                            (double)f->nll[f->batch.cu_seqlens[ORDER[d]] + t]);
    assert_true(worst < 2e-5);
    assert_true(fabs(f->losses.kl - moved->losses.kl) < 1e-6);
    drop(f);
    drop(moved);
}

/* A changed token changes nothing before it, and nothing in other documents. */
static void nothing_looks_ahead(void **state) {
    (void)state;
    arch a = train_arch_m3();
    fixture *f = make(&a, 2, false, 2), *changed = make(&a, 2, false, 2);
    enum { AT = 150 };
    changed->batch.ids[AT] = (changed->batch.ids[AT] + 1) % a.n_vocab;
    step(f, &CASES[2].mode);
    step(changed, &CASES[2].mode);
    for (int t = 0; t < TOKENS; t++)
        if (t < AT || t >= LENGTHS[0]) assert_true(fabsf(f->nll[t] - changed->nll[t]) < 1e-5f);
    assert_true(fabsf(f->nll[AT + 1] - changed->nll[AT + 1]) > 1e-4f);
    drop(f);
    drop(changed);
}

typedef struct refusal {
    net_mode mode;
    msa_status status;
    const char *word;
} refusal;

static void modes_that_make_no_sense_are_refused(void **state) {
    (void)state;
    const refusal refusals[] = {
        {{BASE, .fp8_p = true}, MSA_E_UNSUPPORTED, "fp8_p"},
        {{BASE, .checkpoint = true}, MSA_E_ARG, "checkpoint"},
        {{BASE, KL(SELECTED)}, MSA_E_ARG, "sparse"},
        {{BASE, .index_value = true}, MSA_E_ARG, "index_value"},
        {{BASE, .lm_index = true, KL(VISIBLE)}, MSA_E_ARG, "lm_index"},
        {{.detach = true, .lm_index = true}, MSA_E_ARG, "lm"},
        {{BASE, .kl_rows = -1}, MSA_E_ARG, "kl_rows"},
    };
    arch a = train_arch_m3(), plain = a;
    fixture *f = make(&a, 2, false, 2);
    msa_error err;
    for (size_t i = 0; i < sizeof refusals / sizeof *refusals; i++)
        assert_fails(net_step(f->n, &f->batch, &refusals[i].mode, 1, &f->losses, &err),
                     refusals[i].status, &err, refusals[i].word);
    assert_true(is_zero(f->p, false) && is_zero(f->p, true));
    drop(f);
    plain.index.present = false;
    f = make(&plain, 2, false, 2);
    assert_fails(net_step(f->n, &f->batch, &CASES[2].mode, 1, &f->losses, &err), MSA_E_ARG, &err,
                 "index");
    drop(f);
}

static void batches_that_make_no_sense_are_refused(void **state) {
    (void)state;
    arch a = train_arch_m3();
    fixture *f = make(&a, 2, false, 2);
    net_mode mode = train_mode();
    msa_error err;
    int32_t kept = f->batch.ids[7];
    f->batch.ids[7] = a.n_vocab;
    assert_fails(net_step(f->n, &f->batch, &mode, 1, &f->losses, &err), MSA_E_ARG, &err, "token 7");
    f->batch.ids[7] = kept;
    f->batch.targets[9] = -2;
    assert_fails(net_step(f->n, &f->batch, &mode, 1, &f->losses, &err), MSA_E_ARG, &err, "token 9");
    f->batch.targets[9] = -1;
    f->batch.cu_seqlens[2] = 500;
    assert_fails(net_step(f->n, &f->batch, &mode, 1, &f->losses, &err), MSA_E_ARG, &err, "falls");
    f->batch.cu_seqlens[2] = 201;
    f->batch.n_tokens = TOKENS + 10;
    assert_fails(net_step(f->n, &f->batch, &mode, 1, &f->losses, &err), MSA_E_ARG, &err, "tokens");
    f->batch.n_tokens = TOKENS;
    step(f, &mode);
    drop(f);
}

static void architectures_that_make_no_sense_are_refused(void **state) {
    (void)state;
    msa_error err;
    params *p;
    arch a = train_arch_m3();
    a.n_kv_heads = 3;
    assert_fails(params_create(&p, &a, &err), MSA_E_ARG, &err, "n_kv_heads");
    a = train_arch_m3();
    a.n_rot = 18;
    assert_fails(params_create(&p, &a, &err), MSA_E_ARG, &err, "n_rot");
    a = train_arch_m3();
    a.moe.n_used = 9;
    assert_fails(params_create(&p, &a, &err), MSA_E_ARG, &err, "n_used");
    assert_null(p);
    a = train_arch_m3();
    a.index.block = 17;
    assert_ok(params_create(&p, &a, &err), &err);
    net *n;
    assert_fails(net_create(&n, p, 10, false, 1, &err), MSA_E_ARG, &err, "block");
    assert_null(n);
    params_free(p);
}

static void starting_weights_depend_on_seed_and_name_alone(void **state) {
    (void)state;
    msa_error err;
    arch a = train_arch_m3(), deeper = a;
    deeper.n_layers = 4;
    deeper.index.value = true;
    params *p, *q;
    assert_ok(params_create(&p, &a, &err), &err);
    assert_ok(params_create(&q, &deeper, &err), &err);
    const params_init init = {.seed = 9, .std = 0.02f, .qk_gain = 2, .index_gain = 3};
    params_fill(p, &init);
    params_fill(q, &init);
    const char *name = "model.layers.1.self_attn.index_q_proj.weight";
    const param *t = params_find(p, name), *u = params_find(q, name);
    assert_memory_equal(p->w + t->at, q->w + u->at, (size_t)(t->n_out * t->n_in) * 4);
    double sum = 0, squares = 0;
    t = params_of(p, TENSOR_EMBED, -1, -1);
    for (int64_t i = 0; i < t->n_out * t->n_in; i++) {
        sum += (double)p->w[t->at + i];
        squares += (double)p->w[t->at + i] * (double)p->w[t->at + i];
    }
    double n = (double)(t->n_out * t->n_in);
    assert_true(fabs(sum / n) < 0.002 && fabs(sqrt(squares / n) - 0.02) < 0.001);
    assert_true(p->w[params_of(p, TENSOR_Q_NORM, 1, -1)->at] == 1);       /* 2 with the 1 of M3 */
    assert_true(p->w[params_of(p, TENSOR_INDEX_K_NORM, 1, -1)->at] == 2); /* 3 */
    assert_true(p->w[params_of(p, TENSOR_ATTN_NORM, 0, -1)->at] == 0);
    params_free(p);
    params_free(q);
}

static void weights_go_out_by_name_and_come_back(void **state) {
    (void)state;
    msa_error err;
    arch a = train_arch_m3();
    params *p = train_params(&a, 3), *q;
    assert_ok(params_create(&q, &a, &err), &err);
    assert_ok(params_load(q, params_rows, p, false, &err), &err);
    for (int32_t k = 0; k < p->n; k++) {
        const param *t = &p->list[k];
        bool same = !memcmp(p->w + t->at, q->w + t->at, (size_t)(t->n_out * t->n_in) * 4);
        assert_true(same == !t->index);
    }
    assert_ok(params_load(q, params_rows, p, true, &err), &err);
    assert_memory_equal(p->w, q->w, (size_t)p->n_floats * 4);
    assert_memory_equal(p->router_bias + 5, q->router_bias + 5, 10 * 4); /* layers 1 and 2 */
    tensor_spec spec = tensor_spec_of(&a, TENSOR_Q, 1, -1);
    float row[64];
    assert_ok(params_rows(p, &spec, 63, 1, row, &err), &err);
    assert_memory_equal(row, p->w + params_find(p, spec.name)->at + 63 * 32, 32 * 4);
    assert_fails(params_rows(p, &spec, 63, 2, row, &err), MSA_E_ARG, &err, "q_proj");
    params_free(p);
    params_free(q);
}

static void an_index_starts_from_the_means_of_heads(void **state) {
    (void)state;
    msa_error err;
    arch a = train_arch_m3();
    params *p = train_params(&a, 3);
    assert_ok(params_fill_index_from_heads(p, &err), &err);
    const float *q = p->w + params_of(p, TENSOR_Q, 2, -1)->at;
    const float *k = p->w + params_of(p, TENSOR_K, 2, -1)->at;
    const float *iq = p->w + params_of(p, TENSOR_INDEX_Q, 2, -1)->at;
    const float *ik = p->w + params_of(p, TENSOR_INDEX_K, 2, -1)->at;
    enum { HEAD = 16 * 32 };
    for (int i = 0; i < HEAD; i++) {
        assert_true(fabsf(iq[HEAD + i] - (q[2 * HEAD + i] + q[3 * HEAD + i]) / 2) < 1e-6f);
        assert_true(fabsf(ik[i] - (k[i] + k[HEAD + i]) / 2) < 1e-6f);
    }
    params_free(p);
    a = train_arch_llama();
    p = train_params(&a, 3);
    assert_fails(params_fill_index_from_heads(p, &err), MSA_E_UNSUPPORTED, &err, "24");
    params_free(p);
}

/* docs/training.md, "How much memory a step takes". */
static double documented_floats(const arch *a, bool recompute) {
    double e = a->n_embd, q = (double)a->n_q_heads * a->head_dim;
    double v = (double)a->n_kv_heads * a->head_dim, index = (a->n_kv_heads + 1.0) * a->index.dim;
    double used = a->moe.n_used, late = a->n_layers - a->n_dense_layers;
    double attn = 3 * e + 3 * (q + v) + a->n_q_heads;
    double chosen = 2 * index + (double)a->n_kv_heads * a->index.topk;
    double mix = a->moe.n_experts + used * (2.0 * a->moe.n_ff + e + 4);
    double layers = a->n_layers * (e + attn) + late * (chosen + mix + 2.0 * a->moe.n_ff_shared) +
                    a->n_dense_layers * 2.0 * a->n_ff;
    if (recompute) layers = a->n_layers * e + attn + chosen + mix + 2.0 * a->n_ff;
    double widest = fmax(a->n_ff, fmax(used * a->moe.n_ff, a->moe.n_ff_shared));
    double back = 4 * e + 2 * q + 2 * v + 2 * widest + 4 * a->n_rot + index + 5;
    return layers + back + used * (2 * e + 1) + a->moe.n_experts;
}

static void memory_is_what_the_documentation_says(void **state) {
    (void)state;
    enum { T = 4096, MB = 1 << 20 };
    arch a = train_arch_m3();
    params *p = train_params(&a, 1);
    for (int recompute = 0; recompute < 2; recompute++) {
        net *n;
        msa_error err;
        assert_ok(net_create(&n, p, T, recompute, 1, &err), &err);
        double more = (double)net_bytes(n) - 4.0 * T * documented_floats(&a, recompute);
        if (!(more >= 0 && more < 2 * MB)) fail_msg("%g bytes more than documented", more);
        net_free(n);
    }
    params_free(p);
}

static void no_memory_is_an_error_and_leaks_nothing(void **state) {
    (void)state;
    arch a = train_arch_m3();
    params *p = train_params(&a, 1);
    msa_error err;
    long live = scarce_live();
    for (long i = 0; i < 20; i++) {
        net *n = NULL;
        scarce_begin(i);
        msa_status status = net_create(&n, p, 40, i % 2, 2, &err);
        bool failed = scarce_end();
        assert_int_equal(status, failed ? MSA_E_NOMEM : MSA_OK);
        assert_true(failed == (n == NULL));
        net_free(n);
        assert_int_equal(scarce_live(), live);
        if (!failed) break;
    }
    params_free(p);
}

static void a_step_short_of_memory_fails_and_the_next_succeeds(void **state) {
    (void)state;
    arch a = train_arch_m3();
    msa_error err;
    long live = scarce_live();
    int failures = 0;
    for (long i = 0;; i++) { /* a fresh network: its plans are made in the step */
        fixture *f = make(&a, 1, true, 2);
        scarce_begin(i);
        msa_status status = net_step(f->n, &f->batch, &CASES[2].mode, 1, &f->losses, &err);
        bool failed = scarce_end();
        assert_int_equal(status, failed ? MSA_E_NOMEM : MSA_OK);
        if (failed) step(f, &CASES[2].mode);
        drop(f);
        assert_int_equal(scarce_live(), live);
        if (!failed) break;
        failures++;
    }
    assert_true(failures > 4);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(losses_and_gradients_equal_those_of_pytorch),
        cmocka_unit_test(without_kl_no_index_weight_moves),
        cmocka_unit_test(kl_moves_index_weights_and_no_bit_of_another_gradient),
        cmocka_unit_test(warm_up_leaves_the_main_branch_dense_to_the_bit),
        cmocka_unit_test(the_bits_depend_neither_on_threads_nor_on_checkpointing),
        cmocka_unit_test(a_second_step_finds_nothing_of_the_first),
        cmocka_unit_test(gradients_add_up_and_scale),
        cmocka_unit_test(frozen_weights_get_no_gradient_and_change_no_other),
        cmocka_unit_test(evaluation_gives_the_losses_of_a_step_and_no_gradient),
        cmocka_unit_test(documents_do_not_see_each_other),
        cmocka_unit_test(nothing_looks_ahead),
        cmocka_unit_test(modes_that_make_no_sense_are_refused),
        cmocka_unit_test(batches_that_make_no_sense_are_refused),
        cmocka_unit_test(architectures_that_make_no_sense_are_refused),
        cmocka_unit_test(starting_weights_depend_on_seed_and_name_alone),
        cmocka_unit_test(weights_go_out_by_name_and_come_back),
        cmocka_unit_test(an_index_starts_from_the_means_of_heads),
        cmocka_unit_test(memory_is_what_the_documentation_says),
        cmocka_unit_test(no_memory_is_an_error_and_leaks_nothing),
        cmocka_unit_test(a_step_short_of_memory_fails_and_the_next_succeeds),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
