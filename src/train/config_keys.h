/* config_keys.h: the table of keys, for config*.c. */
#ifndef MSA_TRAIN_CONFIG_KEYS_H
#define MSA_TRAIN_CONFIG_KEYS_H

#include <stddef.h>

#include "train/config.h"

typedef enum key_kind {
    KEY_INT,    /* int64_t in [min, max] */
    KEY_REAL,   /* double in [min, max] */
    KEY_BOOL,   /* bool */
    KEY_CHOICE, /* int32_t: index into `choices` */
    KEY_TEXT,   /* char *, owned, never NULL */
    KEY_TEXTS   /* config_texts, owned */
} key_kind;

typedef struct config_key {
    const char *path; /* "optim.lr" */
    key_kind kind;
    size_t offset; /* in train_config */
    double min, max;
    const char *choices;   /* "cosine|wsd" */
    const char *otherwise; /* the default, spelt as for --set */
    const char *help;      /* lower case, no full stop */
    bool free;             /* may change when a run is resumed: does not shape the outcome */
} config_key;

extern const config_key CONFIG_KEYS[];
extern const size_t N_CONFIG_KEYS;

/* NULL where there is none of this name. */
const config_key *config_find(const char *path);
/* MSA_E_ARG that names the nearest. */
msa_status config_unknown(const char *path, msa_error *err);
/* The i-th of "a|b|c"; n bytes at *text. False beyond the last. */
bool config_choice(const char *choices, int i, const char **text, size_t *n);
/* "an integer from 1 to 8", "cosine, wsd or constant". */
void config_allowed(const config_key *k, char *text, size_t size);

#endif
