/* scarce.h: memory that runs out when a test says so. Every allocation of the library and of the
 * test goes through here (the linker's --wrap), also under the sanitizers. */
#ifndef MSA_TESTS_SCARCE_H
#define MSA_TESTS_SCARCE_H

#include <stdbool.h>

/* The n-th allocation from now fails (n = 0: the next one); those after it succeed again. */
void scarce_begin(long n);
/* Back to plenty. True where an allocation failed since scarce_begin. */
bool scarce_end(void);
/* Allocations not freed so far: the same before and after means nothing leaked. */
long scarce_live(void);

#endif
