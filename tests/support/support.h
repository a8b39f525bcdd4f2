/* support.h: what the tests share: cmocka in one include, a seeded generator, comparisons that say
 * where they differ. */
#ifndef MSA_TESTS_SUPPORT_H
#define MSA_TESTS_SUPPORT_H

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "msa/msa.h"

/* A counter-based generator (splitmix64): the n-th number of a seed is the same everywhere. */
typedef struct rng {
    uint64_t state;
} rng;

rng rng_seed(uint64_t seed);
uint64_t rng_next(rng *r);
uint64_t rng_below(rng *r, uint64_t n); /* uniform in [0, n) */
float rng_uniform(rng *r);              /* in [0, 1) */
float rng_normal(rng *r);               /* mean 0, variance 1 */
void rng_fill_normal(rng *r, float *out, size_t n, float sigma);
void rng_fill_integers(rng *r, float *out, size_t n,
                       int magnitude); /* whole numbers in [-magnitude, magnitude] */

/* The instruction sets that can run here, scalar first; returns how many. Sets and restores
 * msa_isa_use. */
int isas_available(msa_isa out[MSA_ISA_COUNT]);

/* The larger of `worst` and |error|; an error that is no number counts as infinite, where fmax
 * would pass over it. */
double larger_error(double worst, double error);

/* Fails the test, printing err->text, unless the status is MSA_OK. */
void assert_ok(msa_status status, const msa_error *err);
/* Fails unless the call failed with this code and its text contains `word`. */
void assert_fails(msa_status status, msa_status expected, const msa_error *err, const char *word);

/* True where MSA_TEST_BRIEF asks for every branch and tail once, at small sizes: emulators are
 * forty times slower, sanitizers two to ten times. */
bool test_brief(void);

/* The model that the tests of the whole read, under the repository's root; the set-up fetches it.
 * Without it test_need_model says so and passes over the test. */
#define TEST_MODEL "models/SmolLM2-135M-Instruct.Q4_1.gguf"
void test_need_model(void);

/* Path of a file under the repository's root; static storage, valid until the fourth call from now.
 */
const char *test_path(const char *relative);

/* The bytes of a file, NUL-terminated; free(). Fails the test where it cannot be read. n_bytes may
 * be NULL. */
char *read_whole(const char *path, size_t *n_bytes);
/* The same of a file under the repository's root. */
char *read_test_file(const char *relative, size_t *n_bytes);
/* Makes a file of these bytes, or fails the test. */
void write_whole(const char *path, const void *data, size_t n_bytes);
void write_text(const char *path, const char *text);

#endif
