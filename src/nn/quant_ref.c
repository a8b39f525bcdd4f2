/* quant_ref.c: what each weight format means, one weight at a time, in double. */
#include <string.h>

#include "base/half.h"
#include "nn/quant.h"

static double read_f16(const uint8_t *p) {
    uint16_t h;
    memcpy(&h, p, 2);
    return f16_to_f32(h);
}

static double weight_f32(const uint8_t *row, int64_t i) {
    float x;
    memcpy(&x, row + 4 * i, 4);
    return x;
}

static double weight_f16(const uint8_t *row, int64_t i) {
    return read_f16(row + 2 * i);
}

static double weight_bf16(const uint8_t *row, int64_t i) {
    uint16_t h;
    memcpy(&h, row + 2 * i, 2);
    return bf16_to_f32(h);
}

/* Weight i of a block of 32 nibbles: the first 16 are the low halves of the bytes. */
static int nibble(const uint8_t *q, int64_t i) {
    return i < 16 ? q[i] & 15 : q[i - 16] >> 4;
}

static double weight_q4_0(const uint8_t *row, int64_t i) {
    const uint8_t *block = row + i / 32 * 18;
    return (nibble(block + 2, i % 32) - 8) * read_f16(block);
}

static double weight_q4_1(const uint8_t *row, int64_t i) {
    const uint8_t *block = row + i / 32 * 20;
    return nibble(block + 4, i % 32) * read_f16(block) + read_f16(block + 2);
}

static double weight_q8_0(const uint8_t *row, int64_t i) {
    const uint8_t *block = row + i / 32 * 34;
    return (int8_t)block[2 + i % 32] * read_f16(block);
}

bool quant_widen_ref(uint32_t type, const void *w, int64_t n, double *out) {
    static double (*const WEIGHT[QUANT_TYPE_COUNT])(const uint8_t *row, int64_t i) = {
        [QUANT_F32] = weight_f32,   [QUANT_F16] = weight_f16,   [QUANT_BF16] = weight_bf16,
        [QUANT_Q4_0] = weight_q4_0, [QUANT_Q4_1] = weight_q4_1, [QUANT_Q8_0] = weight_q8_0,
    };
    if (type >= QUANT_TYPE_COUNT || !WEIGHT[type]) return false;
    for (int64_t i = 0; i < n; i++) out[i] = WEIGHT[type](w, i);
    return true;
}
