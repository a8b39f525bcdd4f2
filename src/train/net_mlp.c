/* net_mlp.c: see net_mlp.h. The rows of one expert lie together (nn/experts.h), so the experts
 * are a feed-forward layer in parts: the same steps, each over all parts at once. */
#include "train/net_mlp.h"

#include <string.h>

#include "nn/router.h"
#include "train/net_ops.h"

/* A feed-forward layer: one part for all rows, or one for each expert and the rows it was given. */
typedef struct ff {
    const net_layer *l;
    const experts_groups *groups; /* NULL: one part */
    net_ff_acts acts;
    int64_t n_rows, width;
    int32_t n_parts;
} ff;

typedef struct ff_part {
    const param *gate, *up, *down;
    int64_t first, rows;
} ff_part;

/* The dense layer, or the shared expert. */
static ff ff_of(const net *n, const net_layer *l) {
    const param *gate = l->of[l->has_experts ? TENSOR_SHARED_GATE : TENSOR_GATE];
    return (ff){.l = l,
                .acts = l->acts->mlp.ff,
                .n_rows = n->n_tokens,
                .width = gate ? gate->n_out : 0,
                .n_parts = gate != NULL};
}

static ff ff_of_experts(const net *n, const net_layer *l) {
    const net_mlp_acts *m = &l->acts->mlp;
    return (ff){.l = l,
                .groups = &m->groups,
                .acts = m->experts,
                .n_rows = n->n_tokens * n->arch->moe.n_used,
                .width = n->arch->moe.n_ff,
                .n_parts = n->arch->moe.n_experts};
}

static ff_part part_of(const ff *f, int32_t i) {
    const param *const *of = f->l->of;
    if (f->groups) {
        const param *const *p = f->l->experts + (int64_t)i * 3;
        return (ff_part){p[0], p[1], p[2], f->groups->start[i], experts_rows(f->groups, i)};
    }
    if (f->l->has_experts)
        return (ff_part){of[TENSOR_SHARED_GATE], of[TENSOR_SHARED_UP], of[TENSOR_SHARED_DOWN], 0,
                         f->n_rows};
    return (ff_part){of[TENSOR_GATE], of[TENSOR_UP], of[TENSOR_DOWN], 0, f->n_rows};
}

/* y = down(gate(x)), or y += it. */
static void ff_forward(net *n, const ff *f, const float *x, float *y, bool add) {
    int64_t e = n->arch->n_embd, w = f->width;
    op_batch b = {.n = n};
    for (int32_t i = 0; i < f->n_parts; i++) {
        ff_part p = part_of(f, i);
        op_add_y(&b, p.gate, x + p.first * e, p.rows, f->acts.gate + p.first * w, false);
        op_add_y(&b, p.up, x + p.first * e, p.rows, f->acts.up + p.first * w, false);
    }
    op_run(&b);
    op_gate(n, f->acts.gate, f->acts.up, n->scratch.act, f->n_rows * w);
    for (int32_t i = 0; i < f->n_parts; i++) {
        ff_part p = part_of(f, i);
        op_add_y(&b, p.down, n->scratch.act + p.first * w, p.rows, y + p.first * e, add);
    }
    op_run(&b);
}

/* dx from dy, or added to it; dx may be dy where it is not added. The gradients by gate and up take
 * their place. */
static void ff_backward(net *n, const ff *f, const float *x, const float *dy, float *dx, bool add) {
    net_scratch *s = &n->scratch;
    int64_t e = n->arch->n_embd, w = f->width;
    op_batch b = {.n = n};
    op_gate(n, f->acts.gate, f->acts.up, s->act, f->n_rows * w);
    for (int32_t i = 0; i < f->n_parts; i++) {
        ff_part p = part_of(f, i);
        op_add_dw(&b, p.down, s->act + p.first * w, dy + p.first * e, p.rows);
        op_add_dx(&b, p.down, dy + p.first * e, p.rows, s->d_act + p.first * w, false);
    }
    op_run(&b);
    op_gate_grad(n, f->acts.gate, f->acts.up, s->d_act, f->n_rows * w);
    for (int32_t i = 0; i < f->n_parts; i++) {
        ff_part p = part_of(f, i);
        const float *rows = x + p.first * e;
        op_add_dw(&b, p.gate, rows, f->acts.gate + p.first * w, p.rows);
        op_add_dw(&b, p.up, rows, f->acts.up + p.first * w, p.rows);
        op_add_dx(&b, p.gate, f->acts.gate + p.first * w, p.rows, dx + p.first * e, add);
    }
    op_run(&b);
    for (int32_t i = 0; i < f->n_parts; i++) {
        ff_part p = part_of(f, i);
        op_add_dx(&b, p.up, f->acts.up + p.first * w, p.rows, dx + p.first * e, true);
    }
    op_run(&b);
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
    ff f = ff_of_experts(n, l);
    ff_forward(n, &f, n->scratch.rows, m->out, false);
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
    ff f = ff_of_experts(n, l);
    ff_backward(n, &f, s->rows, s->d_rows, s->d_rows, false);
    experts_gather_grad(&m->groups, s->d_rows, e, s->d_normed, n->n_threads);
}

void mlp_forward(net *n, int32_t layer, float *y) {
    const net_layer *l = &n->layers[layer];
    net_mlp_acts *m = &l->acts->mlp;
    op_norm(n, l->of[TENSOR_FFN_NORM], l->acts->mid, n->n_tokens, m->normed);
    memcpy(y, l->acts->mid, (size_t)(n->n_tokens * n->arch->n_embd) * sizeof(float));
    ff f = ff_of(n, l);
    if (f.n_parts) ff_forward(n, &f, m->normed, y, true);
    if (l->has_experts) experts_forward(n, layer, y);
}

void mlp_backward(net *n, int32_t layer) {
    const net_layer *l = &n->layers[layer];
    const net_mlp_acts *m = &l->acts->mlp;
    net_scratch *s = &n->scratch;
    ff f = ff_of(n, l);
    if (f.n_parts)
        ff_backward(n, &f, m->normed, s->dx, s->d_normed, false);
    else
        memset(s->d_normed, 0, (size_t)(n->n_tokens * n->arch->n_embd) * sizeof(float));
    if (l->has_experts) experts_backward(n, layer);
    op_norm_grad(n, l->of[TENSOR_FFN_NORM], l->acts->mid, s->d_normed, n->n_tokens, s->dx, true);
}
