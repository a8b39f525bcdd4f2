/* utf8.h: UTF-8 as RFC 3629 has it: no overlong forms, no surrogates, nothing above U+10FFFF. */
#ifndef MSA_BASE_UTF8_H
#define MSA_BASE_UTF8_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Bytes (1 to 4) of the character that starts at text[0], its code point in *code (may be NULL).
 * 0 where no whole valid character starts there, or n is 0. */
size_t utf8_decode(const char *text, size_t n, uint32_t *code);

/* Writes code point `code` (valid, at most U+10FFFF) to out and returns its length. */
size_t utf8_encode(uint32_t code, char out[4]);

/* Bytes in the longest prefix that is valid. */
size_t utf8_valid_prefix(const char *text, size_t n);

/* Bytes (0 to 3) at the end that begin a character more bytes could still complete. */
size_t utf8_unfinished_tail(const char *text, size_t n);

/* What Python's str.isspace calls white space; the text after it and without it at both ends. */
bool utf8_is_space(uint32_t code);
void utf8_strip(const char **text, size_t *n);

/* For messages: at most `size` bytes with the NUL, control characters and invalid bytes escaped as
 * \n or \x1b, "..." at the end where it was cut to fit. Returns out. */
const char *utf8_quote(char *out, size_t size, const char *text, size_t n);

#endif
