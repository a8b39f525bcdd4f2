/* weights_random.c: see weights_random.h. */
#include "support/weights_random.h"

#include <stdlib.h>
#include <string.h>

#include "base/half.h"
#include "nn/quant.h"

static void put_half(uint8_t *p, float x) {
    memcpy(p, &(uint16_t){f16_from_f32(x)}, 2);
}

/* Random codes; scales that bring them to about `size`. */
static void fill_block(rng *r, uint32_t type, float size, uint8_t *block, size_t n_bytes) {
    for (size_t i = 0; i < n_bytes; i++) block[i] = (uint8_t)rng_next(r);
    float x = size * rng_normal(r);
    switch (type) {
    case QUANT_F32: memcpy(block, &x, 4); return;
    case QUANT_F16: put_half(block, x); return;
    case QUANT_BF16: memcpy(block, &(uint16_t){bf16_from_f32(x)}, 2); return;
    case QUANT_Q4_0: put_half(block, x / 8); return;
    case QUANT_Q4_1:
        put_half(block, x / 8);
        put_half(block + 2, size * rng_normal(r));
        return;
    case QUANT_Q5_0: put_half(block, x / 16); return;
    case QUANT_Q5_1:
        put_half(block, x / 16);
        put_half(block + 2, size * rng_normal(r));
        return;
    case QUANT_Q4_K:
    case QUANT_Q5_K: /* scales and mins go up to 63: such that the middle is near 0 */
        x /= type == QUANT_Q4_K ? 256 : 512;
        put_half(block, x);
        put_half(block + 2, x * (type == QUANT_Q4_K ? 7.5f : 15.5f));
        return;
    case QUANT_Q6_K: put_half(block + 208, x / (16 * 64)); return;
    case QUANT_Q8_0: put_half(block, x / 128); return;
    default: fail_msg("no random weights of type %u", type);
    }
}

uint8_t *random_weights(rng *r, uint32_t type, int64_t n_out, int64_t n_in) {
    return random_weights_sized(r, type, n_out, n_in, 1);
}

uint8_t *random_weights_sized(rng *r, uint32_t type, int64_t n_out, int64_t n_in, float size) {
    const quant_format *format = quant_format_find(type);
    size_t n = (size_t)n_out * quant_row_bytes(type, n_in);
    uint8_t *w = malloc(n);
    if (!w) fail_msg("no memory for %zu bytes of weights", n);
    for (size_t at = 0; at < n; at += format->block_bytes)
        fill_block(r, type, size, w + at, format->block_bytes);
    return w;
}
