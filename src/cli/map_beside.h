/* map_beside.h: a selection beside the best there is: for each layer how many of the k blocks with
 * most attention it took, and how much of the attention. As train's diagnostics define it:
 *
 *   recall    |S and S*| / k, S* the k blocks with most mass, nothing forced
 *   captured  mass of S          oracle  mass of S*
 *
 * means over queries that see more than k blocks, and groups. */
#ifndef MSA_CLI_MAP_BESIDE_H
#define MSA_CLI_MAP_BESIDE_H

#include <stdint.h>

#include "cli/fail.h"
#include "msa/attn.h"

enum { BESIDE_LAYERS = 256 };

typedef struct beside_sums {
    int64_t n;
    double recall, captured, oracle;
} beside_sums;

/* Adds one query and group of a layer; best [k] becomes S*, ascending, -1 behind it. */
msa_status beside_add(beside_sums *layer, const msa_shape *shape, int64_t position,
                      const int32_t *ids, const float *mass, int32_t *best, msa_error *err);

/* A line for each layer that has any, and one for all. */
msa_status beside_print(const beside_sums layers[BESIDE_LAYERS], msa_error *err);

#endif
