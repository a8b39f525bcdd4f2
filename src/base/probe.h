/* probe.h: the two ceilings of a machine, measured: how fast it multiplies and how fast it reads.
 * The public calls are msa_measure_fma_gflops and msa_measure_read_gbps (msa.h); here are the
 * kernels they time. */
#ifndef MSA_BASE_PROBE_H
#define MSA_BASE_PROBE_H

#include <stddef.h>
#include <stdint.h>

/* n rounds of multiply-adds in independent chains; returns a value that depends on all of them, and
 * stores the floating-point operations of one round. */
typedef float probe_fma_fn(int64_t n, int64_t *flops_per_round);

/* Reads n floats (a multiple of PROBE_READ_STEP), once, in order; returns their sum. */
typedef float probe_read_fn(const float *p, size_t n);
#define PROBE_READ_STEP ((size_t)512)

/* The best of at most n_runs runs of about a millisecond, none begun after enough_s but the first
 * three. What was measured earlier while others used the machine is too low: ask again, keep the
 * most. */
double probe_fma_gflops(int n_threads, int n_runs, double enough_s);

#endif
