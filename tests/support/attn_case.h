/* attn_case.h: a ragged batch with random queries, keys and values, whose lanes can be laid out in
 * every way the operators accept, from one dense truth. */
#ifndef MSA_TESTS_ATTN_CASE_H
#define MSA_TESTS_ATTN_CASE_H

#include "msa/attn.h"
#include "support/support.h"

typedef enum case_layout { CASE_RAGGED, CASE_HND, CASE_PANELS, CASE_LAYOUTS } case_layout;

#define CASE_MOST_REQUESTS 8
#define CASE_FORMATS       MSA_DTYPE_COUNT

typedef struct attn_case {
    msa_shape shape;
    int32_t n_requests;
    int32_t cu[CASE_MOST_REQUESTS + 1];
    int64_t kv_len[CASE_MOST_REQUESTS], offset[CASE_MOST_REQUESTS];
    int64_t total_q, total_k, max_kv;
    float *q;     /* [total_q, Hq, d] */
    float *k, *v; /* [total_k, Hkv, d] */
    float *qi;    /* [total_q, Hi, di] */
    float *ki;    /* [total_k, Hik, di] */
    /* filled by case_lay_out */
    msa_batch batch;
    msa_lane k_lane, v_lane, ki_lane;
    int32_t *pages;
    void *stored[3];
} attn_case;

/* One index key of width 16 for all groups, local 1, init 0. */
msa_shape small_shape(int hq, int hkv, int d, int block, int topk);

/* q_len and kv_len per request; queries end at kv_len unless offset[r] >= 0 says otherwise.
 * integers: whole numbers in [-3, 3], so that scores are exact; else normal. */
attn_case case_make(msa_shape shape, int n, const int *q_len, const int *kv_len, uint64_t seed,
                    bool integers);
/* How many queries to take of n: all; where test_brief() says so, as many as give one tile of 16
 * rows and the beginning of another, `group` rows a query. */
int case_queries(int n, int group);
/* Stores the lanes in a format and layout; paged ones in permuted pages, everything behind the
 * last token filled with NaN. May be called again. */
void case_lay_out(attn_case *c, case_layout layout, msa_dtype dtype, uint64_t seed);
void case_free(attn_case *c);

/* Lists for all queries and groups, token-major: mostly full, some short, some empty; the blocks
 * ascending, or descending. free(). */
int32_t *case_random_lists(const attn_case *c, uint64_t seed, bool ascending);

const char *case_layout_name(case_layout layout);

#endif
