/* net_flops.c: what a step computes, by formula. */
#include "train/net_index.h"

/* Multiplications of a token with the weights of its layer, once forward. */
static double weights_of_layer(const net *n, const net_layer *l) {
    const arch *a = n->arch;
    double e = a->n_embd, q = (double)a->n_q_heads * a->head_dim;
    double kv = (double)a->n_kv_heads * a->head_dim, sum = e * (2 * q + 2 * kv);
    if (l->has_experts)
        sum += e * a->moe.n_experts +
               3 * e * ((double)a->moe.n_ff * a->moe.n_used + a->moe.n_ff_shared);
    else
        sum += 3 * e * a->n_ff;
    return sum;
}

static double weights_of_index(const net *n) {
    double di = n->shape.index_dim, heads = (double)n->shape.n_kv_heads * di;
    double value = n->mode.index_value ? di + heads : 0;
    return n->arch->n_embd * (heads + di + value);
}

/* Pairs of a query and a key it sees in a document of `len`; at most budget keys a query. */
static double pairs(double len, double budget) {
    if (len <= budget) return len * (len + 1) / 2;
    return budget * (budget + 1) / 2 + (len - budget) * budget;
}

typedef struct counts {
    double visible, selected, kl; /* pairs of all documents */
} counts;

static counts count_pairs(const net *n, const train_batch *b) {
    const msa_shape *s = &n->shape;
    /* The own block is half full on average. */
    double budget = ((double)s->topk - 0.5) * s->block, forced = (double)s->local * s->block;
    counts c = {0};
    for (int32_t d = 0; d < b->n_docs; d++) {
        double len = (double)b->cu_seqlens[d + 1] - b->cu_seqlens[d], visible = pairs(len, len);
        double selected = pairs(len, budget), rows = n->mode.kl_rows;
        double support = n->mode.kl == NET_KL_SELECTED ? selected : visible;
        if (n->mode.kl == NET_KL_FAR || n->mode.kl == NET_KL_FAR_MASS)
            support -= pairs(len, forced);
        c.visible += visible;
        c.selected += selected;
        c.kl += rows > 0 && rows < len ? support * rows / len : support;
    }
    return c;
}

/* Of a branch that learns alone (net_index.c): no gradient by what it reads. */
static double alone(const net *n, const train_batch *b, const counts *c) {
    const msa_shape *s = &n->shape;
    double T = (double)b->n_tokens, rows = 0, heads = (double)s->n_kv_heads * s->index_dim;
    for (int32_t d = 0; d < b->n_docs; d++) {
        double len = (double)b->cu_seqlens[d + 1] - b->cu_seqlens[d];
        rows += n->mode.kl_rows > 0 && n->mode.kl_rows < len ? n->mode.kl_rows : len;
    }
    return 4 * n->arch->n_embd * (T * s->index_dim + rows * heads) +
           c->kl * (2.0 * s->n_q_heads * s->head_dim + 6 * heads);
}

double net_flops_again(const net *n, const train_batch *batch, const net_mode *mode) {
    net view = *n;
    view.mode = *mode;
    counts c = count_pairs(&view, batch);
    return n->n_index_layers * alone(&view, batch, &c);
}

double net_flops(const net *n, const train_batch *batch, const net_mode *mode) {
    net view = *n; /* the mode asked about, not that of the last step */
    view.mode = *mode;
    const msa_shape *s = &n->shape;
    counts c = count_pairs(&view, batch);
    double T = (double)batch->n_tokens, q = (double)s->n_q_heads * s->head_dim;
    double index = (double)s->n_kv_heads * s->index_dim, sum = 0;
    bool back = mode->lm || (mode->kl != NET_KL_OFF && !mode->detach);
    for (int32_t i = 0; i < n->arch->n_layers; i++) {
        const net_layer *l = &n->layers[i];
        double attended = net_selects(&view, l) ? c.selected : c.visible;
        sum += (back ? 3 : 1) * 2 * T * weights_of_layer(&view, l);
        sum += (back ? 3.5 : 1) * 4 * q * attended;
        if (index_alone(&view, l)) {
            sum += alone(&view, batch, &c);
            continue;
        }
        if (!net_uses_index(&view, l)) continue;
        bool learns = mode->kl != NET_KL_OFF || mode->index_value || mode->lm_index;
        sum += (learns ? 3 : 1) * 2 * T * weights_of_index(&view);
        if (net_selects(&view, l) && mode->selection == NET_SELECT_INDEX)
            sum += 2 * index * c.visible;
        if (net_has_loss(&view, l)) sum += c.kl * (2 * q + 6 * index);
        if (mode->index_value) sum += 3.5 * 4 * index * attended;
        if (mode->lm_index) sum += 3.5 * 2 * s->n_q_heads * s->index_dim * attended;
    }
    if (mode->lm) sum += 3 * 2 * T * (double)n->arch->n_embd * n->arch->n_vocab;
    return sum;
}
