/* nearest.h: "did you mean": the name nearest to a mistyped one. */
#ifndef MSA_BASE_NEAREST_H
#define MSA_BASE_NEAREST_H

#include <stddef.h>

/* Letters to change, add or drop to make b of a (Levenshtein). Names longer than 127 bytes are as
 * far apart as they can be. */
size_t nearest_distance(const char *a, const char *b);

/* Further away than this is not a slip of the finger. */
size_t nearest_limit(const char *found);

#endif
