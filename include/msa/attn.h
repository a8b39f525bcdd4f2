/* attn.h: the operators of MiniMax Sparse Attention on plain arrays.
 *
 * Caveats first:
 *   - Sizes are in tokens and elements, not bytes, unless a name says so. Offsets are 64-bit.
 *   - Positions are absolute: query i of a request sits at qo_offset + i, block b holds the tokens
 *     [b*B, (b+1)*B). Left padding does not exist; a padded batch gives different blocks.
 *   - With at most k*B visible tokens MSA is dense attention; it shows nothing about selection.
 *   - A selection names blocks, not tokens: the query's own block is masked causally, no other.
 *
 * Plan, then run. A plan looks at shapes and lengths once (per step, for all layers), chooses order
 * and splits, and owns the workspace. A run takes data pointers; it allocates nothing. What a run
 * computes depends on the plan, never on how many threads work on it: same plan, same bits.
 *
 *     msa_plan *plan = NULL;
 *     msa_index_plan(&plan, &shape, &batch, NULL, &err);            once per step
 *     msa_index_run(plan, &(msa_index_args){...}, &err);            once per layer
 *     msa_plan_free(plan);
 *
 * Passing a pointer to an existing plan of the same operator replans it and keeps its memory.
 * A plan copies cu_seqlens, lengths and page tables; it holds no pointer of the caller's. When
 * planning fails *plan may exist or not; freeing it is right, running it is refused. */
#ifndef MSA_ATTN_H
#define MSA_ATTN_H

#include "msa/format.h"

#ifdef __cplusplus
extern "C" {
#endif

/* What a layer looks like. Zero fields are not defaults: start from msa_shape_m3(). */
typedef struct msa_shape {
    int32_t n_q_heads;     /* Hq, a multiple of n_kv_heads */
    int32_t n_kv_heads;    /* Hkv: groups; one selection each */
    int32_t head_dim;      /* d: a multiple of 8 in 8..256 */
    int32_t n_index_heads; /* Hi: index query heads, one per group, = n_kv_heads */
    int32_t n_index_keys;  /* Hik: 1, one index key shared by all groups, or Hi */
    int32_t index_dim;     /* di: a multiple of 8 in 8..256 */
    int32_t block;         /* B: a power of two in 16..256 */
    int32_t topk;          /* k: blocks per query and group, forced ones included; 1..64 */
    int32_t local;         /* forced trailing blocks, the query's own being one of them; >= 0 */
    int32_t init;          /* forced leading blocks; >= 0, local + init <= topk */
} msa_shape;

/* 64 / 4 heads of 128, 4 index heads and one key of 128, B 128, k 16, local 1, init 0. */
MSA_API msa_shape msa_shape_m3(void);
/* MSA_E_ARG names the first field out of range and the range. */
MSA_API msa_status msa_shape_check(const msa_shape *shape, msa_error *err);

/* A ragged batch of n_requests sequences; prefill and decode may be mixed freely. */
typedef struct msa_batch {
    int32_t n_requests;
    const int32_t *cu_seqlens_q; /* [n_requests + 1], from 0, not decreasing: rows of request r */
    const int64_t *kv_len;       /* [n_requests] tokens with keys, this step's own included */
    const int64_t *qo_offset;    /* [n_requests] position of the first query, or NULL for
                                    kv_len - q_len. qo_offset + q_len <= kv_len */
    /* Paged keys: block b of request r is page page_table[r * page_table_stride + b]. Page ids are
     * in [0, n_pages). A page holds B tokens. NULL for contiguous keys. */
    const int32_t *page_table;
    int64_t page_table_stride;
    int64_t n_pages;
    /* Contiguous keys: the first token of request r; NULL for prefix sums of kv_len. */
    const int64_t *kv_start; /* [n_requests] */
} msa_batch;

/* How the elements of one lane (keys, values or index keys) lie. Element strides; of nvfp4 two make
 * a byte, and they are even. */
typedef enum msa_layout {
    /* (token, head, c) at page*stride_page + token*stride_token + head*stride_head + c; contiguous
     * keys at (kv_start + token)*stride_token + head*stride_head + c. Any strides, so HND pages
     * [pages, Hkv, B, d] and ragged [tokens, Hkv, d] are both this. */
    MSA_TOKENS = 0,
    /* Keys only, paged only: panels of 16 tokens, inside a panel dimension-major:
     * (token, head, c) at page*stride_page + head*stride_head + (token/16)*16*d + c*16 + token%16.
     * What msa_kv keeps: a dot product then needs no horizontal add and no transposition. In nvfp4
     * the 16 codes of a dimension are 8 bytes: token i < 8 of the panel in the low half of byte i,
     * token i + 8 in the high half. */
    MSA_PANELS = 1
} msa_layout;

/* Elements read as format.h says, scales and all; scores and everything else come of these f32
 * numbers, so a lane in any format gives the bits of its numbers in f32. */
typedef struct msa_lane {
    const void *data; /* aligned to msa_row_align */
    msa_dtype dtype;
    msa_layout layout;
    int64_t stride_page;  /* paged only */
    int64_t stride_token; /* MSA_TOKENS only */
    int64_t stride_head;
    float scale; /* of the tensor, fp8 and nvfp4 only; 0 stands for 1 */
    /* int8 and nvfp4: n scales a row, 1 f32 or ceil(dim/16) bytes of E4M3. Strides count scales.
     * Scale g of (token, head) is at page*scale_stride_page + token*scale_stride_token +
     * head*scale_stride_head + g (contiguous: kv_start + token, no page); of panels at
     * page*scale_stride_page + head*scale_stride_head + (token/16)*16*n + g*16 + token%16. */
    const void *scales; /* aligned to msa_row_scale_align; NULL in other formats */
    int64_t scale_stride_page, scale_stride_token, scale_stride_head;
} msa_lane;

/* These lay scales out as the data, [tokens, n_heads, n], [pages, n_heads, block, n] or, of panels,
 * [pages, n_heads, block/16, n, 16]; set `scales`, and `scale`, in what they return. */
/* Lane of contiguous [tokens, n_heads, dim] data. */
MSA_API msa_lane msa_lane_ragged(const void *data, msa_dtype dtype, int32_t n_heads, int32_t dim);
/* Lane of HND pages [pages, n_heads, block, dim]. */
MSA_API msa_lane msa_lane_hnd(const void *data, msa_dtype dtype, int32_t n_heads, int32_t block,
                              int32_t dim);
/* Lane of panel pages [pages, n_heads, block/16, dim, 16]. */
MSA_API msa_lane msa_lane_panels(const void *data, msa_dtype dtype, int32_t n_heads, int32_t block,
                                 int32_t dim);

typedef struct msa_plan msa_plan;
MSA_API void msa_plan_free(msa_plan *plan); /* NULL is fine */
/* Bytes the plan holds, its workspace included: what a prefill costs beside its inputs. */
MSA_API size_t msa_plan_bytes(const msa_plan *plan);

typedef enum msa_order {
    MSA_ORDER_AUTO = 0,
    MSA_ORDER_QUERY =
        1,           /* query-outer: a few neighbouring queries over the union of their blocks */
    MSA_ORDER_KV = 2 /* KV-outer: each block with the queries that chose it, partials, merge */
} msa_order;

/* NULL stands for all zeros. */
typedef struct msa_plan_options {
    int32_t n_threads; /* 0: as many as OpenMP gives */
    msa_order order;   /* sparse only */
    /* index, decode, dense: cut the keys into this many; KV-outer and gradients: parts of the
     * blocks that threads share, each with partial sums of its own; 0: chosen */
    int32_t n_splits;
    /* 1: dense, sparse and their gradients (grad.h) with probabilities that passed through FP8
     * E4M3, for training models that will be run so. Contiguous keys only. */
    int32_t p_e4m3;
    int32_t
        index8; /* 1: index through the int8 copy of its keys, where that pays (index8, below) */
} msa_plan_options;

/* ---- selections --------------------------------------------------------------------------- */

/* The order a row's block ids are written in. Unused slots hold -1, behind the ids. */
typedef enum msa_list_order {
    MSA_ASCENDING = 0,  /* by id; what fmha_sm100 reads */
    MSA_LOCAL_LAST = 1, /* scored blocks by id, then init..., the own block last */
    MSA_SCORE_DESC = 2  /* forced blocks first (own, other local, init), then by score; what
                           transformers gives */
} msa_list_order;

typedef enum msa_list_layout {
    MSA_TOKEN_MAJOR = 0, /* [total_q, Hkv, k] */
    MSA_HEAD_MAJOR = 1   /* [Hkv, total_q, k] */
} msa_list_layout;

typedef struct msa_selection {
    int32_t *ids; /* total_q * Hkv * k block ids */
    msa_list_order order;
    msa_list_layout layout;
} msa_selection;

/* Rewrites `from` into `to` (other order, other layout, or both; `to->ids` must not overlap).
 * position[t] is the absolute position of query t: it tells which block is its own. To
 * MSA_SCORE_DESC needs scores and is refused unless `from` has that order already. */
MSA_API msa_status msa_selection_convert(const msa_shape *shape, int64_t total_q,
                                         const int64_t *position, const msa_selection *from,
                                         const msa_selection *to, msa_error *err);

/* ---- score: block scores, for looking at; the selection itself never stores them ------------- */

/* scores[g, t, b] = max over tokens j of block b with j <= pos(t) of qi[t, g] . ki[j], f32 in
 * canonical arithmetic (s = fma(q[c], k[c], s), c ascending from s = 0); a NaN product counts as
 * -inf; blocks beyond pos(t) hold -inf. scores is [Hi, total_q, n_blocks], n_blocks >= blocks of
 * the longest request. Allocates scratch; not for the hot path. */
MSA_API msa_status msa_score_run(const msa_shape *shape, const msa_batch *batch, const float *qi,
                                 const msa_lane *ki, int64_t n_blocks, float *scores,
                                 msa_error *err);

/* ---- select: top-k of rows of block scores --------------------------------------------------- */

/* For each row r: the forced blocks of a query at position[r] (init leading, local trailing), then
 * the highest of the remaining scores[r, 0..own], score descending, ties to the lower id, NaN as
 * -inf, -0 equal to +0; a row with at most k visible blocks takes them all. scores is
 * [n_rows, stride]; ids [n_rows, k]. Scores of forced and future blocks are never read. */
MSA_API msa_status msa_select_run(const msa_shape *shape, int64_t n_rows, const int64_t *position,
                                  const float *scores, int64_t stride, msa_list_order order,
                                  int32_t *ids, msa_error *err);

/* ---- index: score and select in one pass, scores consumed as they are made ------------------- */

/* Where the int8 copies of index keys lie: of each block and head msa_index8_block_bytes bytes.
 * Paged keys: those of page p at p * stride_page + head * stride_head. Contiguous keys: block b of
 * request r takes the place of page start[r] + b; start NULL: the requests lie one behind the
 * other, each in whole blocks; where lengths grow, several contiguous requests need `start`. No two
 * requests of a batch may write the same page. */
typedef struct msa_index8_lane {
    void *data;                       /* aligned to 64 bytes */
    int64_t stride_page, stride_head; /* in bytes, multiples of 64 */
    const int64_t *start;             /* [n_requests] in blocks, or NULL; contiguous keys only */
} msa_index8_lane;

/* What a run through the int8 copy did; rows are pairs of a query and an index head. */
typedef struct msa_index8_stats {
    int64_t bounded;  /* pairs of a row and a token whose score was bounded */
    int64_t rescored; /* of them those whose score was then computed: in panels of 16 tokens */
    int64_t rescored_blocks; /* pairs of a row and a block */
    int64_t keys;            /* tokens gone through, a block once for a tile of rows */
    int64_t bytes;           /* read for them, of copy and keys together */
} msa_index8_stats;

typedef struct msa_index_args {
    const float *qi;            /* [total_q, Hi, di] normalised and rotated */
    msa_lane ki;                /* Hik heads of di */
    msa_selection out;          /* written: total_q * Hkv * k ids */
    const msa_index8_lane *ki8; /* with option index8, and only then: the copy of ki */
    msa_index8_stats *stats;    /* written with option index8; or NULL */
} msa_index_args;

MSA_API msa_status msa_index_plan(msa_plan **plan, const msa_shape *shape, const msa_batch *batch,
                                  const msa_plan_options *options, msa_error *err);
MSA_API msa_status msa_index_run(msa_plan *plan, const msa_index_args *args, msa_error *err);

/* ---- index8: an int8 copy of index keys, from which selection stays exact --------------------
 *
 * The copy of a token is a little more than a byte an element, about half of bf16, and bounds its
 * score from above and below for any query. msa_index_run with option index8 reads the copy of
 * every block, drops those that cannot be among the k best, and computes the scores of the few that
 * are left from ki. Its lists are those of the run without, bit for bit: docs/certified-index.md
 * has the proof. Where a request is too short for that to pay, it reads ki alone, as it does for
 * blocks that not all queries of a tile see whole.
 *
 * A step copies its new tokens before the index runs over them:
 *
 *     msa_index8_plan(&copy, &shape, &batch, NULL, &err);          once per step
 *     msa_index8_run(copy, &(msa_index8_args){ki, ki8}, &err);     once per layer
 *
 * Caveats: a copy that is not of the keys it lies beside gives wrong lists, and nothing notices.
 * NaN, infinities and keys longer than 2^60 are allowed; their blocks are always rescored. */

/* Bytes of one block of one head: block * (index_dim + 2) + 16, rounded up to 64; 0 for a shape
 * that is not valid. */
MSA_API size_t msa_index8_block_bytes(const msa_shape *shape);
/* Lane of [pages or blocks, Hik, msa_index8_block_bytes] bytes. */
MSA_API msa_index8_lane msa_index8_lane_of(void *data, const msa_shape *shape);

typedef struct msa_index8_args {
    msa_lane ki;         /* Hik heads of di; read */
    msa_index8_lane out; /* written */
} msa_index8_args;

/* Copies the keys at the positions of the batch's queries: the tokens of this step. A block's copy
 * begins with its first token; its tokens may come one by one or all at once, in ascending order,
 * and again from any token on after truncation. */
MSA_API msa_status msa_index8_plan(msa_plan **plan, const msa_shape *shape, const msa_batch *batch,
                                   const msa_plan_options *options, msa_error *err);
MSA_API msa_status msa_index8_run(msa_plan *plan, const msa_index8_args *args, msa_error *err);

/* Query of the proxy selector: out[t, g] = mean over the heads of group g of q[t, h], summed in
 * head order in f32, then multiplied by 1/G. q [n, Hq, d], out [n, Hkv, d]. */
MSA_API msa_status msa_proxy_query(const msa_shape *shape, int64_t n, const float *q, float *out,
                                   msa_error *err);

/* ---- attention --------------------------------------------------------------------------------
 * O[t,h] = softmax over visible j (of the selected blocks) of scale * q[t,h] . k[j], times v.
 * LSE[t,h] = ln sum exp, natural, scale included. A row that sees nothing gives O = 0, LSE = -inf.
 * NaN among visible inputs gives NaN; tokens that are not visible are never read into a result.
 * Error against exact arithmetic: at most twice that of the plain f32 computation. */

typedef struct msa_attn_args {
    const float *q;                 /* [total_q, Hq, d] */
    msa_lane k, v;                  /* Hkv heads of d; v in MSA_TOKENS layout, and not looked at
                                       where out and lse are both NULL */
    float scale;                    /* 0 stands for 1/sqrt(d); otherwise finite and > 0 */
    const msa_selection *selection; /* sparse and decode; NULL in dense */
    float *out;                     /* [total_q, Hq, d]; dense: NULL to leave it out */
    float *lse;                     /* [total_q, Hq], or NULL */
    float *max_score; /* dense only: [Hq, n_blocks, total_q] scale included, -inf where nothing is
                           visible; or NULL */
    int64_t n_blocks; /* of max_score: >= blocks of the longest request */
} msa_attn_args;

/* With option p_e4m3 O[t,h] is sum of P8[j] v[j] / (448 l) instead: P8 = E4M3(448 exp(s[j] - m)),
 * rounded to nearest even, m the greatest score the row sees and l = sum of exp(s[j] - m), which is
 * not rounded. LSE stays. It takes one product more; there is no max_score. */

/* Causal GQA over everything visible. The baseline, the teacher, and with out = NULL and max_score
 * the proxy pass. */
MSA_API msa_status msa_dense_plan(msa_plan **plan, const msa_shape *shape, const msa_batch *batch,
                                  const msa_plan_options *options, msa_error *err);
MSA_API msa_status msa_dense_run(msa_plan *plan, const msa_attn_args *args, msa_error *err);

/* Attention over the selected blocks, many queries. Lists may be in any order; an id below -1,
 * beyond the query's own block, or listed twice is MSA_E_ARG and names its place. */
MSA_API msa_status msa_sparse_plan(msa_plan **plan, const msa_shape *shape, const msa_batch *batch,
                                   const msa_plan_options *options, msa_error *err);
MSA_API msa_status msa_sparse_run(msa_plan *plan, const msa_attn_args *args, msa_error *err);

/* The same for 1..16 queries per request (decode, speculative decode), split over the lists' slots
 * and merged in split order. Dense decode is msa_dense: it splits the keys if queries are few. */
MSA_API msa_status msa_decode_plan(msa_plan **plan, const msa_shape *shape, const msa_batch *batch,
                                   const msa_plan_options *options, msa_error *err);
MSA_API msa_status msa_decode_run(msa_plan *plan, const msa_attn_args *args, msa_error *err);

/* ---- merge: two partial results over disjoint keys become one -------------------------------- */

/* (out, lse) = (a, lse_a) + (b, lse_b) for n rows of d. out may be a or b, lse lse_a or lse_b.
 * LSE = -inf marks an empty side: the other is returned unchanged. */
MSA_API msa_status msa_merge(int64_t n, int32_t d, const float *a, const float *lse_a,
                             const float *b, const float *lse_b, float *out, float *lse,
                             msa_error *err);

#ifdef __cplusplus
}
#endif
#endif
