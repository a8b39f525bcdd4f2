/* yardstick.h: how far attention may be from the truth. FlashAttention's rule: at most twice the
 * error that the same computation has when done naively in f32, plus one rounding of the result. */
#ifndef MSA_TESTS_YARDSTICK_H
#define MSA_TESTS_YARDSTICK_H

#include "support/attn_case.h"

/* What an operator wrote for a case; NaN where it wrote nothing. */
typedef struct result {
    size_t n, rows;
    float *out, *lse; /* [rows, d] = n, [rows] */
} result;

result result_new(const attn_case *c);
void result_free(result *r);

/* The same in double, by plain loops; selection NULL: dense. */
typedef struct truth {
    double *out, *lse;
} truth;

truth truth_of(const attn_case *c, const msa_selection *selection);
void truth_free(truth *t);

/* Largest error of the naive computation over the batch; a selection must be token-major. */
double naive_error(const attn_case *c, const msa_selection *selection, const truth *t);

/* Fails, naming the place, where the result is further from the truth than the rule allows. */
void assert_attends(const result *r, const truth *t, double naive, const char *what);

/* The truth of a case and the error a naive computation has, dense or with a selection. */
typedef struct yardstick {
    const msa_selection *selection;
    truth t;
    double naive;
} yardstick;

yardstick yardstick_of(const attn_case *c, const msa_selection *selection);

#endif
