/* ppl.c: see ppl.h. */
#include "cli/ppl.h"

#include <math.h>
#include <stdbool.h>

static bool lies_in(const ppl_series *s, size_t i, int64_t first, int64_t end) {
    int64_t position = (int64_t)i % s->period;
    return position >= first && position < end;
}

/* The 97.5 % point of Student's distribution of n >= 7 degrees, to four digits: Cornish and Fisher
 * around the normal one. */
static double student(double n) {
    double z = 1.959963984540054, z2 = z * z;
    return z + z * (z2 + 1) / (4 * n) + z * (5 * z2 * z2 + 16 * z2 + 3) / (96 * n * n) +
           z * (3 * z2 * z2 * z2 + 19 * z2 * z2 + 17 * z2 - 15) / (384 * n * n * n);
}

/* Half the interval's width, from the sums of differences of n_batches runs of n tokens in all. */
static double half_width(const double *sums, const int64_t *sizes, int n_batches, int64_t n,
                         double mean) {
    double squares = 0;
    if (n_batches < PPL_LEAST_BATCHES) return NAN;
    for (int i = 0; i < n_batches; i++) {
        double off = sums[i] - (double)sizes[i] * mean;
        squares += off * off;
    }
    double variance = squares * n_batches / (n_batches - 1) / ((double)n * (double)n);
    return student(n_batches - 1) * sqrt(variance);
}

ppl_mean ppl_mean_of(const ppl_series *s, const ppl_series *dense, int64_t first, int64_t end) {
    double sums[PPL_BATCHES] = {0}, total = 0, difference = 0;
    int64_t sizes[PPL_BATCHES] = {0}, n = 0, seen = 0;
    for (size_t i = 0; i < s->n; i++) n += lies_in(s, i, first, end);
    if (n == 0) return (ppl_mean){0, NAN, NAN, NAN, NAN};
    int64_t wanted = n / PPL_BATCH_TOKENS;
    int n_batches = (int)(wanted < 1 ? 1 : wanted < PPL_BATCHES ? wanted : PPL_BATCHES);
    for (size_t i = 0; i < s->n; i++) {
        if (!lies_in(s, i, first, end)) continue;
        int64_t batch = seen++ * n_batches / n;
        double d = s->nll[i] - dense->nll[i];
        sums[batch] += d;
        sizes[batch]++;
        total += s->nll[i];
        difference += d;
    }
    double mean = difference / (double)n, half = half_width(sums, sizes, n_batches, n, mean);
    return (ppl_mean){n, total / (double)n, mean, mean - half, mean + half};
}

int64_t ppl_cut_count(const ppl_cut *cut) {
    int64_t n = 1;
    if (cut->n > 0) return cut->n < cut->n_ctx ? cut->n : cut->n_ctx;
    while ((int64_t)1 << (n - 1) < cut->n_ctx) n++;
    return n;
}

void ppl_cut_range(const ppl_cut *cut, int64_t i, int64_t *first, int64_t *end) {
    int64_t n = ppl_cut_count(cut);
    if (cut->n > 0) { /* position p is in range p * n / n_ctx */
        *first = (i * cut->n_ctx + n - 1) / n;
        *end = ((i + 1) * cut->n_ctx + n - 1) / n;
        return;
    }
    *first = i == 0 ? 0 : (int64_t)1 << (i - 1);
    *end = (int64_t)1 << i;
    if (*end > cut->n_ctx) *end = cut->n_ctx;
}
