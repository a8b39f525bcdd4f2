/* golden.h: reads the golden files that tests/oracle/golden.py writes: named arrays and facts. A
 * missing or damaged file, a missing name, another type or size fails the test and says which. */
#ifndef MSA_TESTS_GOLDEN_H
#define MSA_TESTS_GOLDEN_H

#include <stddef.h>
#include <stdint.h>

typedef struct golden golden;

/* Opens tests/oracle/golden/NAME.golden. */
golden *golden_open(const char *name);
void golden_close(golden *g);

/* An array of exactly n elements, valid until golden_close, aligned to 64 bytes. */
const float *golden_f32(const golden *g, const char *name, size_t n);
const int32_t *golden_i32(const golden *g, const char *name, size_t n);
const uint16_t *golden_u16(const golden *g, const char *name, size_t n); /* halves, as stored */
const char *golden_text(const golden *g, const char *name, size_t n);    /* not NUL-terminated */
size_t golden_count(const golden *g, const char *name);                  /* its elements */

/* A fact: a number, or a string. */
int golden_int(const golden *g, const char *name);
double golden_number(const golden *g, const char *name);
const char *golden_string(const golden *g, const char *name);

#endif
