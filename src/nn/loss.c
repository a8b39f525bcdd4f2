/* loss.c: see loss.h.
 *
 * The rows of a chunk are those that have a target, brought together: what has none is not even
 * multiplied. A chunk is as small as keeps its logits near the processor and as large as its
 * products need to run at full speed. */
#include "nn/loss.h"

#include <math.h>
#include <stdbool.h>
#include <string.h>

#include "base/mem.h"
#include "nn/kernels.h"
#include "nn/linear.h"

enum { CHUNK_FLOATS = 1 << 21, MIN_ROWS = 256, MAX_ROWS = 2048 };

int64_t loss_chunk_rows(int64_t n_rows, int64_t n_vocab) {
    int64_t rows = CHUNK_FLOATS / n_vocab;
    rows = rows < MIN_ROWS ? MIN_ROWS : rows > MAX_ROWS ? MAX_ROWS : rows;
    return rows < n_rows ? rows : n_rows;
}

/* What lies in the workspace. */
typedef struct chunk {
    int64_t n_rows;
    int64_t *row;  /* [n_rows] in the caller's arrays */
    double *loss;  /* [n_rows] */
    float *x, *dx; /* [n_rows][n] */
    float *logits; /* [n_rows][n_vocab] */
} chunk;

/* With memory NULL, c->logits ends up as the size of it all before the logits. */
static size_t lay_out(chunk *c, int64_t rows, int64_t n, void *memory) {
    size_t count = (size_t)rows, x_bytes = size_round_up(count * (size_t)n * sizeof(float), 64);
    size_t row_bytes = size_round_up(count * 8, 64);
    char *at = memory;
    if (memory)
        *c = (chunk){.row = (int64_t *)(void *)at,
                     .loss = (double *)(void *)(at + row_bytes),
                     .x = (float *)(void *)(at + 2 * row_bytes),
                     .dx = (float *)(void *)(at + 2 * row_bytes + x_bytes),
                     .logits = (float *)(void *)(at + 2 * row_bytes + 2 * x_bytes)};
    return 2 * row_bytes + 2 * x_bytes;
}

size_t loss_workspace_bytes(int64_t n_rows, int64_t n, int64_t n_vocab) {
    int64_t rows = loss_chunk_rows(n_rows, n_vocab);
    return lay_out(NULL, rows, n, NULL) + (size_t)rows * (size_t)n_vocab * sizeof(float);
}

/* Collects the next rows with a target, from *next on; clears what belongs to the others. */
static void collect(const loss_rows *rows, int64_t most, int64_t *next, chunk *c) {
    size_t row_bytes = (size_t)rows->n * sizeof(float);
    c->n_rows = 0;
    for (; *next < rows->n_rows && c->n_rows < most; ++*next) {
        int64_t r = *next;
        if (rows->targets[r] >= 0) {
            memcpy(c->x + c->n_rows * rows->n, rows->x + r * rows->n, row_bytes);
            c->row[c->n_rows++] = r;
            continue;
        }
        if (rows->dx) memset(rows->dx + r * rows->n, 0, row_bytes);
        if (rows->row_loss) rows->row_loss[r] = 0;
        if (rows->predicted) rows->predicted[r] = -1;
    }
}

enum { LANES = 16 };

/* The first of the greatest; 0 where none is a number. */
static int32_t find_greatest(const float *x, int64_t n) {
    float lanes[LANES], best = -INFINITY;
    for (int l = 0; l < LANES; l++) lanes[l] = -INFINITY;
    int64_t i = 0;
    for (; i + LANES <= n; i += LANES)
        for (int l = 0; l < LANES; l++) lanes[l] = x[i + l] > lanes[l] ? x[i + l] : lanes[l];
    for (; i < n; i++) lanes[0] = x[i] > lanes[0] ? x[i] : lanes[0];
    for (int l = 0; l < LANES; l++) best = lanes[l] > best ? lanes[l] : best;
    for (i = 0; i < n; i++)
        if (x[i] == best) return (int32_t)i;
    return 0;
}

static void take_softmax(const loss_rows *rows, const chunk *c, bool grad, int n_threads) {
    loss_softmax_fn *kernel = nn_kernels_get()->loss_softmax;
#pragma omp parallel for num_threads(n_threads) if (n_threads > 1)
    for (int64_t i = 0; i < c->n_rows; i++) {
        float *logits = c->logits + i * rows->n_vocab;
        if (rows->predicted) rows->predicted[c->row[i]] = find_greatest(logits, rows->n_vocab);
        c->loss[i] = kernel(logits, rows->n_vocab, rows->targets[c->row[i]], grad, rows->scale);
    }
}

/* dx and dw of the chunk from its dlogits. */
static void take_gradients(const loss_rows *rows, const chunk *c, linear_shape shape,
                           int n_threads) {
    linear_product products[2];
    int n = 0;
    if (rows->dx) products[n++] = linear_dx(shape, c->logits, rows->w, c->dx);
    if (rows->dw) products[n++] = linear_dw(shape, c->logits, c->x, rows->dw);
    linear_run(products, n, n_threads);
    for (int64_t i = 0; rows->dx && i < c->n_rows; i++)
        memcpy(rows->dx + c->row[i] * rows->n, c->dx + i * rows->n,
               (size_t)rows->n * sizeof(float));
}

double loss_run(const loss_rows *rows, void *workspace, int n_threads) {
    bool grad = rows->dx || rows->dw;
    int64_t most = loss_chunk_rows(rows->n_rows, rows->n_vocab), next = 0;
    double sum = 0;
    chunk c;
    lay_out(&c, most, rows->n, workspace);
    while (next < rows->n_rows) {
        collect(rows, most, &next, &c);
        if (c.n_rows == 0) break;
        linear_shape shape = {c.n_rows, rows->n, rows->n_vocab};
        linear_product logits = linear_y(shape, c.x, rows->w, c.logits);
        linear_run(&logits, 1, n_threads);
        take_softmax(rows, &c, grad, n_threads);
        for (int64_t i = 0; i < c.n_rows; i++) {
            sum += c.loss[i];
            if (rows->row_loss) rows->row_loss[c.row[i]] = (float)c.loss[i];
        }
        if (grad) take_gradients(rows, &c, shape, n_threads);
    }
    return sum;
}
