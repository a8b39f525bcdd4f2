/* tiny_write.c: a tiny model as a GGUF file. See tiny_model.h. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "model/byte_alphabet.h"
#include "model/weights.h"
#include "nn/quant.h"
#include "support/gguf_writer.h"
#include "support/tiny_model.h"

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
    const char *prefix = tiny_is_m3(p) ? "minimax-m3.attention" : "msa";
    write_key(w, tiny_is_m3(p) ? "minimax-m3" : "msa", "leading_dense_block_count",
              p->n_dense_layers);
    write_key(w, prefix, "indexer.head_count", p->n_kv_heads);
    write_key(w, prefix, "indexer.key_length", p->index.dim);
    write_key(w, prefix, "indexer.top_k", p->index.topk);
    write_key(w, prefix, "indexer.block_size", p->index.block);
    write_key(w, prefix, "indexer.local_blocks", p->index.local);
    if (!tiny_is_m3(p)) write_key(w, prefix, "indexer.init_blocks", p->index.init);
}

static void write_experts_keys(gguf_writer *w, const tiny_params *p) {
    const char *a = p->architecture;
    write_key(w, a, "expert_count", p->experts.n);
    write_key(w, a, "expert_used_count", p->experts.n_used);
    write_key(w, a, "expert_feed_forward_length", p->experts.n_ff);
    write_key(w, a, "expert_shared_count", p->experts.n_shared);
    write_key(w, a, "expert_gating_func", 2);
    gguf_write_bool(w, "minimax-m3.expert_weights_norm", 1);
    write_number(w, a, "expert_weights_scale", (double)TINY_EXPERTS_SCALE);
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
    write_number(w, a, "attention.layer_norm_rms_epsilon", (double)TINY_NORM_EPS);
    write_number(w, a, "rope.freq_base", TINY_ROPE_BASE);
    if (tiny_is_m3(p) || p->n_rot) write_key(w, a, "rope.dimension_count", tiny_rotated(p));
    if (p->index.dim && !p->index.beside) write_index_keys(w, p);
    if (p->experts.n) write_experts_keys(w, p);
}

/* x [rows][n_in] in the format it is stored in. */
static void write_tensor(gguf_writer *w, const tiny_model *m, const char *name, int n_dims,
                         const uint64_t *shape, const float *x) {
    size_t rows = 1;
    for (int i = 1; i < n_dims; i++) rows *= shape[i];
    tiny_stored stored = {.x = x, .type = QUANT_F32};
    for (int i = 0; i < m->n_stored && !m->params.types.widened; i++)
        if (m->stored[i].x == x) stored = m->stored[i];
    gguf_write_tensor(w, name, stored.type, n_dims, shape,
                      stored.bytes ? (const void *)stored.bytes : x,
                      rows * quant_row_bytes(stored.type, (int64_t)shape[0]));
}

static void write_floats(gguf_writer *w, const tiny_model *m, int layer, const char *name,
                         int32_t n_out, int32_t n_in, const float *x) {
    char full[64];
    if (!x) return;
    if (layer >= 0)
        snprintf(full, sizeof full, "blk.%d.%s", layer, name);
    else
        snprintf(full, sizeof full, "%s", name);
    uint64_t shape[2] = {(uint64_t)n_in, (uint64_t)n_out};
    write_tensor(w, m, full, n_out ? 2 : 1, shape, x);
}

static void write_stack(gguf_writer *w, const tiny_model *m, int layer, const char *name, int32_t n,
                        int32_t n_out, int32_t n_in, const float *x) {
    char full[64];
    snprintf(full, sizeof full, "blk.%d.%s", layer, name);
    uint64_t shape[3] = {(uint64_t)n_in, (uint64_t)n_out, (uint64_t)n};
    write_tensor(w, m, full, 3, shape, x);
}

static void write_index(gguf_writer *w, const tiny_model *m, int i) {
    const tiny_params *p = &m->params;
    const tiny_layer *l = &m->layers[i];
    write_floats(w, m, i, "indexer.q_proj.weight", p->n_kv_heads * p->index.dim, p->n_embd,
                 l->index_q);
    write_floats(w, m, i, "indexer.k_proj.weight", p->index.dim, p->n_embd, l->index_k);
    write_floats(w, m, i, "indexer.q_norm.weight", 0, p->index.dim, l->index_q_norm);
    write_floats(w, m, i, "indexer.k_norm.weight", 0, p->index.dim, l->index_k_norm);
}

static void write_mlp(gguf_writer *w, const tiny_model *m, int i) {
    const tiny_params *p = &m->params;
    const tiny_layer *l = &m->layers[i];
    bool experts = tiny_has_experts(p, i);
    int32_t n_ff = tiny_mlp_width(p, i), n = p->experts.n, n_expert = p->experts.n_ff;
    write_floats(w, m, i, experts ? "ffn_gate_shexp.weight" : "ffn_gate.weight", n_ff, p->n_embd,
                 l->w_gate);
    write_floats(w, m, i, experts ? "ffn_up_shexp.weight" : "ffn_up.weight", n_ff, p->n_embd,
                 l->w_up);
    write_floats(w, m, i, experts ? "ffn_down_shexp.weight" : "ffn_down.weight", p->n_embd, n_ff,
                 l->w_down);
    if (!experts) return;
    write_floats(w, m, i, "ffn_gate_inp.weight", n, p->n_embd, l->router);
    write_floats(w, m, i, "exp_probs_b.bias", 0, n, l->router_bias);
    write_stack(w, m, i, "ffn_gate_exps.weight", n, n_expert, p->n_embd, l->e_gate);
    write_stack(w, m, i, "ffn_up_exps.weight", n, n_expert, p->n_embd, l->e_up);
    write_stack(w, m, i, "ffn_down_exps.weight", n, p->n_embd, n_expert, l->e_down);
}

void tiny_write(const tiny_model *m, const char *path) {
    const tiny_params *p = &m->params;
    int32_t q = p->n_q_heads * p->head_dim, kv = p->n_kv_heads * p->head_dim;
    gguf_writer w = {0};
    write_keys(&w, p);
    write_vocabulary(&w, p);
    write_floats(&w, m, -1, "token_embd.weight", p->n_vocab, p->n_embd, m->embedding);
    write_floats(&w, m, -1, "output_norm.weight", 0, p->n_embd, m->output_norm);
    write_floats(&w, m, -1, "output.weight", p->n_vocab, p->n_embd, m->output);
    for (int i = 0; i < p->n_layers; i++) {
        const tiny_layer *l = &m->layers[i];
        write_floats(&w, m, i, "attn_norm.weight", 0, p->n_embd, l->attn_norm);
        write_floats(&w, m, i, "attn_q.weight", q, p->n_embd, l->wq);
        write_floats(&w, m, i, "attn_k.weight", kv, p->n_embd, l->wk);
        write_floats(&w, m, i, "attn_v.weight", kv, p->n_embd, l->wv);
        write_floats(&w, m, i, "attn_output.weight", p->n_embd, q, l->wo);
        write_floats(&w, m, i, "attn_q.bias", 0, q, l->bq);
        write_floats(&w, m, i, "attn_k.bias", 0, kv, l->bk);
        write_floats(&w, m, i, "attn_v.bias", 0, kv, l->bv);
        write_floats(&w, m, i, "attn_q_norm.weight", 0, p->head_dim, l->q_norm);
        write_floats(&w, m, i, "attn_k_norm.weight", 0, p->head_dim, l->k_norm);
        write_floats(&w, m, i, "ffn_norm.weight", 0, p->n_embd, l->ffn_norm);
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
