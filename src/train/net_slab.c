/* net_slab.c: see net_slab.h. The same walk counts bytes (base NULL) and places pointers. */
#include "train/net_slab.h"

#include "base/mem.h"
#include "nn/loss.h"
#include "train/net_ops.h"

typedef struct slab {
    char *base;
    size_t used;
    bool overflow;
} slab;

static void *take(slab *s, int64_t rows, int64_t columns, size_t element) {
    size_t bytes, end;
    if (!size_mul((size_t)rows, (size_t)columns, &bytes) || !size_mul(bytes, element, &bytes) ||
        bytes > SIZE_MAX - MEM_ALIGN || !size_add(s->used, size_round_up(bytes, MEM_ALIGN), &end)) {
        s->overflow = true;
        return NULL;
    }
    void *at = s->base ? s->base + s->used : NULL;
    s->used = end;
    return at;
}

static float *floats(slab *s, int64_t rows, int64_t columns) {
    return take(s, rows, columns, sizeof(float));
}

static void place_attn(slab *s, const net *n, bool has_index, net_attn_acts *a) {
    const arch *m = n->arch;
    int64_t T = n->max_tokens, q = (int64_t)m->n_q_heads * m->head_dim;
    int64_t kv = (int64_t)m->n_kv_heads * m->head_dim;
    a->normed = floats(s, T, m->n_embd);
    a->q = floats(s, T, q);
    a->k = floats(s, T, kv);
    a->v = floats(s, T, kv);
    a->q_raw = m->qk_norm ? floats(s, T, q) : a->q;
    a->k_raw = m->qk_norm ? floats(s, T, kv) : a->k;
    a->lse = floats(s, T, m->n_q_heads);
    a->out = floats(s, T, q);
    if (!has_index) return;
    int64_t di = m->index.dim, index = m->n_kv_heads * di;
    a->qi = floats(s, T, index);
    a->ki = floats(s, T, di);
    a->qi_raw = m->qk_norm ? floats(s, T, index) : a->qi;
    a->ki_raw = m->qk_norm ? floats(s, T, di) : a->ki;
    a->ids = take(s, T, (int64_t)m->n_kv_heads * m->index.topk, sizeof(int32_t));
    if (!m->index.value) return;
    a->vi = floats(s, T, di);
    a->lse_i = floats(s, T, m->n_kv_heads);
    a->out_i = floats(s, T, index);
}

static void place_mlp(slab *s, const net *n, bool dense, bool experts, net_mlp_acts *m) {
    const arch *a = n->arch;
    int64_t T = n->max_tokens, ff = dense ? a->n_ff : 0;
    if (experts && a->moe.n_ff_shared > ff) ff = a->moe.n_ff_shared;
    m->normed = floats(s, T, a->n_embd);
    m->ff.gate = floats(s, T, ff);
    m->ff.up = floats(s, T, ff);
    if (!experts) return;
    int64_t used = a->moe.n_used;
    m->logits = floats(s, T, a->moe.n_experts);
    m->chosen = take(s, T, used, sizeof(int32_t));
    m->weights = floats(s, T, used);
    m->sorting =
        take(s, 1, (int64_t)experts_ints(T, (int32_t)used, a->moe.n_experts), sizeof(int32_t));
    m->experts.gate = floats(s, T * used, a->moe.n_ff);
    m->experts.up = floats(s, T * used, a->moe.n_ff);
    m->out = floats(s, T * used, a->n_embd);
}

static void place_acts(slab *s, const net *n, bool index, bool dense, bool experts, net_acts *a) {
    a->mid = floats(s, n->max_tokens, n->arch->n_embd);
    place_attn(s, n, index, &a->attn);
    place_mlp(s, n, dense, experts, &a->mlp);
}

/* What one layer after another fills; with NET_KEEP_INDEX the teacher of its index branch stays. */
static void place_shared(slab *s, net *n, bool some_dense) {
    const arch *a = n->arch;
    int64_t T = n->max_tokens;
    net_acts shared = {0};
    place_acts(s, n, n->n_index_layers > 0, some_dense, a->moe.present, &shared);
    if (n->keep == NET_KEEP_INPUTS) {
        *n->acts = shared;
        return;
    }
    for (int32_t i = 0; i < a->n_layers; i++) {
        net_attn_acts *own = &n->acts[i].attn;
        n->acts[i] = shared;
        if (!n->layers[i].has_index) continue;
        own->q = floats(s, T, (int64_t)a->n_q_heads * a->head_dim);
        own->k = floats(s, T, (int64_t)a->n_kv_heads * a->head_dim);
        own->lse = floats(s, T, a->n_q_heads);
        if (!a->qk_norm) own->q_raw = own->q, own->k_raw = own->k;
    }
    n->rows.normed = floats(s, T, a->n_embd);
    n->rows.rope = floats(s, T, (int64_t)2 * a->n_rot);
    n->rows.q = floats(s, T, (int64_t)a->n_kv_heads * a->index.dim);
    n->rows.raw = a->qk_norm ? floats(s, T, (int64_t)a->n_kv_heads * a->index.dim) : n->rows.q;
}

static int64_t widest_ff(const net *n) {
    const arch *a = n->arch;
    int64_t widest = a->n_ff;
    if (a->moe.present && a->moe.n_ff_shared > widest) widest = a->moe.n_ff_shared;
    int64_t experts = a->moe.present ? (int64_t)a->moe.n_ff * a->moe.n_used : 0;
    return experts > widest ? experts : widest;
}

static void place_scratch(slab *s, net *n) {
    const arch *a = n->arch;
    net_scratch *w = &n->scratch;
    int64_t T = n->max_tokens, q = (int64_t)a->n_q_heads * a->head_dim, ff = widest_ff(n);
    int64_t kv = (int64_t)a->n_kv_heads * a->head_dim;
    w->dx = floats(s, T, a->n_embd);
    w->d_normed = floats(s, T, a->n_embd);
    w->dq = floats(s, T, q);
    w->dk = floats(s, T, kv);
    w->dv = floats(s, T, kv);
    w->d_out = floats(s, T, q);
    w->act = floats(s, T, ff);
    w->d_act = floats(s, T, ff);
    w->nll = floats(s, T, 1);
    w->predicted = take(s, T, 1, sizeof(int32_t));
    w->ops = floats(s, 1, (int64_t)op_workspace_floats(n));
    w->loss = take(s, 1, (int64_t)loss_workspace_bytes(T, a->n_embd, a->n_vocab), 1);
    if (a->index.present) {
        w->dqi = floats(s, T, (int64_t)a->n_kv_heads * a->index.dim);
        w->dki = floats(s, T, a->index.dim);
    }
    if (a->index.present && a->index.value) {
        int64_t index = (int64_t)a->n_kv_heads * a->index.dim;
        w->d_out_i = floats(s, T, index);
        w->dqi_value = floats(s, T, index);
        w->dki_heads = floats(s, T, index);
        w->dvi_heads = floats(s, T, index);
        w->dvi = floats(s, T, a->index.dim);
    }
    if (a->moe.present) {
        w->rows = floats(s, T * a->moe.n_used, a->n_embd);
        w->d_rows = floats(s, T * a->moe.n_used, a->n_embd);
        w->d_weights = floats(s, T, a->moe.n_used);
        w->d_logits = floats(s, T, a->moe.n_experts);
    }
}

static void place(slab *s, net *n) {
    const arch *a = n->arch;
    bool some_dense = !a->moe.present || a->n_dense_layers > 0;
    for (int32_t i = 0; i < a->n_layers; i++) {
        net_layer *l = &n->layers[i];
        l->x = floats(s, n->max_tokens, a->n_embd);
        l->acts = n->keep == NET_KEEP_INPUTS ? n->acts : n->acts + i;
        if (n->keep == NET_KEEP_ALL)
            place_acts(s, n, l->has_index, !l->has_experts, l->has_experts, l->acts);
    }
    if (n->keep != NET_KEEP_ALL) place_shared(s, n, some_dense);
    n->x_out = floats(s, n->max_tokens, a->n_embd);
    n->x_normed = floats(s, n->max_tokens, a->n_embd);
    n->rope_all = floats(s, n->max_tokens, (int64_t)2 * a->n_rot);
    n->rope = floats(s, n->max_tokens, (int64_t)2 * a->n_rot);
    n->kv_len = take(s, n->max_tokens, 1, sizeof(int64_t));
    n->kl_rows = take(s, n->max_tokens, 1, sizeof(int32_t));
    int64_t n_products = OP_PRODUCTS + (a->moe.present ? OP_PART_PRODUCTS * a->moe.n_experts : 0);
    n->products = take(s, 1, n_products, sizeof *n->products);
    n->kl = take(s, a->n_layers, a->n_kv_heads, sizeof(double));
    n->load = take(s, a->n_layers, a->moe.present ? a->moe.n_experts : 0, sizeof(int64_t));
    place_scratch(s, n);
}

msa_status slab_create(net *n, msa_error *err) {
    slab count = {0};
    place(&count, n);
    n->slab_bytes = count.used;
    if (!count.overflow && count.used <= mem_of_machine()) n->slab = arena_alloc(count.used);
    if (!n->slab)
        return error_set(err, MSA_E_NOMEM,
                         "no memory for steps of %lld tokens (%zu bytes); fewer tokens, or keeping "
                         "only the layers' inputs, need less",
                         (long long)n->max_tokens, count.used);
    slab give = {.base = n->slab};
    place(&give, n);
    return MSA_OK;
}

void slab_free(net *n) {
    if (n->slab) arena_free(n->slab, n->slab_bytes);
    n->slab = NULL;
}
