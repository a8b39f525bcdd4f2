/* optimiser.c: see optimiser.h. */
#include "train/optimiser.h"

#include <math.h>

#include "base/mem.h"
#include "nn/adamw.h"

enum { PIECE = 1 << 16 };

msa_status optimiser_create(optimiser *o, params *p, const train_config *c, int n_threads,
                            msa_error *err) {
    size_t n = (size_t)(p->n_floats - p->trained);
    *o = (optimiser){p, c, mem_calloc(n, sizeof(float)), mem_calloc(n, sizeof(float)), n_threads};
    if (o->m && o->v) return MSA_OK;
    optimiser_free(o);
    return error_set(err, MSA_E_NOMEM, "no memory for the moments of %lld weights", (long long)n);
}

void optimiser_free(optimiser *o) {
    mem_free(o->m);
    mem_free(o->v);
    o->m = o->v = NULL;
}

/* ---- norms ---------------------------------------------------------------------------------- */

static double sum_squares(const float *g, int64_t n, int n_threads) {
    double total = 0;
    for (int64_t at = 0; at < n; at += (int64_t)PIECE * 64) {
        double sums[64] = {0};
        int64_t left = n - at, pieces = left / PIECE + (left % PIECE != 0);
        if (pieces > 64) pieces = 64;
#pragma omp parallel for num_threads(n_threads) schedule(static) if (pieces > 1)
        for (int64_t i = 0; i < pieces; i++) {
            int64_t from = at + i * PIECE, to = from + PIECE < n ? from + PIECE : n;
            double sum = 0;
            for (int64_t j = from; j < to; j++) sum += (double)g[j] * g[j];
            sums[i] = sum;
        }
        for (int64_t i = 0; i < pieces; i++) total += sums[i];
    }
    return total;
}

double optimiser_norm(const optimiser *o, bool index) {
    double total = 0;
    for (int32_t i = 0; i < o->p->n; i++) {
        const param *one = &o->p->list[i];
        if (one->index == index && !one->frozen)
            total += sum_squares(params_gradient(o->p, one), one->n_out * one->n_in, o->n_threads);
    }
    return sqrt(total);
}

bool optimiser_spike(train_average *mean, double x, double times) {
    enum { ENOUGH = 20 };
    bool out = times > 0 && mean->n >= ENOUGH && x > times * mean->mean;
    double share = mean->n < ENOUGH ? 1.0 / (double)(mean->n + 1) : 1.0 / ENOUGH;
    double most = times > 1 ? times * mean->mean : mean->mean;
    mean->mean += share * ((out ? most : x) - mean->mean);
    mean->n++;
    return out;
}

/* ---- the step ------------------------------------------------------------------------------- */

static bool same_treatment(const param *a, const param *b) {
    return a->index == b->index && a->decay == b->decay && a->frozen == b->frozen;
}

static int64_t end_of(const param *one) {
    return one->at + one->n_out * one->n_in;
}

static bool any_trains(const params *p, bool index) {
    for (int32_t i = 0; i < p->n; i++)
        if (p->list[i].index == index && !p->list[i].frozen) return true;
    return false;
}

static double clipped(double clip, double norm) {
    return clip > 0 && norm > clip ? clip / norm : 1;
}

void optimiser_step(optimiser *o, train_state *state, double lr, double index_lr, double norm,
                    double index_norm) {
    const params *p = o->p;
    const train_config *c = o->config;
    state->main_steps += any_trains(p, false);
    state->index_steps += any_trains(p, true);
    for (int32_t i = 0; i < p->n;) {
        const param *one = &p->list[i];
        int64_t from = one->at, to = end_of(one);
        /* Neighbours that are treated alike go together; what lies between them stays 0. */
        for (i++; i < p->n && same_treatment(one, &p->list[i]); i++) to = end_of(&p->list[i]);
        if (one->frozen) continue;
        adamw_step s = {.lr = one->index ? index_lr : lr,
                        .beta1 = c->optim.beta1,
                        .beta2 = c->optim.beta2,
                        .eps = c->optim.eps,
                        .weight_decay = one->decay ? c->optim.weight_decay : 0,
                        .step = one->index ? state->index_steps : state->main_steps,
                        .grad_scale = clipped(c->optim.clip, one->index ? index_norm : norm)};
        int64_t at = from - p->trained;
        adamw_run(&s, p->w + from, p->g + at, o->m + at, o->v + at, to - from, o->n_threads);
    }
}

void optimiser_balance(params *p, const int64_t *load, double rate) {
    int32_t n = p->arch.moe.n_experts;
    for (int32_t layer = 0; layer < p->arch.n_layers; layer++) {
        if (!tensor_layer_has_experts(&p->arch, layer)) continue;
        const int64_t *of = load + (int64_t)layer * n;
        float *bias = p->router_bias + (int64_t)layer * n;
        int64_t total = 0;
        for (int32_t e = 0; e < n; e++) total += of[e];
        for (int32_t e = 0; e < n; e++) {
            int64_t above = of[e] * n - total;
            bias[e] -= (float)(above > 0 ? rate : above < 0 ? -rate : 0);
        }
    }
}

const param *optimiser_find_bad(const params *p, bool gradients) {
    for (int32_t i = 0; i < p->n; i++) {
        const param *one = &p->list[i];
        if (gradients && one->at < p->trained) continue;
        const float *of = gradients ? p->g + (one->at - p->trained) : p->w + one->at;
        for (int64_t j = 0; j < one->n_out * one->n_in; j++)
            if (!isfinite(of[j])) return one;
    }
    return NULL;
}
