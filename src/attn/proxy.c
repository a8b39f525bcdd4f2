/* proxy.c: the query of the proxy selector: the mean of a group's query heads. The K lane then
 * serves as the index (n_index_keys = n_kv_heads, index_dim = head_dim). */
#include "attn/proxy.h"

#include <omp.h>

#include "base/error.h"

static void mean_of_heads(const float *q, int32_t n_heads, int32_t dim, float *out) {
    for (int32_t c = 0; c < dim; c++) out[c] = q[c];
    for (int32_t h = 1; h < n_heads; h++)
        for (int32_t c = 0; c < dim; c++) out[c] += q[(int64_t)h * dim + c];
    float share = 1.0f / (float)n_heads;
    for (int32_t c = 0; c < dim; c++) out[c] *= share;
}

msa_status proxy_query_threads(const msa_shape *shape, int64_t n, const float *q, float *out,
                               int n_threads, msa_error *err) {
    msa_status status = msa_shape_check(shape, err);
    if (status) return status;
    if (n < 0) return error_set(err, MSA_E_ARG, "n is %lld; expected 0 or more", (long long)n);
    if (n == 0) return MSA_OK;
    if (!q || !out) return error_set(err, MSA_E_ARG, "%s is NULL", !q ? "q" : "out");
    int32_t n_heads = shape->n_q_heads / shape->n_kv_heads, dim = shape->head_dim;
    int64_t groups = n * shape->n_kv_heads;
#pragma omp parallel for num_threads(n_threads) if (groups > 256)
    for (int64_t i = 0; i < groups; i++)
        mean_of_heads(q + i * n_heads * dim, n_heads, dim, out + i * dim);
    return MSA_OK;
}

msa_status msa_proxy_query(const msa_shape *shape, int64_t n, const float *q, float *out,
                           msa_error *err) {
    return proxy_query_threads(shape, n, q, out, omp_get_max_threads(), err);
}
