/* narrow.h: new tokens in fp8, int8 and nvfp4 into the rows and panels of the cache. A token's
 * number in its format depends on its own row alone, so these go row by row through the conversion
 * of base/format.h; panels are dealt out to, a code at a time. The other tokens of a panel stay as
 * they are. */
#ifndef MSA_KV_NARROW_H
#define MSA_KV_NARROW_H

#include "base/format.h"

/* Where rows begin, or the panel: its codes and its scales (attn.h, msa_lane). */
typedef struct narrow_place {
    msa_dtype dtype;
    float scale; /* of the tensor */
    char *codes, *scales;
} narrow_place;

/* n rows of dim numbers, `stride` floats apart, one behind the other. */
void narrow_rows(const narrow_place *to, const float *from, int64_t stride, int n, int dim);
/* The same as tokens slot .. slot+n-1 of a panel, slot + n <= 16. */
void narrow_panel(const narrow_place *to, const float *from, int64_t stride, int slot, int n,
                  int dim);

#endif
