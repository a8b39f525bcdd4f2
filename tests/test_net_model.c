/* test_net_model.c: models of every family out of their files into a network: its losses are those
 * of the same file run in double, dense and sparse. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "model/gguf.h"
#include "model/tensor_source.h"
#include "model/weights.h"
#include "support/support.h"
#include "support/tiny_model.h"
#include "train/net.h"

enum { TOKENS = 400 };

/* The file's arch and weights as parameters. */
static params *load(const char *path, arch *a) {
    msa_error err;
    gguf_file *file;
    weights *w;
    params *p;
    assert_ok(gguf_open(&file, path, &err), &err);
    assert_ok(weights_load(&w, file, &err), &err);
    *a = w->arch;
    assert_ok(params_create(&p, a, &err), &err);
    tensor_source source = {.arch = a, .gguf = file};
    assert_ok(params_load(p, tensor_source_rows, &source, true, &err), &err);
    weights_free(w);
    gguf_close(file);
    return p;
}

static double loss_of(const double *logits, int32_t n, int32_t target) {
    double max = -INFINITY, sum = 0;
    for (int32_t v = 0; v < n; v++) max = fmax(max, logits[v]);
    for (int32_t v = 0; v < n; v++) sum += exp(logits[v] - max);
    return max + log(sum) - logits[target];
}

static msa_shape shape_of(const arch *a) {
    return (msa_shape){.n_q_heads = a->n_q_heads,
                       .n_kv_heads = a->n_kv_heads,
                       .head_dim = a->head_dim,
                       .n_index_heads = a->n_kv_heads,
                       .n_index_keys = 1,
                       .index_dim = a->index.dim,
                       .block = a->index.block,
                       .topk = a->index.topk,
                       .local = a->index.local,
                       .init = a->index.init};
}

static void compare(const tiny_model *m, params *p, bool sparse) {
    const arch *a = &p->arch;
    int32_t ids[TOKENS], targets[TOKENS], cu[] = {0, TOKENS}, predicted[TOKENS];
    float nll[TOKENS];
    rng r = rng_seed(3);
    for (int t = 0; t < TOKENS; t++) {
        ids[t] = (int32_t)rng_below(&r, (uint64_t)a->n_vocab);
        targets[t] = (int32_t)rng_below(&r, (uint64_t)a->n_vocab);
    }
    train_batch batch = {
        .n_tokens = TOKENS, .n_docs = 1, .ids = ids, .targets = targets, .cu_seqlens = cu};
    net_mode mode = {.lm = true, .sparse = sparse};
    net_losses losses = {.nll = nll, .predicted = predicted};
    net *n;
    msa_error err;
    assert_ok(net_create(&n, p, TOKENS, true, 2, &err), &err);
    assert_ok(net_evaluate(n, &batch, &mode, &losses, &err), &err);
    net_free(n);
    double *logits = malloc(sizeof *logits * TOKENS * (size_t)a->n_vocab), worst = 0;
    assert_non_null(logits);
    msa_shape shape = shape_of(a);
    uint64_t dense_layers = ((uint64_t)1 << a->n_dense_layers) - 1;
    tiny_choice choice = {&shape, MSA_SELECTOR_INDEX};
    tiny_forward(m, ids, TOKENS, sparse ? &choice : NULL, dense_layers, logits, NULL);
    for (int t = 0; t < TOKENS; t++) {
        const double *row = logits + (int64_t)t * a->n_vocab;
        worst = larger_error(worst, (double)nll[t] - loss_of(row, a->n_vocab, targets[t]));
        for (int32_t v = 0; v < a->n_vocab; v++)
            assert_true(row[v] <= row[predicted[t]] + 1e-4 + 1e-5 * fabs(row[v]));
    }
    free(logits);
    if (!(worst < 2e-4)) fail_msg("%s: a loss is off by %g", m->params.architecture, worst);
}

static void check_family(const tiny_params *params_) {
    char path[] = "/tmp/msa-net-XXXXXX";
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    close(fd);
    tiny_model *m = tiny_create(params_);
    tiny_write(m, path);
    arch a;
    params *p = load(path, &a);
    unlink(path);
    compare(m, p, false);
    if (a.index.present) compare(m, p, true);
    params_free(p);
    tiny_free(m);
}

static void a_model_file_gives_the_losses_of_its_formulas(void **state) {
    (void)state;
    static const char *const FAMILIES[] = {"llama", "qwen2", "qwen3"};
    for (size_t i = 0; i < sizeof FAMILIES / sizeof *FAMILIES; i++) {
        tiny_params t = tiny_defaults(FAMILIES[i], 7 + i);
        check_family(&t);
        t.tied = true;
        t.index.dim = 16, t.index.block = 16, t.index.topk = 5;
        t.index.local = 2, t.index.init = 1;
        check_family(&t);
    }
    tiny_params m3 = tiny_m3(5);
    check_family(&m3);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_model_file_gives_the_losses_of_its_formulas)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
