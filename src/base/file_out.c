/* file_out.c: see file_out.h. */
#include "base/file_out.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <fnmatch.h>
#include <inttypes.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/mem.h"

enum { BUFFER_BYTES = 1 << 20 };

struct file_out {
    char *path, *temporary; /* temporary "": published, or never made */
    int fd;                 /* -1: closed */
    int failure;            /* errno of the first failed write; 0: none */
    uint64_t n_bytes;
    size_t n_buffered;
    uint8_t buffer[BUFFER_BYTES];
};

static msa_status refuse(const file_out *f, const char *verb, int reason, msa_error *err) {
    return error_set(err, MSA_E_IO, "can't %s '%s' (%" PRIu64 " bytes so far): %s", verb, f->path,
                     f->n_bytes, strerror(reason));
}

/* What rename would refuse when all is written, and other files of a set are published. */
static bool is_folder(const char *path) {
    struct stat st;
    return stat(path, &st) == 0 && S_ISDIR(st.st_mode);
}

/* Not mkstemp, whose files are for their owner alone. */
static int create_temporary(file_out *f, size_t room) {
    for (int i = 0; i < 1000; i++) {
        snprintf(f->temporary, room, "%s.tmp-%ld-%d", f->path, (long)getpid(), i);
        int fd = open(f->temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
        if (fd >= 0 || errno != EEXIST) return fd;
    }
    return -1;
}

msa_status file_out_create(file_out **out, const char *path, msa_error *err) {
    *out = NULL;
    size_t n = strlen(path);
    file_out *f = mem_alloc(1, sizeof *f);
    char *names = mem_alloc(2 * n + 48, 1);
    if (!f || !names) {
        mem_free(f);
        mem_free(names);
        return error_set(err, MSA_E_NOMEM, "no memory to write '%s'", path);
    }
    f->path = names;
    f->temporary = names + n + 1;
    f->failure = 0;
    f->n_bytes = f->n_buffered = 0;
    memcpy(f->path, path, n + 1);
    bool folder = is_folder(path);
    f->fd = folder ? -1 : create_temporary(f, n + 47);
    if (f->fd < 0) {
        int reason = folder ? EISDIR : errno;
        f->temporary[0] = 0;
        msa_status status = refuse(f, "create a file beside", reason, err);
        file_out_free(f);
        return status;
    }
    *out = f;
    return MSA_OK;
}

static void flush(file_out *f) {
    for (size_t at = 0; at < f->n_buffered && !f->failure;) {
        ssize_t n = write(f->fd, f->buffer + at, f->n_buffered - at);
        if (n > 0)
            at += (size_t)n;
        else if (n == 0 || errno != EINTR)
            f->failure = n == 0 ? EIO : errno;
    }
    f->n_buffered = 0;
}

void file_out_write(file_out *f, const void *data, size_t n_bytes) {
    const uint8_t *from = data;
    while (n_bytes && !f->failure) {
        size_t room = BUFFER_BYTES - f->n_buffered, n = n_bytes < room ? n_bytes : room;
        memcpy(f->buffer + f->n_buffered, from, n);
        f->n_buffered += n;
        f->n_bytes += n;
        from += n;
        n_bytes -= n;
        if (f->n_buffered == BUFFER_BYTES) flush(f);
    }
}

void file_out_align(file_out *f, size_t alignment) {
    static const uint8_t zeros[64];
    size_t n = (size_t)(f->n_bytes % alignment);
    for (n = n ? alignment - n : 0; n && !f->failure;) {
        size_t part = n < sizeof zeros ? n : sizeof zeros;
        file_out_write(f, zeros, part);
        n -= part;
    }
}

uint64_t file_out_bytes(const file_out *f) {
    return f->n_bytes;
}

msa_status file_out_finish(file_out *f, msa_error *err) {
    flush(f);
    if (!f->failure && fsync(f->fd) != 0) f->failure = errno;
    if (close(f->fd) != 0 && !f->failure) f->failure = errno;
    f->fd = -1;
    return f->failure ? refuse(f, "write", f->failure, err) : MSA_OK;
}

/* So that the new name outlives a loss of power. A file system that can't is not an error. */
static void sync_folder(const char *path) {
    char folder[4096];
    const char *slash = strrchr(path, '/');
    size_t n = slash ? (size_t)(slash - path) + 1 : 0;
    if (n >= sizeof folder) return;
    memcpy(folder, n ? path : ".", n ? n : 1);
    folder[n ? n : 1] = 0;
    int fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) return;
    (void)fsync(fd);
    close(fd);
}

msa_status file_out_publish(file_out *f, msa_error *err) {
    if (f->failure) return refuse(f, "write", f->failure, err);
    if (rename(f->temporary, f->path) != 0) return refuse(f, "replace", errno, err);
    f->temporary[0] = 0;
    sync_folder(f->path);
    return MSA_OK;
}

void file_out_free(file_out *f) {
    if (!f) return;
    if (f->fd >= 0) close(f->fd);
    if (f->temporary[0]) unlink(f->temporary);
    mem_free(f->path);
    mem_free(f);
}

msa_status file_out_set_add(file_out_set *set, file_out **out, const char *path, msa_error *err) {
    *out = NULL;
    void *files = set->files;
    bool grown = mem_grow(&files, &set->capacity, set->n + 1, sizeof *set->files);
    set->files = files;
    if (!grown) return error_set(err, MSA_E_NOMEM, "no memory to write '%s'", path);
    msa_status status = file_out_create(out, path, err);
    if (status == MSA_OK) set->files[set->n++] = *out;
    return status;
}

msa_status file_out_set_publish(file_out_set *set, msa_error *err) {
    msa_status status = MSA_OK;
    for (size_t i = 0; i < set->n && status == MSA_OK; i++)
        status = file_out_publish(set->files[i], err);
    return status;
}

void file_out_set_free(file_out_set *set) {
    for (size_t i = 0; i < set->n; i++) file_out_free(set->files[i]);
    mem_free(set->files);
    *set = (file_out_set){0};
}

/* Cuts a temporary's name to its target's; false where it is none, or its writer may be at work. */
static bool cut_left_over(char *name) {
    static const char MIDDLE[] = ".tmp-";
    char *at = NULL, *end;
    for (char *next = name; (next = strstr(next, MIDDLE)); next++) at = next;
    if (!at) return false;
    const char *pid = at + sizeof MIDDLE - 1;
    size_t n_pid = strspn(pid, "0123456789");
    if (n_pid == 0 || pid[n_pid] != '-') return false;
    const char *number = pid + n_pid + 1;
    size_t n_number = strspn(number, "0123456789");
    if (n_number == 0 || number[n_number] != 0) return false;
    errno = 0;
    long process = strtol(pid, &end, 10);
    if (errno || process < 1 || process != (long)(pid_t)process) return false;
    if (process != (long)getpid() && (kill((pid_t)process, 0) == 0 || errno != ESRCH)) return false;
    *at = 0;
    return true;
}

static bool matches(const char *name, const char *const *patterns, size_t n) {
    for (size_t i = 0; i < n; i++)
        if (fnmatch(patterns[i], name, 0) == 0) return true;
    return false;
}

void file_out_tidy(const char *folder, const char *const *patterns, size_t n) {
    DIR *d = opendir(folder);
    if (!d) return;
    for (struct dirent *e; (e = readdir(d));) {
        char path[4096], name[sizeof e->d_name];
        snprintf(name, sizeof name, "%s", e->d_name);
        if (!cut_left_over(name) || !matches(name, patterns, n)) continue;
        if (snprintf(path, sizeof path, "%s/%s", folder, e->d_name) < (int)sizeof path)
            unlink(path);
    }
    closedir(d);
}

msa_status file_out_save(const char *path, const void *data, size_t n_bytes, msa_error *err) {
    file_out *f;
    msa_status status = file_out_create(&f, path, err);
    if (status != MSA_OK) return status;
    file_out_write(f, data, n_bytes);
    status = file_out_finish(f, err);
    if (status == MSA_OK) status = file_out_publish(f, err);
    file_out_free(f);
    return status;
}
