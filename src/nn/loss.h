/* loss.h: cross entropy of a language model, together with the output projection under it:
 *
 *   logits = x . W^T,   loss = sum over the rows that have a target of ln(sum e^logits) - logit of
 *   the target;   dlogits = softmax - 1 at the target;   dx = scale dlogits . W,
 *   dW += scale dlogits^T . x
 *
 * in one pass over chunks of rows: never more than a chunk of logits exists. A row without a target
 * costs nothing and gets a gradient of exactly zero. Logits may be of any finite size; NaN or
 * +infinity among a row's logits makes the loss NaN. The same bits for any number of threads. */
#ifndef MSA_NN_LOSS_H
#define MSA_NN_LOSS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct loss_rows {
    int64_t n_rows, n, n_vocab;
    const float *x;         /* [n_rows][n] */
    const float *w;         /* [n_vocab][n] */
    const int32_t *targets; /* [n_rows]: 0 .. n_vocab - 1, or -1 for none */
    float scale;            /* of the gradients, not of the loss */
    float *dx;              /* [n_rows][n], written; NULL where not wanted */
    float *dw;              /* [n_vocab][n], added to; NULL where not wanted */
    float *row_loss;        /* [n_rows], 0 without a target; NULL where not wanted */
    int32_t *predicted;     /* [n_rows]: the greatest logit, the lowest of equals; -1 without a
                               target; NULL where not wanted */
} loss_rows;

/* Bytes of workspace, aligned to 64, for loss_run: about 4 * n_vocab for each of the up to
 * loss_chunk_rows rows of a chunk. */
size_t loss_workspace_bytes(int64_t n_rows, int64_t n, int64_t n_vocab);
int64_t loss_chunk_rows(int64_t n_rows, int64_t n_vocab);

/* The sum of the losses. dx and dw both NULL: no gradient is computed. */
double loss_run(const loss_rows *rows, void *workspace, int n_threads);

/* One row of logits: returns its loss; with grad, logits becomes scale * (softmax - 1 at the
 * target). The kernel of one instruction set. */
typedef double loss_softmax_fn(float *logits, int64_t n, int32_t target, bool grad, float scale);

/* The definition, in double; dx, dw as in rows, in their place, NULL where not wanted. */
double loss_ref(const loss_rows *rows, double *dx, double *dw);

#endif
