/* net_fixture.c: see net_fixture.h. */
#include "support/net_fixture.h"

#include <stdlib.h>
#include <string.h>

#include "support/support.h"

const int32_t LENGTHS[DOCS] = {200, 1, 33, 64, 17};

fixture *fixture_make(const arch *a, uint64_t seed, net_memory keep, int n_threads) {
    fixture *f = calloc(1, sizeof *f);
    msa_error err;
    assert_non_null(f);
    f->a = *a;
    f->p = train_params(a, seed);
    f->batch = train_batch_make(a, LENGTHS, DOCS, seed);
    f->losses = (net_losses){.kl_layer = f->kl, .nll = f->nll, .predicted = f->predicted};
    assert_ok(net_create(&f->n, f->p, TOKENS + 3, keep, n_threads, &err), &err);
    return f;
}

void fixture_drop(fixture *f) {
    net_free(f->n);
    params_free(f->p);
    train_batch_free(&f->batch);
    free(f);
}

void fixture_step(fixture *f, const net_mode *mode) {
    msa_error err;
    assert_ok(net_step(f->n, &f->batch, mode, 1, &f->losses, &err), &err);
}

void assert_same_step(const fixture *a, const fixture *b) {
    assert_true(a->losses.lm == b->losses.lm && a->losses.kl == b->losses.kl);
    assert_memory_equal(a->kl, b->kl, sizeof a->kl);
    assert_memory_equal(a->nll, b->nll, sizeof a->nll);
    assert_memory_equal(a->predicted, b->predicted, sizeof a->predicted);
    assert_memory_equal(a->p->g, b->p->g, (size_t)a->p->n_floats * sizeof(float));
}

bool gradients_are_zero(const params *p, bool index) {
    for (int32_t k = 0; k < p->n; k++) {
        const param *t = &p->list[k];
        for (int64_t i = 0; t->index == index && i < t->n_out * t->n_in; i++)
            if (p->g[t->at + i] != 0) return false;
    }
    return true;
}

const net_case CASES[N_CASES] = {
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
    {"m3_fp8_warm", M3, {BASE, KL(VISIBLE), .fp8_p = true}},
    {"m3_fp8", M3, {BASE, SPARSE, KL(SELECTED), .fp8_p = true}},
    {"llama_dense", LLAMA, {BASE}},
    {"llama_warm", LLAMA, {BASE, KL(VISIBLE)}},
    {"llama_sparse", LLAMA, {BASE, SPARSE, KL(SELECTED)}},
    {"llama_far", LLAMA, {BASE, SPARSE, KL(FAR), .kl_rows = 25}},
    {"qwen2_sparse", QWEN2, {BASE, SPARSE, KL(SELECTED)}},
    {"qwen3_sparse", QWEN3, {BASE, SPARSE, KL(SELECTED)}},
};

arch net_case_arch(const net_case *c) {
    arch a = c->model <= M3_VALUE ? train_arch_m3() : train_arch_llama();
    a.index.value = c->model == M3_VALUE;
    if (c->model == QWEN2) a.family = ARCH_QWEN2, a.qkv_bias = true;
    if (c->model == QWEN3) a.family = ARCH_QWEN3, a.qk_norm = true;
    return a;
}

const net_mode *net_case_mode(const char *name) {
    for (int i = 0; i < N_CASES; i++)
        if (!strcmp(CASES[i].name, name)) return &CASES[i].mode;
    fail_msg("no case '%s'", name);
    return NULL;
}
