/* number_text.c: see number_text.h. The locale is the host program's and may be changed by another
 * thread at any moment: so its mark is known by what it is not, rather than asked for. */
#include "base/number_text.h"

#include <stdio.h>
#include <string.h>

/* Of "-1.5e+07", "inf" and "nan", whatever the locale; without the point. */
static const char OTHERS[] = "0123456789+-abcdefghijklmnopqrstuvwxyz";

void number_text_point(char *text) {
    char *mark = text + strspn(text, OTHERS);
    size_t n = strcspn(mark, OTHERS);
    if (n == 0) return;
    *mark = '.';
    memmove(mark + 1, mark + n, strlen(mark + n) + 1);
}

void number_text(char *out, size_t size, int digits, double x) {
    snprintf(out, size, "%.*g", digits, x);
    number_text_point(out);
}
