/* weights_random.h: random weights in every format of nn/quant.h. */
#ifndef MSA_TESTS_WEIGHTS_RANDOM_H
#define MSA_TESTS_WEIGHTS_RANDOM_H

#include "support/support.h"

/* n_out rows of n_in weights of about unit size: exactly so many bytes, freed with free. */
uint8_t *random_weights(rng *r, uint32_t type, int64_t n_out, int64_t n_in);

/* The same of about `size`. */
uint8_t *random_weights_sized(rng *r, uint32_t type, int64_t n_out, int64_t n_in, float size);

#endif
