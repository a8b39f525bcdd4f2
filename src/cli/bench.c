/* bench.c: see bench.h. */
#include "cli/bench.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "cli/machine.h"
#include "cli/progress.h"
#include "cli/table.h"

enum { PROBE_BYTES = 512 << 20 };

msa_status ceilings_measure(ceilings *out, msa_error *err) {
    msa_status status = msa_measure_fma_gflops(0, &out->fma_gflops, err);
    if (status != MSA_OK) return status;
    return msa_measure_read_gbps(0, PROBE_BYTES, &out->read_gbps, err);
}

double work_floor(work w, const ceilings *top, bool *by_memory) {
    double compute_s = w.flops / (top->fma_gflops * 1e9);
    double memory_s = w.bytes / (top->read_gbps * 1e9);
    *by_memory = memory_s > compute_s;
    return *by_memory ? memory_s : compute_s;
}

void samples_add(samples *set, double seconds) {
    if (set->n == SAMPLES_MAX) return;
    set->s[set->n++] = seconds;
    set->total_s += seconds;
}

static int compare_doubles(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

double samples_median(const samples *set) {
    double sorted[SAMPLES_MAX];
    int n = set->n;
    if (n == 0) return NAN;
    memcpy(sorted, set->s, (size_t)n * sizeof *sorted);
    qsort(sorted, (size_t)n, sizeof *sorted, compare_doubles);
    return (sorted[(n - 1) / 2] + sorted[n / 2]) / 2;
}

double samples_mean(const samples *set) {
    return set->n ? set->total_s / set->n : NAN;
}

double samples_deviation(const samples *set) {
    double mean = samples_mean(set), sum = 0;
    if (set->n < 2) return 0;
    for (int i = 0; i < set->n; i++) sum += (set->s[i] - mean) * (set->s[i] - mean);
    return sqrt(sum / (set->n - 1));
}

static double process_seconds(void) {
    struct timespec now;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

void busy_start(busy_meter *meter) {
    meter->cpu_start = process_seconds();
    meter->wall_start = clock_seconds();
}

double busy_stop(busy_meter *meter) {
    double wall = clock_seconds() - meter->wall_start;
    double cpu = process_seconds() - meter->cpu_start;
    meter->wall_s += wall;
    meter->cpu_s += cpu;
    return meter->by_cpu ? cpu / machine_threads() : wall;
}

void busy_report(const busy_meter *meter) {
    double share = meter->cpu_s / (meter->wall_s * machine_threads());
    if (meter->by_cpu || meter->wall_s <= 0 || share > 0.93) return;
    fprintf(stderr,
            "msa: the %d threads got %.0f %% of the CPU time they asked for: something else was "
            "running, and the figures are too low\n",
            machine_threads(), 100 * share);
}

json_t *bench_machine_json(const ceilings *top) {
    json_t *machine = machine_json();
    if (!machine) return NULL;
    if (json_object_set_new(machine, "fma_gflops", json_number(top->fma_gflops)) != 0 ||
        json_object_set_new(machine, "read_gbps", json_number(top->read_gbps)) != 0)
        return json_decref(machine), NULL;
    return machine;
}

void bench_machine_print(const ceilings *top) {
    char cpu[128];
    machine_cpu_name(cpu, sizeof cpu);
    printf("machine   %s, %s, %d threads\n", cpu, msa_isa_name(msa_isa_current()),
           machine_threads());
    printf("ceilings  %.0f GFLOP/s f32 multiply-add, %.1f GB/s read, both measured now\n",
           top->fma_gflops, top->read_gbps);
}
