/* net_ops.h: the operators of nn/ on parameters: forward, and backward with the gradients of a
 * parameter added to their place unless it is frozen. All over `rows` rows, contiguous. */
#ifndef MSA_TRAIN_NET_OPS_H
#define MSA_TRAIN_NET_OPS_H

#include "train/net_state.h"

/* Floats these functions need at scratch.ops. */
size_t op_workspace_floats(const net *n);

/* Products gathered to be run at once: those of all experts keep the threads busy where single ones
 * would not. Their results must not overlap, nor anything that is read. Without rows, and a
 * gradient that is not wanted: nothing. */
typedef struct op_batch {
    const net *n;
    int n_products; /* at n->products: OP_PRODUCTS, and OP_PART_PRODUCTS for each expert */
} op_batch;
enum { OP_PRODUCTS = 5, OP_PART_PRODUCTS = 3 };

void op_add_y(op_batch *b, const param *w, const float *x, int64_t rows, float *y, bool add);
void op_add_dw(op_batch *b, const param *w, const float *x, const float *dy, int64_t rows);
void op_add_dx(op_batch *b, const param *w, const float *dy, int64_t rows, float *dx, bool add);
void op_run(op_batch *b); /* empties it */

/* y = x W^T, or y += x W^T. */
void op_linear(const net *n, const param *w, const float *x, int64_t rows, float *y, bool add);
/* dW += dy^T x; dx = dy W, or dx += dy W; dx may be NULL. */
void op_linear_grad(const net *n, const param *w, const float *x, const float *dy, int64_t rows,
                    float *dx, bool add);
/* y[r] += bias, and its gradient; nothing where bias is NULL. */
void op_bias(const net *n, const param *bias, int64_t rows, float *y);
void op_bias_grad(const net *n, const param *bias, int64_t rows, const float *dy);

/* RMSNorm of rows as wide as w. dx = gradient, or dx += gradient; dx may be dy where it is not
 * added. */
void op_norm(const net *n, const param *w, const float *x, int64_t rows, float *y);
void op_norm_grad(const net *n, const param *w, const float *x, const float *dy, int64_t rows,
                  float *dx, bool add);

/* Turns [T, heads, dim] in place by the positions of the step's tokens; or back: the gradient. */
void op_turn(const net *n, float *x, int32_t heads, int32_t dim);
void op_turn_back(const net *n, float *x, int32_t heads, int32_t dim);
/* The same for some tokens: rows of a table of their own. */
void op_turn_rows(const net *n, float *x, int64_t rows, const float *table, int32_t heads,
                  int32_t dim, bool back);

/* act = gate function of n_values; backward gate and up are replaced by their gradients. */
void op_gate(const net *n, const float *gate, const float *up, float *act, int64_t n_values);
void op_gate_grad(const net *n, float *gate, float *up, const float *d_act, int64_t n_values);

#endif
