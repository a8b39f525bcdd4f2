/* sampling.c: see sampling.h. */
#include "cli/sampling.h"

#include <inttypes.h>
#include <stdio.h>
#include <time.h>

static const option SAMPLING_OPTIONS[] = {
    {.name = "--temp",
     .kind = OPTION_REAL,
     .offset = offsetof(sampling_args, temp),
     .argument = "T",
     .min = 0,
     .max = 100,
     .help = "temperature; 0 is greedy: always the likeliest token (default: 0.8)",
     .remedy = "0 is greedy, 0.8 the default"},
    {.name = "--top-k",
     .kind = OPTION_INT,
     .offset = offsetof(sampling_args, top_k),
     .argument = "N",
     .min = 0,
     .max = INT32_MAX,
     .help = "among the N likeliest tokens; 0: off (default: 40)",
     .remedy = "0 turns it off; for blocks of attention see --topk"},
    {.name = "--top-p",
     .kind = OPTION_REAL,
     .offset = offsetof(sampling_args, top_p),
     .argument = "P",
     .min = 0,
     .max = 1,
     .help = "among the likeliest that make up P together; 1: off (default: 0.95)",
     .remedy = "1 turns it off"},
    {.name = "--min-p",
     .kind = OPTION_REAL,
     .offset = offsetof(sampling_args, min_p),
     .argument = "P",
     .min = 0,
     .max = 1,
     .help = "among those at least P times as likely as the first; 0: off\n(default: 0.05)",
     .remedy = "0 turns it off"},
    {.name = "--repeat-penalty",
     .kind = OPTION_REAL,
     .offset = offsetof(sampling_args, repeat_penalty),
     .argument = "R",
     .min = 0.1,
     .max = 10,
     .help = "makes tokens of the recent text less likely; 1: off (default: 1)",
     .remedy = "1 turns it off, 1.1 is gentle"},
    {.name = "--repeat-last-n",
     .kind = OPTION_INT,
     .offset = offsetof(sampling_args, repeat_last),
     .argument = "N",
     .min = -1,
     .max = INT32_MAX,
     .help = "how many tokens count as recent; -1: all (default: 64)",
     .remedy = "-1 is all of them"},
    {.name = "--seed",
     .letter = 's',
     .kind = OPTION_INT,
     .offset = offsetof(sampling_args, seed),
     .argument = "N",
     .min = -1,
     .max = (double)INT64_MAX,
     .help = "same seed, same answer; -1: from the clock (default: 0)",
     .remedy = "-1 takes the clock"},
};

sampling_args sampling_unset(void) {
    msa_sampler_params p = msa_sampler_defaults();
    return (sampling_args){.temp = (double)p.temperature,
                           .top_p = (double)p.top_p,
                           .min_p = (double)p.min_p,
                           .repeat_penalty = (double)p.repeat_penalty,
                           .top_k = p.top_k,
                           .repeat_last = p.repeat_last,
                           .seed = (int64_t)p.seed};
}

option_group sampling_group(sampling_args *args) {
    return (option_group){"Sampling", SAMPLING_OPTIONS,
                          sizeof SAMPLING_OPTIONS / sizeof *SAMPLING_OPTIONS, args};
}

msa_sampler_params sampling_params(const sampling_args *args) {
    struct timespec now;
    uint64_t seed = (uint64_t)args->seed;
    if (args->seed < 0) {
        clock_gettime(CLOCK_REALTIME, &now);
        seed = ((uint64_t)now.tv_sec * 1000000007u ^ (uint64_t)now.tv_nsec) & INT32_MAX;
    }
    return (msa_sampler_params){.temperature = (float)args->temp,
                                .top_k = (int32_t)args->top_k,
                                .top_p = (float)args->top_p,
                                .min_p = (float)args->min_p,
                                .repeat_penalty = (float)args->repeat_penalty,
                                .repeat_last = (int32_t)args->repeat_last,
                                .seed = seed};
}

void sampling_announce(const msa_sampler_params *p) {
    if (p->temperature <= 0) {
        fputs("sampling   greedy", stderr);
    } else {
        fprintf(stderr, "sampling   temperature %g", (double)p->temperature);
        if (p->top_k > 0) fprintf(stderr, ", top-k %d", p->top_k);
        if (p->top_p < 1) fprintf(stderr, ", top-p %g", (double)p->top_p);
        if (p->min_p > 0) fprintf(stderr, ", min-p %g", (double)p->min_p);
        fprintf(stderr, ", seed %" PRIu64, p->seed);
    }
    if (p->repeat_penalty != 1) /* tokens looked back: -1 is all */
        fprintf(stderr, ", repeat penalty %g over %d", (double)p->repeat_penalty, p->repeat_last);
    fputc('\n', stderr);
}

json_t *sampling_json(const msa_sampler_params *p) {
    return json_pack("{s:f, s:i, s:f, s:f, s:f, s:i, s:I}", "temp", (double)p->temperature, "top_k",
                     p->top_k, "top_p", (double)p->top_p, "min_p", (double)p->min_p,
                     "repeat_penalty", (double)p->repeat_penalty, "repeat_last_n", p->repeat_last,
                     "seed", (json_int_t)p->seed);
}
