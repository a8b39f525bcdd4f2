/* gemm_ref.c: the product by its definition. */
#include "nn/gemm.h"
#include "nn/quant.h"

void gemm_ref(const gemm_input *in, const gemm_target *target) {
    const gemm_weight *w = target->w;
    const quant_format *format = quant_format_find(w->type);
    int64_t block = format->block_elems;
    for (int64_t o = 0; o < w->n_out; o++)
        for (int64_t r = 0; r < in->n_rows; r++) {
            const char *row = (const char *)w->data + (size_t)o * w->row_bytes;
            double sum = target->bias ? target->bias[o] : 0, wide[QUANT_MAX_BLOCK];
            for (int64_t c = 0; c < w->n_in; c += block) {
                quant_widen_ref(w->type, row + c / block * format->block_bytes, block, wide);
                for (int64_t i = 0; i < block; i++)
                    sum += wide[i] * in->x[r * in->x_stride + c + i];
            }
            target->y[r * target->y_stride + o] = (float)sum;
        }
}
