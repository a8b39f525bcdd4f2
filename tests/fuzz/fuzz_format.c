/* fuzz_format.c: any bytes as numbers to be stored, and as stored rows to be read, by entry points
 * that check; the first eight say format, width, rows, strides and scale. What is accepted must be
 * the truth's, row for row, and stay inside arrays of exactly the size that was promised. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/format.h"
#include "base/half.h"
#include "fuzz.h"

static void demand(int truth) {
    if (!truth) abort();
}

typedef struct fuzz_case {
    msa_rows rows;
    int64_t n, stride;
    int32_t dim;
    size_t row_bytes, scale_bytes;
    float scale, *x;
    const uint8_t *data;
    size_t n_bytes;
} fuzz_case;

/* Repeats the input as often as it takes. */
static void fill(const fuzz_case *c, void *to, size_t n) {
    for (size_t i = 0; i < n; i++)
        ((uint8_t *)to)[i] = c->n_bytes ? c->data[i % c->n_bytes] : (uint8_t)i;
}

static int same(float a, float b) {
    return f32_bits(a) == f32_bits(b) || (isnan(a) && isnan(b));
}

static void check_packed(const fuzz_case *c) {
    char *codes = malloc(c->row_bytes);
    float scales[256] = {0};
    for (int64_t i = 0; i < c->n; i++) {
        const char *got = (char *)c->rows.codes + i * c->rows.stride;
        const char *got_scales = (char *)c->rows.scales + i * c->rows.scale_stride;
        memset(codes, 0, c->row_bytes);
        format_pack_ref(c->rows.dtype, c->scale, c->x + i * c->stride, c->dim, codes, scales);
        if (c->rows.dtype > MSA_BF16) demand(memcmp(codes, got, c->row_bytes) == 0);
        if (c->rows.dtype == MSA_INT8) demand(same(*(const float *)got_scales, scales[0]));
        if (c->rows.dtype == MSA_NVFP4) demand(!memcmp(got_scales, scales, c->scale_bytes));
    }
    free(codes);
}

static void check_unpacked(const fuzz_case *c) {
    float *want = malloc((size_t)c->dim * sizeof *want);
    for (int64_t i = 0; i < c->n; i++) {
        format_unpack_ref(c->rows.dtype, c->scale, (char *)c->rows.codes + i * c->rows.stride,
                          (char *)c->rows.scales + i * c->rows.scale_stride, c->dim, want);
        for (int32_t d = 0; d < c->dim; d++) demand(same(c->x[i * c->stride + d], want[d]));
    }
    free(want);
}

static void run(fuzz_case *c) {
    msa_error err;
    if (msa_rows_pack(&c->rows, c->n, c->dim, c->x, c->stride, &err) != MSA_OK) {
        demand(err.code == MSA_E_ARG && err.text[0] != 0);
        return;
    }
    demand(format_check_scale(c->rows.dtype, c->rows.scale, "", &c->scale, &err) == MSA_OK);
    check_packed(c);
    demand(msa_rows_unpack(&c->rows, c->n, c->dim, c->x, c->stride, &err) == MSA_OK);
    check_unpacked(c);
    for (int64_t i = 0; i < c->n; i++) { /* stored rows that nobody has packed */
        fill(c, (char *)c->rows.codes + i * c->rows.stride, c->row_bytes);
        if (c->scale_bytes)
            fill(c, (char *)c->rows.scales + i * c->rows.scale_stride, c->scale_bytes);
    }
    demand(msa_rows_unpack(&c->rows, c->n, c->dim, c->x, c->stride, &err) == MSA_OK);
    check_unpacked(c);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n_bytes) {
    if (n_bytes < 8) return 0;
    fuzz_case c = {.n = data[2] % 8, .dim = data[1], .data = data + 8, .n_bytes = n_bytes - 8};
    c.rows.dtype = (msa_dtype)(data[0] % 8 - 1);
    memcpy(&c.rows.scale, data + 4, sizeof(float));
    c.row_bytes = msa_row_bytes(c.rows.dtype, c.dim);
    c.scale_bytes = msa_row_scale_bytes(c.rows.dtype, c.dim);
    c.stride = c.dim + data[3] % 4 - (data[3] & 16) / 16;
    c.rows.stride = (int64_t)c.row_bytes + (data[3] >> 5) - (data[2] & 16) / 16;
    c.rows.scale_stride = (int64_t)c.scale_bytes + (data[2] & 32) / 8;
    size_t n = (size_t)c.n, most = n ? n - 1 : 0;
    c.x = calloc(n * (size_t)(c.dim + 4) + 1, sizeof(float));
    c.rows.codes = malloc(n ? most * (c.row_bytes + 8) + c.row_bytes + 1 : 1);
    c.rows.scales = malloc(n ? most * (c.scale_bytes + 4) + c.scale_bytes + 1 : 1);
    if (c.x && c.rows.codes && c.rows.scales) {
        if (n) fill(&c, c.x, n * (size_t)(c.dim + 4) * sizeof(float));
        run(&c);
    }
    free(c.x);
    free(c.rows.codes);
    free(c.rows.scales);
    return 0;
}
