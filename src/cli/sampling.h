/* sampling.h: the flags of sampling, llama.cpp's names and defaults. */
#ifndef MSA_CLI_SAMPLING_H
#define MSA_CLI_SAMPLING_H

#include <jansson.h>

#include "cli/options.h"
#include "msa/model.h"

typedef struct sampling_args {
    double temp, top_p, min_p, repeat_penalty;
    int64_t top_k, repeat_last, seed;
} sampling_args;

sampling_args sampling_unset(void); /* msa_sampler_defaults */
option_group sampling_group(sampling_args *args);
/* Seed -1 becomes one from the clock. */
msa_sampler_params sampling_params(const sampling_args *args);

/* "sampling ..." on standard error: what it takes to get the same answer again. */
void sampling_announce(const msa_sampler_params *params);
json_t *sampling_json(const msa_sampler_params *params);

#endif
