/* simd_words.h: the words of base/simd.h as functions on arrays of sixteen floats, one table for
 * each instruction set, so that a test can call them. */
#ifndef MSA_TESTS_SIMD_WORDS_H
#define MSA_TESTS_SIMD_WORDS_H

#include <stdint.h>

typedef void word1(const float *a, float *out);
typedef void word2(const float *a, const float *b, float *out);
typedef void word3(const float *a, const float *b, const float *c, float *out);
typedef void word4(const float *a, const float *b, const float *c, const float *d, float *out);

typedef struct simd_words {
    word1 *copy, *round, *pow2, *exp2, *exp2_fma, *exp, *swap_pairs, *exponent, *log2;
    word1 *round_e4m3;
    word1 *transpose; /* 256 floats */
    word2 *add, *sub, *mul, *div, *max, *min;
    word3 *fma, *muladd;
    word4 *if_gt;
    void (*set1)(float x, float *out);
    void (*load_part)(const float *p, int n, float *out);
    void (*store_part)(float *p, const float *a, int n);
    void (*first)(int n, const float *a, const float *b, float *out);
    uint32_t (*gt_bits)(const float *a, const float *b);
    float (*sum)(const float *a);
    float (*maxof)(const float *a);
    void (*load_bf16)(const uint16_t *p, float *out);
    void (*load_bf16_any)(const uint16_t *p, float *out);
    void (*load_f16)(const uint16_t *p, float *out);
    void (*store_bf16)(uint16_t *p, const float *a);
    void (*store_f16)(uint16_t *p, const float *a);
    void (*load_i8)(const int8_t *p, float *out);
    void (*from_i8)(const uint8_t *p, float *out);
    void (*from_u8)(const uint8_t *p, float *out);
    void (*or8)(const uint8_t *a, const uint8_t *b, float *out); /* words of bytes, as from_u8 */
    void (*sub8)(const uint8_t *a, uint8_t b, float *out);
    void (*field)(const uint8_t *p, int from, int n, int to, float *out);
    void (*spread)(const uint8_t *p, float *out);
    void (*store_i8)(int8_t *p, const float *a);
    void (*load_e4m3)(const uint8_t *p, float scale, float *out);
    void (*store_e4m3)(uint8_t *p, const float *a);
    void (*load_e2m1)(const uint8_t *p, float *out);
    void (*load_e2m1_halves)(const uint8_t *p, float *out);
    /* n steps of v_dot_pairs over 32 bytes and two int16 each */
    void (*dot_pairs)(const int8_t *p, const int16_t *q, int n, float *out);
    void (*set1_f16)(const uint8_t *p, float *out);
    void (*set2_f16)(const uint8_t *p, float *a, float *b);
    void (*scale_nibbles)(const uint8_t *p, const float scale[2], const float offset[2], float *low,
                          float *high);
} simd_words;

#endif
