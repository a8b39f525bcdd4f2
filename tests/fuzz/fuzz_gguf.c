/* fuzz_gguf.c: any bytes as a GGUF file. What the reader accepts is read to the last byte, loaded
 * as a model where it is one, and its weights multiplied. */
#include <stdlib.h>

#include "base/mem.h"
#include "fuzz.h"
#include "model/weights.h"
#include "nn/quant.h"

static volatile unsigned sink;

static void read_values(const gguf_file *file) {
    for (size_t i = 0; i < gguf_value_count(file); i++) {
        const gguf_value *v = gguf_value_at(file, i);
        char printable[GGUF_PRINTABLE], key[64];
        gguf_printable(v->key, printable);
        for (uint64_t j = 0; j < v->key.n; j++) sink += (uint8_t)v->key.data[j];
        const uint8_t *at = v->data;
        if (v->element == GGUF_STRING)
            for (uint64_t j = 0; j < v->n; j++) {
                gguf_string s = gguf_string_next(&at);
                for (uint64_t c = 0; c < s.n; c++) sink += (uint8_t)s.data[c];
            }
        else
            for (uint64_t j = 0; j < v->n * gguf_type_size(v->element); j++) sink += at[j];
        if (v->key.n >= sizeof key) continue;
        for (uint64_t j = 0; j < v->key.n; j++) key[j] = v->key.data[j];
        key[v->key.n] = 0;
        uint32_t u;
        float f;
        bool yes;
        gguf_string s;
        gguf_array a;
        gguf_get_u32(file, key, &u, NULL);
        gguf_get_f32(file, key, &f, NULL);
        gguf_get_bool(file, key, &yes, NULL);
        gguf_get_string(file, key, &s, NULL);
        gguf_get_array(file, key, GGUF_STRING, &a, NULL);
    }
}

static void multiply(const gemm_weight *w) {
    float *x = calloc((size_t)w->n_in, sizeof *x), *y = calloc((size_t)w->n_out, sizeof *y);
    gemm_input in = {x, w->n_in, 1};
    gemm_target target = {w, NULL, y, w->n_out};
    if (x && y) gemm_run(&in, &target, 1, 1, NULL);
    free(x);
    free(y);
}

static void multiply_mlp(const weights_mlp *m) {
    if (!m->gate.data) return;
    multiply(&m->gate);
    multiply(&m->up);
    multiply(&m->down);
}

static void read_layer(const weights *w, int layer) {
    const weights_layer *l = &w->layers[layer];
    const gemm_weight *all[] = {&l->wq, &l->wk, &l->wv, &l->wo};
    for (size_t j = 0; j < sizeof all / sizeof *all; j++) multiply(all[j]);
    multiply_mlp(&l->mlp);
    for (int32_t e = 0; l->experts && e < w->arch.moe.n_experts; e++) multiply_mlp(&l->experts[e]);
    if (!w->index || layer < w->arch.n_dense_layers) return;
    multiply(&w->index[layer].wq);
    multiply(&w->index[layer].wk);
}

static void read_model(const gguf_file *file) {
    weights *w;
    msa_error err;
    if (weights_load(&w, file, &err) != MSA_OK) return;
    char text[40];
    weights_describe_formats(w, text, sizeof text);
    multiply(&w->token_embd);
    multiply(&w->output);
    for (int i = 0; i < w->arch.n_layers; i++) read_layer(w, i);
    sink += (unsigned)weights_fingerprint(w);
    weights_free(w);
}

/* As an index branch of a model of two layers whose norms are all 1. */
static void read_index(const gguf_file *file) {
    enum { EMBD = 32 };
    float ones[EMBD];
    for (int i = 0; i < EMBD; i++) ones[i] = 1;
    weights_layer layers[2] = {{.attn_norm = ones, .ffn_norm = ones},
                               {.attn_norm = ones, .ffn_norm = ones}};
    weights *w = calloc(1, sizeof *w);
    if (!w) return;
    w->architecture = "qwen3";
    w->output_norm = ones;
    w->layers = layers;
    w->arch = (arch){.family = ARCH_QWEN3,
                     .n_layers = 2,
                     .n_embd = EMBD,
                     .n_q_heads = 2,
                     .n_kv_heads = 1,
                     .head_dim = 16,
                     .n_rot = 16,
                     .qk_norm = true};
    msa_error err;
    if (weights_load_index(w, file, &err) == MSA_OK)
        for (int i = w->arch.n_dense_layers; i < 2; i++) {
            multiply(&w->index[i].wq);
            multiply(&w->index[i].wk);
            for (int j = 0; j < w->arch.index.dim; j++)
                sink += w->index[i].q_norm[j] > w->index[i].k_norm[j];
        }
    mem_free(w->index);
    free(w);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n_bytes) {
    gguf_file *file;
    msa_error err;
    if (gguf_open_memory(&file, data, n_bytes, "fuzz", &err) != MSA_OK) return 0;
    read_values(file);
    for (size_t i = 0; i < gguf_tensor_count(file); i++) {
        const gguf_tensor *t = gguf_tensor_at(file, i);
        for (uint64_t j = 0; j < t->n_bytes; j++) sink += t->data[j];
    }
    read_model(file);
    read_index(file);
    gguf_close(file);
    return 0;
}
