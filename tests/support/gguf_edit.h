/* gguf_edit.h: a good GGUF file with one thing changed, to see that a loader notices. */
#ifndef MSA_TESTS_GGUF_EDIT_H
#define MSA_TESTS_GGUF_EDIT_H

#include "model/gguf.h"
#include "support/gguf_writer.h"

typedef enum gguf_edit_kind {
    EDIT_NOTHING,
    EDIT_DROP,   /* the key or tensor is not there */
    EDIT_U32,    /* the key has this value, f32 keys as a float, bools as true or false */
    EDIT_STRING, /* the key is this text */
    EDIT_BEND,   /* the tensor has twice the length in its first dimension */
    EDIT_RECAST, /* the tensor is I8: known by size, without kernels */
    EDIT_ADD     /* a key (u32), or a vector where the name begins with "blk." */
} gguf_edit_kind;

typedef struct gguf_edit {
    gguf_edit_kind kind;
    const char *name;
    uint32_t value;
    const char *text;
} gguf_edit;

/* The file with the edit; what is to be changed must be there. */
file_bytes gguf_edited(const gguf_file *file, const gguf_edit *edit);

#endif
