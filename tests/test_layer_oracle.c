/* test_layer_oracle.c: the parts of a layer and their gradients against what PyTorch's autograd and
 * Transformers computed (tests/oracle/layer_grad.py). */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "nn/adamw.h"
#include "nn/embed.h"
#include "nn/experts.h"
#include "nn/linear.h"
#include "nn/loss.h"
#include "nn/mlp.h"
#include "nn/norm.h"
#include "nn/rope.h"
#include "nn/router.h"
#include "support/golden.h"
#include "support/numbers.h"

/* found against the array of that name; frees nothing. */
static void compare(const golden *g, const char *name, const float *found, double bound) {
    size_t n = golden_count(g, name);
    assert_close(name, found, golden_f32(g, name, n), n, bound, bound);
}

static const float *array(const golden *g, const char *name) {
    return golden_f32(g, name, golden_count(g, name));
}

static void compare_norm(const golden *g, int plus_one, const char *names[3]) {
    int64_t rows = golden_int(g, "tokens"), n = golden_int(g, "n");
    float eps = (float)golden_number(g, "eps");
    const float *x = array(g, "norm_x"), *dy = array(g, "norm_dy"), *w = array(g, "norm_w");
    float *y = floats_of((size_t)(rows * n), 0), *dx = floats_of((size_t)(rows * n), 0);
    float *dw = floats_of((size_t)n, 0), *workspace = floats_of(norm_grad_floats(rows, n), 0);
    norm_rms(&(norm_rows){x, y, n, n, rows, n, w, eps, plus_one}, 1);
    compare(g, names[0], y, 2e-6);
    norm_grad grad = {x, dy, dx, n, n, n, rows, n, w, eps, plus_one, 0, dw};
    norm_rms_grad(&grad, workspace, 1);
    compare(g, names[1], dx, 4e-6);
    compare(g, names[2], dw, 4e-6);
    free(y), free(dx), free(dw), free(workspace);
}

static void check_norms(rng *r) {
    (void)r;
    golden *g = golden_open("layer_grad");
    compare_norm(g, 0, (const char *[]){"norm_y", "norm_dx", "norm_dw"});
    compare_norm(g, 1, (const char *[]){"gemma_y", "gemma_dx", "gemma_dw"});
    golden_close(g);
}

static void norms_equal_pytorch_and_transformers(void **state) {
    (void)state;
    on_every_isa(check_norms);
}

static void check_rope(rng *r) {
    (void)r;
    golden *g = golden_open("layer_grad");
    int tokens = golden_int(g, "tokens"), heads = golden_int(g, "heads");
    int dim = golden_int(g, "head_dim"), n_rot = golden_int(g, "n_rot");
    rope_params p = {ROPE_SPLIT, n_rot, golden_number(g, "theta"), 1, NULL};
    float *table = floats_of(rope_table_floats(&p, tokens), 0);
    rope_table(&p, golden_int(g, "first"), tokens, table);
    size_t n = golden_count(g, "rope_x");
    float *y = copy_floats(array(g, "rope_x"), n), *dx = copy_floats(array(g, "rope_dy"), n);
    rope_rows rows = {y, tokens, (int64_t)heads * dim, heads, dim, n_rot, ROPE_SPLIT, table, 0};
    rope_apply(&rows, 1);
    compare(g, "rope_y", y, 1e-6);
    rows.x = dx, rows.back = 1;
    rope_apply(&rows, 1);
    compare(g, "rope_dx", dx, 1e-6);
    free(table), free(y), free(dx);
    golden_close(g);
}

static void partial_rope_equals_transformers_there_and_back(void **state) {
    (void)state;
    on_every_isa(check_rope);
}

static void check_gates(rng *r) {
    (void)r;
    golden *g = golden_open("layer_grad");
    int64_t n = golden_int(g, "n_gate");
    const float *gate = array(g, "gate"), *up = array(g, "up"), *dy = array(g, "gate_dy");
    mlp_oai oai = {(float)golden_number(g, "alpha"), (float)golden_number(g, "limit")};
    float *y = floats_of((size_t)n, 0), *dgate = floats_of((size_t)n, 0);
    float *dup = floats_of((size_t)n, 0);
    mlp_swiglu(gate, up, y, n, 1);
    compare(g, "silu_y", y, 2e-6);
    mlp_swiglu_grad(gate, up, dy, dgate, dup, n, 1);
    compare(g, "silu_dgate", dgate, 4e-6);
    compare(g, "silu_dup", dup, 4e-6);
    mlp_swiglu_oai(&oai, gate, up, y, n, 1);
    compare(g, "oai_y", y, 4e-6);
    mlp_swiglu_oai_grad(&oai, gate, up, dy, dgate, dup, n, 1);
    compare(g, "oai_dgate", dgate, 4e-6);
    compare(g, "oai_dup", dup, 4e-6);
    free(y), free(dgate), free(dup);
    golden_close(g);
}

static void gates_equal_pytorch_and_transformers(void **state) {
    (void)state;
    on_every_isa(check_gates);
}

static void check_loss(rng *r) {
    (void)r;
    golden *g = golden_open("layer_grad");
    int64_t tokens = golden_int(g, "tokens"), n = golden_int(g, "n"),
            vocab = golden_int(g, "vocab");
    float *dx = floats_of((size_t)(tokens * n), 7), *dw = floats_of((size_t)(vocab * n), 0);
    float *losses = floats_of((size_t)tokens, 7);
    void *workspace = mem_alloc(loss_workspace_bytes(tokens, n, vocab), 1);
    loss_rows rows = {.n_rows = tokens,
                      .n = n,
                      .n_vocab = vocab,
                      .x = array(g, "ce_x"),
                      .w = array(g, "ce_w"),
                      .targets = golden_i32(g, "ce_targets", (size_t)tokens),
                      .scale = 1,
                      .dx = dx,
                      .dw = dw,
                      .row_loss = losses};
    loss_run(&rows, workspace, 1);
    compare(g, "ce_losses", losses, 4e-6);
    compare(g, "ce_dx", dx, 4e-6);
    compare(g, "ce_dw", dw, 4e-6);
    free(dx), free(dw), free(losses);
    mem_free(workspace);
    golden_close(g);
}

static void the_loss_equals_pytorch(void **state) {
    (void)state;
    on_every_isa(check_loss);
}

static void embedding_and_adamw_equal_pytorch(void **state) {
    (void)state;
    golden *g = golden_open("layer_grad");
    int64_t tokens = golden_int(g, "tokens"), n = golden_int(g, "n");
    float *dtable = floats_of((size_t)(golden_int(g, "vocab") * n), 0);
    embed_grad(array(g, "embed_dy"), golden_i32(g, "embed_ids", (size_t)tokens), tokens, n, dtable,
               1);
    compare(g, "embed_dw", dtable, 1e-6);
    free(dtable);

    int64_t n_w = golden_int(g, "n_adam"), steps = golden_int(g, "steps");
    float *w = copy_floats(array(g, "adam_w"), (size_t)n_w);
    float *m = floats_of((size_t)n_w, 0), *v = floats_of((size_t)n_w, 0);
    adamw_step step = {golden_number(g, "lr"), 0.9, 0.95, 1e-8, 0.1, 1, 1};
    for (; step.step <= steps; step.step++) {
        size_t at = (size_t)((step.step - 1) * n_w);
        adamw_run(&step, w, array(g, "adam_g") + at, m, v, n_w, 1);
        assert_close("adamw", w, array(g, "adam_out") + at, (size_t)n_w, 2e-6, 2e-7);
    }
    free(w), free(m), free(v);
    golden_close(g);
}

/* ---- a layer of experts, put together from the parts as a caller would ---- */

enum { MAX_EXPERTS = 16 };

typedef struct moe {
    golden *g;
    int64_t tokens, n, n_experts, n_used, ff, shared;
    mlp_oai oai;
    router_rows router;
    experts_groups groups;
    int32_t *ids, *memory;
    float *logits, *weights, *rows, *gate, *up, *hidden, *out, *y; /* of the experts' rows but y */
    float *shared_gate, *shared_up, *shared_hidden;
} moe;

static moe moe_open(void) {
    golden *g = golden_open("moe_grad");
    moe m = {.g = g,
             .tokens = golden_int(g, "tokens"),
             .n = golden_int(g, "n"),
             .n_experts = golden_int(g, "experts"),
             .n_used = golden_int(g, "used"),
             .ff = golden_int(g, "ff"),
             .shared = golden_int(g, "ff_shared"),
             .oai = {(float)golden_number(g, "alpha"), (float)golden_number(g, "limit")}};
    size_t t = (size_t)m.tokens, rows = t * (size_t)m.n_used, n = (size_t)m.n, ff = (size_t)m.ff;
    m.ids = malloc(rows * sizeof *m.ids);
    m.memory = malloc(experts_ints(m.tokens, (int32_t)m.n_used, (int32_t)m.n_experts) * 4);
    m.logits = floats_of(t * (size_t)m.n_experts, 0), m.weights = floats_of(rows, 0);
    m.rows = floats_of(rows * n, 0), m.out = floats_of(rows * n, 0), m.y = floats_of(t * n, 0);
    m.gate = floats_of(rows * ff, 0), m.up = floats_of(rows * ff, 0);
    m.hidden = floats_of(rows * ff, 0);
    m.shared_gate = floats_of(t * (size_t)m.shared, 0);
    m.shared_up = floats_of(t * (size_t)m.shared, 0);
    m.shared_hidden = floats_of(t * (size_t)m.shared, 0);
    m.router = (router_rows){m.logits,          array(g, "bias"),
                             m.tokens,          (int32_t)m.n_experts,
                             (int32_t)m.n_used, (float)golden_number(g, "scale")};
    return m;
}

static void moe_close(moe *m) {
    float *all[] = {m->logits, m->weights, m->rows,        m->gate,      m->up,           m->hidden,
                    m->out,    m->y,       m->shared_gate, m->shared_up, m->shared_hidden};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) free(all[i]);
    free(m->ids), free(m->memory);
    golden_close(m->g);
}

/* One product for each expert, over its rows: from [rows][n_in] to [rows][n_out]. */
static void by_expert(const moe *m, const float *x, const char *name, int64_t n_in, int64_t n_out,
                      float *y) {
    linear_product p[MAX_EXPERTS];
    for (int32_t e = 0; e < m->n_experts; e++) {
        linear_shape s = {experts_rows(&m->groups, e), n_in, n_out};
        int64_t first = m->groups.start[e];
        p[e] =
            linear_y(s, x + first * n_in, array(m->g, name) + e * n_in * n_out, y + first * n_out);
    }
    linear_run(p, (int)m->n_experts, 2);
}

static void moe_forward(moe *m) {
    const float *x = array(m->g, "x");
    linear_shape widen = {m->tokens, m->n, m->shared}, narrow = {m->tokens, m->shared, m->n};
    linear_product in[] = {linear_y((linear_shape){m->tokens, m->n, m->n_experts}, x,
                                    array(m->g, "router"), m->logits),
                           linear_y(widen, x, array(m->g, "shared_gate"), m->shared_gate),
                           linear_y(widen, x, array(m->g, "shared_up"), m->shared_up)};
    linear_run(in, 3, 2);
    mlp_swiglu_oai(&m->oai, m->shared_gate, m->shared_up, m->shared_hidden, m->tokens * m->shared,
                   1);
    linear_product shared = linear_y(narrow, m->shared_hidden, array(m->g, "shared_down"), m->y);
    linear_run(&shared, 1, 1);
    router_choose(&m->router, m->ids, m->weights, 1);
    experts_group(m->ids, m->tokens, (int32_t)m->n_used, (int32_t)m->n_experts, m->memory,
                  &m->groups);
    experts_gather(&m->groups, x, m->n, m->rows, 1);
    by_expert(m, m->rows, "gate", m->n, m->ff, m->gate);
    by_expert(m, m->rows, "up", m->n, m->ff, m->up);
    mlp_swiglu_oai(&m->oai, m->gate, m->up, m->hidden, m->tokens * m->n_used * m->ff, 1);
    by_expert(m, m->hidden, "down", m->ff, m->n, m->out);
    experts_combine(&m->groups, m->out, m->weights, m->n, m->y, 1);
}

/* Transformers' weights come before the scale, its ids ascending here. */
static void compare_choice(const moe *m) {
    size_t n = (size_t)(m->tokens * m->n_used);
    const int32_t *ids = golden_i32(m->g, "ids", n);
    const float *weights = golden_f32(m->g, "weights", n);
    for (size_t i = 0; i < n; i++) {
        size_t first = i / (size_t)m->n_used * (size_t)m->n_used, k = 0;
        while (k < (size_t)m->n_used && m->ids[first + k] != ids[i]) k++;
        assert_true(k < (size_t)m->n_used);
        assert_true(fabsf(m->weights[first + k] - m->router.scale * weights[i]) < 2e-6f);
    }
}

static void check_moe_forward(rng *r) {
    (void)r;
    moe m = moe_open();
    moe_forward(&m);
    compare_choice(&m);
    compare(m.g, "y", m.y, 2e-5);
    moe_close(&m);
}

static void a_layer_of_experts_equals_transformers(void **state) {
    (void)state;
    on_every_isa(check_moe_forward);
}

/* dx[rows][n_in] (+)= and dw of one projection of the experts, from dy[rows][n_out]. */
static void back_by_expert(const moe *m, const float *dy, const float *x, const char *name,
                           int64_t n_in, int64_t n_out, bool add, float *dx, float *dw) {
    linear_product p[2 * MAX_EXPERTS];
    for (int32_t e = 0; e < m->n_experts; e++) {
        linear_shape s = {experts_rows(&m->groups, e), n_in, n_out};
        int64_t first = m->groups.start[e], at = e * n_in * n_out;
        const float *d = dy + first * n_out;
        p[2 * e] = linear_dx(s, d, array(m->g, name) + at, dx + first * n_in);
        p[2 * e].add = add;
        p[2 * e + 1] = linear_dw(s, d, x + first * n_in, dw + at);
    }
    linear_run(p, 2 * (int)m->n_experts, 2);
}

static void add_router_grad(const moe *m, const float *dweights, float *dx) {
    linear_shape s = {m->tokens, m->n, m->n_experts};
    float *dlogits = floats_of((size_t)(m->tokens * m->n_experts), 0);
    float *drouter = floats_of((size_t)(m->n * m->n_experts), 0);
    router_grad(&m->router, m->ids, dweights, dlogits, 1);
    linear_product p[] = {linear_dx(s, dlogits, array(m->g, "router"), dx),
                          linear_dw(s, dlogits, array(m->g, "x"), drouter)};
    p[0].add = true;
    linear_run(p, 2, 1);
    compare(m->g, "d_router", drouter, 4e-5);
    free(dlogits), free(drouter);
}

static void add_shared_grad(const moe *m, float *dx) {
    linear_shape widen = {m->tokens, m->n, m->shared}, narrow = {m->tokens, m->shared, m->n};
    size_t n = (size_t)(m->tokens * m->shared);
    float *d = floats_of(n, 0), *dgate = floats_of(n, 0), *dup = floats_of(n, 0);
    linear_product p = linear_dx(narrow, array(m->g, "dy"), array(m->g, "shared_down"), d);
    linear_run(&p, 1, 1);
    mlp_swiglu_oai_grad(&m->oai, m->shared_gate, m->shared_up, d, dgate, dup, (int64_t)n, 1);
    p = linear_dx(widen, dgate, array(m->g, "shared_gate"), dx);
    p.add = true;
    linear_run(&p, 1, 1);
    p = linear_dx(widen, dup, array(m->g, "shared_up"), dx);
    p.add = true;
    linear_run(&p, 1, 1);
    free(d), free(dgate), free(dup);
}

static void check_moe_backward(rng *r) {
    (void)r;
    moe m = moe_open();
    moe_forward(&m);
    size_t rows = (size_t)(m.tokens * m.n_used), n = (size_t)m.n, ff = (size_t)m.ff;
    size_t n_w = (size_t)m.n_experts * ff * n, n_ff = rows * ff;
    float *dout = floats_of(rows * n, 0), *dweights = floats_of(rows, 0);
    float *dhidden = floats_of(n_ff, 0), *dgate = floats_of(n_ff, 0), *dup = floats_of(n_ff, 0);
    float *drows = floats_of(rows * n, 0), *dx = floats_of((size_t)m.tokens * n, 0);
    float *dw_gate = floats_of(n_w, 0), *dw_up = floats_of(n_w, 0), *dw_down = floats_of(n_w, 0);
    experts_combine_grad(&m.groups, m.out, m.weights, array(m.g, "dy"), m.n, dout, dweights, 1);
    back_by_expert(&m, dout, m.hidden, "down", m.ff, m.n, false, dhidden, dw_down);
    mlp_swiglu_oai_grad(&m.oai, m.gate, m.up, dhidden, dgate, dup, (int64_t)n_ff, 1);
    back_by_expert(&m, dgate, m.rows, "gate", m.n, m.ff, false, drows, dw_gate);
    back_by_expert(&m, dup, m.rows, "up", m.n, m.ff, true, drows, dw_up);
    experts_gather_grad(&m.groups, drows, m.n, dx, 1);
    add_router_grad(&m, dweights, dx);
    add_shared_grad(&m, dx);
    compare(m.g, "d_down", dw_down, 4e-5);
    compare(m.g, "d_gate", dw_gate, 4e-5);
    compare(m.g, "d_up", dw_up, 4e-5);
    compare(m.g, "d_x", dx, 1e-4);
    float *all[] = {dout, dweights, dhidden, dgate, dup, drows, dx, dw_gate, dw_up, dw_down};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) free(all[i]);
    moe_close(&m);
}

static void the_gradients_of_a_layer_of_experts_equal_autograd(void **state) {
    (void)state;
    on_every_isa(check_moe_backward);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(norms_equal_pytorch_and_transformers),
        cmocka_unit_test(partial_rope_equals_transformers_there_and_back),
        cmocka_unit_test(gates_equal_pytorch_and_transformers),
        cmocka_unit_test(the_loss_equals_pytorch),
        cmocka_unit_test(embedding_and_adamw_equal_pytorch),
        cmocka_unit_test(a_layer_of_experts_equals_transformers),
        cmocka_unit_test(the_gradients_of_a_layer_of_experts_equal_autograd),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
