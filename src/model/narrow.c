/* narrow.c: see narrow.h. */
#include "model/narrow.h"

#include <math.h>
#include <string.h>

#include "base/half.h"
#include "nn/quant.h"

enum { Q8_BLOCK = 32 };

bool narrow_supported(uint32_t type) {
    return type == QUANT_F32 || type == QUANT_F16 || type == QUANT_BF16 || type == QUANT_Q8_0;
}

int64_t narrow_find_lost(uint32_t type, const float *x, int64_t n) {
    float most = type == QUANT_F16    ? 65520 /* from here on the nearest is infinity */
                 : type == QUANT_BF16 ? 0x1.ffp127f
                 : type == QUANT_Q8_0 ? 127 * 65519.f
                                      : INFINITY;
    for (int64_t i = 0; i < n; i++)
        if (!(fabsf(x[i]) < most) && type != QUANT_F32 && (type == QUANT_Q8_0 || isfinite(x[i])))
            return i;
    return -1;
}

/* The numbers are divided by d before it is rounded to f16, and halves go away from zero: so does
 * ggml. */
static void narrow_q8_0(const float *x, uint8_t *out) {
    float largest = 0;
    for (int i = 0; i < Q8_BLOCK; i++) largest = fmaxf(largest, fabsf(x[i]));
    float d = largest / 127, inverse = d > 0 ? 1 / d : 0;
    uint16_t stored = f16_from_f32(d);
    memcpy(out, &stored, 2);
    for (int i = 0; i < Q8_BLOCK; i++) out[2 + i] = (uint8_t)(int8_t)roundf(x[i] * inverse);
}

void narrow_row(uint32_t type, const float *x, int64_t n, void *out) {
    uint16_t *half = out;
    uint8_t *block = out;
    switch (type) {
    case QUANT_F16:
        for (int64_t i = 0; i < n; i++) half[i] = f16_from_f32(x[i]);
        break;
    case QUANT_BF16:
        for (int64_t i = 0; i < n; i++) half[i] = bf16_from_f32(x[i]);
        break;
    case QUANT_Q8_0:
        for (int64_t i = 0; i < n; i += Q8_BLOCK, block += 2 + Q8_BLOCK) narrow_q8_0(x + i, block);
        break;
    default: memcpy(out, x, (size_t)n * sizeof *x);
    }
}
