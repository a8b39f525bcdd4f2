/* bench_data.h: a layer of invented keys and values that behaves like a real one.
 *
 * Keys, values and index keys are independent normal numbers in scattered pages (a page table that
 * is a random permutation; or in order, as an arena gives them to a single text), keys in panels as
 * msa_kv keeps them. Selections have two properties of
 * real ones that decide how much memory is touched: neighbouring queries mostly agree (index
 * queries drift slowly from token to token), and nearly all choose block 0 (its first token is a
 * sink). One arena holds several disjoint stretches of the context length, so that a repetition
 * finds none of its data in a cache. */
#ifndef MSA_CLI_BENCH_DATA_H
#define MSA_CLI_BENCH_DATA_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "cli/fail.h"
#include "msa/attn.h"

typedef struct bench_data {
    msa_shape shape;
    msa_dtype format, index_format;
    int64_t n_pages;
    msa_lane k, v, ki;
    int32_t *pages; /* all page ids, shuffled or in order */
    size_t n_bytes; /* of the three lanes */
    uint64_t seed;
    float *sink; /* [Hi, di]: what all index queries have in common */
    void *lanes[4];
    size_t lane_bytes[4];
    bool index8; /* there is an int8 copy of the index keys: lane 3 */
    msa_index8_lane ki8;
} bench_data;

size_t bench_data_bytes(const msa_shape *shape, msa_dtype format, msa_dtype index_format,
                        int64_t n_pages);
msa_status bench_data_create(bench_data *data, const msa_shape *shape, msa_dtype format,
                             msa_dtype index_format, int64_t n_pages, bool in_order,
                             msa_error *err);
/* Adds the int8 copy of all index keys. */
msa_status bench_data_add_index8(bench_data *data, msa_error *err);
void bench_data_free(bench_data *data);

/* Makes the first token of `page`, where block 0 of a request lies, a sink, or ordinary again. */
msa_status bench_data_set_sink(const bench_data *data, int32_t page, bool on, msa_error *err);

/* n queries of one request that follow each other: q [n, Hq, d] and qi [n, Hi, di]. The same seed
 * gives the same numbers. */
void bench_data_queries(const bench_data *data, uint64_t seed, int64_t n, float *q, float *qi);

/* Fills with normal numbers. */
void bench_fill_normal(uint64_t seed, float *out, size_t n);

/* Zeroed memory in huge pages where there are any; NULL when it can't be had. */
void *bench_alloc(size_t n_bytes);
void bench_free(void *p, size_t n_bytes);
/* Bytes that invented data may take: half of what is free. Memory is given without being there, so
 * more would end the program instead of failing. */
double bench_room(void);

#endif
