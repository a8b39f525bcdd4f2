/* narrow.h: rows of f32 in the formats this library writes: F32, F16, BF16, rounded to nearest
 * even, and Q8_0 (nn/quant.h): blocks of 32 with d = max |x| / 127 in f16, as ggml makes them. */
#ifndef MSA_MODEL_NARROW_H
#define MSA_MODEL_NARROW_H

#include <stdbool.h>
#include <stdint.h>

bool narrow_supported(uint32_t type);
/* The first finite number that would become infinite, in Q8_0 the first that is not finite too; -1
 * where there is none. */
int64_t narrow_find_lost(uint32_t type, const float *x, int64_t n);
/* n numbers, a multiple of the format's block, into quant_row_bytes(type, n) bytes. */
void narrow_row(uint32_t type, const float *x, int64_t n, void *out);

#endif
