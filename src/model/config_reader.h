/* config_reader.h: one object of a config.json being read: values by key, each checked, errors that
 * name key, value and what was expected. For the files config_json*.c alone. */
#ifndef MSA_MODEL_CONFIG_READER_H
#define MSA_MODEL_CONFIG_READER_H

#include <jansson.h>

#include "model/arch.h"

typedef struct config_reader {
    const json_t *object; /* NULL: an object that is missing, and so are its keys */
    const char *where;    /* it stands in: "", "text_config." */
    msa_error *err;
} config_reader;

typedef struct config_shown { /* a value as it may stand in a message */
    char text[64];
} config_shown;
config_shown config_show(const json_t *value);

/* NULL for a key that is missing or null. */
const json_t *config_get(const config_reader *r, const char *key);
/* MSA_E_FORMAT: "key K is V; expected ..."; MSA_E_UNSUPPORTED: "...; supported is ...". */
msa_status config_refuse(const config_reader *r, const char *key, const char *expected);
msa_status config_unsupported(const config_reader *r, const char *key, const char *supported);

/* A count of least..2^31 - 1. `otherwise` -1: the key is required. */
msa_status config_count(const config_reader *r, const char *key, int32_t least, int64_t otherwise,
                        int32_t *out);
/* More than 0. `otherwise` 0: the key is required. */
msa_status config_positive(const config_reader *r, const char *key, double otherwise, double *out);
msa_status config_bool(const config_reader *r, const char *key, bool otherwise, bool *out);
/* A switch that, where it is there, must stand so. */
msa_status config_demand_bool(const config_reader *r, const char *key, bool demanded);
/* A text that, where it is there, must be one of these; other may be NULL. */
msa_status config_demand_text(const config_reader *r, const char *key, const char *one,
                              const char *other);

/* config_json_m3.c: what MiniMax-M3 adds to the shape that all families share. root is the whole
 * file, of which r is a part. */
msa_status config_read_m3(const config_reader *r, const json_t *root, arch *a);
/* config_json.c: relations that hold for an index branch, wherever its keys were. */
msa_status config_check_index(const config_reader *topk_at, const char *topk_key,
                              const config_reader *dim_at, const char *dim_key, const arch *a);

#endif
