/* rope.h: rotary position embedding: pairs of a head's elements turned by position * frequency.
 *
 * Pair i of n_rot / 2 has frequency base^(-2i / n_rot) / (linear_factor * factors[i]). Pairs are
 * (i, i + n_rot/2), as transformers and most GGUF architectures have it, or (2i, 2i + 1), as GGUF
 * files of architecture `llama` have it, whose Q and K rows were permuted for it. Elements from
 * n_rot on stay as they are.
 *
 * Angles are computed in double and reduced exactly, so positions to 2^53 turn right; the table
 * rounds cosine and sine to f32 once. Make the table once per chunk and use it for all layers. */
#ifndef MSA_NN_ROPE_H
#define MSA_NN_ROPE_H

#include <stddef.h>
#include <stdint.h>

typedef enum rope_pairs {
    ROPE_SPLIT = 0,   /* (i, i + n_rot/2): "NeoX" */
    ROPE_ADJACENT = 1 /* (2i, 2i + 1): "norm" */
} rope_pairs;

typedef struct rope_params {
    rope_pairs pairs;
    int32_t n_rot;        /* even, <= the width of a head */
    double base;          /* theta, > 1 */
    double linear_factor; /* 1 for none: positions are divided by it */
    const float *factors; /* [n_rot/2], > 0, or NULL: llama3's rope_freqs */
} rope_params;

/* Floats of a table for n positions. */
static inline size_t rope_table_floats(const rope_params *p, int64_t n) {
    return (size_t)n * 2 * (size_t)p->n_rot;
}

/* table[n][2][n_rot] for positions first, first + 1, ...: what each element is multiplied by, then
 * what its partner is. */
void rope_table(const rope_params *p, int64_t first, int64_t n, float *table);

/* Turns in place: x is [n_tokens][n_heads][head_dim], token_stride floats from token to token; row
 * t of the table goes with token t. The same bits for any number of threads. */
typedef struct rope_rows {
    float *x;
    int64_t n_tokens, token_stride;
    int32_t n_heads, head_dim, n_rot;
    rope_pairs pairs;
    const float *table;
    int back; /* 1: turn back, by the negative angles: the gradient of the turn */
} rope_rows;

void rope_apply(const rope_rows *rows, int n_threads);

/* Tokens from..to; the kernel of one instruction set. */
typedef void rope_apply_fn(const rope_rows *rows, int64_t from, int64_t to);

/* The definition, in double without a table, rounded to f32 at the end. */
void rope_apply_ref(const rope_rows *rows, const rope_params *p, int64_t first);

#endif
