/* settings.h: the flags that say which model runs with which attention, for run, eval, map and
 * info. */
#ifndef MSA_CLI_SETTINGS_H
#define MSA_CLI_SETTINGS_H

#include <jansson.h>

#include "cli/options.h"
#include "msa/format.h"
#include "msa/model.h"

typedef struct model_args {
    const char *path;  /* NULL: not given */
    const char *index; /* file of an index branch; NULL: not given */
} model_args;

/* Choices of an option that names a format, in the order of msa_dtype. */
#define FORMATS "f32|f16|bf16|fp8|int8|nvfp4"

/* with_index: --index is among the flags. */
option_group model_group(model_args *args, bool with_index);
/* Loads it, and the index branch beside it; a missing -m is an error that says so. */
msa_status model_open(const model_args *args, msa_model **model, msa_error *err);

typedef struct settings_args {
    int attn, selector, block; /* index of the choice; -1: not given */
    int kv_format, k_format, v_format, index_format, index8;
    int64_t n_ctx, topk, local, init, chunk, seed;
    option_ints layers_dense;
    bool past; /* --allow-past-context */
} settings_args;

settings_args settings_unset(void);
/* with_mode: --attn is among the flags. */
option_group settings_group(settings_args *args, bool with_mode);

/* The model's defaults with what was given on top; a contradiction names both flags. */
msa_status settings_params(const settings_args *args, const msa_model *model,
                           msa_session_params *params, msa_error *err);

/* For a command that reads texts and decodes nothing: an int8 copy would not be read, and is made
 * where it was asked for only. */
void settings_no_decode(msa_session_params *params);

/* MSA_E_FULL, in terms of flags, where a text does not fit the context. */
msa_status settings_check_room(const msa_session_params *params, const msa_model *model,
                               size_t n_tokens, msa_error *err);

/* "MSA, index selector, 8 blocks of 64 (512 keys) per query, local 2, init 1; keys and values f16,
 * index keys f16 + int8 copy" */
void settings_describe(const msa_session_params *params, const msa_model *model, char *text,
                       size_t size);
/* Formats of keys and values: "f16", or "int8/fp8" where they differ. */
void settings_formats(const msa_session_params *params, char *text, size_t size);
/* Its name as --selector has it; of AUTO the one it means for this model. */
const char *settings_selector(const msa_session_params *params, const msa_model *model);
bool settings_is_dense(const msa_session_params *params, int32_t layer);
/* The same as an object; NULL without memory. */
json_t *settings_json(const msa_session_params *params, const msa_model *model);
/* Bytes of one row of one head, scales included. */
double settings_row_bytes(msa_dtype dtype, int32_t dim);

/* "model ..." and "attention ..." on standard error, before the work, and a warning where an index
 * branch runs with other numbers than it was trained with. */
void settings_announce(const msa_session_params *params, const msa_model *model);

#endif
