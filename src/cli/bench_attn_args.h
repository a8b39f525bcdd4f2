/* bench_attn_args.h: what msa bench attn was told. */
#ifndef MSA_CLI_BENCH_ATTN_ARGS_H
#define MSA_CLI_BENCH_ATTN_ARGS_H

#include "cli/options.h"
#include "msa/attn.h"

enum { OPS_ALL, OPS_PREFILL, OPS_DECODE, OPS_SELECT };
enum { PAGES_SCATTERED, PAGES_IN_ORDER };
enum { CLOCK_WALL, CLOCK_CPU };
enum { SUITE_GRID, SUITE_PREFILL, SUITE_DECODE, SUITE_TRAIN, SUITE_MEMORY /* --memory */ };

typedef struct bench_attn_args {
    const char *heads;
    int64_t dim, index_dim, block, topk, local, init;
    option_ints n;
    int64_t chunk, decode_queries;
    int format, index_format, ops, order, suite, pages, clock;
    int64_t repeats;
    double budget;
    bool index8, memory, json;
} bench_attn_args;

/* Reads the flags, fills in what nobody gave, refuses what can't be or would not be read. *done:
 * the help was asked for and printed. */
msa_status bench_attn_parse(bench_attn_args *args, msa_shape *shape, int argc, char **argv,
                            bool *done, msa_error *err);

#endif
