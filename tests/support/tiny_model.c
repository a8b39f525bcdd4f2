/* tiny_model.c: see tiny_model.h. */
#include "support/tiny_model.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "nn/quant.h"
#include "support/weights_random.h"

tiny_params tiny_defaults(const char *architecture, uint64_t seed) {
    return (tiny_params){.architecture = architecture,
                         .n_layers = 2,
                         .n_embd = 64,
                         .n_ff = 96,
                         .n_q_heads = 4,
                         .n_kv_heads = 2,
                         .head_dim = 16,
                         .n_vocab = 300,
                         .n_ctx = 512,
                         .seed = seed};
}

tiny_params tiny_m3(uint64_t seed) {
    tiny_params p = tiny_defaults("minimax-m3", seed);
    p.n_layers = 4, p.n_dense_layers = 2;
    p.head_dim = 24, p.n_rot = 16;
    p.index.dim = 16, p.index.block = 16, p.index.topk = 5, p.index.local = 1;
    p.experts.n = 6, p.experts.n_used = 2, p.experts.n_ff = 40, p.experts.n_shared = 1;
    return p;
}

int32_t tiny_rotated(const tiny_params *p) {
    return p->n_rot ? p->n_rot : p->head_dim;
}

bool tiny_is_m3(const tiny_params *p) {
    return strcmp(p->architecture, "minimax-m3") == 0;
}

static bool has_head_norm(const tiny_params *p) {
    return tiny_is_m3(p) || strcmp(p->architecture, "qwen3") == 0;
}

bool tiny_has_experts(const tiny_params *p, int layer) {
    return p->experts.n > 0 && layer >= p->n_dense_layers;
}

int32_t tiny_mlp_width(const tiny_params *p, int layer) {
    return tiny_has_experts(p, layer) ? p->experts.n_ff * p->experts.n_shared : p->n_ff;
}

static float *random_floats(rng *r, int64_t n, float mean, float sigma) {
    float *x = malloc((size_t)n * sizeof *x);
    assert_non_null(x);
    rng_fill_normal(r, x, (size_t)n, sigma);
    for (int64_t i = 0; i < n; i++) x[i] += mean;
    return x;
}

static float *random_matrix(rng *r, int64_t n_out, int64_t n_in, float gain) {
    return random_floats(r, n_out * n_in, 0, gain / sqrtf((float)n_in));
}

static void add_index(rng *r, const tiny_params *p, tiny_layer *l) {
    bool norm = has_head_norm(p);
    l->index_q = random_matrix(r, p->n_kv_heads * p->index.dim, p->n_embd, 2);
    l->index_k = random_matrix(r, p->index.dim, p->n_embd, 2);
    l->index_q_norm = norm ? random_floats(r, p->index.dim, 1.5f, 0.2f) : NULL;
    l->index_k_norm = norm ? random_floats(r, p->index.dim, 1.5f, 0.2f) : NULL;
}

static void add_experts(rng *r, const tiny_params *p, tiny_layer *l) {
    int32_t n = p->experts.n, n_ff = p->experts.n_ff;
    l->router = random_matrix(r, n, p->n_embd, 2);
    l->router_bias = random_floats(r, n, 0, 0.2f);
    l->e_gate = random_matrix(r, n * n_ff, p->n_embd, 2);
    l->e_up = random_matrix(r, n * n_ff, p->n_embd, 2);
    l->e_down = random_matrix(r, n * p->n_embd, n_ff, 0.5f);
}

static tiny_layer random_layer(rng *r, const tiny_params *p, int layer) {
    int64_t q = p->n_q_heads * p->head_dim, kv = p->n_kv_heads * p->head_dim;
    int64_t n_ff = tiny_mlp_width(p, layer);
    bool bias = strcmp(p->architecture, "qwen2") == 0;
    bool head_norm = has_head_norm(p);
    tiny_layer l = {0}; /* one statement each: the order of the numbers is part of a golden file */
    l.attn_norm = random_floats(r, p->n_embd, 1, 0.1f);
    l.wq = random_matrix(r, q, p->n_embd, 2); /* sharp enough to tell tokens apart */
    l.wk = random_matrix(r, kv, p->n_embd, 2);
    l.wv = random_matrix(r, kv, p->n_embd, 1);
    l.wo = random_matrix(r, p->n_embd, q, 1);
    if (bias) l.bq = random_floats(r, q, 0, 0.5f);
    if (bias) l.bk = random_floats(r, kv, 0, 0.5f);
    if (bias) l.bv = random_floats(r, kv, 0, 0.5f);
    if (head_norm) l.q_norm = random_floats(r, p->head_dim, 1.5f, 0.2f);
    if (head_norm) l.k_norm = random_floats(r, p->head_dim, 1.5f, 0.2f);
    l.ffn_norm = random_floats(r, p->n_embd, 1, 0.1f);
    if (n_ff) l.w_gate = random_matrix(r, n_ff, p->n_embd, 1);
    if (n_ff) l.w_up = random_matrix(r, n_ff, p->n_embd, 1);
    if (n_ff) l.w_down = random_matrix(r, p->n_embd, n_ff, 1);
    if (p->index.dim && layer >= p->n_dense_layers) add_index(r, p, &l);
    if (tiny_has_experts(p, layer)) add_experts(r, p, &l);
    return l;
}

/* Random numbers of the format in place of x, about as large. */
static void store(tiny_model *m, rng *r, uint32_t type, float *x, int64_t n_out, int64_t n_in) {
    if (!x || type == QUANT_F32) return;
    double squares = 0;
    for (int64_t i = 0; i < n_out * n_in; i++) squares += (double)x[i] * x[i];
    float size = (float)sqrt(squares / (double)(n_out * n_in));
    uint8_t *bytes = random_weights_sized(r, type, n_out, n_in, size);
    double *wide = malloc((size_t)n_in * sizeof *wide);
    for (int64_t o = 0; o < n_out; o++) {
        quant_widen_ref(type, bytes + (size_t)o * quant_row_bytes(type, n_in), n_in, wide);
        for (int64_t i = 0; i < n_in; i++) x[o * n_in + i] = (float)wide[i];
    }
    free(wide);
    assert_true(m->n_stored < TINY_MAX_STORED);
    m->stored[m->n_stored++] = (tiny_stored){x, bytes, type};
}

static void store_layer(tiny_model *m, rng *r, int layer) {
    const tiny_params *p = &m->params;
    tiny_layer *l = &m->layers[layer];
    uint32_t most = p->types.most, wide = p->types.wide;
    int64_t q = p->n_q_heads * p->head_dim, kv = p->n_kv_heads * p->head_dim;
    int64_t n_ff = tiny_mlp_width(p, layer), n = p->experts.n, n_expert = p->experts.n_ff;
    store(m, r, most, l->wq, q, p->n_embd);
    store(m, r, most, l->wk, kv, p->n_embd);
    store(m, r, wide, l->wv, kv, p->n_embd);
    store(m, r, most, l->wo, p->n_embd, q);
    store(m, r, most, l->w_gate, n_ff, p->n_embd);
    store(m, r, most, l->w_up, n_ff, p->n_embd);
    store(m, r, wide, l->w_down, p->n_embd, n_ff);
    store(m, r, most, l->e_gate, n * n_expert, p->n_embd);
    store(m, r, most, l->e_up, n * n_expert, p->n_embd);
    store(m, r, wide, l->e_down, n * p->n_embd, n_expert);
}

tiny_model *tiny_create(const tiny_params *p) {
    tiny_model *m = malloc(sizeof *m);
    rng r = rng_seed(p->seed);
    *m = (tiny_model){.params = *p};
    m->embedding = random_floats(&r, (int64_t)p->n_vocab * p->n_embd, 0, 1);
    m->output_norm = random_floats(&r, p->n_embd, 1, 0.1f);
    if (!p->tied) m->output = random_matrix(&r, p->n_vocab, p->n_embd, 1);
    m->layers = malloc((size_t)p->n_layers * sizeof *m->layers);
    for (int l = 0; l < p->n_layers; l++) m->layers[l] = random_layer(&r, p, l);
    store(m, &r, p->types.wide, m->embedding, p->n_vocab, p->n_embd);
    store(m, &r, p->types.wide, m->output, p->n_vocab, p->n_embd);
    for (int l = 0; l < p->n_layers; l++) store_layer(m, &r, l);
    return m;
}

void tiny_free(tiny_model *m) {
    for (int i = 0; i < m->params.n_layers; i++) {
        tiny_layer *l = &m->layers[i];
        float *const all[] = {
            l->attn_norm, l->wq,     l->wk,      l->wv,           l->wo,           l->bq,
            l->bk,        l->bv,     l->q_norm,  l->k_norm,       l->ffn_norm,     l->w_gate,
            l->w_up,      l->w_down, l->index_q, l->index_q_norm, l->index_k_norm, l->index_k,
            l->router,    l->e_gate, l->e_up,    l->e_down,       l->router_bias,
        };
        for (size_t j = 0; j < sizeof all / sizeof *all; j++) free(all[j]);
    }
    for (int i = 0; i < m->n_stored; i++) free(m->stored[i].bytes);
    free(m->layers);
    free(m->embedding);
    free(m->output_norm);
    free(m->output);
    free(m);
}
