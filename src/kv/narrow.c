/* narrow.c: see narrow.h. */
#include "kv/narrow.h"

#include <string.h>

#include "kv/store.h"

enum { MOST_DIM = 256, MOST_SCALES = MOST_DIM / FORMAT_GROUP };

void narrow_rows(const narrow_place *to, const float *from, int64_t stride, int n, int dim) {
    format_pack_fn *pack = format_kernels_get()->pack;
    size_t codes = msa_row_bytes(to->dtype, dim), scales = msa_row_scale_bytes(to->dtype, dim);
    for (int i = 0; i < n; i++)
        pack(to->dtype, to->scale, from + i * stride, dim, to->codes + (size_t)i * codes,
             to->scales + (size_t)i * scales);
}

/* A token's bytes, 16 apart. */
static void deal_bytes(char *panel, const char *row, int n, int token) {
    for (int c = 0; c < n; c++) panel[c * STORE_PANEL + token] = row[c];
}

/* A token's halves of bytes, 8 bytes apart. */
static void deal_nibbles(char *panel, const char *row, int n, int token) {
    int shift = token / 8 * 4, keep = 0xf0 >> shift;
    for (int c = 0; c < n; c++) {
        char *byte = panel + c * (STORE_PANEL / 2) + token % 8;
        int code = row[c / 2] >> c % 2 * 4 & 15;
        *byte = (char)((*byte & keep) | code << shift);
    }
}

void narrow_panel(const narrow_place *to, const float *from, int64_t stride, int slot, int n,
                  int dim) {
    format_pack_fn *pack = format_kernels_get()->pack;
    for (int i = 0; i < n; i++) {
        char codes[MOST_DIM];
        union {
            char bytes[MOST_SCALES];
            float one;
        } scales = {{0}};
        int token = slot + i;
        pack(to->dtype, to->scale, from + i * stride, dim, codes, &scales);
        if (to->dtype == MSA_NVFP4) {
            deal_nibbles(to->codes, codes, dim, token);
            deal_bytes(to->scales, scales.bytes, format_scales(to->dtype, dim), token);
            continue;
        }
        deal_bytes(to->codes, codes, dim, token);
        if (to->dtype == MSA_INT8)
            memcpy(to->scales + (size_t)token * sizeof(float), &scales.one, sizeof(float));
    }
}
