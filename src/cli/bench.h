/* bench.h: what the benchmarks share: the ceilings of the machine, samples of a time and their
 * median, and whether anything else was running. */
#ifndef MSA_CLI_BENCH_H
#define MSA_CLI_BENCH_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "cli/fail.h"

/* What nothing on this machine can beat, measured (msa.h). */
typedef struct ceilings {
    double fma_gflops, read_gbps;
} ceilings;

msa_status ceilings_measure(ceilings *out, msa_error *err);

/* What a piece of work needs at least: f32 operations, and bytes read and written once. */
typedef struct work {
    double flops, bytes;
} work;

static inline work work_add(work a, work b) {
    return (work){a.flops + b.flops, a.bytes + b.bytes};
}
/* Seconds no implementation on this machine can undercut; *by_memory: reading is what takes them,
 * not arithmetic. */
double work_floor(work w, const ceilings *top, bool *by_memory);

enum { SAMPLES_MAX = 512 };
typedef struct samples { /* start from {0} */
    double s[SAMPLES_MAX];
    int n;
    double total_s;
} samples;

void samples_add(samples *set, double seconds); /* dropped when full */
double samples_median(const samples *set);      /* NaN when empty */
double samples_mean(const samples *set);
double samples_deviation(const samples *set); /* of the sample, n - 1; 0 for fewer than two */

/* CPU time the process got while it was timed, against what its threads asked for. */
typedef struct busy_meter {
    bool by_cpu; /* busy_stop answers CPU time over threads instead */
    double wall_s, cpu_s;
    double wall_start, cpu_start;
} busy_meter;

void busy_start(busy_meter *meter);
double busy_stop(busy_meter *meter); /* seconds since busy_start */
/* Says on standard error that something else was running, when it was. */
void busy_report(const busy_meter *meter);

/* {"cpu", "isa", "threads", "fma_gflops", "read_gbps"} */
json_t *bench_machine_json(const ceilings *top);
/* The same as the first lines of a table. */
void bench_machine_print(const ceilings *top);

#endif
