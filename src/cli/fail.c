/* fail.c: see fail.h. */
#include "cli/fail.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

msa_status fail(msa_error *err, msa_status code, const char *format, ...) {
    va_list args;
    va_start(args, format);
    err->code = code;
    vsnprintf(err->text, sizeof err->text, format, args);
    va_end(args);
    return code;
}

msa_status fail_memory(msa_error *err, const char *doing) {
    return fail(err, MSA_E_NOMEM, "out of memory while %s", doing);
}

msa_status fail_add(msa_error *err, msa_status code, const char *format, ...) {
    size_t n = strlen(err->text);
    va_list args;
    va_start(args, format);
    vsnprintf(err->text + n, sizeof err->text - n, format, args);
    va_end(args);
    return code;
}

msa_status fail_prefix(msa_error *err, msa_status code, const char *prefix) {
    msa_error old = *err;
    snprintf(err->text, sizeof err->text, "%s%.*s", prefix,
             (int)(sizeof err->text - 1 - strlen(prefix)), old.text);
    return code;
}
