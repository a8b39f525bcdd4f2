/* text.h: text that comes in (files, standard input), and what UTF-8 is. */
#ifndef MSA_CLI_TEXT_H
#define MSA_CLI_TEXT_H

#include <stddef.h>

#include "cli/fail.h"

/* Length in bytes of the character at the start of n bytes; 0 where there is none: a stray byte, an
 * overlong form, a surrogate, beyond U+10FFFF, or cut off. */
size_t text_character(const char *bytes, size_t n);
/* Columns a terminal shows n bytes in, one to each character. */
size_t text_columns(const char *bytes, size_t n);

/* Reads the file `path`, or standard input where it is "-", into *text (NUL-terminated, free()).
 * Refuses, naming `flag` and the place: what can't be read, an empty text, what is not UTF-8, zero
 * bytes, more than 1 GiB. */
msa_status text_read(const char *flag, const char *path, char **text, size_t *n_bytes,
                     msa_error *err);
/* The same checks for text given on the command line. */
msa_status text_check(const char *flag, const char *text, size_t n_bytes, msa_error *err);

#endif
