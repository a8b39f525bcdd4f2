/* file.c: see file.h. */
#include "base/file.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

static msa_status io_error(msa_error *err, const char *verb, const char *path) {
    return error_set(err, MSA_E_IO, "can't %s '%s': %s", verb, path, strerror(errno));
}

msa_status file_map_open(file_map *map, const char *path, msa_error *err) {
    *map = (file_map){0};
    /* Without O_NONBLOCK a FIFO nobody writes to would be waited for, only to be refused. */
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
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
