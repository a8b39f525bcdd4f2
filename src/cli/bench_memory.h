/* bench_memory.h: what prefills allocate beside their inputs, as they grow. */
#ifndef MSA_CLI_BENCH_MEMORY_H
#define MSA_CLI_BENCH_MEMORY_H

#include <stdbool.h>

#include "cli/fail.h"
#include "msa/attn.h"

/* Plans (and runs nothing) prefills of 256 to 16,384 queries that end at 32K and 1M tokens, and
 * prints the bytes each operator's plan holds, next to the bytes of a table of block scores. */
msa_status bench_memory_print(const msa_shape *shape, bool json, msa_error *err);

#endif
