/* sampler.c: from logits to the next token; the contract stands in msa/model.h.
 *
 * Filters and draw walk the candidates in one order: logit down, then id up. A heap gives them one
 * by one, so a whole vocabulary is not sorted for the few hundred that matter.
 * Same seed, same tokens on every machine: the n-th number drawn is a function of (seed, n), sums
 * run in double in the order of the walk, and the exponential is made of +, * and exact scaling. */
#include <float.h>
#include <math.h>
#include <stdbool.h>
#include <string.h>

#include "base/error.h"
#include "base/hash.h"
#include "base/mem.h"
#include "msa/model.h"

typedef struct candidate {
    float logit;
    int32_t id;
} candidate;

struct msa_sampler {
    msa_sampler_params params;
    int32_t n_vocab;
    uint64_t n_drawn;
    candidate *heap; /* [n_vocab]: a heap of the first n - n_sorted, then the sorted, best last */
    int32_t n, n_sorted;
    int32_t *recent; /* the last accepted tokens, a ring unless repeat_last is -1 */
    size_t n_recent, next_recent, recent_capacity;
    uint32_t *count; /* [n_vocab] how often each is in `recent`; NULL without a penalty */
};

msa_sampler_params msa_sampler_defaults(void) {
    return (msa_sampler_params){.temperature = 0.8f,
                                .top_k = 40,
                                .top_p = 0.95f,
                                .min_p = 0.05f,
                                .repeat_penalty = 1,
                                .repeat_last = 64};
}

static msa_status check_params(const msa_sampler_params *p, int32_t n_vocab, msa_error *err) {
    if (n_vocab < 1)
        return error_set(err, MSA_E_ARG, "n_vocab is %d; it must be at least 1", n_vocab);
    if (!(p->temperature >= 0 && p->temperature <= 1000))
        return error_set(err, MSA_E_ARG,
                         "temperature is %g; it must be 0 (always the likeliest token) to 1000",
                         (double)p->temperature);
    if (p->top_k < 0)
        return error_set(err, MSA_E_ARG, "top_k is %d; it must be 0 (off) or more", p->top_k);
    if (!(p->top_p >= 0 && p->top_p <= 1))
        return error_set(err, MSA_E_ARG, "top_p is %g; it must be 0 to 1 (off)", (double)p->top_p);
    if (!(p->min_p >= 0 && p->min_p <= 1))
        return error_set(err, MSA_E_ARG, "min_p is %g; it must be 0 (off) to 1", (double)p->min_p);
    if (!(p->repeat_penalty > 0 && p->repeat_penalty <= 1000))
        return error_set(err, MSA_E_ARG,
                         "repeat_penalty is %g; it must be above 0 (1: off) and at most 1000",
                         (double)p->repeat_penalty);
    if (p->repeat_last < -1 || p->repeat_last > 1 << 30)
        return error_set(err, MSA_E_ARG, "repeat_last is %d; it must be -1 (all), 0 (off) to 2^30",
                         p->repeat_last);
    return MSA_OK;
}

msa_status msa_sampler_create(msa_sampler **out, const msa_sampler_params *params, int32_t n_vocab,
                              msa_error *err) {
    if (!out) return error_set(err, MSA_E_ARG, "s is NULL; expected where to put the sampler");
    *out = NULL;
    msa_sampler_params p = params ? *params : msa_sampler_defaults();
    msa_status status = check_params(&p, n_vocab, err);
    if (status != MSA_OK) return status;
    msa_sampler *s = mem_calloc(1, sizeof *s);
    if (!s) return error_set(err, MSA_E_NOMEM, "no memory for a sampler");
    size_t n = (size_t)n_vocab;
    s->params = p;
    s->n_vocab = n_vocab;
    s->heap = mem_alloc(n, sizeof *s->heap);
    bool penalty = p.repeat_penalty != 1 && p.repeat_last != 0;
    if (penalty) s->count = mem_calloc(n, sizeof *s->count);
    if (!s->heap || (penalty && !s->count)) {
        msa_sampler_free(s);
        return error_set(err, MSA_E_NOMEM, "no memory for a sampler over %d tokens", n_vocab);
    }
    *out = s;
    return MSA_OK;
}

void msa_sampler_free(msa_sampler *s) {
    if (!s) return;
    mem_free(s->heap);
    mem_free(s->recent);
    mem_free(s->count);
    mem_free(s);
}

msa_status msa_sampler_accept(msa_sampler *s, int32_t id, msa_error *err) {
    if (!s)
        return error_set(err, MSA_E_ARG, "the sampler is NULL; make one with msa_sampler_create");
    if (id < 0 || id >= s->n_vocab)
        return error_set(err, MSA_E_ARG, "token %d is outside the vocabulary, 0 to %d", id,
                         s->n_vocab - 1);
    if (!s->count) return MSA_OK;
    if (s->params.repeat_last < 0) { /* nothing is ever forgotten: whether, not when */
        s->count[id] = 1;
        return MSA_OK;
    }
    size_t window = (size_t)s->params.repeat_last;
    if (s->n_recent < window) {
        if (!mem_grow((void **)&s->recent, &s->recent_capacity, s->n_recent + 1, sizeof *s->recent))
            return error_set(err, MSA_E_NOMEM, "no memory for the sampler's last tokens");
        s->n_recent++;
    } else {
        s->count[s->recent[s->next_recent]]--;
    }
    s->recent[s->next_recent] = id;
    s->next_recent = (s->next_recent + 1) % window;
    s->count[id]++;
    return MSA_OK;
}

void msa_sampler_forget(msa_sampler *s) {
    if (!s) return;
    s->n_recent = s->next_recent = 0;
    if (s->count) memset(s->count, 0, (size_t)s->n_vocab * sizeof *s->count);
}

static bool before(candidate a, candidate b) {
    return a.logit > b.logit || (a.logit == b.logit && a.id < b.id);
}

/* Restores the heap of n below `root`: the best on top, or the worst. */
static void sift(candidate *heap, int32_t root, int32_t n, bool worst_on_top) {
    candidate moved = heap[root];
    for (int32_t child; root < n / 2; root = child) {
        child = 2 * root + 1;
        if (child + 1 < n && before(heap[child + 1], heap[child]) != worst_on_top) child++;
        if (before(heap[child], moved) == worst_on_top) break;
        heap[root] = heap[child];
    }
    heap[root] = moved;
}

static void heapify(candidate *heap, int32_t n, bool worst_on_top) {
    for (int32_t i = n / 2; i-- > 0;) sift(heap, i, n, worst_on_top);
}

/* The candidate with i better ones. */
static candidate nth_best(msa_sampler *s, int32_t i) {
    for (; s->n_sorted <= i; s->n_sorted++) {
        int32_t last = s->n - 1 - s->n_sorted;
        candidate top = s->heap[0];
        s->heap[0] = s->heap[last];
        s->heap[last] = top;
        sift(s->heap, 0, last, false);
    }
    return s->heap[s->n - 1 - i];
}

/* exp(x) for x <= 0, within 1e-15, the same bits everywhere: x = k ln 2 + r, a Taylor polynomial of
 * r in [-0.35, 0.35], then an exact scaling by 2^k. */
static double exp_portable(double x) {
    static const double inverse_factorial[] = {1,
                                               1,
                                               1. / 2,
                                               1. / 6,
                                               1. / 24,
                                               1. / 120,
                                               1. / 720,
                                               1. / 5040,
                                               1. / 40320,
                                               1. / 362880,
                                               1. / 3628800,
                                               1. / 39916800,
                                               1. / 479001600,
                                               1. / 6227020800.,
                                               1. / 87178291200.};
    if (!(x > -700)) return 0;
    double k = floor(x * 1.4426950408889634 + 0.5), sum = 0;
    double r = (x - k * 6.93147180369123816490e-01) - k * 1.90821492927058770002e-10;
    for (int i = 14; i >= 0; i--) sum = sum * r + inverse_factorial[i];
    return ldexp(sum, (int)k);
}

/* A number in [0, 1) that depends on the seed and on how many were drawn before, on nothing else.
 */
static double draw(msa_sampler *s) {
    uint64_t key = hash_u64(s->params.seed + 0x9e3779b97f4a7c15u);
    return (double)(hash_u64(key + 0x632be59bd9b4e019u * ++s->n_drawn) >> 11) * 0x1p-53;
}

/* Makes the heap of the penalised logits that top-k leaves. -inf is no candidate. */
static msa_status collect(msa_sampler *s, const float *logits, msa_error *err) {
    float penalty = s->params.repeat_penalty;
    int32_t most = s->params.top_k > 0 ? s->params.top_k : INT32_MAX;
    if (s->params.temperature == 0) most = 1;
    s->n = s->n_sorted = 0;
    for (int32_t id = 0; id < s->n_vocab; id++) {
        float x = logits[id];
        if (isnan(x) || x == INFINITY)
            return error_set(err, MSA_E_ARG, "logits[%d] is %g; logits must be numbers or -inf", id,
                             (double)x);
        if (x == -INFINITY) continue;
        if (s->count && s->count[id]) x = fminf(x > 0 ? x / penalty : x * penalty, FLT_MAX);
        candidate c = {x, id};
        if (s->n < most) {
            s->heap[s->n++] = c;
            if (s->n == most) heapify(s->heap, most, true);
        } else if (before(c, s->heap[0])) {
            s->heap[0] = c;
            sift(s->heap, 0, most, true);
        }
    }
    if (s->n == 0)
        return error_set(err, MSA_E_ARG, "all %d logits are -inf; one at least must be a number",
                         s->n_vocab);
    heapify(s->heap, s->n, false);
    return MSA_OK;
}

/* Weight of a candidate against the best one, whose weight is 1. */
static double weight(candidate c, float best, double temperature) {
    return exp_portable(((double)c.logit - best) / temperature);
}

/* Sum of the weights of the n_kept best, as they lie: in order as far as they were asked for. */
static double sum_weights(const msa_sampler *s, int32_t n_kept, float best, double temperature) {
    double sum = 0;
    for (int32_t i = 0; i < n_kept; i++) sum += weight(s->heap[s->n - 1 - i], best, temperature);
    return sum;
}

/* How many of the candidates top-p and min-p leave, the best ones: at least one. */
static int32_t filter(msa_sampler *s, float best) {
    const msa_sampler_params *p = &s->params;
    int32_t n_kept = s->n, n = 1;
    if (p->top_p < 1) {
        double enough = p->top_p * sum_weights(s, n_kept, best, 1), mass = 1;
        for (; n < n_kept && mass < enough; n++) mass += weight(nth_best(s, n), best, 1);
        n_kept = n;
    }
    if (p->min_p > 0) {
        for (n = 1; n < n_kept && weight(nth_best(s, n), best, 1) >= p->min_p; n++) {
        }
        n_kept = n;
    }
    return n_kept;
}

msa_status msa_sampler_pick(msa_sampler *s, const float *logits, int32_t *id, msa_error *err) {
    if (!s || !id)
        return error_set(err, MSA_E_ARG, "%s must not be NULL", s ? "id" : "the sampler");
    if (!logits)
        return error_set(err, MSA_E_ARG,
                         "logits is NULL: the session was not fed since it began "
                         "or was rewound");
    msa_status status = collect(s, logits, err);
    if (status != MSA_OK) return status;
    *id = nth_best(s, 0).id;
    if (s->params.temperature == 0) return MSA_OK;
    float best = nth_best(s, 0).logit;
    int32_t n_kept = filter(s, best);
    double temperature = s->params.temperature, sum = 0;
    double target = draw(s) * sum_weights(s, n_kept, best, temperature);
    for (int32_t i = 0; i < n_kept; i++) {
        candidate c = nth_best(s, i);
        double w = weight(c, best, temperature);
        sum += w;
        if (w > 0)
            *id = c.id; /* where rounding keeps the sum below the target: the last possible */
        if (sum > target) break;
    }
    return MSA_OK;
}
