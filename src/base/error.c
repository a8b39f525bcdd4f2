/* error.c: status codes in words, and filling in msa_error. */
#include "base/error.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

msa_status error_set(msa_error *err, msa_status code, const char *format, ...) {
    if (err) {
        err->code = code;
        va_list args;
        va_start(args, format);
        vsnprintf(err->text, sizeof err->text, format, args);
        va_end(args);
    }
    return code;
}

msa_status error_prefix(msa_error *err, msa_status code, const char *format, ...) {
    if (!err) return code;
    char prefix[sizeof err->text];
    va_list args;
    va_start(args, format);
    vsnprintf(prefix, sizeof prefix, format, args);
    va_end(args);
    size_t n = strlen(prefix), room = sizeof err->text - 1 - n, old = strlen(err->text);
    if (old > room) old = room;
    memmove(err->text + n, err->text, old);
    memcpy(err->text, prefix, n);
    err->text[n + old] = 0;
    return code;
}

const char *msa_status_name(msa_status code) {
    switch (code) {
    case MSA_OK: return "ok";
    case MSA_E_ARG: return "bad argument";
    case MSA_E_NOMEM: return "out of memory";
    case MSA_E_IO: return "input/output error";
    case MSA_E_FORMAT: return "bad format";
    case MSA_E_UNSUPPORTED: return "not supported";
    case MSA_E_FULL: return "capacity used up";
    case MSA_E_CANCELLED: return "cancelled";
    }
    return "unknown status";
}

#define VERSION_TEXT_(a, b, c) #a "." #b "." #c
#define VERSION_TEXT(a, b, c)  VERSION_TEXT_(a, b, c)

const char *msa_version(void) {
    return VERSION_TEXT(MSA_VERSION_MAJOR, MSA_VERSION_MINOR, MSA_VERSION_PATCH);
}
