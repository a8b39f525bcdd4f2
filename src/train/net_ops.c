/* net_ops.c: see net_ops.h. */
#include "train/net_ops.h"

#include "nn/mlp.h"
#include "nn/norm.h"

static const float *values(const net *n, const param *p) {
    return n->p->w + p->at;
}

/* Where the gradient of p is added, NULL if it is frozen. */
static float *gradient(const net *n, const param *p) {
    return params_gradient(n->p, p);
}

size_t op_workspace_floats(const net *n) {
    const arch *a = n->arch;
    int64_t T = n->max_tokens;
    size_t need = norm_grad_floats(T, a->n_embd);
    size_t heads = norm_grad_floats(T * a->n_q_heads, a->head_dim);
    size_t index = a->index.present ? norm_grad_floats(T * a->n_kv_heads, a->index.dim) : 0;
    if (heads > need) need = heads;
    return index > need ? index : need;
}

void op_add_y(op_batch *b, const param *w, const float *x, int64_t rows, float *y, bool add) {
    if (rows < 1) return;
    linear_shape shape = {rows, w->n_in, w->n_out};
    linear_product *p = &b->n->products[b->n_products++];
    *p = linear_y(shape, x, values(b->n, w), y);
    p->add = add;
}

void op_add_dw(op_batch *b, const param *w, const float *x, const float *dy, int64_t rows) {
    if (rows < 1 || !gradient(b->n, w)) return;
    linear_shape shape = {rows, w->n_in, w->n_out};
    b->n->products[b->n_products++] = linear_dw(shape, dy, x, gradient(b->n, w));
}

void op_add_dx(op_batch *b, const param *w, const float *dy, int64_t rows, float *dx, bool add) {
    if (rows < 1 || !dx) return;
    linear_shape shape = {rows, w->n_in, w->n_out};
    linear_product *p = &b->n->products[b->n_products++];
    *p = linear_dx(shape, dy, values(b->n, w), dx);
    p->add = add;
}

void op_run(op_batch *b) {
    if (b->n_products > 0) linear_run(b->n->products, b->n_products, b->n->n_threads);
    b->n_products = 0;
}

void op_linear(const net *n, const param *w, const float *x, int64_t rows, float *y, bool add) {
    op_batch b = {.n = n};
    op_add_y(&b, w, x, rows, y, add);
    op_run(&b);
}

void op_linear_grad(const net *n, const param *w, const float *x, const float *dy, int64_t rows,
                    float *dx, bool add) {
    op_batch b = {.n = n};
    op_add_dw(&b, w, x, dy, rows);
    op_add_dx(&b, w, dy, rows, dx, add);
    op_run(&b);
}

void op_bias(const net *n, const param *bias, int64_t rows, float *y) {
    if (!bias) return;
    const float *b = values(n, bias);
#pragma omp parallel for num_threads(n->n_threads) if (n->n_threads > 1)
    for (int64_t r = 0; r < rows; r++)
        for (int64_t c = 0; c < bias->n_in; c++) y[r * bias->n_in + c] += b[c];
}

void op_bias_grad(const net *n, const param *bias, int64_t rows, const float *dy) {
    float *g = bias ? gradient(n, bias) : NULL;
    if (!g) return;
    int64_t width = bias->n_in;
#pragma omp parallel for num_threads(n->n_threads) if (n->n_threads > 1)
    for (int64_t c = 0; c < width; c++) {
        double sum = 0;
        for (int64_t r = 0; r < rows; r++) sum += (double)dy[r * width + c];
        g[c] += (float)sum;
    }
}

void op_norm(const net *n, const param *w, const float *x, int64_t rows, float *y) {
    norm_rms(&(norm_rows){.x = x,
                          .y = y,
                          .x_stride = w->n_in,
                          .y_stride = w->n_in,
                          .n_rows = rows,
                          .n = w->n_in,
                          .w = values(n, w),
                          .eps = n->arch->norm_eps,
                          .plus_one = n->arch->family == ARCH_MINIMAX_M3},
             n->n_threads);
}

void op_norm_grad(const net *n, const param *w, const float *x, const float *dy, int64_t rows,
                  float *dx, bool add) {
    norm_rms_grad(&(norm_grad){.x = x,
                               .dy = dy,
                               .dx = dx,
                               .x_stride = w->n_in,
                               .dy_stride = w->n_in,
                               .dx_stride = w->n_in,
                               .n_rows = rows,
                               .n = w->n_in,
                               .w = values(n, w),
                               .eps = n->arch->norm_eps,
                               .plus_one = n->arch->family == ARCH_MINIMAX_M3,
                               .add = add,
                               .dw = gradient(n, w)},
                  n->scratch.ops, n->n_threads);
}

void op_turn_rows(const net *n, float *x, int64_t rows, const float *table, int32_t heads,
                  int32_t dim, bool back) {
    if (n->arch->n_rot == 0) return;
    rope_apply(&(rope_rows){.x = x,
                            .n_tokens = rows,
                            .token_stride = (int64_t)heads * dim,
                            .n_heads = heads,
                            .head_dim = dim,
                            .n_rot = n->arch->n_rot,
                            .pairs = ROPE_SPLIT,
                            .table = table,
                            .back = back},
               n->n_threads);
}

void op_turn(const net *n, float *x, int32_t heads, int32_t dim) {
    op_turn_rows(n, x, n->n_tokens, n->rope, heads, dim, false);
}

void op_turn_back(const net *n, float *x, int32_t heads, int32_t dim) {
    op_turn_rows(n, x, n->n_tokens, n->rope, heads, dim, true);
}

void op_gate(const net *n, const float *gate, const float *up, float *act, int64_t n_values) {
    mlp_oai oai = {n->arch->swiglu_alpha, n->arch->swiglu_limit};
    if (n->arch->swiglu_oai)
        mlp_swiglu_oai(&oai, gate, up, act, n_values, n->n_threads);
    else
        mlp_swiglu(gate, up, act, n_values, n->n_threads);
}

void op_gate_grad(const net *n, float *gate, float *up, const float *d_act, int64_t n_values) {
    mlp_oai oai = {n->arch->swiglu_alpha, n->arch->swiglu_limit};
    if (n->arch->swiglu_oai)
        mlp_swiglu_oai_grad(&oai, gate, up, d_act, gate, up, n_values, n->n_threads);
    else
        mlp_swiglu_grad(gate, up, d_act, gate, up, n_values, n->n_threads);
}
