/* error.h: how a function fails. A code for the program, a sentence for the person. */
#ifndef MSA_BASE_ERROR_H
#define MSA_BASE_ERROR_H

#include "msa/msa.h"

/* Fills *err (when not NULL) and returns `code`, so that a failing function ends with `return
 * error_set(...)`. */
__attribute__((format(printf, 3, 4))) msa_status error_set(msa_error *err, msa_status code,
                                                           const char *format, ...);

/* Puts `format` in front of the text already in *err (when not NULL), to add the file or request it
 * happened in. Returns `code` unchanged, so that a caller can `return error_prefix(err, status,
 * "%s: ", path)`. */
__attribute__((format(printf, 3, 4))) msa_status error_prefix(msa_error *err, msa_status code,
                                                              const char *format, ...);

#endif
