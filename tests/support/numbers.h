/* numbers.h: what the tests of numeric operators share: random arrays, every instruction set in
 * turn, comparisons that name the element. */
#ifndef MSA_TESTS_NUMBERS_H
#define MSA_TESTS_NUMBERS_H

#include "support/support.h"

/* Calls check once on each instruction set that can run here, each time with the same numbers to
 * come, and puts back the one that was in use. */
typedef void on_isa_fn(rng *r);
void on_every_isa(on_isa_fn *check);

/* n zeroed elements and one more to spare; free(). */
void *new_array(size_t n, size_t size);
/* n floats; free(). Normal with mean 0. */
float *random_floats(rng *r, size_t n, float sigma);
/* n floats, all of them x; free(). */
float *floats_of(size_t n, float x);
float *copy_floats(const float *x, size_t n);

/* Fails, saying what and where, unless |found - expected| <= relative * |expected| + absolute for
 * every element. */
void assert_close(const char *what, const float *found, const float *expected, size_t n,
                  double relative, double absolute);

/* The slope of loss(data) as *at moves, by differences of fourth order; *at is put back. */
typedef double loss_fn(void *data);
double slope_of(loss_fn *loss, void *data, float *at);
/* Fails unless `slope` is what the loss changes by as *x moves by 2^-9 to both sides, to 1e-4 of
 * 1 + |slope|; *x is put back. For a loss in double. */
void assert_slope(loss_fn *loss, void *data, float *x, double slope, const char *what);

#endif
