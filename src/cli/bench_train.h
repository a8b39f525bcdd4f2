/* bench_train.h: times forward and backward of one attention layer in training, sparse against
 * dense, and the index loss.
 *
 * Whole contexts would take dense attention hours, so a piece is timed: queries in the middle of
 * the context, which on average see as much as all do, and the result is scaled to all of them. */
#ifndef MSA_CLI_BENCH_TRAIN_H
#define MSA_CLI_BENCH_TRAIN_H

#include "cli/bench.h"
#include "msa/attn.h"

enum { BENCH_TRAIN_QUERIES = 4096 }; /* timed with sparse attention, if not told otherwise */

typedef struct bench_train_settings {
    int64_t queries; /* of the sparse side; dense takes a sixteenth of them */
    int rounds;
    double budget_s; /* of each operator, after which no further round begins */
    const ceilings *top;
    busy_meter *busy;
} bench_train_settings;

/* Adds the rows of context length n. */
msa_status bench_train_run(const msa_shape *shape, int64_t n, const bench_train_settings *settings,
                           bool json, json_t *rows, msa_error *err);
/* After the table: what index and loss cost beside attention. */
void bench_train_notes(const json_t *rows);

#endif
