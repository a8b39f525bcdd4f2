/* stats.c: see stats.h. */
#include "eval/stats.h"

#include <math.h>

static const double Z = 1.959963984540054; /* 97.5 % of the normal distribution lie below */

interval stats_wilson(double mean, int64_t n) {
    if (n == 0) return (interval){NAN, NAN};
    double count = (double)n, scale = 1 + Z * Z / count;
    double middle = (mean + Z * Z / (2 * count)) / scale;
    double half = Z / scale * sqrt(mean * (1 - mean) / count + Z * Z / (4 * count * count));
    return (interval){fmax(0, middle - half), fmin(1, middle + half)};
}

void pairs_add(pairs *p, double difference) {
    p->n++;
    p->n_better += difference > 0;
    p->n_worse += difference < 0;
    p->sum += difference;
    p->squares += difference * difference;
}

interval pairs_interval(const pairs *p) {
    if (p->n == 0) return (interval){NAN, NAN};
    double n = (double)p->n + 2, mean = p->sum / n;
    double half = Z * sqrt(fmax(0, (p->squares + 1) / n - mean * mean) / n);
    return (interval){fmax(-1, mean - half), fmin(1, mean + half)};
}

double pairs_p_value(const pairs *p) {
    int64_t n = p->n_better + p->n_worse, k = p->n_better < p->n_worse ? p->n_better : p->n_worse;
    double sum = 0, log_p = -(double)n * log(2); /* of i heads; lgamma would write a global */
    for (int64_t i = 0; i <= k; i++) {
        sum += exp(log_p);
        log_p += log((double)(n - i) / (double)(i + 1));
    }
    return fmin(1, 2 * sum);
}
