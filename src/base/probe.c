/* probe.c: times the kernels of probe.h. A ceiling is the best of many runs, each about a
 * millisecond: whatever else the machine does can only lower some of them, and the shorter they are
 * the more of them it leaves alone. */
#define _GNU_SOURCE
#include "base/probe.h"

#include <math.h>
#include <omp.h>
#include <stdbool.h>
#include <time.h>

#include "base/cpu.h"
#include "base/error.h"
#include "base/mem.h"

#define FMA_RUNS    400
#define FMA_ROUNDS  250000
#define READ_PASSES 20
#define ENOUGH_S    0.6 /* no further run after this */
#define READ_PIECES 16  /* of the buffer, timed one by one */
#define THREADS_MAX 1024

typedef struct probe_kernels {
    probe_fma_fn *fma;
    probe_read_fn *read;
} probe_kernels;

extern probe_fma_fn probe_fma_scalar;
extern probe_read_fn probe_read_scalar;
#if defined(__x86_64__)
extern probe_fma_fn probe_fma_avx2, probe_fma_avx512;
extern probe_read_fn probe_read_avx2, probe_read_avx512;
#elif defined(__aarch64__)
extern probe_fma_fn probe_fma_neon;
extern probe_read_fn probe_read_neon;
#endif

static const probe_kernels TABLE[MSA_ISA_COUNT] = {
    [MSA_ISA_SCALAR] = {probe_fma_scalar, probe_read_scalar},
#if defined(__x86_64__)
    [MSA_ISA_AVX2] = {probe_fma_avx2, probe_read_avx2},
    [MSA_ISA_AVX512] = {probe_fma_avx512, probe_read_avx512},
#elif defined(__aarch64__)
    [MSA_ISA_NEON] = {probe_fma_neon, probe_read_neon},
#endif
};

static double now_s(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static msa_status check(int *n_threads, const void *out, msa_error *err) {
    if (!out) return error_set(err, MSA_E_ARG, "the place of the result is NULL");
    if (*n_threads < 0 || *n_threads > THREADS_MAX)
        return error_set(err, MSA_E_ARG, "n_threads is %d, must be 0 (all) to %d", *n_threads,
                         THREADS_MAX);
    if (*n_threads == 0) *n_threads = omp_get_max_threads();
    return MSA_OK;
}

/* Seconds n_threads take for `rounds` each, from the first start to the last end. */
static double time_fma(probe_fma_fn *fma, int n_threads, int64_t rounds, double *flops,
                       volatile float *sink) {
    double start = INFINITY, end = 0, total = 0;
#pragma omp parallel num_threads(n_threads) reduction(+ : total) reduction(min : start)            \
    reduction(max : end)
    {
        int64_t flops_per_round = 0;
#pragma omp barrier
        start = now_s();
        float value = fma(rounds, &flops_per_round);
        end = now_s();
        total = (double)rounds * (double)flops_per_round;
#pragma omp critical
        *sink = value;
    }
    *flops = total;
    return end - start;
}

double probe_fma_gflops(int n_threads, int n_runs, double enough_s) {
    probe_fma_fn *fma = TABLE[msa_isa_current()].fma;
    volatile float sink = 0;
    double flops = 0, best = 0;
    double begin = now_s();
    for (int run = 0; run < n_runs && (run < 3 || now_s() - begin < enough_s); run++) {
        double seconds = time_fma(fma, n_threads, FMA_ROUNDS, &flops, &sink);
        if (flops / seconds > best) best = flops / seconds;
    }
    return best * 1e-9;
}

msa_status msa_measure_fma_gflops(int n_threads, double *gflops, msa_error *err) {
    msa_status status = check(&n_threads, gflops, err);
    if (status == MSA_OK) *gflops = probe_fma_gflops(n_threads, FMA_RUNS, ENOUGH_S);
    return status;
}

/* Reads (or, the first time, fills) n floats, each thread its own stretch, so that the pages lie
 * where their reader is. Seconds from the first start to the last end. */
static double time_read(probe_read_fn *read, int n_threads, float *data, size_t n, bool fill,
                        volatile float *sink) {
    double start = INFINITY, end = 0;
#pragma omp parallel num_threads(n_threads) reduction(min : start) reduction(max : end)
    {
        size_t steps = n / PROBE_READ_STEP, team = (size_t)omp_get_num_threads();
        size_t me = (size_t)omp_get_thread_num();
        size_t from = steps * me / team * PROBE_READ_STEP;
        size_t count = steps * (me + 1) / team * PROBE_READ_STEP - from;
        float value = 0;
#pragma omp barrier
        start = now_s();
        if (fill)
            for (size_t i = 0; i < count; i++) data[from + i] = 1.0f;
        else
            value = read(data + from, count);
        end = now_s();
#pragma omp critical
        *sink = value;
    }
    return end - start;
}

msa_status msa_measure_read_gbps(int n_threads, size_t n_bytes, double *gbps, msa_error *err) {
    msa_status status = check(&n_threads, gbps, err);
    if (status != MSA_OK) return status;
    size_t step = READ_PIECES * PROBE_READ_STEP * sizeof(float);
    size_t n = n_bytes / step * step / sizeof(float);
    if (n == 0)
        return error_set(err, MSA_E_ARG,
                         "n_bytes is %zu, must be at least %zu, and well beyond "
                         "the last cache to say something about memory",
                         n_bytes, step);
    float *data = arena_alloc(n * sizeof(float));
    if (!data)
        return error_set(err, MSA_E_NOMEM, "no room for %zu bytes to read", n * sizeof(float));
    probe_read_fn *read = TABLE[msa_isa_current()].read;
    size_t piece = n / READ_PIECES;
    volatile float sink = 0;
    double best = 0;
    double begin = now_s();
    for (int pass = 0; pass <= READ_PASSES && (pass < 3 || now_s() - begin < ENOUGH_S); pass++)
        for (size_t i = 0; i < READ_PIECES; i++) {
            double seconds = time_read(read, n_threads, data + i * piece, piece, pass == 0, &sink);
            double rate = (double)(piece * sizeof(float)) / seconds;
            if (pass > 0 && rate > best) best = rate;
        }
    arena_free(data, n * sizeof(float));
    *gbps = best * 1e-9;
    return MSA_OK;
}
