/* net.c: see net.h. A step: plans for its documents, layers forward, the loss, layers backward. */
#include "train/net.h"

#include <string.h>

#include "base/mem.h"
#include "nn/embed.h"
#include "nn/loss.h"
#include "train/diagnose.h"
#include "train/net_attn.h"
#include "train/net_index.h"
#include "train/net_mlp.h"
#include "train/net_ops.h"
#include "train/net_select.h"
#include "train/net_slab.h"
#include "train/net_wide.h"

/* The shape the operators see; without an index a valid one of which only the block, the size of a
 * tile of keys, is used. */
static msa_shape shape_of(const arch *a) {
    msa_shape s = {.n_q_heads = a->n_q_heads,
                   .n_kv_heads = a->n_kv_heads,
                   .head_dim = a->head_dim,
                   .n_index_heads = a->n_kv_heads,
                   .n_index_keys = 1,
                   .index_dim = 8,
                   .block = 128,
                   .topk = 1,
                   .local = 1,
                   .init = 0};
    if (!a->index.present) return s;
    s.index_dim = a->index.dim;
    s.block = a->index.block;
    s.topk = a->index.topk;
    s.local = a->index.local;
    s.init = a->index.init;
    return s;
}

static bool name_parameters(net *n) {
    const arch *a = n->arch;
    int32_t n_experts = a->moe.present ? a->moe.n_experts : 0;
    for (int32_t i = 0; i < a->n_layers; i++) {
        net_layer *l = &n->layers[i];
        l->has_index = tensor_layer_has_index(a, i);
        l->has_experts = tensor_layer_has_experts(a, i);
        n->n_index_layers += l->has_index;
        l->experts = mem_calloc(l->has_experts ? (size_t)n_experts * 3 : 0, sizeof *l->experts);
        if (!l->experts) return false;
    }
    for (int32_t i = 0; i < n->p->n; i++) {
        const param *p = &n->p->list[i];
        if (p->layer < 0) continue;
        net_layer *l = &n->layers[p->layer];
        if (p->expert < 0)
            l->of[p->role] = p;
        else
            l->experts[p->expert * 3 + ((int)p->role - TENSOR_EXPERT_GATE)] = p;
    }
    n->embedding = params_of(n->p, TENSOR_EMBED, -1, -1);
    n->output_norm = params_of(n->p, TENSOR_OUTPUT_NORM, -1, -1);
    n->output = a->tied ? n->embedding : params_of(n->p, TENSOR_OUTPUT, -1, -1);
    return true;
}

static bool allocate_small(net *n) {
    const arch *a = n->arch;
    n->layers = mem_calloc((size_t)a->n_layers, sizeof *n->layers);
    n->acts = mem_calloc(n->keep == NET_KEEP_INPUTS ? 1 : (size_t)a->n_layers, sizeof *n->acts);
    return n->layers && n->acts && name_parameters(n);
}

static void fill_rope(net *n) {
    if (n->arch->n_rot == 0) return;
    rope_params rope = {.pairs = ROPE_SPLIT,
                        .n_rot = n->arch->n_rot,
                        .base = n->arch->rope_base,
                        .linear_factor = 1};
    rope_table(&rope, 0, n->max_tokens, n->rope_all);
}

enum { MOST_TOKENS = 1 << 30 };

static msa_status check_create(const params *p, int64_t max_tokens, int n_threads, msa_error *err) {
    if (!p) return error_set(err, MSA_E_ARG, "params is NULL");
    if (max_tokens < 1 || max_tokens > MOST_TOKENS)
        return error_set(err, MSA_E_ARG, "max_tokens is %lld; expected 1..%d",
                         (long long)max_tokens, MOST_TOKENS);
    if (n_threads < 1)
        return error_set(err, MSA_E_ARG, "n_threads is %d; expected at least 1", n_threads);
    if (p->arch.moe.present && max_tokens * p->arch.moe.n_used > INT32_MAX)
        return error_set(err, MSA_E_ARG, "%lld tokens with %d experts each are more than 2^31",
                         (long long)max_tokens, p->arch.moe.n_used);
    msa_shape shape = shape_of(&p->arch);
    return msa_shape_check(&shape, err);
}

msa_status net_create(net **out, params *p, int64_t max_tokens, net_memory keep, int n_threads,
                      msa_error *err) {
    *out = NULL;
    msa_status status = check_create(p, max_tokens, n_threads, err);
    if (status) return status;
    net *n = mem_calloc(1, sizeof *n);
    if (!n) return error_set(err, MSA_E_NOMEM, "no memory for a network");
    n->p = p;
    n->arch = &p->arch;
    n->shape = shape_of(n->arch);
    n->max_tokens = max_tokens;
    n->n_threads = n_threads;
    n->keep = keep;
    if (!allocate_small(n))
        status = error_set(err, MSA_E_NOMEM, "no memory for %d layers", n->arch->n_layers);
    if (!status) status = slab_create(n, err);
    if (status) {
        net_free(n);
        return status;
    }
    fill_rope(n);
    *out = n;
    return MSA_OK;
}

void net_free(net *n) {
    if (!n) return;
    attn_free_plans(n);
    wide_free(n);
    slab_free(n);
    for (int32_t i = 0; n->layers && i < n->arch->n_layers; i++) mem_free(n->layers[i].experts);
    mem_free(n->layers);
    mem_free(n->acts);
    mem_free(n);
}

size_t net_bytes(const net *n) {
    return n->slab_bytes;
}

int64_t *net_load(net *n) {
    return n->load;
}

static msa_status check_mode(const net *n, const net_mode *m, msa_error *err) {
    bool index = n->n_index_layers > 0, ablation = m->index_value || m->lm_index;
    if (!index && (m->sparse || m->kl != NET_KL_OFF || ablation))
        return error_set(err, MSA_E_ARG, "mode: %s: the model has no index branch",
                         m->sparse  ? "sparse"
                         : ablation ? "index_value or lm_index"
                                    : "kl");
    if (m->kl == NET_KL_SELECTED && !m->sparse)
        return error_set(err, MSA_E_ARG, "mode: kl over the selected tokens asks for sparse");
    if (m->index_value && !n->arch->index.value)
        return error_set(err, MSA_E_ARG, "mode: index_value: the model has no tensors for it");
    if (ablation && !m->lm)
        return error_set(err, MSA_E_ARG, "mode: index_value and lm_index ask for lm");
    if (m->lm_index && m->kl != NET_KL_OFF)
        return error_set(err, MSA_E_ARG, "mode: lm_index learns from lm alone; kl must be off");
    if (m->kl == NET_KL_FAR_MASS && m->sparse)
        return error_set(err, MSA_E_ARG, "mode: kl by mass asks for dense attention");
    if (m->kl_rows < 0) return error_set(err, MSA_E_ARG, "mode: kl_rows is %d", m->kl_rows);
    return MSA_OK;
}

static msa_status check_batch(const net *n, const train_batch *b, msa_error *err) {
    if (b->n_tokens < 1 || b->n_tokens > n->max_tokens)
        return error_set(err, MSA_E_ARG, "batch: %lld tokens; the network takes 1..%lld",
                         (long long)b->n_tokens, (long long)n->max_tokens);
    if (b->n_docs < 1 || b->n_docs > n->max_tokens)
        return error_set(err, MSA_E_ARG, "batch: %d documents in %lld tokens", b->n_docs,
                         (long long)b->n_tokens);
    if (b->cu_seqlens[0] != 0 || b->cu_seqlens[b->n_docs] != b->n_tokens)
        return error_set(err, MSA_E_ARG, "batch: cu_seqlens goes from %d to %d; expected 0 to %lld",
                         b->cu_seqlens[0], b->cu_seqlens[b->n_docs], (long long)b->n_tokens);
    for (int32_t d = 0; d < b->n_docs; d++)
        if (b->cu_seqlens[d + 1] < b->cu_seqlens[d])
            return error_set(err, MSA_E_ARG, "batch: cu_seqlens falls at document %d", d);
    int32_t vocab = n->arch->n_vocab;
    for (int64_t t = 0; t < b->n_tokens; t++)
        if (b->ids[t] < 0 || b->ids[t] >= vocab || b->targets[t] < -1 || b->targets[t] >= vocab)
            return error_set(err, MSA_E_ARG,
                             "batch: token %lld is %d with target %d; expected 0..%d (target: or "
                             "-1)",
                             (long long)t, b->ids[t], b->targets[t], vocab - 1);
    return MSA_OK;
}

/* Positions begin at 0 in every document. */
static void place_documents(net *n) {
    size_t row = (size_t)2 * (size_t)n->arch->n_rot;
    for (int32_t d = 0; d < n->batch->n_docs; d++) {
        int32_t first = n->batch->cu_seqlens[d], len = n->batch->cu_seqlens[d + 1] - first;
        n->kv_len[d] = len;
        memcpy(n->rope + (size_t)first * row, n->rope_all, (size_t)len * row * sizeof(float));
    }
}

static void choose_rows(net *n) {
    n->n_kl_rows = n->n_tokens;
    if (n->mode.kl_rows > 0)
        n->n_kl_rows = select_rows(n->batch, n->mode.kl_rows, n->mode.seed, n->kl_rows);
    memset(n->kl, 0, (size_t)n->arch->n_layers * (size_t)n->arch->n_kv_heads * sizeof *n->kl);
    index_begin(n);
}

/* Whether the backward pass goes through the layers: not where the index learns by itself. */
static bool goes_back(const net *n) {
    return n->with_grad && (n->mode.lm || (n->mode.kl != NET_KL_OFF && !n->mode.detach));
}

static msa_status begin(net *n, const train_batch *batch, const net_mode *mode, float scale,
                        bool with_grad, msa_error *err) {
    msa_status status;
    if ((status = check_mode(n, mode, err)) || (status = check_batch(n, batch, err))) return status;
    n->batch = batch;
    n->mode = *mode;
    n->n_tokens = batch->n_tokens;
    n->scale = scale;
    n->with_grad = with_grad;
    n->kept = false;
    if (goes_back(n) && n->keep == NET_KEEP_INDEX)
        return error_set(err, MSA_E_ARG,
                         "mode: %s: this network keeps what the index branch alone learns from",
                         mode->lm ? "lm" : "detach off");
    if (mode->lm_index && (status = wide_prepare(n, err))) return status;
    place_documents(n);
    choose_rows(n);
    return attn_plan(n, err);
}

static float *output_of(net *n, int32_t layer) {
    return layer + 1 < n->arch->n_layers ? n->layers[layer + 1].x : n->x_out;
}

static void count_load(net *n, int32_t layer) {
    const net_layer *l = &n->layers[layer];
    if (!l->has_experts || !n->with_grad) return;
    int32_t n_experts = n->arch->moe.n_experts;
    for (int32_t e = 0; e < n_experts; e++)
        n->load[(int64_t)layer * n_experts + e] += experts_rows(&l->acts->mlp.groups, e);
}

static msa_status forward(net *n, msa_error *err) {
    msa_status status = MSA_OK;
    embed_rows(n->p->w + n->embedding->at, n->batch->ids, n->n_tokens, n->arch->n_embd,
               n->layers[0].x, n->n_threads);
    for (int32_t i = 0; i < n->arch->n_layers; i++) {
        if ((status = attn_attend(n, i, err))) return status;
        if (n->watch && (status = diagnose_layer(n, i, err))) return status;
        if (!goes_back(n) && (status = attn_index_backward(n, i, err))) return status;
        if (i + 1 == n->arch->n_layers && !net_needs_output(n)) break;
        if ((status = attn_add(n, i, err))) return status;
        mlp_forward(n, i, output_of(n, i));
        count_load(n, i);
    }
    return MSA_OK;
}

/* The loss of the model; with gradients scratch.dx becomes that by the last layer's output. */
static double model_loss(net *n, int64_t n_targets, bool predict) {
    net_scratch *s = &n->scratch;
    bool back = n->with_grad;
    op_norm(n, n->output_norm, n->x_out, n->n_tokens, n->x_normed);
    loss_rows rows = {.n_rows = n->n_tokens,
                      .n = n->arch->n_embd,
                      .n_vocab = n->arch->n_vocab,
                      .x = n->x_normed,
                      .w = n->p->w + n->output->at,
                      .targets = n->batch->targets,
                      .scale = n_targets ? n->scale / (float)n_targets : 0,
                      .dx = back ? s->d_normed : NULL,
                      .dw = back ? params_gradient(n->p, n->output) : NULL,
                      .row_loss = s->nll,
                      .predicted = predict ? s->predicted : NULL};
    double sum = loss_run(&rows, s->loss, n->n_threads);
    if (back) op_norm_grad(n, n->output_norm, n->x_out, s->d_normed, n->n_tokens, s->dx, false);
    return n_targets ? sum / (double)n_targets : 0;
}

static msa_status backward(net *n, msa_error *err) {
    msa_status status = MSA_OK;
    for (int32_t i = n->arch->n_layers - 1; i >= 0; i--) {
        if (n->keep == NET_KEEP_INPUTS && i < n->arch->n_layers - 1) {
            if ((status = attn_forward(n, i, err))) return status;
            mlp_forward(n, i, n->x_out); /* its output is not needed, what it keeps is */
        }
        mlp_backward(n, i);
        if ((status = attn_backward(n, i, err))) return status;
    }
    float *d_embedding = params_gradient(n->p, n->embedding);
    if (d_embedding)
        embed_grad(n->scratch.dx, n->batch->ids, n->n_tokens, n->arch->n_embd, d_embedding,
                   n->n_threads);
    return MSA_OK;
}

static int64_t count_targets(const train_batch *b) {
    int64_t n = 0;
    for (int64_t t = 0; t < b->n_tokens; t++) n += b->targets[t] >= 0;
    return n;
}

/* Means of what n->kl holds. */
static void report_kl(const net *n, net_losses *losses) {
    int32_t hkv = n->arch->n_kv_heads;
    double sum = 0;
    for (int32_t i = 0; i < n->arch->n_layers * hkv; i++) {
        double mean = n->kl[i] / (double)n->n_kl_rows;
        if (losses->kl_layer) losses->kl_layer[i] = mean;
        sum += mean;
    }
    losses->kl = n->n_index_layers ? sum / ((double)n->n_index_layers * hkv) : 0;
}

static void report_tokens(const net *n, net_losses *losses, bool lm) {
    for (int64_t t = 0; t < n->n_tokens; t++) {
        if (losses->nll) losses->nll[t] = lm ? n->scratch.nll[t] : 0;
        if (losses->predicted) losses->predicted[t] = lm ? n->scratch.predicted[t] : -1;
    }
}

static msa_status run(net *n, const train_batch *batch, const net_mode *mode, float scale,
                      bool with_grad, net_losses *losses, msa_error *err) {
    msa_status status = begin(n, batch, mode, scale, with_grad, err);
    if (status || (status = forward(n, err))) return status;
    losses->n_targets = count_targets(batch);
    losses->lm = 0;
    bool lm = mode->lm || !with_grad;
    if (lm) losses->lm = model_loss(n, losses->n_targets, losses->predicted);
    report_tokens(n, losses, lm);
    if (goes_back(n)) {
        if (!mode->lm)
            memset(n->scratch.dx, 0, (size_t)n->n_tokens * (size_t)n->arch->n_embd * sizeof(float));
        status = backward(n, err);
    }
    report_kl(n, losses);
    n->kept = status == MSA_OK && with_grad && n->keep == NET_KEEP_INDEX && !mode->sparse &&
              mode->kl != NET_KL_OFF;
    return status;
}

msa_status net_step_again(net *n, const net_mode *mode, float scale, net_losses *losses,
                          msa_error *err) {
    if (!n->kept || mode->kl != n->mode.kl || mode->lm || mode->sparse || !mode->detach || n->watch)
        return error_set(err, MSA_E_ARG,
                         "no step before this one left behind what it asks for: expected one of "
                         "the index branch alone, with dense attention and the same KL");
    msa_status status = check_mode(n, mode, err);
    if (status) return status;
    n->mode = *mode;
    n->scale = scale;
    choose_rows(n);
    for (int32_t i = 0; i < n->arch->n_layers && status == MSA_OK; i++)
        if (n->layers[i].has_index) status = index_learn_again(n, i, err);
    losses->lm = 0;
    losses->n_targets = count_targets(n->batch);
    report_tokens(n, losses, false);
    report_kl(n, losses);
    return status;
}

msa_status net_step(net *n, const train_batch *batch, const net_mode *mode, float scale,
                    net_losses *losses, msa_error *err) {
    return run(n, batch, mode, scale, true, losses, err);
}

msa_status net_evaluate(net *n, const train_batch *batch, const net_mode *mode, net_losses *losses,
                        msa_error *err) {
    return run(n, batch, mode, 0, false, losses, err);
}
