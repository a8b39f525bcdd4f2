/* ppl.h: how well tokens were predicted by several attentions: means over positions, differences to
 * dense and their intervals. */
#ifndef MSA_CLI_PPL_H
#define MSA_CLI_PPL_H

#include <stddef.h>
#include <stdint.h>

/* -ln p of the n tokens of a text that were predicted, in its order. The text is read in pieces;
 * token i was predicted by the one at position i % period of its piece. */
typedef struct ppl_series {
    const double *nll;
    size_t n;
    int64_t period;
} ppl_series;

typedef struct ppl_mean {
    int64_t n;                    /* tokens; 0: the rest is NaN */
    double nll;                   /* mean */
    double difference, low, high; /* of nll to dense, paired by token */
} ppl_mean;

/* Over the positions first .. end - 1. The interval is of 95 %, by batch means: neighbouring tokens
 * differ alike, so the differences are cut into up to PPL_BATCHES runs of neighbours, at least
 * PPL_BATCH_TOKENS each, and the spread of the runs' means gives Student's interval. NaN where
 * there are fewer than PPL_LEAST_BATCHES of them. */
enum { PPL_BATCHES = 64, PPL_BATCH_TOKENS = 16, PPL_LEAST_BATCHES = 8 };
ppl_mean ppl_mean_of(const ppl_series *series, const ppl_series *dense, int64_t first, int64_t end);

/* Positions cut into ranges. */
typedef struct ppl_cut {
    int64_t n;     /* ranges; 0: powers of two: 0, 1, 2-3, 4-7, ... */
    int64_t n_ctx; /* positions 0 .. n_ctx - 1 */
} ppl_cut;
int64_t ppl_cut_count(const ppl_cut *cut);
void ppl_cut_range(const ppl_cut *cut, int64_t i, int64_t *first, int64_t *end);

#endif
