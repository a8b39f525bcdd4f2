/* test_net_diagnose.c: recall and masses against their definition, in double; gradient norms. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "support/support.h"
#include "support/train_case.h"
#include "train/diagnose.h"
#include "train/net_state.h"

static const int32_t LENGTHS[] = {200, 20, 130};
enum { DOCS = 3, TOKENS = 350, MANY = 1000, BLOCKS = 13 };

/* Mass of each block for one query and group. */
static void mass_of(const net *n, const net_attn_acts *a, int64_t t, int64_t first, int32_t g,
                    double *mass) {
    int32_t group = n->shape.n_q_heads / n->shape.n_kv_heads, d = n->shape.head_dim;
    memset(mass, 0, BLOCKS * sizeof *mass);
    for (int32_t h = g * group; h < (g + 1) * group; h++) {
        double p[TOKENS], sum = 0;
        for (int64_t j = first; j <= t; j++) {
            double s = 0;
            for (int32_t c = 0; c < d; c++)
                s += (double)a->q[(t * n->shape.n_q_heads + h) * d + c] *
                     (double)a->k[(j * n->shape.n_kv_heads + g) * d + c];
            sum += p[j - first] = exp(s / sqrt(d));
        }
        for (int64_t j = first; j <= t; j++)
            mass[(j - first) / n->shape.block] += p[j - first] / sum / group;
    }
}

/* What the index branch scores each block with; the own one wins. */
static void scores_of(const net *n, const net_attn_acts *a, int64_t t, int64_t first, int32_t g,
                      double *best) {
    int32_t di = n->shape.index_dim;
    for (int b = 0; b < BLOCKS; b++) best[b] = -INFINITY;
    for (int64_t j = first; j <= t; j++) {
        double s = 0, *block = &best[(j - first) / n->shape.block];
        for (int32_t c = 0; c < di; c++)
            s += (double)a->qi[(t * n->shape.n_kv_heads + g) * di + c] * (double)a->ki[j * di + c];
        if (s > *block) *block = s;
    }
    best[(t - first) / n->shape.block] = INFINITY;
}

/* The k greatest of x as bits. */
static uint32_t best_of(const double *x, int32_t k) {
    uint32_t taken = 0;
    for (int32_t i = 0; i < k; i++) {
        int best = -1;
        for (int b = 0; b < BLOCKS; b++)
            if (!(taken >> b & 1) && (best < 0 || x[b] > x[best])) best = b;
        taken |= 1u << best;
    }
    return taken;
}

static double sum_of(const double *x, uint32_t taken) {
    double sum = 0;
    for (int b = 0; b < BLOCKS; b++) sum += taken >> b & 1 ? x[b] : 0;
    return sum;
}

typedef struct finding {
    double recall, captured, oracle;
    int n_rows;
} finding;

static finding define(const net *n, int32_t layer, int32_t g, const train_batch *batch) {
    const net_attn_acts *a = &n->layers[layer].acts->attn;
    finding f = {0};
    int32_t k = n->shape.topk;
    for (int32_t doc = 0; doc < batch->n_docs; doc++) {
        int64_t first = batch->cu_seqlens[doc];
        for (int64_t t = first + (int64_t)k * n->shape.block; t < batch->cu_seqlens[doc + 1]; t++) {
            double mass[BLOCKS], best[BLOCKS];
            mass_of(n, a, t, first, g, mass);
            scores_of(n, a, t, first, g, best);
            uint32_t chosen = best_of(best, k), oracle = best_of(mass, k);
            f.captured += sum_of(mass, chosen);
            f.oracle += sum_of(mass, oracle);
            f.recall += (double)__builtin_popcount(chosen & oracle) / k;
            f.n_rows++;
        }
    }
    return f;
}

static void check_mode(bool sparse) {
    arch a = train_arch_m3();
    params *p = train_params(&a, 4);
    train_batch batch = train_batch_make(&a, LENGTHS, DOCS, 4);
    net *n;
    diagnose *d;
    msa_error err;
    net_losses losses = {0};
    net_mode mode = train_mode();
    mode.sparse = sparse;
    assert_ok(net_create(&n, p, TOKENS, false, 2, &err), &err);
    assert_ok(diagnose_create(&d, n, MANY, &err), &err);
    net_watch(n, d);
    for (int i = 0; i < 2; i++) /* means, not sums */
        assert_ok(net_evaluate(n, &batch, &mode, &losses, &err), &err);
    diagnose_means means = diagnose_read(d);
    double recall = 0;
    for (int32_t layer = 1; layer < a.n_layers; layer++)
        for (int32_t g = 0; g < a.n_kv_heads; g++) {
            finding f = define(n, layer, g, &batch);
            int32_t at = layer * a.n_kv_heads + g;
            assert_int_equal(means.n_rows, 2 * f.n_rows);
            assert_true(fabs(means.recall_of[at] - f.recall / f.n_rows) < 1e-3);
            assert_true(fabs(means.captured_of[at] - f.captured / f.n_rows) < 1e-4);
            assert_true(fabs(means.oracle_of[at] - f.oracle / f.n_rows) < 1e-5);
            recall += f.recall / f.n_rows / 4;
        }
    assert_true(fabs(means.recall - recall) < 1e-3 && recall > 0.2 && recall < 1);
    assert_true(means.captured < means.oracle && means.oracle < 1);
    diagnose_reset(d);
    assert_int_equal(diagnose_read(d).n_rows, 0);
    net_watch(n, NULL);
    diagnose_free(d);
    net_free(n);
    params_free(p);
    train_batch_free(&batch);
}

static void recall_and_masses_are_what_they_are_defined_to_be(void **state) {
    (void)state;
    check_mode(false);
    check_mode(true);
}

static void watching_changes_no_bit_of_a_step(void **state) {
    (void)state;
    arch a = train_arch_m3();
    params *p = train_params(&a, 4), *q = train_params(&a, 4);
    train_batch batch = train_batch_make(&a, LENGTHS, DOCS, 4);
    net *n, *m;
    diagnose *d;
    msa_error err;
    net_losses losses = {0};
    net_mode mode = train_mode();
    mode.kl = NET_KL_VISIBLE;
    assert_ok(net_create(&n, p, TOKENS, true, 2, &err), &err);
    assert_ok(net_create(&m, q, TOKENS, true, 2, &err), &err);
    assert_ok(diagnose_create(&d, n, 16, &err), &err);
    net_watch(n, d);
    assert_ok(net_step(n, &batch, &mode, 1, &losses, &err), &err);
    assert_ok(net_step(m, &batch, &mode, 1, &losses, &err), &err);
    assert_memory_equal(p->g, q->g, (size_t)p->n_floats * sizeof(float));
    assert_int_equal(diagnose_read(d).n_rows, 16);
    double index[4], rest[4], sum = 0, all = 0;
    diagnose_gradients(p, index, rest, 2);
    assert_true(index[0] == 0 && index[3] == 0 && index[1] > 0 && rest[3] > 0);
    for (int i = 0; i < 4; i++) sum += index[i] * index[i] + rest[i] * rest[i];
    for (int64_t i = 0; i < p->n_floats; i++) all += (double)p->g[i] * (double)p->g[i];
    assert_true(fabs(sum - all) < 1e-9 * all);
    diagnose_free(d);
    net_free(n);
    net_free(m);
    params_free(p);
    params_free(q);
    train_batch_free(&batch);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(recall_and_masses_are_what_they_are_defined_to_be),
        cmocka_unit_test(watching_changes_no_bit_of_a_step),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
