/* log.c: see log.h. */
#include "train/log.h"

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <string.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/file.h"
#include "base/file_out.h"
#include "base/mem.h"

/* ---- opening -------------------------------------------------------------------------------- */

/* Whether a line is a record of step `after` or earlier. */
static bool stays(const char *line, size_t n, int64_t after) {
    json_t *record = json_loadb(line, n, 0, NULL);
    json_t *step = json_object_get(record, "step");
    bool good = json_is_integer(step) && json_integer_value(step) <= after;
    json_decref(record);
    return good;
}

static msa_status drop_later(const char *path, int64_t after, msa_error *err) {
    file_map map;
    bytes kept = {0};
    if (access(path, F_OK) != 0) return MSA_OK;
    msa_status status = file_map_open(&map, path, err);
    if (status != MSA_OK) return status;
    const char *at = (const char *)map.data, *end = at + map.n_bytes;
    while (at < end) {
        const char *line = memchr(at, '\n', (size_t)(end - at));
        if (!line) break;
        size_t n = (size_t)(line + 1 - at);
        if (stays(at, n, after)) bytes_append(&kept, at, n);
        at += n;
    }
    file_map_close(&map);
    status = kept.failed ? error_set(err, MSA_E_NOMEM, "no memory for the log '%s'", path)
                         : file_out_save(path, kept.data, kept.n, err);
    bytes_free(&kept);
    return status;
}

msa_status log_open(train_log *l, const char *path, int64_t after, msa_error *err) {
    *l = (train_log){.fd = -1};
    msa_status status = after < 0 ? MSA_OK : drop_later(path, after, err);
    if (status != MSA_OK) return error_prefix(err, status, "log: ");
    int flags = O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | (after < 0 ? O_TRUNC : 0);
    l->fd = open(path, flags, 0666);
    if (l->fd >= 0) return MSA_OK;
    return error_set(err, MSA_E_IO, "log: can't write '%s': %s", path, strerror(errno));
}

void log_close(train_log *l) {
    if (l->fd >= 0) close(l->fd);
    l->fd = -1;
}

/* ---- writing -------------------------------------------------------------------------------- */

/* All of it or nothing: half a line would spoil the next. */
static void write_line(train_log *l, const char *line, size_t n) {
    off_t start = lseek(l->fd, 0, SEEK_END);
    while (n > 0) {
        ssize_t written = write(l->fd, line, n);
        if (written < 0 && errno == EINTR) continue;
        if (written <= 0) {
            if (!l->failure) l->failure = errno ? errno : EIO;
            if (start >= 0 && ftruncate(l->fd, start) != 0) l->failure = errno;
            return;
        }
        line += written, n -= (size_t)written;
    }
}

void log_write(train_log *l, json_t *record) {
    const size_t flags = JSON_COMPACT | JSON_REAL_PRECISION(9);
    size_t n = record ? json_dumpb(record, NULL, 0, flags) : 0;
    char *line = n ? mem_alloc(n + 1, 1) : NULL;
    if (line && l->fd >= 0 && json_dumpb(record, line, n, flags) == n) {
        line[n] = '\n';
        write_line(l, line, n + 1);
    } else if (!l->failure) {
        l->failure = ENOMEM;
    }
    mem_free(line);
    json_decref(record);
}

json_t *log_number(double x) {
    return isfinite(x) ? json_real(x) : json_null();
}
