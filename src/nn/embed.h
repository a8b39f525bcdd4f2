/* embed.h: rows of a table by number, and the gradient: y[t] = table[ids[t]], dtable[ids[t]]
 * += dy[t]. A token that occurs often gets its rows added in the order of the text, whatever the
 * number of threads: the same bits. ids lie in 0 .. rows of the table - 1. */
#ifndef MSA_NN_EMBED_H
#define MSA_NN_EMBED_H

#include <stdint.h>

/* table[.][n], y[n_tokens][n] */
void embed_rows(const float *table, const int32_t *ids, int64_t n_tokens, int64_t n, float *y,
                int n_threads);
void embed_grad(const float *dy, const int32_t *ids, int64_t n_tokens, int64_t n, float *dtable,
                int n_threads);

#endif
