/* nearest.c: see nearest.h. */
#include "base/nearest.h"

#include <string.h>

size_t nearest_distance(const char *a, const char *b) {
    enum { LONGEST = 128 };
    size_t n = strlen(b), row[LONGEST];
    if (n >= LONGEST || strlen(a) >= LONGEST) return LONGEST;
    for (size_t j = 0; j <= n; j++) row[j] = j;
    for (size_t i = 1; a[i - 1]; i++) {
        size_t diagonal = row[0];
        row[0] = i;
        for (size_t j = 1; j <= n; j++) {
            size_t change = diagonal + (a[i - 1] != b[j - 1]);
            size_t one = row[j] < row[j - 1] ? row[j] + 1 : row[j - 1] + 1;
            diagonal = row[j];
            row[j] = change < one ? change : one;
        }
    }
    return row[n];
}

size_t nearest_limit(const char *found) {
    return strlen(found) / 3 + 1;
}
