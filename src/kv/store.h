/* store.h: f32 to the stored formats and layouts of the cache. One kernel per instruction set; the
 * numbers are those of base/half.h, bit for bit. */
#ifndef MSA_KV_STORE_H
#define MSA_KV_STORE_H

#include "msa/msa.h"

#define STORE_PANEL 16 /* tokens of a panel (attn.h, MSA_PANELS) */

typedef struct store_kernels {
    /* Tokens slot .. slot+n-1 of a panel [dim][16] at dst, slot + n <= 16, from n rows of dim
     * floats, src_stride floats apart. dim is a multiple of 8. */
    void (*panel)(void *dst, msa_dtype dtype, const float *src, int64_t src_stride, int slot, int n,
                  int dim);
    /* n rows of dim elements, one behind the other at dst, from rows src_stride floats apart. */
    void (*rows)(void *dst, msa_dtype dtype, const float *src, int64_t src_stride, int n, int dim);
} store_kernels;

/* Those of msa_isa_current(). */
const store_kernels *store_kernels_current(void);

#endif
