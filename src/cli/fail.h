/* fail.h: how the program says that something went wrong. */
#ifndef MSA_CLI_FAIL_H
#define MSA_CLI_FAIL_H

#include "msa/msa.h"

/* What the process answers to whoever started it. */
enum {
    EXIT_DONE = 0,
    EXIT_FAILED = 1,       /* a file, the model, memory, a full disk */
    EXIT_USAGE = 2,        /* a flag, a value or a combination that can't be */
    EXIT_INTERRUPTED = 130 /* Ctrl-C */
};

/* Fills in err and returns code, for `return fail(...)`. One sentence: what was expected, what was
 * found, where, what to do. MSA_E_ARG becomes EXIT_USAGE, MSA_E_CANCELLED EXIT_INTERRUPTED, the
 * rest EXIT_FAILED. */
msa_status fail(msa_error *err, msa_status code, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* "out of memory while <doing>" */
msa_status fail_memory(msa_error *err, const char *doing);

/* Appends to the text of an error that is set already: the remedy in terms of flags. */
msa_status fail_add(msa_error *err, msa_status code, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* Puts the flag in front of an error of the library: "-m: ". */
msa_status fail_prefix(msa_error *err, msa_status code, const char *prefix);

#endif
