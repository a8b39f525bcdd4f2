/* kv.h: the paged cache. A page holds B tokens of every layer, in three lanes: keys, values and
 * index keys; with index8 also an int8 copy of these. No call moves one lane alone, so they cannot
 * come apart.
 *
 * A msa_kv is one arena of pages (huge pages where the system gives them; only touched memory
 * counts) shared by any number of sequences. A sequence is a page table and a length. Forks share
 * pages; a shared page is copied before one side writes it. Not thread-safe: one thread at a time.
 *
 *     msa_kv_reserve(seq, n)     room for n tokens behind the length; the only step that can fail
 *     msa_kv_write(seq, layer, i, ...)    once per layer; tokens i.. of the reserved ones
 *     msa_kv_commit(seq, n)      now they count
 *
 * Keys and index keys lie in panels, values token-major (attn.h, msa_layout). The scales of int8
 * and nvfp4 lie in the page, behind the codes. */
#ifndef MSA_KV_H
#define MSA_KV_H

#include "msa/attn.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct msa_kv msa_kv;
typedef struct msa_kv_seq msa_kv_seq;

typedef struct msa_kv_params {
    int32_t n_layers;
    int32_t n_kv_heads, head_dim;    /* of K and V */
    int32_t n_index_keys, index_dim; /* of the index keys; both 0: no third lane */
    int32_t first_index_layer;       /* layers before it have no third lane; 0: all have one */
    int32_t block;                   /* B tokens a page */
    msa_dtype k_dtype, v_dtype, index_dtype;
    float k_scale, v_scale, index_scale; /* of the tensors, in fp8 and nvfp4; 0 stands for 1 */
    /* 1: an int8 copy of the third lane, or of the keys where there is none, by which an index
     * chooses the same blocks from half the bytes (attn.h, index8); of f32, f16 and bf16 alone. A
     * block is copied when its last token is written, which takes 1 to 3 us for each of its tokens,
     * layers and heads. */
    int32_t index8;
    int64_t n_pages; /* capacity of the arena: tokens / B, rounded up, plus forks */
} msa_kv_params;

MSA_API msa_status msa_kv_create(msa_kv **kv, const msa_kv_params *params, msa_error *err);
MSA_API void msa_kv_free(msa_kv *kv); /* its sequences must be gone; NULL is fine */
MSA_API const msa_kv_params *msa_kv_get_params(const msa_kv *kv);
MSA_API int64_t msa_kv_pages_free(const msa_kv *kv);
/* Bytes of a page, all layers and scales included. */
typedef struct msa_kv_bytes {
    size_t k, v, index, index8; /* index8: of the copy */
} msa_kv_bytes;
MSA_API msa_kv_bytes msa_kv_page_bytes(const msa_kv *kv);
/* A page's by its tokens, rounded up. */
MSA_API size_t msa_kv_bytes_per_token(const msa_kv *kv);

MSA_API msa_status msa_kv_seq_create(msa_kv_seq **seq, msa_kv *kv, msa_error *err);
MSA_API void msa_kv_seq_free(msa_kv_seq *seq); /* gives its pages back; NULL is fine */
/* A second sequence with the same past; costs no page until one of the two writes. */
MSA_API msa_status msa_kv_seq_fork(msa_kv_seq **fork, const msa_kv_seq *seq, msa_error *err);
MSA_API int64_t msa_kv_length(const msa_kv_seq *seq);

/* Makes room for n tokens behind the length: takes pages, copies a shared last page. MSA_E_FULL
 * names how many pages were needed and how many are free; nothing has changed then. */
MSA_API msa_status msa_kv_reserve(msa_kv_seq *seq, int64_t n, msa_error *err);
/* Writes tokens length+first .. length+first+n-1 of one layer, rounded to the stored formats.
 * k, v [n, Hkv, d]; ki [n, Hik, di], NULL where the layer has no third lane. They must be
 * reserved, and of each layer be written in order: writing again is fine, leaving a hole is
 * MSA_E_ARG. */
MSA_API msa_status msa_kv_write(msa_kv_seq *seq, int32_t layer, int64_t first, int64_t n,
                                const float *k, const float *v, const float *ki, msa_error *err);
/* The first n reserved tokens become part of the sequence. All layers must have been written:
 * a missing one is MSA_E_ARG and names it. */
MSA_API msa_status msa_kv_commit(msa_kv_seq *seq, int64_t n, msa_error *err);
/* Drops everything behind `length` tokens, reserved ones included, and gives empty pages back. */
MSA_API msa_status msa_kv_truncate(msa_kv_seq *seq, int64_t length, msa_error *err);

/* The lanes of one layer, for the operators of attn.h together with the sequence's page table.
 * Valid while the msa_kv lives. index->data is NULL where the layer has no third lane; a layer that
 * the cache does not have gives lanes of zeros, their data NULL. */
MSA_API void msa_kv_lanes(const msa_kv *kv, int32_t layer, msa_lane *k, msa_lane *v,
                          msa_lane *index);
/* The int8 copy that layer's index reads; data NULL where there is none. It holds whole blocks: of
 * one whose last token is not written there is nothing to be read. */
MSA_API msa_index8_lane msa_kv_index8(const msa_kv *kv, int32_t layer);
/* Pages of the sequence in order; *n_pages covers the reserved tokens too. Valid until the next
 * call that changes the sequence. */
MSA_API const int32_t *msa_kv_page_table(const msa_kv_seq *seq, int64_t *n_pages);

#ifdef __cplusplus
}
#endif
#endif
