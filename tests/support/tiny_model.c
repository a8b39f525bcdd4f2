/* tiny_model.c: see tiny_model.h. */
#include "support/tiny_model.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "model/byte_alphabet.h"
#include "model/weights.h"
#include "nn/quant.h"
#include "support/gguf_writer.h"

static const float NORM_EPS = 1e-5f, EXPERTS_SCALE = 2;
static const double ROPE_BASE = 10000;
enum { MOST_BLOCKS = 512 };

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

static int32_t rotated(const tiny_params *p) {
    return p->n_rot ? p->n_rot : p->head_dim;
}

static bool is_m3(const tiny_params *p) {
    return strcmp(p->architecture, "minimax-m3") == 0;
}

static bool has_head_norm(const tiny_params *p) {
    return is_m3(p) || strcmp(p->architecture, "qwen3") == 0;
}

static bool has_experts(const tiny_params *p, int layer) {
    return p->experts.n > 0 && layer >= p->n_dense_layers;
}

/* Of the feed-forward layer, or the shared expert. */
static int32_t mlp_width(const tiny_params *p, int layer) {
    return has_experts(p, layer) ? p->experts.n_ff * p->experts.n_shared : p->n_ff;
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
    int64_t n_ff = mlp_width(p, layer);
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
    if (has_experts(p, layer)) add_experts(r, p, &l);
    return l;
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
    free(m->layers);
    free(m->embedding);
    free(m->output_norm);
    free(m->output);
    free(m);
}

/* ---- the file ---- */

/* 256 bytes, "ab", then names no text spells. */
static void write_vocabulary(gguf_writer *w, const tiny_params *p) {
    char(*text)[16] = calloc((size_t)p->n_vocab, sizeof *text);
    const char **texts = malloc((size_t)p->n_vocab * sizeof *texts);
    for (int i = 0; i < p->n_vocab; i++) {
        uint32_t code = i < 256 ? byte_alphabet_code((uint8_t)i) : 0;
        if (i > 256)
            snprintf(text[i], sizeof *text, "<%d>", i);
        else if (i == 256)
            strcpy(text[i], "ab");
        else if (code < 128)
            text[i][0] = (char)code;
        else
            snprintf(text[i], sizeof *text, "%c%c", (int)(0xc0 | code >> 6),
                     (int)(0x80 | (code & 63)));
        texts[i] = text[i];
    }
    gguf_write_string(w, "tokenizer.ggml.model", "gpt2");
    gguf_write_string(w, "tokenizer.ggml.pre", "gpt-2");
    gguf_write_strings(w, "tokenizer.ggml.tokens", (uint64_t)p->n_vocab, texts);
    gguf_write_strings(w, "tokenizer.ggml.merges", 1, &(const char *){"a b"});
    gguf_write_u32(w, "tokenizer.ggml.eos_token_id", (uint32_t)p->n_vocab - 1);
    free(texts);
    free(text);
}

/* A key behind a prefix: "llama", "msa", ... */
static void write_key(gguf_writer *w, const char *prefix, const char *suffix, int32_t value) {
    char key[80];
    snprintf(key, sizeof key, "%s.%s", prefix, suffix);
    gguf_write_u32(w, key, (uint32_t)value);
}

static void write_number(gguf_writer *w, const char *prefix, const char *suffix, double value) {
    char key[80];
    snprintf(key, sizeof key, "%s.%s", prefix, suffix);
    gguf_write_f32(w, key, (float)value);
}

static void write_index_keys(gguf_writer *w, const tiny_params *p) {
    const char *prefix = is_m3(p) ? "minimax-m3.attention" : "msa";
    write_key(w, is_m3(p) ? "minimax-m3" : "msa", "leading_dense_block_count", p->n_dense_layers);
    write_key(w, prefix, "indexer.head_count", p->n_kv_heads);
    write_key(w, prefix, "indexer.key_length", p->index.dim);
    write_key(w, prefix, "indexer.top_k", p->index.topk);
    write_key(w, prefix, "indexer.block_size", p->index.block);
    write_key(w, prefix, "indexer.local_blocks", p->index.local);
    if (!is_m3(p)) write_key(w, prefix, "indexer.init_blocks", p->index.init);
}

static void write_experts_keys(gguf_writer *w, const tiny_params *p) {
    const char *a = p->architecture;
    write_key(w, a, "expert_count", p->experts.n);
    write_key(w, a, "expert_used_count", p->experts.n_used);
    write_key(w, a, "expert_feed_forward_length", p->experts.n_ff);
    write_key(w, a, "expert_shared_count", p->experts.n_shared);
    write_key(w, a, "expert_gating_func", 2);
    gguf_write_bool(w, "minimax-m3.expert_weights_norm", 1);
    write_number(w, a, "expert_weights_scale", (double)EXPERTS_SCALE);
}

static void write_keys(gguf_writer *w, const tiny_params *p) {
    const char *a = p->architecture;
    gguf_write_string(w, "general.architecture", a);
    gguf_write_string(w, "general.name", "tiny");
    write_key(w, a, "block_count", p->n_layers);
    write_key(w, a, "embedding_length", p->n_embd);
    write_key(w, a, "feed_forward_length", p->n_ff);
    write_key(w, a, "attention.head_count", p->n_q_heads);
    write_key(w, a, "attention.head_count_kv", p->n_kv_heads);
    write_key(w, a, "attention.key_length", p->head_dim);
    write_key(w, a, "attention.value_length", p->head_dim);
    write_key(w, a, "context_length", p->n_ctx);
    write_number(w, a, "attention.layer_norm_rms_epsilon", (double)NORM_EPS);
    write_number(w, a, "rope.freq_base", ROPE_BASE);
    if (is_m3(p) || p->n_rot) write_key(w, a, "rope.dimension_count", rotated(p));
    if (p->index.dim && !p->index.beside) write_index_keys(w, p);
    if (p->experts.n) write_experts_keys(w, p);
}

static void write_floats(gguf_writer *w, int layer, const char *name, int32_t n_out, int32_t n_in,
                         const float *x) {
    char full[64];
    if (!x) return;
    if (layer >= 0)
        snprintf(full, sizeof full, "blk.%d.%s", layer, name);
    else
        snprintf(full, sizeof full, "%s", name);
    uint64_t shape[2] = {(uint64_t)n_in, (uint64_t)n_out};
    gguf_write_tensor(w, full, QUANT_F32, n_out ? 2 : 1, shape, x,
                      (size_t)n_in * (size_t)(n_out ? n_out : 1) * sizeof *x);
}

static void write_stack(gguf_writer *w, int layer, const char *name, int32_t n, int32_t n_out,
                        int32_t n_in, const float *x) {
    char full[64];
    snprintf(full, sizeof full, "blk.%d.%s", layer, name);
    uint64_t shape[3] = {(uint64_t)n_in, (uint64_t)n_out, (uint64_t)n};
    gguf_write_tensor(w, full, QUANT_F32, 3, shape, x,
                      (size_t)n * (size_t)n_out * (size_t)n_in * sizeof *x);
}

static void write_index(gguf_writer *w, const tiny_model *m, int i) {
    const tiny_params *p = &m->params;
    const tiny_layer *l = &m->layers[i];
    write_floats(w, i, "indexer.q_proj.weight", p->n_kv_heads * p->index.dim, p->n_embd,
                 l->index_q);
    write_floats(w, i, "indexer.k_proj.weight", p->index.dim, p->n_embd, l->index_k);
    write_floats(w, i, "indexer.q_norm.weight", 0, p->index.dim, l->index_q_norm);
    write_floats(w, i, "indexer.k_norm.weight", 0, p->index.dim, l->index_k_norm);
}

static void write_mlp(gguf_writer *w, const tiny_model *m, int i) {
    const tiny_params *p = &m->params;
    const tiny_layer *l = &m->layers[i];
    bool experts = has_experts(p, i);
    int32_t n_ff = mlp_width(p, i), n = p->experts.n, n_expert = p->experts.n_ff;
    write_floats(w, i, experts ? "ffn_gate_shexp.weight" : "ffn_gate.weight", n_ff, p->n_embd,
                 l->w_gate);
    write_floats(w, i, experts ? "ffn_up_shexp.weight" : "ffn_up.weight", n_ff, p->n_embd, l->w_up);
    write_floats(w, i, experts ? "ffn_down_shexp.weight" : "ffn_down.weight", p->n_embd, n_ff,
                 l->w_down);
    if (!experts) return;
    write_floats(w, i, "ffn_gate_inp.weight", n, p->n_embd, l->router);
    write_floats(w, i, "exp_probs_b.bias", 0, n, l->router_bias);
    write_stack(w, i, "ffn_gate_exps.weight", n, n_expert, p->n_embd, l->e_gate);
    write_stack(w, i, "ffn_up_exps.weight", n, n_expert, p->n_embd, l->e_up);
    write_stack(w, i, "ffn_down_exps.weight", n, p->n_embd, n_expert, l->e_down);
}

void tiny_write(const tiny_model *m, const char *path) {
    const tiny_params *p = &m->params;
    int32_t q = p->n_q_heads * p->head_dim, kv = p->n_kv_heads * p->head_dim;
    gguf_writer w = {0};
    write_keys(&w, p);
    write_vocabulary(&w, p);
    write_floats(&w, -1, "token_embd.weight", p->n_vocab, p->n_embd, m->embedding);
    write_floats(&w, -1, "output_norm.weight", 0, p->n_embd, m->output_norm);
    write_floats(&w, -1, "output.weight", p->n_vocab, p->n_embd, m->output);
    for (int i = 0; i < p->n_layers; i++) {
        const tiny_layer *l = &m->layers[i];
        write_floats(&w, i, "attn_norm.weight", 0, p->n_embd, l->attn_norm);
        write_floats(&w, i, "attn_q.weight", q, p->n_embd, l->wq);
        write_floats(&w, i, "attn_k.weight", kv, p->n_embd, l->wk);
        write_floats(&w, i, "attn_v.weight", kv, p->n_embd, l->wv);
        write_floats(&w, i, "attn_output.weight", p->n_embd, q, l->wo);
        write_floats(&w, i, "attn_q.bias", 0, q, l->bq);
        write_floats(&w, i, "attn_k.bias", 0, kv, l->bk);
        write_floats(&w, i, "attn_v.bias", 0, kv, l->bv);
        write_floats(&w, i, "attn_q_norm.weight", 0, p->head_dim, l->q_norm);
        write_floats(&w, i, "attn_k_norm.weight", 0, p->head_dim, l->k_norm);
        write_floats(&w, i, "ffn_norm.weight", 0, p->n_embd, l->ffn_norm);
        write_mlp(&w, m, i);
        if (!p->index.beside) write_index(&w, m, i);
    }
    gguf_writer_save(&w, path);
}

void tiny_write_index(const tiny_model *m, const char *path) {
    const tiny_params *p = &m->params;
    uint64_t fingerprint = 0;
    char text[17];
    for (int i = 0; i < p->n_layers; i++) {
        fingerprint = weights_fingerprint_add(fingerprint, m->layers[i].attn_norm, p->n_embd);
        fingerprint = weights_fingerprint_add(fingerprint, m->layers[i].ffn_norm, p->n_embd);
    }
    fingerprint = weights_fingerprint_add(fingerprint, m->output_norm, p->n_embd);
    snprintf(text, sizeof text, "%016" PRIx64, fingerprint);
    gguf_writer w = {0};
    gguf_write_string(&w, "general.architecture", "msa-index");
    gguf_write_string(&w, "msa.base.architecture", p->architecture);
    gguf_write_string(&w, "msa.base.fingerprint", text);
    write_key(&w, "msa.base", "block_count", p->n_layers);
    write_key(&w, "msa.base", "embedding_length", p->n_embd);
    write_key(&w, "msa.base", "head_count", p->n_q_heads);
    write_key(&w, "msa.base", "head_count_kv", p->n_kv_heads);
    write_key(&w, "msa.base", "key_length", p->head_dim);
    write_index_keys(&w, p);
    for (int i = 0; i < p->n_layers; i++) write_index(&w, m, i);
    gguf_writer_save(&w, path);
}

/* ---- the forward pass ---- */

static void rms_norm(const double *x, const float *w, int n, double *y) {
    double sum = 0;
    for (int i = 0; i < n; i++) sum += x[i] * x[i];
    for (int i = 0; i < n; i++) y[i] = x[i] / sqrt(sum / n + NORM_EPS) * w[i];
}

static void multiply(const float *w, const double *x, const float *bias, int n_out, int n_in,
                     double *y) {
    for (int o = 0; o < n_out; o++) {
        double sum = bias ? bias[o] : 0;
        for (int i = 0; i < n_in; i++) sum += (double)w[o * n_in + i] * x[i];
        y[o] = sum;
    }
}

static void rotate(const tiny_params *p, double *head, int position) {
    int n = rotated(p);
    bool adjacent = strcmp(p->architecture, "llama") == 0;
    for (int i = 0; i < n / 2; i++) {
        int a = adjacent ? 2 * i : i, b = adjacent ? 2 * i + 1 : i + n / 2;
        double angle = position * pow(ROPE_BASE, -2.0 * i / n), x = head[a], y = head[b];
        head[a] = x * cos(angle) - y * sin(angle);
        head[b] = x * sin(angle) + y * cos(angle);
    }
}

static void norm_and_rotate(const tiny_params *p, double *heads, int n_heads, int width,
                            const float *w, int position) {
    for (int h = 0; h < n_heads; h++) {
        double *head = heads + h * width;
        if (w) rms_norm(head, w, width, head);
        rotate(p, head, position);
    }
}

static double dot(const double *a, const double *b, int n) {
    double sum = 0;
    for (int i = 0; i < n; i++) sum += a[i] * b[i];
    return sum;
}

/* The blocks for the query at position t with these scores, ascending, then -1. */
static void select_blocks(const msa_shape *s, const double *score, int t, int32_t *ids) {
    int own = t / s->block, n = 0;
    bool chosen[MOST_BLOCKS] = {false};
    for (int b = 0; b <= own; b++) {
        chosen[b] = b < s->init || b > own - s->local;
        n += chosen[b];
    }
    for (; n < s->topk && n <= own; n++) {
        int best = -1;
        for (int b = 0; b <= own; b++)
            if (!chosen[b] && (best < 0 || score[b] > score[best])) best = b;
        chosen[best] = true;
    }
    n = 0;
    for (int b = 0; b <= own; b++)
        if (chosen[b]) ids[n++] = b;
    while (n < s->topk) ids[n++] = -1;
}

/* One query head over the tokens whose blocks are in ids (NULL: over all up to t). */
static void attend(const tiny_params *p, const double *q, const double *k, const double *v, int t,
                   int g, const int32_t *ids, const msa_shape *s, double *out) {
    int d = p->head_dim;
    double *weight = calloc((size_t)t + 1, sizeof *weight), sum = 0, top = -INFINITY;
    for (int pass = 0; pass < 2; pass++)
        for (int j = 0; j <= t; j++) {
            bool visible = ids == NULL;
            for (int i = 0; !visible && i < s->topk; i++) visible = ids[i] == j / s->block;
            if (!visible) continue;
            double x = dot(q, k + (j * p->n_kv_heads + g) * d, d) / sqrt(d);
            if (pass == 0)
                top = fmax(top, x);
            else
                sum += weight[j] = exp(x - top);
        }
    for (int c = 0; c < d; c++) {
        out[c] = 0;
        for (int j = 0; j <= t; j++) out[c] += weight[j] / sum * v[(j * p->n_kv_heads + g) * d + c];
    }
    free(weight);
}

typedef struct layer_run {
    const tiny_model *m;
    const tiny_layer *l;
    int n;
    double *x, *q, *k, *v, *qi, *ki; /* [n][...] */
} layer_run;

static void make_qkv(layer_run *r) {
    const tiny_params *p = &r->m->params;
    int nq = p->n_q_heads * p->head_dim, nkv = p->n_kv_heads * p->head_dim;
    double *y = malloc((size_t)p->n_embd * sizeof *y);
    for (int t = 0; t < r->n; t++) {
        rms_norm(r->x + t * p->n_embd, r->l->attn_norm, p->n_embd, y);
        multiply(r->l->wq, y, r->l->bq, nq, p->n_embd, r->q + t * nq);
        multiply(r->l->wk, y, r->l->bk, nkv, p->n_embd, r->k + t * nkv);
        multiply(r->l->wv, y, r->l->bv, nkv, p->n_embd, r->v + t * nkv);
        norm_and_rotate(p, r->q + t * nq, p->n_q_heads, p->head_dim, r->l->q_norm, t);
        norm_and_rotate(p, r->k + t * nkv, p->n_kv_heads, p->head_dim, r->l->k_norm, t);
        if (!r->l->index_q) continue;
        int di = p->index.dim, ni = p->n_kv_heads * di;
        multiply(r->l->index_q, y, NULL, ni, p->n_embd, r->qi + t * ni);
        multiply(r->l->index_k, y, NULL, di, p->n_embd, r->ki + t * di);
        norm_and_rotate(p, r->qi + t * ni, p->n_kv_heads, di, r->l->index_q_norm, t);
        norm_and_rotate(p, r->ki + t * di, 1, di, r->l->index_k_norm, t);
    }
    free(y);
}

/* score[b]: the greatest product of q with a key of the block; key j at k + j * stride. */
static void score_by_maxima(const msa_shape *s, const double *q, const double *k, int width,
                            int stride, int t, double *score) {
    for (int j = 0; j <= t; j++) {
        double x = dot(q, k + j * stride, width), *best = &score[j / s->block];
        if (j % s->block == 0 || x > *best) *best = x;
    }
}

/* The product of q with the mean of the keys of each block that position t sees. */
static void score_by_means(const msa_shape *s, const double *q, const double *k, int width,
                           int stride, int t, double *score) {
    for (int b = 0; b <= t / s->block; b++) {
        int end = (b + 1) * s->block <= t + 1 ? (b + 1) * s->block : t + 1;
        score[b] = 0;
        for (int j = b * s->block; j < end; j++)
            score[b] += dot(q, k + j * stride, width) / (end - b * s->block);
    }
}

/* The share of the attention of group g's heads that each block has, mean over the heads. */
static void score_by_mass(const layer_run *r, const msa_shape *s, int t, int g, double *score) {
    const tiny_params *p = &r->m->params;
    int d = p->head_dim, group = p->n_q_heads / p->n_kv_heads;
    for (int b = 0; b <= t / s->block; b++) score[b] = 0;
    for (int h = g * group; h < (g + 1) * group; h++) {
        double sum = 0;
        for (int pass = 0; pass < 2; pass++)
            for (int j = 0; j <= t; j++) {
                double x = exp(
                    dot(r->q + (t * p->n_q_heads + h) * d, r->k + (j * p->n_kv_heads + g) * d, d) /
                    sqrt(d));
                if (pass)
                    score[j / s->block] += x / sum / group;
                else
                    sum += x;
            }
    }
}

static void choose(const layer_run *r, const tiny_choice *c, int t, int g, int32_t *ids) {
    const tiny_params *p = &r->m->params;
    const msa_shape *s = c->shape;
    int d = p->head_dim, group = p->n_q_heads / p->n_kv_heads, di = p->index.dim;
    double mean[256] = {0}, *keys = NULL, score[MOST_BLOCKS];
    for (int h = g * group; h < (g + 1) * group; h++)
        for (int i = 0; i < d; i++) mean[i] += r->q[(t * p->n_q_heads + h) * d + i] / group;
    switch (c->selector) {
    case MSA_SELECTOR_INDEX:
        score_by_maxima(s, r->qi + (t * p->n_kv_heads + g) * di, r->ki, di, di, t, score);
        break;
    case MSA_SELECTOR_MEANS:
        score_by_means(s, mean, r->k + g * d, d, p->n_kv_heads * d, t, score);
        break;
    case MSA_SELECTOR_SHARED:
        keys = calloc((size_t)((t + 1) * d), sizeof *keys);
        for (int i = 0; i < (t + 1) * p->n_kv_heads * d; i++)
            keys[i / (p->n_kv_heads * d) * d + i % d] += r->k[i] / p->n_kv_heads;
        score_by_maxima(s, mean, keys, d, d, t, score);
        free(keys);
        break;
    case MSA_SELECTOR_ORACLE: score_by_mass(r, s, t, g, score); break;
    default: score_by_maxima(s, mean, r->k + g * d, d, p->n_kv_heads * d, t, score);
    }
    select_blocks(s, score, t, ids);
}

/* choice NULL: dense. */
static void attend_and_project(layer_run *r, const tiny_choice *choice, int32_t *selected) {
    const tiny_params *p = &r->m->params;
    int d = p->head_dim, nq = p->n_q_heads * d, group = p->n_q_heads / p->n_kv_heads;
    double *o = malloc((size_t)(nq + p->n_embd) * sizeof *o), *y = o + nq;
    const msa_shape *s = choice ? choice->shape : NULL;
    int32_t ids[64];
    for (int t = 0; t < r->n; t++) {
        for (int g = 0; g < p->n_kv_heads; g++) {
            const double *q = r->q + t * nq;
            if (s) choose(r, choice, t, g, ids);
            if (s && selected)
                memcpy(selected + (t * p->n_kv_heads + g) * s->topk, ids,
                       (size_t)s->topk * sizeof *ids);
            for (int h = g * group; h < (g + 1) * group; h++)
                attend(p, q + h * d, r->k, r->v, t, g, s ? ids : NULL, s, o + h * d);
        }
        multiply(r->l->wo, o, NULL, p->n_embd, nq, y);
        for (int i = 0; i < p->n_embd; i++) r->x[t * p->n_embd + i] += y[i];
    }
    free(o);
}

static double gated(const tiny_params *p, double gate, double up) {
    if (!is_m3(p)) return gate * up / (1 + exp(-gate));
    gate = fmin(gate, 7);
    up = fmax(-7, fmin(up, 7));
    return (up + 1) * gate / (1 + exp(-1.702 * gate));
}

/* x += factor * Wdown gated(Wgate y, Wup y) */
static void add_mlp(const tiny_params *p, const float *w_gate, const float *w_up,
                    const float *w_down, int n_ff, double factor, const double *y, double *x) {
    double *gate = malloc((size_t)(2 * n_ff + p->n_embd) * sizeof *gate), *up = gate + n_ff,
           *sum = up + n_ff;
    multiply(w_gate, y, NULL, n_ff, p->n_embd, gate);
    multiply(w_up, y, NULL, n_ff, p->n_embd, up);
    for (int i = 0; i < n_ff; i++) gate[i] = gated(p, gate[i], up[i]);
    multiply(w_down, gate, NULL, p->n_embd, n_ff, sum);
    for (int i = 0; i < p->n_embd; i++) x[i] += factor * sum[i];
    free(gate);
}

static void add_experts_of(const tiny_params *p, const tiny_layer *l, const double *y, double *x) {
    int n = p->experts.n, n_ff = p->experts.n_ff, chosen[16];
    double s[16], total = 0;
    bool taken[16] = {false};
    multiply(l->router, y, NULL, n, p->n_embd, s);
    for (int e = 0; e < n; e++) s[e] = 1 / (1 + exp(-s[e]));
    for (int i = 0; i < p->experts.n_used; i++) {
        int best = -1;
        for (int e = 0; e < n; e++)
            if (!taken[e] &&
                (best < 0 || s[e] + l->router_bias[e] > s[best] + l->router_bias[best]))
                best = e;
        taken[chosen[i] = best] = true;
        total += s[best];
    }
    for (int i = 0; i < p->experts.n_used; i++) {
        int at = chosen[i] * n_ff * p->n_embd;
        add_mlp(p, l->e_gate + at, l->e_up + at, l->e_down + at, n_ff,
                s[chosen[i]] / total * EXPERTS_SCALE, y, x);
    }
}

static void run_feed_forward(layer_run *r, int layer) {
    const tiny_params *p = &r->m->params;
    const tiny_layer *l = r->l;
    double *y = malloc((size_t)p->n_embd * sizeof *y);
    for (int t = 0; t < r->n; t++) {
        double *x = r->x + t * p->n_embd;
        rms_norm(x, l->ffn_norm, p->n_embd, y);
        if (l->w_gate) add_mlp(p, l->w_gate, l->w_up, l->w_down, mlp_width(p, layer), 1, y, x);
        if (l->router) add_experts_of(p, l, y, x);
    }
    free(y);
}

void tiny_forward(const tiny_model *m, const int32_t *ids, int n, const tiny_choice *choice,
                  uint64_t dense_layers, double *logits, int32_t *selected) {
    const tiny_params *p = &m->params;
    const msa_shape *shape = choice ? choice->shape : NULL;
    int nq = p->n_q_heads * p->head_dim, nkv = p->n_kv_heads * p->head_dim;
    layer_run r = {.m = m, .n = n};
    int ni = (p->n_kv_heads + 1) * p->index.dim;
    r.x = malloc((size_t)n * (size_t)(p->n_embd + nq + 2 * nkv + ni) * sizeof *r.x);
    r.q = r.x + n * p->n_embd;
    r.k = r.q + n * nq;
    r.v = r.k + n * nkv;
    r.qi = r.v + n * nkv;
    r.ki = r.qi + n * p->n_kv_heads * p->index.dim;
    for (int i = 0; i < n * p->n_embd; i++)
        r.x[i] = m->embedding[ids[i / p->n_embd] * p->n_embd + i % p->n_embd];
    size_t per_layer = shape ? (size_t)(n * p->n_kv_heads * shape->topk) : 0;
    if (selected) memset(selected, 0xff, (size_t)p->n_layers * per_layer * sizeof *selected);
    for (int l = 0; l < p->n_layers; l++) {
        const tiny_choice *c = dense_layers >> l & 1 ? NULL : choice;
        r.l = &m->layers[l];
        make_qkv(&r);
        attend_and_project(&r, c, selected ? selected + (size_t)l * per_layer : NULL);
        run_feed_forward(&r, l);
    }
    const float *output = m->output ? m->output : m->embedding;
    for (int t = 0; t < n; t++) {
        double *x = r.x + t * p->n_embd;
        rms_norm(x, m->output_norm, p->n_embd, x);
        multiply(output, x, NULL, p->n_vocab, p->n_embd, logits + t * p->n_vocab);
    }
    free(r.x);
}
