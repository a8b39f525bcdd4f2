/* file_out.h: writing a file that is there whole or not at all.
 *
 * The bytes go to a temporary beside the target ("NAME.tmp-PID-0"), reach the disk, and take the
 * target's name last, so that a full disk or a kill leaves what was there before. Several files
 * that belong together are all finished before the first is published.
 *
 *     file_out_create -> file_out_write ... -> file_out_finish -> file_out_publish
 *     file_out_free after any of them: an unpublished temporary is removed
 *
 * Writing never reports: the first failure sticks, and file_out_finish tells of it. */
#ifndef MSA_BASE_FILE_OUT_H
#define MSA_BASE_FILE_OUT_H

#include "base/error.h"

typedef struct file_out file_out;

/* MSA_E_IO names the path and the system's reason; a folder there is one. *out is NULL then. */
msa_status file_out_create(file_out **out, const char *path, msa_error *err);
void file_out_write(file_out *f, const void *data, size_t n_bytes);
/* Zeros up to a multiple of `alignment` from the file's start. */
void file_out_align(file_out *f, size_t alignment);
uint64_t file_out_bytes(const file_out *f); /* written so far */
/* Everything is on the disk, still under the temporary's name. */
msa_status file_out_finish(file_out *f, msa_error *err);
/* Takes the target's name, replacing a file that has it. Only after file_out_finish. */
msa_status file_out_publish(file_out *f, msa_error *err);
void file_out_free(file_out *f); /* NULL is fine */

/* Files that appear together. Start from {0}. */
typedef struct file_out_set {
    file_out **files;
    size_t n, capacity;
} file_out_set;

/* A new file of the set, which owns it. */
msa_status file_out_set_add(file_out_set *set, file_out **out, const char *path, msa_error *err);
/* Publishes all, in the order they were added; each must be finished. That is a rename for each: a
 * kill between two leaves some new and some as they were. Add last what readers look for first. */
msa_status file_out_set_publish(file_out_set *set, msa_error *err);
/* Removes what is unpublished. */
void file_out_set_free(file_out_set *set);

/* Removes the temporaries of files with such names (patterns of fnmatch) that processes left in a
 * folder when they were killed: those of processes that are no more, and of this one, which must
 * have none open there. What can't be removed does no harm. */
void file_out_tidy(const char *folder, const char *const *patterns, size_t n);

/* A file for bytes that are at hand, published. */
msa_status file_out_save(const char *path, const void *data, size_t n_bytes, msa_error *err);

#endif
