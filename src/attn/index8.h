/* index8.h: the int8 copy of index keys, and what it says of scores. docs/certified-index.md proves
 * what stands here.
 *
 *   rotation  y = R k, orthonormal, so that R q . R k = q . k: random signs and a Hadamard
 *             transform of the first n elements, n the greatest power of two <= di; where n < di,
 *             other signs and one of the last n. Energy in one element is so spread over all. Not
 *             padded, which would cost up to twice the bytes, nor cut into parts, which would
 *             spread an element over eight in the smallest. The sign of element c of pass p is
 *             minus where bit c % 64 of random_u64(INDEX8_SEED, 4 p + c / 64) is set
 *   copy      of a token: s = max |y| / 127, rounded up to bf16, and k8 = round(y / s), whole
 *             numbers of -127..127. Of a block, over its tokens, each rounded up:
 *             ratio >= |y - s k8| / s, norm >= |k| + |y - s k8|; norm = +inf where a token has no
 *             bound (NaN, infinity, |k| > 2^60): its s and k8 are 0. So they are where max |y| <
 *             2^-60; then tiny >= |k|
 *   layout    k8 as panels [B/16][di/2][16 tokens][2], s [B], then the index8_tail; the whole
 *             rounded up to 64 bytes. What is behind a block's last token is 0
 *   query     a = max |R q| / 32767 rounded up, q16 = round(R q / a); norm >= |q|,
 *             error >= |R q - a q16|. A query without bound: error = +inf, numbers 0
 *   bounds    of the canonical score s[j] of score.h, with x = a * (q16 . k8):
 *             s_j (x - ratio norm_q) - slack <= s[j] <= s_j (x + ratio norm_q) + slack
 *             and of a block the greatest of each; slack takes what does not depend on the token
 *   exact     q16 . k8 is a whole number below 256 * 127 * 32767 < 2^30: no sum of 32 bits
 *             overflows, no order of summation matters. All else is f32 or double with each
 *             rounding said, so that every instruction set makes the same copies, bounds and counts
 *             of rescored tokens; the selection would be the same even if they differed */
#ifndef MSA_ATTN_INDEX8_H
#define MSA_ATTN_INDEX8_H

#include "attn/kernels.h"
#include "attn/plan.h"
#include "base/mem.h"

#define INDEX8_SEED 20260613 /* what was stored with one seed is not read with another */

typedef struct index8_tail {
    float ratio, norm, tiny, unused;
} index8_tail;

static inline int8_t *index8_token(void *copy, int dim, int token) {
    return (int8_t *)copy + (int64_t)(token / 16) * 16 * dim + token % 16 * 2;
}
static inline uint16_t *index8_scales(const void *copy, int dim, int block) {
    return (uint16_t *)((char *)copy + (int64_t)block * dim);
}
static inline index8_tail *index8_tail_of(const void *copy, int dim, int block) {
    return (index8_tail *)((char *)copy + (int64_t)block * (dim + 2));
}
static inline size_t index8_bytes(const msa_shape *shape) {
    size_t block = (size_t)shape->block, dim = (size_t)shape->index_dim;
    return size_round_up(block * (dim + 2) + sizeof(index8_tail), 64);
}

/* The copy of one head of a block. */
static inline char *index8_copy(const msa_plan *plan, const msa_index8_lane *lane,
                                const plan_request *r, int32_t head, int64_t block) {
    int64_t page = r->pages      ? r->pages[block]
                   : lane->start ? lane->start[r - plan->requests] + block
                                 : r->first_block + block;
    return (char *)lane->data + page * lane->stride_page + head * lane->stride_head;
}

/* What bounds of this query and block have in common: errors of the query, of the canonical sum,
 * and of computing the bounds. */
static inline float index8_slack(const index8_query *q, const index8_tail *tail, int dim) {
    float rounding = (float)(dim + 16) * 0x1p-24f;
    float slack = (q->error + rounding * q->norm) * tail->norm + q->norm * tail->tiny;
    return (slack + 0x1p-120f) * (1 + 0x1p-18f);
}

static inline void index8_add(msa_index8_stats *sum, const msa_index8_stats *more) {
    sum->bounded += more->bounded;
    sum->rescored += more->rescored;
    sum->rescored_blocks += more->rescored_blocks;
    sum->keys += more->keys;
    sum->bytes += more->bytes;
}

/* Rounds a query; numbers[dim]. */
void index8_round_query(const float *q, int dim, index8_query *out, int16_t *numbers);
/* Makes a block's copy empty; puts a token into it. */
void index8_clear(void *copy, int dim, int block);
void index8_put(void *copy, int dim, int block, int token, const float *k);
/* Puts tokens first .. end-1 of a block that lies at `keys`, stored as `ki` says, into its copy;
 * token 0 begins it anew. */
void index8_put_stored(void *copy, int dim, int block, const msa_lane *ki, const void *keys,
                       int first, int end);

/* Counts the blocks of the requests before each, where contiguous copies lie. */
void index8_number_blocks(msa_plan *plan);
/* Whether there are copies of keys in this format. */
static inline bool index8_is_of(msa_dtype dtype) {
    return dtype == MSA_F32 || dtype == MSA_F16 || dtype == MSA_BF16;
}
/* MSA_E_ARG for keys in a format of which there is no copy. */
msa_status index8_check_keys(const msa_lane *ki, msa_error *err);
msa_status index8_check_lane(const msa_plan *plan, const msa_index8_lane *lane, const char *name,
                             msa_error *err);

/* The truth: the rotation by its matrix, and a token's interval, centre +- radius, by the formula
 * in double. */
typedef struct index8_interval {
    double centre, radius;
} index8_interval;
void index8_rotate_ref(const float *x, int dim, double *y);
index8_interval index8_bound_ref(const index8_query *q, const int16_t *numbers, const void *copy,
                                 int dim, int block, int token);

#endif
