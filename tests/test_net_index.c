/* test_net_index.c: the index branch learning alone: the numbers of a network that keeps
 * everything, steps that go on from one forward pass, weights that are frozen for ever. */
#include "support/support.h"

#include <math.h>
#include <string.h>

#include "support/net_fixture.h"

static msa_error err;

static const model MODELS[] = {M3, LLAMA, QWEN3};
static const net_kl SUPPORTS[] = {NET_KL_VISIBLE, NET_KL_FAR, NET_KL_FAR_MASS};
enum { N_MODELS = 3, N_SUPPORTS = 3 };

static arch arch_of(model m) {
    net_case c = {.model = m};
    return net_case_arch(&c);
}

static net_mode mode_of(net_kl kl, int32_t rows, uint64_t seed) {
    return (net_mode){.lambda = 2, .detach = true, .kl = kl, .kl_rows = rows, .seed = seed};
}

static void clear(fixture *f) {
    memset(f->p->g, 0, (size_t)(f->p->n_floats - f->p->trained) * sizeof(float));
}

/* The distance of two gradients of the index branch, of their size. */
static double difference(const params *a, const params *b) {
    double far = 0, size = 0;
    for (int32_t i = 0; i < a->n; i++) {
        const param *x = &a->list[i], *y = &b->list[i];
        if (!x->index) continue;
        for (int64_t j = 0; j < x->n_out * x->n_in; j++) {
            double u = (double)a->g[x->at - a->trained + j];
            double v = (double)b->g[y->at - b->trained + j];
            far += (u - v) * (u - v), size += u * u;
        }
    }
    assert_true(size > 0);
    return sqrt(far / size);
}

static void an_index_that_learns_alone_learns_the_same(void **state) {
    (void)state;
    for (int m = 0; m < N_MODELS; m++)
        for (int k = 0; k < N_SUPPORTS; k++)
            for (int32_t rows = 0; rows <= 20; rows += 20) {
                arch a = arch_of(MODELS[m]);
                net_mode mode = mode_of(SUPPORTS[k], rows, 5);
                fixture *all = fixture_make(&a, 1, NET_KEEP_ALL, 2);
                fixture *alone = fixture_make(&a, 1, NET_KEEP_INDEX, 2);
                assert_true(net_bytes(alone->n) < net_bytes(all->n));
                fixture_step(all, &mode);
                fixture_step(alone, &mode);
                assert_true(fabs(all->losses.kl - alone->losses.kl) < 1e-6);
                assert_true(difference(all->p, alone->p) < 1e-5);
                assert_true(gradients_are_zero(alone->p, false));
                fixture_drop(all);
                fixture_drop(alone);
            }
}

static void move_index(params *p) {
    for (int32_t i = 0; i < p->n; i++)
        for (int64_t j = 0; p->list[i].index && j < p->list[i].n_out * p->list[i].n_in; j++)
            p->w[p->list[i].at + j] *= 1.25f;
}

static void a_step_that_goes_on_is_a_step_of_its_own_to_the_bit(void **state) {
    (void)state;
    for (int m = 0; m < N_MODELS; m++)
        for (int k = 0; k < N_SUPPORTS; k++) {
            arch a = arch_of(MODELS[m]);
            fixture *on = fixture_make(&a, 1, NET_KEEP_INDEX, 3);
            fixture *fresh = fixture_make(&a, 1, NET_KEEP_INDEX, 1);
            net_mode first = mode_of(SUPPORTS[k], 20, 5), next = mode_of(SUPPORTS[k], 30, 6);
            fixture_step(on, &first);
            move_index(on->p);
            move_index(fresh->p);
            clear(on);
            assert_ok(net_step_again(on->n, &next, 1, &on->losses, &err), &err);
            fixture_step(fresh, &next);
            assert_same_step(on, fresh);
            fixture_drop(on);
            fixture_drop(fresh);
        }
}

static void frozen_weights_have_no_gradients_and_change_no_bit(void **state) {
    (void)state;
    arch a = train_arch_m3();
    net_mode mode = mode_of(NET_KL_FAR, 20, 5);
    fixture *f = fixture_make(&a, 1, NET_KEEP_INDEX, 2);
    params *p;
    net *n;
    assert_ok(params_create_frozen(&p, &a, &err), &err);
    assert_true(params_bytes(p) < params_bytes(f->p) / 2);
    for (int32_t i = 0; i < p->n; i++) {
        const param *t = &p->list[i];
        assert_true(t->frozen == !t->index && (t->at >= p->trained) == t->index);
        memcpy(p->w + t->at, f->p->w + f->p->list[i].at, (size_t)(t->n_out * t->n_in) * 4);
    }
    memcpy(p->router_bias, f->p->router_bias, (size_t)(a.n_layers * a.moe.n_experts) * 4);
    assert_ok(net_create(&n, p, TOKENS, NET_KEEP_INDEX, 2, &err), &err);
    net_losses losses = {0};
    fixture_step(f, &mode);
    assert_ok(net_step(n, &f->batch, &mode, 1, &losses, &err), &err);
    assert_true(losses.kl == f->losses.kl);
    assert_true(difference(f->p, p) == 0);
    params_freeze(p, false, false);
    assert_true(p->list[0].frozen);
    net_free(n);
    params_free(p);
    fixture_drop(f);
}

static void what_has_nothing_to_go_on_from_is_refused(void **state) {
    (void)state;
    arch a = train_arch_llama();
    fixture *f = fixture_make(&a, 1, NET_KEEP_INDEX, 2);
    net_mode far = mode_of(NET_KL_FAR, 20, 5), seen = mode_of(NET_KL_VISIBLE, 20, 5), lm = far;
    net_mode mass = mode_of(NET_KL_FAR_MASS, 20, 5);
    lm.lm = mass.sparse = true;
    static const char WHY[] = "no step before";
    assert_fails(net_step_again(f->n, &far, 1, &f->losses, &err), MSA_E_ARG, &err, WHY);
    fixture_step(f, &far);
    assert_fails(net_step_again(f->n, &seen, 1, &f->losses, &err), MSA_E_ARG, &err, WHY);
    assert_fails(net_step_again(f->n, &lm, 1, &f->losses, &err), MSA_E_ARG, &err, WHY);
    assert_ok(net_step_again(f->n, &far, 1, &f->losses, &err), &err);
    assert_ok(net_evaluate(f->n, &f->batch, &far, &f->losses, &err), &err);
    assert_fails(net_step_again(f->n, &far, 1, &f->losses, &err), MSA_E_ARG, &err, WHY);
    assert_fails(net_step(f->n, &f->batch, &lm, 1, &f->losses, &err), MSA_E_ARG, &err, "lm");
    assert_fails(net_step(f->n, &f->batch, &mass, 1, &f->losses, &err), MSA_E_ARG, &err, "dense");
    fixture_drop(f);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_index_that_learns_alone_learns_the_same),
        cmocka_unit_test(a_step_that_goes_on_is_a_step_of_its_own_to_the_bit),
        cmocka_unit_test(frozen_weights_have_no_gradients_and_change_no_bit),
        cmocka_unit_test(what_has_nothing_to_go_on_from_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
