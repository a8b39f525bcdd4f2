/* params.c: see params.h. The list of tensors is made by one function that runs twice: once to
 * count, once to write. */
#include "train/params.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/hash.h"
#include "base/mem.h"
#include "base/random.h"

/* Where the next tensor goes; list is NULL while counting. */
typedef struct writer {
    param *list;
    int64_t n, n_floats;
    int32_t layer;
} writer;

enum { MATRIX = 0, VECTOR = 1, INDEX = 2 }; /* kinds of a tensor, or'ed */

__attribute__((format(printf, 5, 6))) static void add(writer *w, int kind, int64_t n_out,
                                                      int64_t n_in, const char *format, ...) {
    if (w->list) {
        param *p = &w->list[w->n];
        *p = (param){.n_out = n_out,
                     .n_in = n_in,
                     .at = w->n_floats,
                     .decay = !(kind & VECTOR),
                     .index = (kind & INDEX) != 0};
        size_t used = 0;
        if (w->layer >= 0)
            used = (size_t)snprintf(p->name, sizeof p->name, "model.layers.%d.", w->layer);
        va_list args;
        va_start(args, format);
        vsnprintf(p->name + used, sizeof p->name - used, format, args);
        va_end(args);
    }
    w->n++;
    w->n_floats += (n_out * n_in + PARAMS_ALIGN - 1) / PARAMS_ALIGN * PARAMS_ALIGN;
}

static void add_attention(writer *w, const arch *a) {
    int64_t e = a->n_embd, d = a->head_dim, q = a->n_q_heads * d, kv = a->n_kv_heads * d;
    add(w, MATRIX, q, e, "self_attn.q_proj.weight");
    add(w, MATRIX, kv, e, "self_attn.k_proj.weight");
    add(w, MATRIX, kv, e, "self_attn.v_proj.weight");
    if (a->qkv_bias) {
        add(w, VECTOR, 1, q, "self_attn.q_proj.bias");
        add(w, VECTOR, 1, kv, "self_attn.k_proj.bias");
        add(w, VECTOR, 1, kv, "self_attn.v_proj.bias");
    }
    add(w, MATRIX, e, q, "self_attn.o_proj.weight");
    if (a->qk_norm) {
        add(w, VECTOR, 1, d, "self_attn.q_norm.weight");
        add(w, VECTOR, 1, d, "self_attn.k_norm.weight");
    }
}

static void add_index(writer *w, const arch *a) {
    int64_t e = a->n_embd, di = a->index.dim, n = a->n_kv_heads;
    add(w, INDEX, n * di, e, "self_attn.index_q_proj.weight");
    add(w, INDEX, di, e, "self_attn.index_k_proj.weight");
    if (a->qk_norm) {
        add(w, INDEX | VECTOR, 1, di, "self_attn.index_q_norm.weight");
        add(w, INDEX | VECTOR, 1, di, "self_attn.index_k_norm.weight");
    }
    if (a->index.value) {
        add(w, INDEX, di, e, "self_attn.index_v_proj.weight");
        add(w, INDEX, e, n * di, "self_attn.index_o_proj.weight");
    }
}

static void add_mlp(writer *w, const char *where, int64_t n_ff, int64_t e) {
    add(w, MATRIX, n_ff, e, "%s.gate_proj.weight", where);
    add(w, MATRIX, n_ff, e, "%s.up_proj.weight", where);
    add(w, MATRIX, e, n_ff, "%s.down_proj.weight", where);
}

static void add_moe(writer *w, const arch *a) {
    const arch_moe *m = &a->moe;
    int64_t e = a->n_embd;
    add(w, MATRIX, m->n_experts, e, "block_sparse_moe.gate.weight");
    for (int x = 0; x < m->n_experts; x++)
        add(w, MATRIX, m->n_ff, e, "block_sparse_moe.experts.%d.w1.weight", x);
    for (int x = 0; x < m->n_experts; x++)
        add(w, MATRIX, m->n_ff, e, "block_sparse_moe.experts.%d.w3.weight", x);
    for (int x = 0; x < m->n_experts; x++)
        add(w, MATRIX, e, m->n_ff, "block_sparse_moe.experts.%d.w2.weight", x);
    if (m->n_ff_shared > 0) add_mlp(w, "block_sparse_moe.shared_experts", m->n_ff_shared, e);
}

static void add_all(writer *w, const arch *a) {
    w->layer = -1;
    add(w, MATRIX, a->n_vocab, a->n_embd, "model.embed_tokens.weight");
    for (w->layer = 0; w->layer < a->n_layers; w->layer++) {
        add(w, VECTOR, 1, a->n_embd, "input_layernorm.weight");
        add_attention(w, a);
        if (a->index.present && w->layer >= a->n_dense_layers) add_index(w, a);
        add(w, VECTOR, 1, a->n_embd, "post_attention_layernorm.weight");
        if (a->moe.present && w->layer >= a->n_dense_layers)
            add_moe(w, a);
        else
            add_mlp(w, "mlp", a->n_ff, a->n_embd);
    }
    w->layer = -1;
    add(w, VECTOR, 1, a->n_embd, "model.norm.weight");
    if (!a->tied) add(w, MATRIX, a->n_vocab, a->n_embd, "lm_head.weight");
}

typedef struct range {
    const char *name;
    int64_t value, least, most;
} range;

static msa_status check_ranges(const range *ranges, size_t n, msa_error *err) {
    for (size_t i = 0; i < n; i++)
        if (ranges[i].value < ranges[i].least || ranges[i].value > ranges[i].most)
            return error_set(err, MSA_E_ARG, "arch: %s is %lld; expected %lld..%lld",
                             ranges[i].name, (long long)ranges[i].value, (long long)ranges[i].least,
                             (long long)ranges[i].most);
    return MSA_OK;
}

/* Bounds that keep every product below in 64 bits, and the relations the layers rely on. */
static msa_status check_arch(const arch *a, msa_error *err) {
    const int64_t wide = 1 << 20;
    const arch_index *x = &a->index;
    const arch_moe *m = &a->moe;
    int64_t widest_rotation = x->present && x->dim < a->head_dim ? x->dim : a->head_dim;
    bool dense_ff = !m->present || a->n_dense_layers > 0;
    const range all[] = {
        {"n_layers", a->n_layers, 1, 1024},
        {"n_embd", a->n_embd, 1, wide},
        {"n_q_heads", a->n_q_heads, 1, 4096},
        {"n_kv_heads", a->n_kv_heads, 1, a->n_q_heads},
        {"n_q_heads mod n_kv_heads", a->n_kv_heads > 0 ? a->n_q_heads % a->n_kv_heads : 0, 0, 0},
        {"head_dim", a->head_dim, 8, 256},
        {"head_dim mod 8", a->head_dim % 8, 0, 0},
        {"n_vocab", a->n_vocab, 1, 1 << 24},
        {"n_ff", a->n_ff, dense_ff, wide},
        {"n_rot", a->n_rot, 0, widest_rotation},
        {"n_rot mod 2", a->n_rot % 2, 0, 0},
        {"n_dense_layers", a->n_dense_layers, 0, a->n_layers},
    };
    const range index[] = {{"index.dim", x->dim, 8, 256}, {"index.dim mod 8", x->dim % 8, 0, 0}};
    const range moe[] = {
        {"moe.n_experts", m->n_experts, 1, 4096},
        {"moe.n_used", m->n_used, 1, m->n_experts},
        {"moe.n_ff", m->n_ff, 1, wide},
        {"moe.n_ff_shared", m->n_ff_shared, 0, wide},
    };
    msa_status status = check_ranges(all, sizeof all / sizeof *all, err);
    if (!status && x->present) status = check_ranges(index, sizeof index / sizeof *index, err);
    if (!status && m->present) status = check_ranges(moe, sizeof moe / sizeof *moe, err);
    return status;
}

msa_status params_create(params **out, const arch *a, msa_error *err) {
    *out = NULL;
    msa_status status = check_arch(a, err);
    if (status) return status;
    writer count = {0};
    add_all(&count, a);
    params *p = mem_calloc(1, sizeof *p);
    if (!p) return error_set(err, MSA_E_NOMEM, "no memory for the parameters of a model");
    p->arch = *a;
    p->n = (int32_t)count.n;
    p->n_floats = count.n_floats;
    size_t n_biases = a->moe.present ? (size_t)a->n_layers * (size_t)a->moe.n_experts : 0;
    p->list = mem_alloc((size_t)count.n, sizeof *p->list);
    p->w = mem_calloc((size_t)count.n_floats, sizeof *p->w);
    p->g = mem_calloc((size_t)count.n_floats, sizeof *p->g);
    p->router_bias = mem_calloc(n_biases, sizeof *p->router_bias);
    if (!p->list || !p->w || !p->g || !p->router_bias) {
        params_free(p);
        return error_set(err, MSA_E_NOMEM, "no memory for %lld weights and their gradients",
                         (long long)count.n_floats);
    }
    writer write = {.list = p->list};
    add_all(&write, a);
    *out = p;
    return MSA_OK;
}

void params_free(params *p) {
    if (!p) return;
    mem_free(p->list);
    mem_free(p->w);
    mem_free(p->g);
    mem_free(p->router_bias);
    mem_free(p);
}

const param *params_find(const params *p, const char *name) {
    for (int32_t i = 0; i < p->n; i++)
        if (!strcmp(p->list[i].name, name)) return &p->list[i];
    return NULL;
}

/* Two normal numbers from two uniform ones (Box and Muller). */
static void fill_normal(float *w, int64_t n, uint64_t stream, double std) {
    const double turn = 6.283185307179586;
    for (int64_t i = 0; i < n; i += 2) {
        double r = std * sqrt(-2 * log(random_uniform(stream, (uint64_t)i)));
        double angle = turn * random_uniform(stream, (uint64_t)i + 1);
        w[i] = (float)(r * cos(angle));
        if (i + 1 < n) w[i + 1] = (float)(r * sin(angle));
    }
}

static bool ends_with(const char *name, const char *end) {
    size_t n = strlen(name), m = strlen(end);
    return n >= m && !strcmp(name + n - m, end);
}

static bool writes_residual(const char *name) {
    return ends_with(name, "o_proj.weight") || ends_with(name, "down_proj.weight") ||
           ends_with(name, "w2.weight");
}

/* What a vector starts from. M3 adds 1 to the weight of a norm. */
static float vector_start(const params *p, const param *t, const params_init *init) {
    if (ends_with(t->name, ".bias")) return 0;
    float gain = 1;
    if (strstr(t->name, "index_q_norm") || strstr(t->name, "index_k_norm"))
        gain = init->index_gain;
    else if (strstr(t->name, "q_norm") || strstr(t->name, "k_norm"))
        gain = init->qk_gain;
    return p->arch.family == ARCH_MINIMAX_M3 ? gain - 1 : gain;
}

static void fill(params *p, const param *t, const params_init *init) {
    float *w = p->w + t->at;
    int64_t n = t->n_out * t->n_in;
    if (t->decay) {
        double std = init->std;
        if (writes_residual(t->name)) std /= sqrt(2.0 * p->arch.n_layers);
        fill_normal(w, n, random_stream(init->seed, hash_bytes(t->name, strlen(t->name))), std);
        return;
    }
    float start = vector_start(p, t, init);
    for (int64_t i = 0; i < n; i++) w[i] = start;
}

void params_fill(params *p, const params_init *init) {
    for (int32_t i = 0; i < p->n; i++) fill(p, &p->list[i], init);
}

void params_fill_index(params *p, const params_init *init) {
    for (int32_t i = 0; i < p->n; i++)
        if (p->list[i].index) fill(p, &p->list[i], init);
}

void params_freeze(params *p, bool backbone, bool index) {
    for (int32_t i = 0; i < p->n; i++) p->list[i].frozen = p->list[i].index ? index : backbone;
}
