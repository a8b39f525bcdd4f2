/* feed_forward.c: see feed_forward.h. */
#include "engine/feed_forward.h"

#include "base/mem.h"
#include "nn/experts.h"
#include "nn/mlp.h"
#include "nn/quant.h"
#include "nn/router.h"

static int64_t larger(int64_t a, int64_t b) {
    return a > b ? a : b;
}

static int64_t widest_ff(const arch *a) {
    return larger(a->n_ff, larger(a->moe.n_ff, a->moe.n_ff_shared));
}

int64_t feed_forward_widest(const arch *a) {
    return larger(a->n_embd, widest_ff(a));
}

bool feed_forward_create(feed_forward *f, const arch *a, int64_t max_tokens, int n_threads,
                         float *gemm_workspace) {
    *f = (feed_forward){.arch = a, .n_threads = n_threads, .gemm_workspace = gemm_workspace};
    size_t n = (size_t)max_tokens, row = (size_t)widest_ff(a) * sizeof(float);
    f->gate = mem_alloc(n, row);
    f->up = mem_alloc(n, row);
    if (!f->gate || !f->up) return false;
    if (!a->moe.present) return true;
    size_t n_used = (size_t)a->moe.n_used, width = (size_t)a->n_embd * sizeof(float);
    f->logits = mem_alloc(n, (size_t)a->moe.n_experts * sizeof(float));
    f->ids = mem_alloc(n, n_used * sizeof *f->ids);
    f->weights = mem_alloc(n, n_used * sizeof *f->weights);
    f->groups =
        mem_alloc(experts_ints(max_tokens, a->moe.n_used, a->moe.n_experts), sizeof *f->groups);
    f->rows = mem_alloc(n * n_used, width);
    return f->logits && f->ids && f->weights && f->groups && f->rows;
}

void feed_forward_free(feed_forward *f) {
    mem_free(f->gate);
    mem_free(f->up);
    mem_free(f->logits);
    mem_free(f->ids);
    mem_free(f->weights);
    mem_free(f->groups);
    mem_free(f->rows);
    *f = (feed_forward){0};
}

static void project(const feed_forward *f, const float *x, int64_t n, const gemm_target *targets,
                    int n_targets) {
    gemm_input in = {x, targets->w->n_in, n};
    gemm_run(&in, targets, n_targets, f->n_threads, f->gemm_workspace);
}

static void activate(const feed_forward *f, int64_t n) {
    const arch *a = f->arch;
    mlp_oai oai = {a->swiglu_alpha, a->swiglu_limit};
    if (a->swiglu_oai)
        mlp_swiglu_oai(&oai, f->gate, f->up, f->gate, n, f->n_threads);
    else
        mlp_swiglu(f->gate, f->up, f->gate, n, f->n_threads);
}

/* y = Wdown (Wgate x . Wup x); y may be x. */
static void run_mlp(const feed_forward *f, const weights_mlp *m, const float *x, int64_t n,
                    float *y) {
    int64_t n_ff = m->gate.n_out;
    const gemm_target gate_up[] = {{&m->gate, NULL, f->gate, n_ff}, {&m->up, NULL, f->up, n_ff}};
    project(f, x, n, gate_up, 2);
    activate(f, n * n_ff);
    project(f, f->gate, n, &(gemm_target){&m->down, NULL, y, f->arch->n_embd}, 1);
}

static void choose_experts(feed_forward *f, const weights_layer *l, const float *x, int64_t n) {
    const arch_moe *moe = &f->arch->moe;
    int64_t n_embd = f->arch->n_embd;
    gemm_weight router = {l->router, QUANT_F32, moe->n_experts, n_embd,
                          (size_t)n_embd * sizeof(float)};
    project(f, x, n, &(gemm_target){&router, NULL, f->logits, moe->n_experts}, 1);
    router_choose(&(router_rows){.logits = f->logits,
                                 .bias = l->router_bias,
                                 .n_tokens = n,
                                 .n_experts = moe->n_experts,
                                 .n_used = moe->n_used,
                                 .scale = moe->scale},
                  f->ids, f->weights, f->n_threads);
}

static void run_experts(feed_forward *f, const weights_layer *l, float *x, int64_t n) {
    const arch *a = f->arch;
    experts_groups groups;
    choose_experts(f, l, x, n);
    experts_group(f->ids, n, a->moe.n_used, a->moe.n_experts, f->groups, &groups);
    experts_gather(&groups, x, a->n_embd, f->rows, f->n_threads);
    if (a->moe.n_ff_shared > 0)
        run_mlp(f, &l->mlp, x, n, x);
    else
        memset(x, 0, (size_t)n * (size_t)a->n_embd * sizeof *x);
    for (int32_t e = 0; e < a->moe.n_experts; e++) {
        float *rows = f->rows + (int64_t)groups.start[e] * a->n_embd;
        if (experts_rows(&groups, e) > 0)
            run_mlp(f, &l->experts[e], rows, experts_rows(&groups, e), rows);
    }
    experts_combine(&groups, f->rows, f->weights, a->n_embd, x, f->n_threads);
}

void feed_forward_run(feed_forward *f, const weights_layer *l, float *x, int64_t n) {
    if (l->experts)
        run_experts(f, l, x, n);
    else
        run_mlp(f, &l->mlp, x, n, x);
}
