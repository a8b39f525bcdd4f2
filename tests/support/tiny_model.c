/* tiny_model.c: see tiny_model.h. */
#include "support/tiny_model.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "model/byte_alphabet.h"
#include "model/gguf.h"
#include "nn/quant.h"
#include "support/gguf_writer.h"

static const float NORM_EPS = 1e-5f;
static const double ROPE_BASE = 10000;

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

static tiny_layer random_layer(rng *r, const tiny_params *p) {
    int64_t q = p->n_q_heads * p->head_dim, kv = p->n_kv_heads * p->head_dim;
    bool bias = strcmp(p->architecture, "qwen2") == 0;
    bool head_norm = strcmp(p->architecture, "qwen3") == 0;
    return (tiny_layer){
        .attn_norm = random_floats(r, p->n_embd, 1, 0.1f),
        .wq = random_matrix(r, q, p->n_embd, 2), /* sharp enough to tell tokens apart */
        .wk = random_matrix(r, kv, p->n_embd, 2),
        .wv = random_matrix(r, kv, p->n_embd, 1),
        .wo = random_matrix(r, p->n_embd, q, 1),
        .bq = bias ? random_floats(r, q, 0, 0.5f) : NULL,
        .bk = bias ? random_floats(r, kv, 0, 0.5f) : NULL,
        .bv = bias ? random_floats(r, kv, 0, 0.5f) : NULL,
        .q_norm = head_norm ? random_floats(r, p->head_dim, 1.5f, 0.2f) : NULL,
        .k_norm = head_norm ? random_floats(r, p->head_dim, 1.5f, 0.2f) : NULL,
        .ffn_norm = random_floats(r, p->n_embd, 1, 0.1f),
        .w_gate = random_matrix(r, p->n_ff, p->n_embd, 1),
        .w_up = random_matrix(r, p->n_ff, p->n_embd, 1),
        .w_down = random_matrix(r, p->n_embd, p->n_ff, 1),
    };
}

tiny_model *tiny_create(const tiny_params *p) {
    tiny_model *m = malloc(sizeof *m);
    rng r = rng_seed(p->seed);
    *m = (tiny_model){
        .params = *p,
        .embedding = random_floats(&r, (int64_t)p->n_vocab * p->n_embd, 0, 1),
        .output_norm = random_floats(&r, p->n_embd, 1, 0.1f),
        .output = p->tied ? NULL : random_matrix(&r, p->n_vocab, p->n_embd, 1),
        .layers = malloc((size_t)p->n_layers * sizeof *m->layers),
    };
    for (int l = 0; l < p->n_layers; l++) m->layers[l] = random_layer(&r, p);
    return m;
}

void tiny_free(tiny_model *m) {
    for (int i = 0; i < m->params.n_layers; i++) {
        tiny_layer *l = &m->layers[i];
        float *const all[] = {l->attn_norm, l->wq,     l->wk,   l->wv,     l->wo,
                              l->bq,        l->bk,     l->bv,   l->q_norm, l->k_norm,
                              l->ffn_norm,  l->w_gate, l->w_up, l->w_down};
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

static void write_key(gguf_writer *w, const tiny_params *p, const char *suffix, int32_t value) {
    char key[64];
    snprintf(key, sizeof key, "%s.%s", p->architecture, suffix);
    gguf_write_u32(w, key, (uint32_t)value);
}

static void write_keys(gguf_writer *w, const tiny_params *p) {
    char key[64];
    gguf_write_string(w, "general.architecture", p->architecture);
    gguf_write_string(w, "general.name", "tiny");
    write_key(w, p, "block_count", p->n_layers);
    write_key(w, p, "embedding_length", p->n_embd);
    write_key(w, p, "feed_forward_length", p->n_ff);
    write_key(w, p, "attention.head_count", p->n_q_heads);
    write_key(w, p, "attention.head_count_kv", p->n_kv_heads);
    write_key(w, p, "attention.key_length", p->head_dim);
    write_key(w, p, "attention.value_length", p->head_dim);
    write_key(w, p, "context_length", p->n_ctx);
    snprintf(key, sizeof key, "%s.attention.layer_norm_rms_epsilon", p->architecture);
    gguf_write_f32(w, key, NORM_EPS);
    snprintf(key, sizeof key, "%s.rope.freq_base", p->architecture);
    gguf_write_f32(w, key, (float)ROPE_BASE);
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
        write_floats(&w, i, "ffn_gate.weight", p->n_ff, p->n_embd, l->w_gate);
        write_floats(&w, i, "ffn_up.weight", p->n_ff, p->n_embd, l->w_up);
        write_floats(&w, i, "ffn_down.weight", p->n_embd, p->n_ff, l->w_down);
    }
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
    int d = p->head_dim;
    bool adjacent = strcmp(p->architecture, "llama") == 0;
    for (int i = 0; i < d / 2; i++) {
        int a = adjacent ? 2 * i : i, b = adjacent ? 2 * i + 1 : i + d / 2;
        double angle = position * pow(ROPE_BASE, -2.0 * i / d), x = head[a], y = head[b];
        head[a] = x * cos(angle) - y * sin(angle);
        head[b] = x * sin(angle) + y * cos(angle);
    }
}

static void norm_and_rotate(const tiny_params *p, double *heads, int n_heads, const float *w,
                            int position) {
    for (int h = 0; h < n_heads; h++) {
        double *head = heads + h * p->head_dim;
        if (w) rms_norm(head, w, p->head_dim, head);
        rotate(p, head, position);
    }
}

static double dot(const double *a, const double *b, int n) {
    double sum = 0;
    for (int i = 0; i < n; i++) sum += a[i] * b[i];
    return sum;
}

/* The blocks of group g for the query q at position t, ascending, then -1. */
static void select_blocks(const tiny_params *p, const msa_shape *s, const double *q,
                          const double *k, int t, int g, int32_t *ids) {
    int d = p->head_dim, group = p->n_q_heads / p->n_kv_heads, own = t / s->block;
    bool chosen[512] = {false};
    double mean[256] = {0}, score[512];
    int n = 0;
    for (int h = g * group; h < (g + 1) * group; h++)
        for (int c = 0; c < d; c++) mean[c] += q[h * d + c] / group;
    for (int b = 0; b <= own; b++) {
        score[b] = -INFINITY;
        for (int j = b * s->block; j < (b + 1) * s->block && j <= t; j++)
            score[b] = fmax(score[b], dot(mean, k + (j * p->n_kv_heads + g) * d, d));
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
    double *x, *q, *k, *v; /* [n][...] */
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
        norm_and_rotate(p, r->q + t * nq, p->n_q_heads, r->l->q_norm, t);
        norm_and_rotate(p, r->k + t * nkv, p->n_kv_heads, r->l->k_norm, t);
    }
    free(y);
}

static void attend_and_project(layer_run *r, const msa_shape *s, int32_t *selected) {
    const tiny_params *p = &r->m->params;
    int d = p->head_dim, nq = p->n_q_heads * d, group = p->n_q_heads / p->n_kv_heads;
    double *o = malloc((size_t)(nq + p->n_embd) * sizeof *o), *y = o + nq;
    int32_t ids[64];
    for (int t = 0; t < r->n; t++) {
        for (int g = 0; g < p->n_kv_heads; g++) {
            const double *q = r->q + t * nq;
            if (s) select_blocks(p, s, q, r->k, t, g, ids);
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

static void feed_forward(layer_run *r) {
    const tiny_params *p = &r->m->params;
    double *y = malloc((size_t)(p->n_embd + 2 * p->n_ff) * sizeof *y), *gate = y + p->n_embd,
           *up = gate + p->n_ff;
    for (int t = 0; t < r->n; t++) {
        double *x = r->x + t * p->n_embd;
        rms_norm(x, r->l->ffn_norm, p->n_embd, y);
        multiply(r->l->w_gate, y, NULL, p->n_ff, p->n_embd, gate);
        multiply(r->l->w_up, y, NULL, p->n_ff, p->n_embd, up);
        for (int i = 0; i < p->n_ff; i++) gate[i] *= up[i] / (1 + exp(-gate[i]));
        multiply(r->l->w_down, gate, NULL, p->n_embd, p->n_ff, y);
        for (int i = 0; i < p->n_embd; i++) x[i] += y[i];
    }
    free(y);
}

void tiny_forward(const tiny_model *m, const int32_t *ids, int n, const msa_shape *shape,
                  uint64_t dense_layers, double *logits, int32_t *selected) {
    const tiny_params *p = &m->params;
    int nq = p->n_q_heads * p->head_dim, nkv = p->n_kv_heads * p->head_dim;
    layer_run r = {.m = m, .n = n};
    r.x = malloc((size_t)n * (size_t)(p->n_embd + nq + 2 * nkv) * sizeof *r.x);
    r.q = r.x + n * p->n_embd;
    r.k = r.q + n * nq;
    r.v = r.k + n * nkv;
    for (int i = 0; i < n * p->n_embd; i++)
        r.x[i] = m->embedding[ids[i / p->n_embd] * p->n_embd + i % p->n_embd];
    size_t per_layer = shape ? (size_t)(n * p->n_kv_heads * shape->topk) : 0;
    if (selected) memset(selected, 0xff, (size_t)p->n_layers * per_layer * sizeof *selected);
    for (int l = 0; l < p->n_layers; l++) {
        const msa_shape *s = dense_layers >> l & 1 ? NULL : shape;
        r.l = &m->layers[l];
        make_qkv(&r);
        attend_and_project(&r, s, selected ? selected + (size_t)l * per_layer : NULL);
        feed_forward(&r);
    }
    const float *output = m->output ? m->output : m->embedding;
    for (int t = 0; t < n; t++) {
        double *x = r.x + t * p->n_embd;
        rms_norm(x, m->output_norm, p->n_embd, x);
        multiply(output, x, NULL, p->n_vocab, p->n_embd, logits + t * p->n_vocab);
    }
    free(r.x);
}
