/* file.c: see file.h. */
#define _GNU_SOURCE
#include "base/file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/mem.h"

static msa_status io_error(msa_error *err, const char *verb, const char *path) {
    return error_set(err, MSA_E_IO, "can't %s '%s': %s", verb, path, strerror(errno));
}

msa_status file_map_open(file_map *map, const char *path, msa_error *err) {
    *map = (file_map){0};
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) return io_error(err, "open", path);
    struct stat st;
    if (fstat(fd, &st) != 0) {
        msa_status status = io_error(err, "examine", path);
        close(fd);
        return status;
    }
    if (!S_ISREG(st.st_mode)) {
        close(fd);
        return error_set(err, MSA_E_IO,
                         "'%s' is not a regular file; expected one that can be mapped", path);
    }
    if (st.st_size > 0) {
        void *data = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
        if (data == MAP_FAILED) {
            msa_status status = io_error(err, "map", path);
            close(fd);
            return status;
        }
        *map = (file_map){data, (size_t)st.st_size};
    }
    close(fd);
    return MSA_OK;
}

void file_map_close(file_map *map) {
    if (map->data) munmap((void *)map->data, map->n_bytes);
    *map = (file_map){0};
}

msa_status file_read_all(const char *path, size_t max_bytes, char **data, size_t *n_bytes,
                         msa_error *err) {
    int fd = strcmp(path, "-") == 0 ? dup(STDIN_FILENO) : open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) return io_error(err, "open", path);
    void *text = NULL;
    size_t n = 0, capacity = 0;
    msa_status status = MSA_OK;
    for (;;) {
        if (!mem_grow(&text, &capacity, n + 65536 + 1, 1)) {
            status = error_set(err, MSA_E_NOMEM,
                               "no memory for the contents of '%s' after %zu bytes", path, n);
            break;
        }
        ssize_t got = read(fd, (char *)text + n, capacity - n - 1);
        if (got < 0 && errno == EINTR) continue;
        if (got < 0) status = io_error(err, "read", path);
        if (got <= 0) break;
        n += (size_t)got;
        if (n > max_bytes) {
            status = error_set(err, MSA_E_ARG,
                               "'%s' holds more than %zu bytes, the most that is read here", path,
                               max_bytes);
            break;
        }
    }
    close(fd);
    if (status != MSA_OK) {
        mem_free(text);
        return status;
    }
    ((char *)text)[n] = 0;
    *data = text;
    *n_bytes = n;
    return MSA_OK;
}

static int write_fully(int fd, const void *data, size_t n_bytes) {
    const char *p = data;
    while (n_bytes > 0) {
        ssize_t put = write(fd, p, n_bytes);
        if (put < 0 && errno == EINTR) continue;
        if (put < 0) return -1;
        p += put;
        n_bytes -= (size_t)put;
    }
    return 0;
}

static msa_status write_in_place(const char *path, const void *data, size_t n_bytes,
                                 msa_error *err) {
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    if (fd < 0) return io_error(err, "open for writing", path);
    msa_status status = write_fully(fd, data, n_bytes) != 0 ? io_error(err, "write", path) : MSA_OK;
    if (close(fd) != 0 && status == MSA_OK) status = io_error(err, "write", path);
    return status;
}

msa_status file_write_all(const char *path, const void *data, size_t n_bytes, msa_error *err) {
    struct stat st;
    if (stat(path, &st) == 0 && !S_ISREG(st.st_mode))
        return write_in_place(path, data, n_bytes, err);
    size_t n = strlen(path) + 16;
    char *temporary = mem_alloc(n, 1);
    if (!temporary) return error_set(err, MSA_E_NOMEM, "no memory to write '%s'", path);
    snprintf(temporary, n, "%s.XXXXXX", path);
    msa_status status = MSA_OK;
    int fd = mkostemp(temporary, O_CLOEXEC);
    if (fd < 0) {
        status = io_error(err, "create a file beside", path);
        mem_free(temporary);
        return status;
    }
    mode_t mask = umask(0);
    umask(mask);
    if (fchmod(fd, 0666 & ~mask) != 0 || write_fully(fd, data, n_bytes) != 0 || fsync(fd) != 0)
        status = io_error(err, "write", path);
    if (close(fd) != 0 && status == MSA_OK) status = io_error(err, "write", path);
    if (status == MSA_OK && rename(temporary, path) != 0)
        status = io_error(err, "put in place", path);
    if (status != MSA_OK) unlink(temporary);
    mem_free(temporary);
    return status;
}
