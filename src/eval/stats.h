/* stats.h: how sure a score is, and a difference of two. The formulas stand in docs/evaluation.md.
 */
#ifndef MSA_EVAL_STATS_H
#define MSA_EVAL_STATS_H

#include <stdint.h>

typedef struct interval {
    double low, high;
} interval;

/* 95 %, of the mean of n numbers in [0, 1]: Wilson's, as if they were 0 or 1, which numbers between
 * make only wider than need be. NaN for n 0. */
interval stats_wilson(double mean, int64_t n);

/* Of matched pairs: d = score - dense, each in [-1, 1]. */
typedef struct pairs {
    int64_t n, n_better, n_worse;
    double sum, squares;
} pairs;
void pairs_add(pairs *p, double difference);
/* 95 %, of the mean difference: Agresti and Min's, with half a pair added to each of the four
 * cells. */
interval pairs_interval(const pairs *p);
/* McNemar's exact test, two-sided: 1 where nothing differs. */
double pairs_p_value(const pairs *p);

#endif
