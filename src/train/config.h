/* config.h: what `msa train` is told, as plain numbers: read from JSON and from "key=value", held
 * to one table of keys.
 *
 * The table (config_keys.c) has a line for each key: path, type, range, default, help. Parsing,
 * range checks, the help, the canonical form in logs and checkpoints, and what may change when a
 * run is resumed all come from it; a key is added there and in train_config, nowhere else.
 * Everything is checked before work begins: a text names the key, what was found, and what is
 * allowed. */
#ifndef MSA_TRAIN_CONFIG_H
#define MSA_TRAIN_CONFIG_H

#include "base/bytes.h"
#include "model/arch.h"

typedef struct config_texts {
    char **items;
    int64_t n;
} config_texts;

/* Selection of synthetic tasks; the order of CONFIG_TASK_NAMES. */
typedef enum config_task_kind {
    TASK_RECALL = 0, /* key -> value pairs, then questions (MQAR) */
    TASK_COPY,       /* a cue of symbols seen once: go on as it went on there */
    TASK_PASSKEY,    /* a number told once in filler */
    TASK_NEEDLE,     /* facts told once inside real text */
    TASK_COUNT
} config_task_kind;
extern const char *const CONFIG_TASK_NAMES[TASK_COUNT];

typedef struct config_task {
    double weight;                /* share of micro-batches, relative to the others; 0: off */
    int64_t length, start_length; /* tokens of a sample, and at the first step; 0: the context */
    int64_t items,
        start_items;   /* pairs, symbols, digits or needles; 0: as `items` from the start */
    int64_t questions; /* asked of one sample */
    int64_t grow_from,
        grow_steps;    /* where length and items begin to grow, and over how long; 0: at once */
    bool mixed;        /* samples of all sizes from the first to the present one */
    bool answers_only; /* loss on the answers alone */
} config_task;

typedef enum config_schedule_kind {
    SCHEDULE_COSINE,
    SCHEDULE_WSD,
    SCHEDULE_CONSTANT
} config_schedule_kind;

typedef struct config_schedule {
    int32_t kind;       /* config_schedule_kind */
    int64_t warmup;     /* steps from 0 to the peak */
    double final;       /* share of the peak that is left at the end */
    double decay_share; /* wsd: share of the steps that the fall takes */
} config_schedule;

typedef enum config_recipe_kind {
    RECIPE_FULL,
    RECIPE_PT,
    RECIPE_CPT,
    RECIPE_INDEX_ONLY
} config_recipe_kind;

typedef struct train_config {
    struct {
        char *from; /* weights to start from; "": random */
        int32_t family;
        int64_t layers, width, heads, kv_heads, head_dim, ffn, rot, vocab, dense_layers;
        double rope_base, norm_eps, swiglu_alpha, swiglu_limit, init_std, embed_std, qk_gain,
            index_qk_gain;
        bool tied;
        struct {
            char *from; /* file of a branch beside model.from; "": none */
            bool on, keep;
            int64_t dim, block, topk, local, init;
            int32_t start; /* config_index_start */
        } index;
        struct {
            int64_t experts, used, ffn, shared_ffn;
            double scale;
        } moe;
    } model;
    struct {
        config_texts text, valid;
        char *tokenizer, *separator, *cache;
        double weight, valid_share;
        int64_t context, rows, shortest;
    } data;
    config_task tasks[TASK_COUNT];
    struct {
        double lr, beta1, beta2, eps, weight_decay, clip, spike;
        int64_t accumulate;
        bool skip_spikes;
        double index_lr, index_sparse; /* the second: times this once the main branch is sparse */
        double router_bias;
    } optim;
    struct {
        config_schedule main, index;
        bool index_own; /* the index branch follows schedule.index, else schedule */
    } schedule;
    struct {
        int32_t kind; /* config_recipe_kind */
        int64_t warmup, dense;
        double lambda;
        int32_t kl_warmup, kl_sparse; /* net_kl */
        int32_t selection;            /* net_selection */
        bool detach, index_value, lm_index, fp8_p;
        int64_t kl_rows, kl_repeats;
    } recipe;
    struct {
        int64_t every, diagnostics, eval, eval_rows, checkpoint, keep;
        bool eval_first;
    } log;
    struct {
        char *out;
        int64_t steps, seed, threads;
        bool recompute;
        int32_t format; /* config_format */
        int32_t type;   /* config_type */
    } run;
} train_config;

typedef enum config_format {
    FORMAT_GGUF,
    FORMAT_SAFETENSORS,
    FORMAT_BOTH,
    FORMAT_INDEX,
    FORMAT_NONE
} config_format;

typedef enum config_type { TYPE_F32, TYPE_F16, TYPE_BF16 } config_type;
typedef enum config_index_start { INDEX_RANDOM, INDEX_FROM_HEADS } config_index_start;

/* All defaults. Every successful or failed init is followed by a free. */
msa_status config_init(train_config *c, msa_error *err);
void config_free(train_config *c);

/* Reads a JSON object; keys not in it stay as they are. `name` is for messages. MSA_E_ARG for a key
 * or value that can't be, MSA_E_FORMAT for a text that is no JSON object. */
msa_status config_read(train_config *c, const char *text, size_t n_bytes, const char *name,
                       msa_error *err);
/* "key=value", the value as in JSON, quotes of a text left out: "optim.lr=1e-3". */
msa_status config_set(train_config *c, const char *assignment, msa_error *err);

/* Fills in what is derived (0 of context, rot, kv_heads, ...) and refuses what contradicts. Once
 * after reading; the n_vocab of the tokenizer comes later, to config_arch. */
msa_status config_settle(train_config *c, msa_error *err);

/* The model of a settled configuration. */
msa_status config_arch(const train_config *c, int32_t n_vocab, arch *out, msa_error *err);

/* Canonical JSON: every key, in the order of the table, one a line. */
void config_write(const train_config *c, bytes *out);
/* MSA_E_ARG names the first key that shapes the outcome and differs; `then` is what a checkpoint
 * was made with. Keys of how (threads, log) rather than what may differ. */
msa_status config_same_outcome(const train_config *now, const train_config *then, msa_error *err);

/* Every key with its range, default and help, for people. */
void config_help(bytes *out);

#endif
