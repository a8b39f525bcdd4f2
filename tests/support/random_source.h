/* random_source.h: small models of every family whose numbers come from a hash of tensor, row and
 * column: the same whenever they are asked for. */
#ifndef MSA_TESTS_RANDOM_SOURCE_H
#define MSA_TESTS_RANDOM_SOURCE_H

#include "model/export.h"

/* 4 layers of 64, 4 query and 2 key heads of 16, 300 tokens; M3 with half of each head rotated,
 * experts and one leading dense layer; an index of 16, blocks of 16, top-4 where it has one. */
arch random_arch(arch_family family, bool index);

/* A tensor_rows_fn; user is a uint64_t seed. Norms lie about 1 (M3's about 0), matrices have a
 * deviation of 1 / sqrt(n_in). */
msa_status random_rows(void *seed, const tensor_spec *spec, int64_t row, int64_t n, float *out,
                       msa_error *err);

#endif
