/* bench_case.h: what is measured: a chunk of a prefill at some depth, or a step of decoding, over
 * one or several requests; and the work it takes at least.
 *
 * The suites are the shapes published with the MSA kernels (MIT): strata of production prefill
 * chunks with the number of calls each stands for, and a grid of decode batches with eight queries
 * a request (one new token and seven drafts). */
#ifndef MSA_CLI_BENCH_CASE_H
#define MSA_CLI_BENCH_CASE_H

#include <stdbool.h>
#include <stdint.h>

#include "cli/bench.h"
#include "msa/attn.h"

typedef struct bench_case {
    bool prefill;
    int32_t n_requests;
    int64_t queries; /* of each request: its last ones */
    int64_t n;       /* context length of each request, these queries included */
    bool ragged;     /* lengths differ by up to a quarter of n, with mean n */
    double weight;   /* calls in production; 0: not known */
} bench_case;

enum { CASES_MAX = 512 };
typedef struct bench_cases {
    bench_case list[CASES_MAX];
    int n;
} bench_cases;

/* chunk > 0: only the last `chunk` queries of each stratum. */
void bench_cases_prefill_suite(bench_cases *out, int64_t chunk);
void bench_cases_decode_suite(bench_cases *out);

/* Tokens of request r, and the most any request has. */
int64_t bench_case_length(const bench_case *c, int32_t r);
int64_t bench_case_longest(const bench_case *c);
/* Pages all requests need. */
int64_t bench_case_pages(const bench_case *c, int32_t block);
static inline int64_t bench_case_rows(const bench_case *c) {
    return c->n_requests * c->queries;
}

/* Scoring every visible token outside the forced blocks, for queries that see more than k blocks:
 *   2 Hi di flops a token and query; each index key read once, queries and ids once. */
work bench_work_index(const bench_case *c, const msa_shape *shape, msa_dtype index_format);
/* Attention over everything visible: 4 Hq d flops a token and query; each K and V once. */
work bench_work_dense(const bench_case *c, const msa_shape *shape, msa_dtype format);
/* Attention over the lists ids [rows, Hkv, k]: 4 G d flops a token, query and group; K and V of
 * each (request, group, block) that anyone chose once. *distinct: blocks chosen by four neighbours
 * together, on average. False without memory. */
bool bench_work_sparse(const bench_case *c, const msa_shape *shape, msa_dtype format,
                       const int32_t *ids, work *out, double *distinct);

#endif
