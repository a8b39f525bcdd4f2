/* test_net_curves.c: loss curves of 200 steps of every recipe against PyTorch's in float64, from
 * the same weights and batches (tests/oracle/train_net.py). */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "nn/adamw.h"
#include "support/golden.h"
#include "support/support.h"
#include "support/train_case.h"

enum { STEPS = 200, BATCHES = 16, DOCS = 3 };
static const int32_t LENGTHS[DOCS] = {130, 70, 40};

typedef struct phase {
    int until; /* step */
    net_mode mode;
} phase;

typedef struct recipe {
    const char *name;
    bool frozen; /* the backbone */
    phase phases[3];
} recipe;

#define LM .lm = true, .lambda = 0.5f, .detach = true, .seed = 5
#define WARM                                                                                       \
    { LM, .kl = NET_KL_VISIBLE }
#define MSA                                                                                        \
    { LM, .sparse = true, .kl = NET_KL_SELECTED }
static const recipe RECIPES[] = {
    {"full", false, {{STEPS, {LM}}}},
    {"pt", false, {{40, WARM}, {STEPS, MSA}}},
    {"cpt", false, {{100, {LM}}, {140, WARM}, {STEPS, MSA}}},
    {"index_only", true, {{STEPS, {.lambda = 0.5f, .detach = true, .kl = NET_KL_FAR}}}},
};

static void update(params *p, float *m, float *v, int64_t number) {
    for (int32_t k = 0; k < p->n; k++) {
        const param *t = &p->list[k];
        adamw_step adam = {.lr = 1e-3,
                           .beta1 = 0.9,
                           .beta2 = 0.95,
                           .eps = 1e-8,
                           .weight_decay = t->decay ? 0.1 : 0,
                           .step = number,
                           .grad_scale = 1};
        if (!t->frozen)
            adamw_run(&adam, p->w + t->at, p->g + t->at, m + t->at, v + t->at, t->n_out * t->n_in,
                      2);
    }
    memset(p->g, 0, (size_t)p->n_floats * sizeof(float));
}

/* Trains and compares as it goes. */
static void run(net *n, params *p, const recipe *r, train_batch *batches, const golden *g) {
    char key[32];
    snprintf(key, sizeof key, "%s.lm", r->name);
    const float *lm = golden_f32(g, key, STEPS);
    snprintf(key, sizeof key, "%s.kl", r->name);
    const float *kl = golden_f32(g, key, STEPS);
    float *m = calloc((size_t)p->n_floats, sizeof *m), *v = calloc((size_t)p->n_floats, sizeof *v);
    assert_true(m && v);
    const phase *now = r->phases;
    double worst_lm = 0, worst_kl = 0;
    for (int step = 0; step < (test_brief() ? 30 : STEPS); step++) {
        msa_error err;
        net_losses losses = {0};
        while (step >= now->until) now++;
        assert_ok(net_step(n, &batches[step % BATCHES], &now->mode, 1, &losses, &err), &err);
        worst_lm = larger_error(worst_lm, losses.lm - (double)lm[step]);
        worst_kl = larger_error(worst_kl, losses.kl - (double)kl[step]);
        update(p, m, v, step + 1);
    }
    free(m);
    free(v);
    print_message("%s: lm within %.1e, kl within %.1e\n", r->name, worst_lm, worst_kl);
    assert_true(worst_lm < 1e-3 && worst_kl < 1e-3);
}

static void check_recipe(const golden *g, const recipe *r) {
    arch a = train_arch_m3();
    a.n_layers = 2;
    params *p = train_params(&a, (uint64_t)golden_int(g, "seed"));
    /* Far apart, so that few tokens are nearly tied between two experts. */
    for (int32_t i = 0; i < a.n_layers * a.moe.n_experts; i++) p->router_bias[i] *= 16;
    params_freeze(p, r->frozen, false);
    train_batch batches[BATCHES];
    for (int i = 0; i < BATCHES; i++)
        batches[i] = train_batch_make(&a, LENGTHS, DOCS, 100 + (uint64_t)i);
    net *n;
    msa_error err;
    assert_ok(net_create(&n, p, batches[0].n_tokens, false, 2, &err), &err);
    run(n, p, r, batches, g);
    net_free(n);
    params_free(p);
    for (int i = 0; i < BATCHES; i++) train_batch_free(&batches[i]);
}

static void curves_equal_those_of_pytorch(void **state) {
    (void)state;
    golden *g = golden_open("train_curves");
    for (size_t i = 0; i < sizeof RECIPES / sizeof *RECIPES; i++) check_recipe(g, &RECIPES[i]);
    golden_close(g);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(curves_equal_those_of_pytorch)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
