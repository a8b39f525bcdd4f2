/* net_mlp.c: see net_mlp.h. The rows of one expert lie together (nn/experts.h), so an expert is an
 * ordinary feed-forward layer on its rows. */
#include "train/net_mlp.h"

#include <string.h>

#include "nn/router.h"
#include "train/net_ops.h"

/* Three matrices and the rows they meet. */
typedef struct ff {
    const param *gate, *up, *down;
    net_ff_acts acts;
    int64_t rows;
} ff;

static ff ff_of(const net *n, const net_layer *l) {
    const net_ff_acts *acts = &l->acts->mlp.ff;
    if (l->has_experts)
        return (ff){l->of[TENSOR_SHARED_GATE], l->of[TENSOR_SHARED_UP], l->of[TENSOR_SHARED_DOWN],
                    *acts, n->n_tokens};
    return (ff){l->of[TENSOR_GATE], l->of[TENSOR_UP], l->of[TENSOR_DOWN], *acts, n->n_tokens};
}

static ff ff_of_expert(const net_layer *l, int32_t expert) {
    const net_mlp_acts *m = &l->acts->mlp;
    const param *const *p = l->experts + (int64_t)expert * 3;
    int64_t first = m->groups.start[expert], at = first * p[0]->n_out;
    return (ff){p[0],
                p[1],
                p[2],
                {m->experts.gate + at, m->experts.up + at},
                experts_rows(&m->groups, expert)};
}

/* y = down(gate(x)), or y += it. */
static void ff_forward(net *n, const ff *f, const float *x, float *y, bool add) {
    op_linear(n, f->gate, x, f->rows, f->acts.gate, false);
    op_linear(n, f->up, x, f->rows, f->acts.up, false);
    op_gate(n, f->acts.gate, f->acts.up, n->scratch.act, f->rows * f->gate->n_out);
    op_linear(n, f->down, n->scratch.act, f->rows, y, add);
}

/* dx from dy, or added to it; dx may be dy where it is not added. The gradients by gate and up take
 * their place. */
static void ff_backward(net *n, const ff *f, const float *x, const float *dy, float *dx, bool add) {
    net_scratch *s = &n->scratch;
    int64_t n_values = f->rows * f->gate->n_out;
    op_gate(n, f->acts.gate, f->acts.up, s->act, n_values);
    op_linear_grad(n, f->down, s->act, dy, f->rows, s->d_act, false);
    op_gate_grad(n, f->acts.gate, f->acts.up, s->d_act, n_values);
    op_linear_grad(n, f->gate, x, f->acts.gate, f->rows, dx, add);
    op_linear_grad(n, f->up, x, f->acts.up, f->rows, dx, true);
}

static router_rows routing(const net *n, int32_t layer) {
    const arch_moe *moe = &n->arch->moe;
    return (router_rows){.logits = n->layers[layer].acts->mlp.logits,
                         .bias = n->p->router_bias + (int64_t)layer * moe->n_experts,
                         .n_tokens = n->n_tokens,
                         .n_experts = moe->n_experts,
                         .n_used = moe->n_used,
                         .scale = moe->scale};
}

static void experts_forward(net *n, int32_t layer, float *y) {
    const net_layer *l = &n->layers[layer];
    net_mlp_acts *m = &l->acts->mlp;
    int64_t e = n->arch->n_embd;
    op_linear(n, l->of[TENSOR_ROUTER], m->normed, n->n_tokens, m->logits, false);
    router_rows rows = routing(n, layer);
    router_choose(&rows, m->chosen, m->weights, n->n_threads);
    experts_group(m->chosen, n->n_tokens, rows.n_used, rows.n_experts, m->sorting, &m->groups);
    experts_gather(&m->groups, m->normed, e, n->scratch.rows, n->n_threads);
    for (int32_t x = 0; x < rows.n_experts; x++) {
        ff f = ff_of_expert(l, x);
        int64_t at = m->groups.start[x] * e;
        if (f.rows > 0) ff_forward(n, &f, n->scratch.rows + at, m->out + at, false);
    }
    experts_combine(&m->groups, m->out, m->weights, e, y, n->n_threads);
}

/* Adds to scratch.d_normed. */
static void experts_backward(net *n, int32_t layer) {
    const net_layer *l = &n->layers[layer];
    const net_mlp_acts *m = &l->acts->mlp;
    net_scratch *s = &n->scratch;
    int64_t e = n->arch->n_embd;
    experts_combine_grad(&m->groups, m->out, m->weights, s->dx, e, s->d_rows, s->d_weights,
                         n->n_threads);
    router_rows rows = routing(n, layer);
    router_grad(&rows, m->chosen, s->d_weights, s->d_logits, n->n_threads);
    op_linear_grad(n, l->of[TENSOR_ROUTER], m->normed, s->d_logits, n->n_tokens, s->d_normed, true);
    experts_gather(&m->groups, m->normed, e, s->rows, n->n_threads);
    for (int32_t x = 0; x < rows.n_experts; x++) {
        ff f = ff_of_expert(l, x);
        int64_t at = m->groups.start[x] * e;
        if (f.rows > 0) ff_backward(n, &f, s->rows + at, s->d_rows + at, s->d_rows + at, false);
    }
    experts_gather_grad(&m->groups, s->d_rows, e, s->d_normed, n->n_threads);
}

void mlp_forward(net *n, int32_t layer, float *y) {
    const net_layer *l = &n->layers[layer];
    net_mlp_acts *m = &l->acts->mlp;
    op_norm(n, l->of[TENSOR_FFN_NORM], l->acts->mid, n->n_tokens, m->normed);
    memcpy(y, l->acts->mid, (size_t)(n->n_tokens * n->arch->n_embd) * sizeof(float));
    ff f = ff_of(n, l);
    if (f.gate) ff_forward(n, &f, m->normed, y, true);
    if (l->has_experts) experts_forward(n, layer, y);
}

void mlp_backward(net *n, int32_t layer) {
    const net_layer *l = &n->layers[layer];
    const net_mlp_acts *m = &l->acts->mlp;
    net_scratch *s = &n->scratch;
    ff f = ff_of(n, l);
    if (f.gate)
        ff_backward(n, &f, m->normed, s->dx, s->d_normed, false);
    else
        memset(s->d_normed, 0, (size_t)(n->n_tokens * n->arch->n_embd) * sizeof(float));
    if (l->has_experts) experts_backward(n, layer);
    op_norm_grad(n, l->of[TENSOR_FFN_NORM], l->acts->mid, s->d_normed, n->n_tokens, s->dx, true);
}
