/* embed.c: see embed.h. Copies and additions that memory bounds: plain loops. */
#include "nn/embed.h"

#include <string.h>

enum { MIN_FLOATS = 1 << 15, STRIPE = 64 }; /* worth waking threads for; columns of one owner */

void embed_rows(const float *table, const int32_t *ids, int64_t n_tokens, int64_t n, float *y,
                int n_threads) {
#pragma omp parallel for num_threads(n_threads) if (n_threads > 1 && n_tokens * n >= MIN_FLOATS)
    for (int64_t t = 0; t < n_tokens; t++)
        memcpy(y + t * n, table + ids[t] * n, (size_t)n * sizeof *y);
}

static void add_stripe(const float *restrict dy, const int32_t *ids, int64_t n_tokens, int64_t n,
                       int64_t width, float *restrict dtable) {
    for (int64_t t = 0; t < n_tokens; t++) {
        float *restrict row = dtable + ids[t] * n;
        for (int64_t c = 0; c < width; c++) row[c] += dy[t * n + c];
    }
}

void embed_grad(const float *dy, const int32_t *ids, int64_t n_tokens, int64_t n, float *dtable,
                int n_threads) {
#pragma omp parallel for num_threads(n_threads) if (n_threads > 1 && n_tokens * n >= MIN_FLOATS)
    for (int64_t c = 0; c < n; c += STRIPE)
        add_stripe(dy + c, ids, n_tokens, n, n - c < STRIPE ? n - c : STRIPE, dtable + c);
}
