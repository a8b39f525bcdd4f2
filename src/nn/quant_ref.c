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

/* Bit i of a string of bits. */
static int bit(const uint8_t *bits, int64_t i) {
    return bits[i / 8] >> i % 8 & 1;
}

static double weight_q5_0(const uint8_t *row, int64_t i) {
    const uint8_t *block = row + i / 32 * 22;
    return ((nibble(block + 6, i % 32) | bit(block + 2, i % 32) << 4) - 16) * read_f16(block);
}

static double weight_q5_1(const uint8_t *row, int64_t i) {
    const uint8_t *block = row + i / 32 * 24;
    int q = nibble(block + 8, i % 32) | bit(block + 4, i % 32) << 4;
    return q * read_f16(block) + read_f16(block + 2);
}

static double weight_q8_0(const uint8_t *row, int64_t i) {
    const uint8_t *block = row + i / 32 * 34;
    return (int8_t)block[2 + i % 32] * read_f16(block);
}

/* Scale and min, six bits each, of part 0..7 of 32 weights, from twelve bytes. */
static int scale_k(const uint8_t *packed, int part) {
    return part < 4 ? packed[part] & 63 : (packed[part + 4] & 15) | packed[part - 4] >> 6 << 4;
}

static int min_k(const uint8_t *packed, int part) {
    return part < 4 ? packed[part + 4] & 63 : packed[part + 4] >> 4 | packed[part] >> 6 << 4;
}

/* Half of a byte: parts of 32 weights lie in pairs, the first in the low halves. */
static int nibble_k(const uint8_t *q, int part, int64_t i) {
    uint8_t byte = q[part / 2 * 32 + i % 32];
    return part % 2 ? byte >> 4 : byte & 15;
}

static double weight_q4_k(const uint8_t *row, int64_t i) {
    const uint8_t *block = row + i / 256 * 144;
    int part = (int)(i % 256 / 32), q = nibble_k(block + 16, part, i);
    return read_f16(block) * scale_k(block + 4, part) * q -
           read_f16(block + 2) * min_k(block + 4, part);
}

static double weight_q5_k(const uint8_t *row, int64_t i) {
    const uint8_t *block = row + i / 256 * 176;
    int part = (int)(i % 256 / 32);
    int q = nibble_k(block + 48, part, i) | (block[16 + i % 32] >> part & 1) << 4;
    return read_f16(block) * scale_k(block + 4, part) * q -
           read_f16(block + 2) * min_k(block + 4, part);
}

static double weight_q6_k(const uint8_t *row, int64_t i) {
    const uint8_t *block = row + i / 256 * 210;
    int half = (int)(i % 256 / 128), quarter = (int)(i % 128 / 32);
    uint8_t low = block[64 * half + i % 64], high = block[128 + 32 * half + i % 32];
    int q = (quarter < 2 ? low & 15 : low >> 4) | (high >> 2 * quarter & 3) << 4;
    return read_f16(block + 208) * (int8_t)block[192 + i % 256 / 16] * (q - 32);
}

bool quant_widen_ref(uint32_t type, const void *w, int64_t n, double *out) {
    static double (*const WEIGHT[QUANT_TYPE_COUNT])(const uint8_t *row, int64_t i) = {
        [QUANT_F32] = weight_f32,   [QUANT_F16] = weight_f16,   [QUANT_BF16] = weight_bf16,
        [QUANT_Q4_0] = weight_q4_0, [QUANT_Q4_1] = weight_q4_1, [QUANT_Q5_0] = weight_q5_0,
        [QUANT_Q5_1] = weight_q5_1, [QUANT_Q8_0] = weight_q8_0, [QUANT_Q4_K] = weight_q4_k,
        [QUANT_Q5_K] = weight_q5_k, [QUANT_Q6_K] = weight_q6_k,
    };
    if (type >= QUANT_TYPE_COUNT || !WEIGHT[type]) return false;
    for (int64_t i = 0; i < n; i++) out[i] = WEIGHT[type](w, i);
    return true;
}
