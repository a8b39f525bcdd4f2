/* bench_select.h: times the top-k of stored rows of block scores, the operator that can be held
 * against any library's top-k. Inside the index operator the scores are consumed as they are made
 * and never stored. */
#ifndef MSA_CLI_BENCH_SELECT_H
#define MSA_CLI_BENCH_SELECT_H

#include "cli/bench.h"
#include "msa/attn.h"

/* One row of results: queries * Hkv rows of ceil(n / B) scores each. */
msa_status bench_select_run(const msa_shape *shape, int64_t n, int64_t queries, int rounds,
                            const ceilings *top, busy_meter *busy, json_t *rows, msa_error *err);

#endif
