/* output.h: files we write, and standard output. A file is there whole or not at all. */
#ifndef MSA_CLI_OUTPUT_H
#define MSA_CLI_OUTPUT_H

#include <stddef.h>

#include "cli/fail.h"

/* Whether `path` could be written, asked before the work whose result goes there. Changes nothing;
 * a full disk still shows only at output_write. Errors name `flag`. */
msa_status output_check(const char *flag, const char *path, msa_error *err);
/* Writes under a temporary name beside `path`, flushes to disk, renames. What exists and is no
 * regular file (/dev/stdout, a pipe) is written in place. */
msa_status output_write(const char *flag, const char *path, const void *data, size_t n_bytes,
                        msa_error *err);

/* Sends what standard output holds back; a full disk or a closed descriptor shows here. */
msa_status output_flush(msa_error *err);

#endif
