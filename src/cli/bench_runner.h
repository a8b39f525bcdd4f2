/* bench_runner.h: times one case: the index operator, the same through the int8 copy of its keys
 * where the data has one, attention over what was selected, index and attention after one another
 * (what MSA costs), and dense attention, interleaved.
 *
 * A round times each of them for a little while, then the next round does; whatever slows the
 * machine for seconds slows all of them. Repetitions go through variants: other queries, other
 * selections and, where the arena has room, other keys, so that nothing is found in a cache that a
 * real step would have to fetch. Plans are made before, once per step as in a model. */
#ifndef MSA_CLI_BENCH_RUNNER_H
#define MSA_CLI_BENCH_RUNNER_H

#include "cli/bench_case.h"
#include "cli/bench_data.h"
#include "cli/progress.h"

typedef enum bench_op { OP_INDEX, OP_INDEX8, OP_SPARSE, OP_MSA, OP_DENSE, OP_COUNT } bench_op;

typedef struct bench_timing {
    samples times[OP_COUNT];
    work works[OP_COUNT];
    size_t plan_bytes[OP_COUNT];
    double distinct; /* blocks four neighbouring queries choose together */
    double rescored; /* share of tokens that the index through the copy rescores */
} bench_timing;

typedef struct bench_settings {
    msa_order order;
    int rounds;      /* of each operator; fewer, but at least 3, when they take long */
    double budget_s; /* of each operator, after which no further round begins */
    busy_meter *busy;
    progress *bar; /* in GFLOP of dense attention */
    int64_t bar_total;
} bench_settings;

/* Pages that give a case as many disjoint stretches as it takes to miss the caches. */
int64_t bench_pages_wanted(const bench_case *c, const msa_shape *shape, msa_dtype index_format);

/* MSA_E_CANCELLED after Ctrl-C. */
msa_status bench_case_run(const bench_case *c, const bench_data *data,
                          const bench_settings *settings, bench_timing *out, msa_error *err);

#endif
