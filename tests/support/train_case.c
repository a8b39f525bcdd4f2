/* train_case.c: see train_case.h. */
#include "support/train_case.h"

#include <math.h>
#include <stdlib.h>

#include "base/random.h"
#include "support/support.h"

arch train_arch_m3(void) {
    return (arch){.family = ARCH_MINIMAX_M3,
                  .n_layers = 3,
                  .n_embd = 32,
                  .n_q_heads = 4,
                  .n_kv_heads = 2,
                  .head_dim = 16,
                  .n_vocab = 61,
                  .n_ctx_train = 1024,
                  .n_ff = 40,
                  .n_rot = 8,
                  .rope_base = 10000,
                  .norm_eps = 1e-6f,
                  .qk_norm = true,
                  .swiglu_oai = true,
                  .swiglu_alpha = 1.702f,
                  .swiglu_limit = 2,
                  .n_dense_layers = 1,
                  .index = {.present = true, .dim = 16, .block = 16, .topk = 3, .local = 1},
                  .moe = {.present = true,
                          .n_experts = 5,
                          .n_used = 2,
                          .n_ff = 24,
                          .n_ff_shared = 16,
                          .scale = 2}};
}

arch train_arch_llama(void) {
    arch a = train_arch_m3();
    a.family = ARCH_LLAMA;
    a.n_layers = 2;
    a.n_rot = 16;
    a.tied = true;
    a.qk_norm = a.swiglu_oai = false;
    a.n_dense_layers = 0;
    a.index =
        (arch_index){.present = true, .dim = 24, .block = 16, .topk = 4, .local = 2, .init = 1};
    a.moe = (arch_moe){0};
    return a;
}

/* In [-size, size). */
static float uniform(uint64_t stream, int64_t i, double size) {
    double x = (double)(random_u64(stream, (uint64_t)i) >> 40) * 0x1p-23 - 1;
    return (float)(x * size);
}

params *train_params(const arch *a, uint64_t seed) {
    params *p;
    msa_error err;
    assert_ok(params_create(&p, a, &err), &err);
    for (int32_t k = 0; k < p->n; k++) {
        const param *t = &p->list[k];
        uint64_t stream = random_stream(seed, (uint64_t)k);
        double size = t->role == TENSOR_EMBED ? sqrt(3.0) : sqrt(3.0 / (double)t->n_in);
        float *w = p->w + t->at;
        float one = tensor_is_norm(t->role) && a->family != ARCH_MINIMAX_M3 ? 1 : 0;
        for (int64_t i = 0; i < t->n_out * t->n_in; i++) {
            if (t->decay)
                w[i] = uniform(stream, i, size);
            else
                w[i] = uniform(stream, i, 0.3) + one;
        }
    }
    if (a->moe.present)
        for (int32_t i = 0; i < a->n_layers * a->moe.n_experts; i++)
            p->router_bias[i] = uniform(random_stream(seed, (uint64_t)1 << 32), i, 0.1);
    return p;
}

train_batch train_batch_make(const arch *a, const int32_t *lengths, int32_t n_docs, uint64_t seed) {
    train_batch b = {.n_docs = n_docs};
    b.cu_seqlens = calloc((size_t)n_docs + 1, sizeof *b.cu_seqlens);
    b.source = calloc((size_t)n_docs, sizeof *b.source);
    assert_true(b.cu_seqlens && b.source);
    for (int32_t d = 0; d < n_docs; d++) b.cu_seqlens[d + 1] = b.cu_seqlens[d] + lengths[d];
    b.n_tokens = b.cu_seqlens[n_docs];
    b.ids = calloc((size_t)b.n_tokens, sizeof *b.ids);
    b.targets = calloc((size_t)b.n_tokens, sizeof *b.targets);
    assert_true(b.ids && b.targets);
    uint64_t stream = random_stream(seed, (uint64_t)1 << 33);
    for (int64_t t = 0; t < b.n_tokens; t++)
        b.ids[t] = (int32_t)random_below(stream, (uint64_t)t, (uint64_t)a->n_vocab);
    for (int32_t d = 0; d < n_docs; d++)
        for (int64_t t = b.cu_seqlens[d]; t < b.cu_seqlens[d + 1]; t++)
            b.targets[t] = t + 1 < b.cu_seqlens[d + 1] && t % 7 != 3 ? b.ids[t + 1] : -1;
    return b;
}

void train_batch_free(train_batch *b) {
    free(b->ids);
    free(b->targets);
    free(b->cu_seqlens);
    free(b->source);
}

net_mode train_mode(void) {
    return (net_mode){.lm = true, .lambda = 0.5f, .detach = true, .seed = 5};
}
