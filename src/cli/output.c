/* output.c: see output.h. */
#include "cli/output.h"

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { PATH_SIZE = 4096 };

static msa_status cannot_write(const char *flag, const char *path, msa_error *err) {
    return fail(err, MSA_E_IO, "%s: cannot write '%s': %s", flag, path, strerror(errno));
}

static bool is_special(const char *path) {
    struct stat info;
    return stat(path, &info) == 0 && !S_ISREG(info.st_mode) && !S_ISDIR(info.st_mode);
}

msa_status output_check(const char *flag, const char *path, msa_error *err) {
    char folder[PATH_SIZE];
    struct stat info;
    if (path[0] == 0) return fail(err, MSA_E_ARG, "%s: expected the name of a file", flag);
    if (strlen(path) >= PATH_SIZE - 16)
        return fail(err, MSA_E_ARG, "%s: a path of %zu bytes is too long", flag, strlen(path));
    if (stat(path, &info) == 0) {
        if (S_ISDIR(info.st_mode))
            return fail(err, MSA_E_IO, "%s: '%s' is a directory; expected the name of a file", flag,
                        path);
        if (access(path, W_OK) != 0) return cannot_write(flag, path, err);
        if (!S_ISREG(info.st_mode)) return MSA_OK;
    }
    snprintf(folder, sizeof folder, "%s", path);
    if (access(dirname(folder), W_OK | X_OK) != 0) return cannot_write(flag, path, err);
    return MSA_OK;
}

static bool write_bytes(int fd, const char *data, size_t n) {
    while (n > 0) {
        ssize_t written = write(fd, data, n);
        if (written < 0 && errno == EINTR) continue;
        if (written <= 0) return false;
        data += written, n -= (size_t)written;
    }
    return true;
}

static bool write_in_place(const char *path, const void *data, size_t n_bytes) {
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    if (fd < 0) return false;
    bool good = write_bytes(fd, data, n_bytes);
    int reason = errno;
    if (close(fd) != 0 && good) return false;
    errno = reason;
    return good;
}

static bool write_and_rename(const char *path, const void *data, size_t n_bytes) {
    char temporary[PATH_SIZE];
    snprintf(temporary, sizeof temporary, "%s.XXXXXX", path);
    int fd = mkstemp(temporary);
    if (fd < 0) return false;
    mode_t mask = umask(0);
    umask(mask);
    bool good = write_bytes(fd, data, n_bytes) && fchmod(fd, 0666 & ~mask) == 0 && fsync(fd) == 0;
    int reason = errno;
    if (close(fd) != 0 && good) good = false, reason = errno;
    if (good && rename(temporary, path) == 0) return true;
    if (good) reason = errno;
    unlink(temporary);
    errno = reason;
    return false;
}

msa_status output_write(const char *flag, const char *path, const void *data, size_t n_bytes,
                        msa_error *err) {
    msa_status status = output_check(flag, path, err);
    if (status != MSA_OK) return status;
    bool good = is_special(path) ? write_in_place(path, data, n_bytes)
                                 : write_and_rename(path, data, n_bytes);
    return good ? MSA_OK : cannot_write(flag, path, err);
}

msa_status output_flush(msa_error *err) {
    errno = 0;
    int failed = fflush(stdout);
    if (failed || ferror(stdout))
        return fail(err, MSA_E_IO, "cannot write standard output: %s",
                    errno ? strerror(errno) : "an earlier write failed");
    return MSA_OK;
}
