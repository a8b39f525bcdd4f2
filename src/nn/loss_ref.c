/* loss_ref.c: the loss and its gradients by their definition, a row at a time. */
#include <math.h>

#include "nn/loss.h"

static double logit(const loss_rows *rows, int64_t row, int64_t v) {
    double sum = 0;
    for (int64_t i = 0; i < rows->n; i++)
        sum += (double)rows->x[row * rows->n + i] * rows->w[v * rows->n + i];
    return sum;
}

static void add_gradients(const loss_rows *rows, int64_t row, double lse, double *dx, double *dw) {
    int64_t n = rows->n;
    for (int64_t v = 0; v < rows->n_vocab; v++) {
        double d = rows->scale * (exp(logit(rows, row, v) - lse) - (v == rows->targets[row]));
        for (int64_t i = 0; i < n; i++) {
            if (dx) dx[row * n + i] += d * rows->w[v * n + i];
            if (dw) dw[v * n + i] += d * rows->x[row * n + i];
        }
    }
}

double loss_ref(const loss_rows *rows, double *dx, double *dw) {
    double total = 0;
    for (int64_t i = 0; dx && i < rows->n_rows * rows->n; i++) dx[i] = 0;
    for (int64_t r = 0; r < rows->n_rows; r++) {
        double max = -INFINITY, sum = 0;
        if (rows->row_loss) rows->row_loss[r] = 0;
        if (rows->predicted) rows->predicted[r] = -1;
        if (rows->targets[r] < 0) continue;
        for (int64_t v = 0; v < rows->n_vocab; v++) max = fmax(max, logit(rows, r, v));
        for (int64_t v = 0; v < rows->n_vocab; v++) sum += exp(logit(rows, r, v) - max);
        double lse = max + log(sum), loss = lse - logit(rows, r, rows->targets[r]);
        total += loss;
        if (rows->row_loss) rows->row_loss[r] = (float)loss;
        for (int64_t v = 0, best = 0; rows->predicted && v < rows->n_vocab; v++) {
            if (logit(rows, r, v) > logit(rows, r, best)) best = v;
            rows->predicted[r] = (int32_t)best;
        }
        add_gradients(rows, r, lse, dx, dw);
    }
    return total;
}
