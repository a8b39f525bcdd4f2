/* gguf_edit.c: see gguf_edit.h. */
#include "support/gguf_edit.h"

#include <stdlib.h>
#include <string.h>

#include "support/support.h"

enum { TYPE_I8 = 24 };

static size_t value_bytes(const gguf_value *v) {
    if (v->element != GGUF_STRING) return v->n * gguf_type_size(v->element);
    const uint8_t *at = v->data;
    for (uint64_t i = 0; i < v->n; i++) gguf_string_next(&at);
    return (size_t)(at - v->data);
}

static void write_value(gguf_writer *w, const gguf_value *v, const gguf_edit *edit) {
    char key[128];
    memcpy(key, v->key.data, v->key.n);
    key[v->key.n] = 0;
    bool meant = edit->name && gguf_string_is(v->key, edit->name);
    if (meant && edit->kind == EDIT_DROP) return;
    if (meant && edit->kind == EDIT_STRING)
        gguf_write_string(w, key, edit->text);
    else if (meant && edit->kind == EDIT_U32 && v->type == GGUF_F32)
        gguf_write_f32(w, key, (float)edit->value);
    else if (meant && edit->kind == EDIT_U32 && v->type == GGUF_BOOL)
        gguf_write_bool(w, key, edit->value != 0);
    else if (meant && edit->kind == EDIT_U32)
        gguf_write_u32(w, key, edit->value);
    else if (v->type == GGUF_ARRAY)
        gguf_write_array(w, key, v->element, v->n, v->data, value_bytes(v));
    else
        gguf_write_raw(w, key, v->type, v->data, value_bytes(v));
}

static void write_tensor(gguf_writer *w, const gguf_tensor *t, const gguf_edit *edit) {
    char name[128];
    memcpy(name, t->name.data, t->name.n);
    name[t->name.n] = 0;
    bool meant = edit->name && gguf_string_is(t->name, edit->name);
    if (meant && edit->kind == EDIT_DROP) return;
    uint64_t shape[GGUF_MAX_DIMS];
    memcpy(shape, t->shape, sizeof shape);
    uint32_t type = t->type;
    size_t n_bytes = t->n_bytes;
    uint8_t *data = calloc(2, n_bytes);
    memcpy(data, t->data, n_bytes);
    if (meant && edit->kind == EDIT_BEND) shape[0] *= 2, n_bytes *= 2;
    if (meant && edit->kind == EDIT_RECAST)
        type = TYPE_I8, n_bytes = shape[0] * shape[1] * shape[2] * shape[3];
    gguf_write_tensor(w, name, type, t->n_dims, shape, data, n_bytes);
    free(data);
}

file_bytes gguf_edited(const gguf_file *file, const gguf_edit *edit) {
    gguf_writer w = {0};
    float zeros[16] = {0};
    if (edit->kind != EDIT_NOTHING && edit->kind != EDIT_ADD && !gguf_find(file, edit->name) &&
        !gguf_find_tensor(file, edit->name))
        fail_msg("no key or tensor '%s' to edit", edit->name);
    for (size_t i = 0; i < gguf_value_count(file); i++)
        write_value(&w, gguf_value_at(file, i), edit);
    for (size_t i = 0; i < gguf_tensor_count(file); i++)
        write_tensor(&w, gguf_tensor_at(file, i), edit);
    if (edit->kind == EDIT_ADD && strncmp(edit->name, "blk.", 4) == 0)
        gguf_write_tensor(&w, edit->name, 0, 1, (uint64_t[]){16}, zeros, sizeof zeros);
    else if (edit->kind == EDIT_ADD)
        gguf_write_u32(&w, edit->name, edit->value);
    return gguf_writer_finish(&w);
}
