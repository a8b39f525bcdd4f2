/* test_params.c: parameters of a model: shapes refused, how they start, out by name and back. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "support/support.h"
#include "support/train_case.h"

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

/* Standard deviation of weights whose mean is 0. */
static double deviation_of(const params *p, tensor_role role, int32_t layer) {
    const param *t = params_of(p, role, layer, -1);
    double sum = 0, squares = 0, n = (double)(t->n_out * t->n_in);
    for (int64_t i = 0; i < t->n_out * t->n_in; i++) {
        sum += (double)p->w[t->at + i];
        squares += (double)p->w[t->at + i] * (double)p->w[t->at + i];
    }
    double deviation = sqrt(squares / n);
    assert_true(fabs(sum / n) < 0.1 * deviation);
    return deviation;
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
    assert_true(fabs(deviation_of(p, TENSOR_EMBED, -1) - 0.02) < 0.001);
    assert_true(p->w[params_of(p, TENSOR_Q_NORM, 1, -1)->at] == 1);       /* 2 with the 1 of M3 */
    assert_true(p->w[params_of(p, TENSOR_INDEX_K_NORM, 1, -1)->at] == 2); /* 3 */
    assert_true(p->w[params_of(p, TENSOR_ATTN_NORM, 0, -1)->at] == 0);
    params_fill(p, &(params_init){9, 0.02f, 1, 1, 0.5f});
    assert_true(fabs(deviation_of(p, TENSOR_EMBED, -1) - 0.5) < 0.02);
    assert_true(fabs(deviation_of(p, TENSOR_Q, 0) - 0.02) < 0.001);
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
    assert_fails(params_fill_index_from_heads(p, &err), MSA_E_UNSUPPORTED, &err,
                 "an index of width 24 can't start from heads");
    params_free(p);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(architectures_that_make_no_sense_are_refused),
        cmocka_unit_test(starting_weights_depend_on_seed_and_name_alone),
        cmocka_unit_test(weights_go_out_by_name_and_come_back),
        cmocka_unit_test(an_index_starts_from_the_means_of_heads),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
