/* pretok_json.h: the settings in a tokenizer.json that stand for each pre-tokeniser. */
#ifndef MSA_MODEL_PRETOK_JSON_H
#define MSA_MODEL_PRETOK_JSON_H

#include <jansson.h>

#include "base/error.h"

/* The "pre_tokenizer" of a tokenizer.json, freed with json_decref; NULL for a name that has none,
 * or where there is no memory. */
json_t *pretok_json_create(const char *name);
/* The name of the pre-tokeniser that has these settings, static storage; MSA_E_UNSUPPORTED where
 * none has. */
msa_status pretok_json_find(const json_t *pre_tokenizer, const char **name, msa_error *err);

#endif
