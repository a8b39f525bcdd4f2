/* number_text.h: numbers as text that is the same in every locale: what files hold. */
#ifndef MSA_BASE_NUMBER_TEXT_H
#define MSA_BASE_NUMBER_TEXT_H

#include <stddef.h>

/* As "%.*g" in the C locale: 17 digits give every double back, 9 every float. At most `size` bytes,
 * the NUL included; 40 hold any number of up to 17 digits. */
void number_text(char *out, size_t size, int digits, double x);
/* Puts a point where the locale in force put something else, of one byte or several. */
void number_text_point(char *text);

#endif
