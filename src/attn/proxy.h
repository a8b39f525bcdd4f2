/* proxy.h: the proxy query with a number of threads. */
#ifndef MSA_ATTN_PROXY_H
#define MSA_ATTN_PROXY_H

#include "msa/attn.h"

/* msa_proxy_query with a number of threads, at least 1. */
msa_status proxy_query_threads(const msa_shape *shape, int64_t n, const float *q, float *out,
                               int n_threads, msa_error *err);

#endif
