/* model.h: a model file, its tokenizer and chat template, a session that feeds tokens and gives
 * logits, sampling.
 *
 *     msa_model *model;  msa_session *session;  msa_tokens prompt = {0};
 *     msa_model_load(&model, "model.gguf", &err);
 *     msa_tokenize(model, text, n_bytes, MSA_ADD_SPECIAL, &prompt, &err);
 *     msa_session_create(&session, model, &params, &err);       params from msa_session_defaults
 *     msa_session_feed(session, prompt.ids, prompt.n, NULL, NULL, &err);
 *     msa_sampler_pick(sampler, msa_session_logits(session), &token, &err);
 *
 * Caveats first:
 *   - A session is one mutable timeline. Feeding appends; rewinding drops the end; a fork is
 *     another timeline with the same past. The context limit is an error, never a silent cut.
 *   - The model must outlive its sessions. A model is read-only and may serve several threads.
 *   - What only looks (get, length, logits, is_end, defaults) gives NULL, 0 or zeros for NULL.
 *   - Token ids are int32, 0 .. vocabulary - 1. Text is bytes; UTF-8 is expected, not required. */
#ifndef MSA_MODEL_H
#define MSA_MODEL_H

#include "msa/kv.h"

#ifdef __cplusplus
extern "C" {
#endif

/* ---- model files ---------------------------------------------------------------------------- */

typedef struct msa_model msa_model;

typedef struct msa_model_info {
    const char *architecture; /* "llama", "qwen2", "qwen3", "minimax-m3" */
    const char *name;         /* general.name, or "" */
    const char *weights;      /* formats and their share: "Q4_1 75 %, Q8_0 24 %, F32 1 %" */
    int64_t n_parameters, n_file_bytes, n_weight_bytes;
    int32_t n_layers, n_embd, n_ff, n_q_heads, n_kv_heads, head_dim, n_ctx_train, n_vocab;
    float rope_base;
    int32_t has_index;         /* 1 with an index branch, in its file or loaded beside it */
    const char *tokenizer;     /* "gpt2 (smollm)": model and pre-tokeniser */
    const char *chat_template; /* recognised family ("chatml", "llama-3.1"), "unknown" or "none" */
    int32_t n_rot;             /* elements of a head that RoPE turns */
    /* The index branch, as it was trained; zeros without. The first n_dense_layers have none. */
    int32_t n_dense_layers, index_dim, index_block, index_topk, index_local, index_init;
    int64_t n_index_parameters;
    const char *index_file; /* where it was loaded from, "" where it is the model's own or none */
    /* Mixture of experts in the layers from n_dense_layers on; zeros without. */
    int32_t n_experts, n_experts_used, n_ff_expert, n_ff_shared;
    int64_t n_active_parameters; /* those a token goes through: all, or those of its experts */
} msa_model_info;

/* Loads a model of the Llama family or of MiniMax-M3's architecture by mapping it: a GGUF v3 file,
 * or a folder of safetensors with config.json and tokenizer.json, named by itself or by one of its
 * .safetensors, index or config files; content decides, not the name. MSA_E_FORMAT names the key or
 * tensor that is missing, truncated or contradicts another; MSA_E_UNSUPPORTED what this version
 * cannot run. */
MSA_API msa_status msa_model_load(msa_model **model, const char *path, msa_error *err);
/* Adds an index branch trained for this model, from a file of its own (GGUF of architecture
 * "msa-index"); before any session is created. MSA_E_FORMAT, nothing changed, where the file is
 * damaged or was trained for another model, and says which fact differs; MSA_E_ARG where the model
 * has an index branch already. */
MSA_API msa_status msa_model_load_index(msa_model *model, const char *path, msa_error *err);
MSA_API void msa_model_free(msa_model *model);                            /* NULL is fine */
MSA_API const msa_model_info *msa_model_get_info(const msa_model *model); /* lives with it */

/* Writing a model for other programs: what was loaded, an index branch beside it included. */
typedef enum msa_file_kind {
    MSA_FILE_GGUF = 0,        /* for llama.cpp */
    MSA_FILE_SAFETENSORS = 1, /* a folder for transformers */
    MSA_FILE_INDEX = 2        /* the index branch of a Llama family alone, for --index */
} msa_file_kind;
typedef enum msa_weight_format {
    MSA_WEIGHTS_F32 = 0,
    MSA_WEIGHTS_F16 = 1,
    MSA_WEIGHTS_BF16 = 2,
    MSA_WEIGHTS_Q8_0 = 3 /* GGUF alone */
} msa_weight_format;

typedef struct msa_export_params { /* all zero: one GGUF file, f32 */
    msa_file_kind kind;
    msa_weight_format format; /* of the matrices; vectors, routers and the index branch are f32, the
                                 latter's matrices in MSA_FILE_INDEX as asked (not Q8_0) */
    int64_t max_bytes;        /* safetensors: a new file before this much data; 0: one file */
} msa_export_params;

/* The file appears whole or not at all. A folder's files do when all are written, by one rename
 * after another, config.json last: a kill in between leaves no model in a new folder, and parts of
 * both in one that held a model before. MSA_E_UNSUPPORTED says what the kind
 * of file has no place for, MSA_E_IO why it can't be written. llama.cpp refuses a Llama with an
 * index branch inside: leave the base as it is and write the branch as MSA_FILE_INDEX. */
MSA_API msa_status msa_model_export(const msa_model *model, const char *path,
                                    const msa_export_params *params, msa_error *err);

/* ---- text and tokens ------------------------------------------------------------------------- */

typedef struct msa_tokens { /* start from {0}; grown as needed; freed with msa_tokens_free */
    int32_t *ids;
    size_t n, capacity;
    size_t n_replaced; /* bytes of the texts that had no token */
} msa_tokens;
MSA_API void msa_tokens_free(msa_tokens *tokens);

enum {
    MSA_ADD_SPECIAL = 1,  /* begin-of-text and the like, as the model's file asks */
    MSA_PARSE_SPECIAL = 2 /* "<|im_start|>" in the text is the token, not its letters */
};

/* Appends the tokens of n_bytes of text. Any bytes are accepted, UTF-8 or not, and survive
 * msa_detokenize with MSA_PARSE_SPECIAL, except those the vocabulary has no token for: they become
 * U+FFFD and are counted (SmolLM2 lacks six control characters, 13 bytes that UTF-8 never uses and
 * two that begin only rare characters; most models lack none). On failure *out holds what it held.
 */
MSA_API msa_status msa_tokenize(const msa_model *model, const char *text, size_t n_bytes, int flags,
                                msa_tokens *out, msa_error *err);
/* The bytes of n tokens: *text is NUL-terminated, freed with msa_text_free. Special tokens give
 * their names only with MSA_PARSE_SPECIAL in flags, nothing otherwise. */
MSA_API msa_status msa_detokenize(const msa_model *model, const int32_t *ids, size_t n, int flags,
                                  char **text, size_t *n_bytes, msa_error *err);
MSA_API void msa_text_free(char *text);
/* 1 where the token ends an answer (end of text, end of turn). */
MSA_API int msa_token_is_end(const msa_model *model, int32_t id);

/* Text of a stream of tokens, never half a UTF-8 character. */
typedef struct msa_text_stream msa_text_stream;
MSA_API msa_status msa_text_stream_create(msa_text_stream **s, const msa_model *model,
                                          msa_error *err);
/* *text points to the n_bytes that became complete (maybe 0); valid until the next call. */
MSA_API msa_status msa_text_stream_push(msa_text_stream *s, int32_t id, const char **text,
                                        size_t *n_bytes, msa_error *err);
/* What is left at the end, whole characters or not. */
MSA_API void msa_text_stream_flush(msa_text_stream *s, const char **text, size_t *n_bytes);
MSA_API void msa_text_stream_free(msa_text_stream *s);

typedef struct msa_chat_message {
    const char *role; /* "system", "user", "assistant" */
    const char *content;
} msa_chat_message;

/* Formats a conversation by the model's own template, byte for byte as its authors' tools do, ready
 * for msa_tokenize with MSA_PARSE_SPECIAL (and without MSA_ADD_SPECIAL). add_generation_prompt: 1
 * ends with the opening of the assistant's turn. Where the template prints today's date (llama-3.1)
 * it is the template's own default, 26 Jul 2024: same conversation, same tokens. A template this
 * version does not know is MSA_E_UNSUPPORTED and quotes its beginning. *text is freed with
 * msa_text_free. */
MSA_API msa_status msa_chat_format(const msa_model *model, const msa_chat_message *messages,
                                   size_t n, int add_generation_prompt, char **text,
                                   msa_error *err);

/* Appends the tokens of a conversation formatted so, ended with the opening of the assistant's turn
 * and with `opening`, which its answer goes on from, or NULL. What messages and opening hold is
 * text: the name of a control token in it is letters, so that no text can end its own turn. */
MSA_API msa_status msa_chat_tokenize(const msa_model *model, const msa_chat_message *messages,
                                     size_t n, const char *opening, msa_tokens *out,
                                     msa_error *err);

/* ---- sessions -------------------------------------------------------------------------------- */

typedef enum msa_attn_mode { MSA_ATTN_DENSE = 0, MSA_ATTN_MSA = 1 } msa_attn_mode;
/* What chooses the blocks of a query and group. The forced blocks are chosen whatever scores. The
 * trained index is the method; proxy and means need no training; from MSA_SELECTOR_WINDOW on they
 * are controls of an evaluation: what a selector must beat, and the most that could be reached. */
typedef enum msa_selector {
    MSA_SELECTOR_AUTO = 0,   /* the index branch where the model has one, else proxy */
    MSA_SELECTOR_INDEX = 1,  /* refused where the model has none */
    MSA_SELECTOR_PROXY = 2,  /* group-mean query against each group's own keys; nothing trained */
    MSA_SELECTOR_MEANS = 3,  /* group-mean query against the mean key of each block of the group */
    MSA_SELECTOR_SHARED = 4, /* MSA's shape, untrained: group-mean query against one key for all
                                groups, the mean of their keys */
    MSA_SELECTOR_WINDOW = 5, /* the first init blocks, at least one, and the newest */
    MSA_SELECTOR_RANDOM = 6, /* drawn by seed, layer, position and group */
    MSA_SELECTOR_ORACLE = 7  /* the largest attention mass, mean over the group's heads: reads every
                                key; a yardstick, not a method */
} msa_selector;
/* "auto", "index", "proxy", ...: as above, in small letters; NULL for another number. */
MSA_API const char *msa_selector_name(msa_selector kind);

/* The int8 copy of the index keys (attn.h, index8), from which the same blocks are chosen, bit for
 * bit, by reading half the bytes. Steps of few queries read it, decode above all; it costs a little
 * more than a byte an element of memory. AUTO: where the keys scored are a lane of their own
 * (index, shared) in f32, f16 or bf16, and the context holds 32,768 tokens or more. */
typedef enum msa_index8 { MSA_INDEX8_AUTO = 0, MSA_INDEX8_ON = 1, MSA_INDEX8_OFF = 2 } msa_index8;

typedef struct msa_session_params {
    int32_t n_ctx; /* most tokens the session can hold; 0: what the model was trained for */
    /* 1: n_ctx may be more than that. RoPE goes on with angles that no layer has seen, and nobody
     * has promised what comes of it: a choice to be made, not to slip into. */
    int32_t allow_past_context;
    msa_attn_mode attn;
    msa_selector selector;
    int32_t block, topk, local, init; /* as in msa_shape */
    uint64_t seed;                    /* of MSA_SELECTOR_RANDOM */
    /* Bit i of the 256 set: layer i attends densely in MSA mode too. With the index selector the
     * layers that have no index branch do, whatever this says. */
    uint64_t dense_layers[4];
    msa_dtype k_dtype;     /* of keys */
    msa_dtype v_dtype;     /* of values */
    msa_dtype index_dtype; /* of index keys; rounding them moves selections that are near ties */
    /* ON is refused where the keys scored, of proxy the keys themselves, have another format than
     * f32, f16 or bf16; what scores no index keys (dense, means, window, random, oracle) has no
     * copy. In the parameters in force never AUTO. */
    msa_index8 index8;
    int32_t n_threads; /* 0: as many as OpenMP gives */
    int32_t chunk;     /* tokens per prefill step; 0: chosen */
    int64_t kv_pages;  /* capacity for this session and its forks; 0: the blocks of
                                 n_ctx and one more */
} msa_session_params;

/* What makes sense for the model at hand: with an index branch what it was trained with, block,
 * top-k, local, init and the dense layers; else MSA with block 64, top-k 8, init 1, local 2 where
 * its context is 8,192 or less, M3's 128 / 16 with init 1, local 2 above. f16 keys, values and
 * index keys. An index branch may be run with other numbers; its quality was trained for these. */
MSA_API msa_session_params msa_session_defaults(const msa_model *model);

typedef struct msa_session msa_session;
MSA_API msa_status msa_session_create(msa_session **session, const msa_model *model,
                                      const msa_session_params *params, msa_error *err);
MSA_API void msa_session_free(msa_session *session); /* NULL is fine */
/* The selector of these parameters, AUTO replaced by what it is for this model; AUTO for NULL. */
MSA_API msa_selector msa_session_selector(const msa_session_params *params, const msa_model *model);
/* 1 where a session of these parameters would keep an int8 copy; 0 for NULL. With ON also where
 * msa_session_create then refuses the format of its keys. */
MSA_API int msa_session_wants_index8(const msa_session_params *params, const msa_model *model);
/* The parameters in force, zeros replaced by what was chosen. Lives with the session. */
MSA_API const msa_session_params *msa_session_get_params(const msa_session *session);
/* Its cache, shared with its forks, to be looked at: formats, bytes, pages left. */
MSA_API const msa_kv *msa_session_get_kv(const msa_session *session);

/* Called after each chunk with the tokens done of those being fed; return 0 to go on, anything else
 * to stop (MSA_E_CANCELLED; the chunks that were done stay fed). */
typedef int msa_progress_fn(void *user, int64_t n_done, int64_t n_total);

/* Feeds n >= 1 tokens. Fails with MSA_E_FULL before anything is done when they don't fit the
 * context or the cache: the text says how many there are, how many fit, and what to change. Any
 * failure but MSA_E_CANCELLED leaves the tokens as they were. */
MSA_API msa_status msa_session_feed(msa_session *session, const int32_t *ids, size_t n,
                                    msa_progress_fn *progress, void *user, msa_error *err);
/* Logits after the last token fed: [n_vocab], valid until the next feed or rewind; NULL before any
 * feed, after a rewind, and after a feed that was stopped or failed half-way. */
MSA_API const float *msa_session_logits(const msa_session *session);
/* Like feed, and hands out the logits of every token: called once per row, in order, `position`
 * absolute. For perplexity and tests. */
typedef int msa_logits_fn(void *user, int64_t position, const float *logits, int32_t n_vocab);
MSA_API msa_status msa_session_feed_logits(msa_session *session, const int32_t *ids, size_t n,
                                           msa_logits_fn *rows, void *user, msa_error *err);
MSA_API int64_t msa_session_length(const msa_session *session);
/* Drops everything behind the first n tokens. */
MSA_API msa_status msa_session_rewind(msa_session *session, int64_t n, msa_error *err);
/* Another timeline with the same past, sharing its cache until one of them writes. Shares the
 * original's page capacity; use both from one thread at a time. It starts with its logits, counts
 * of zero and nobody watching, and outlives the original. */
MSA_API msa_status msa_session_fork(msa_session **fork, msa_session *session, msa_error *err);

/* Counted since the session was created or msa_session_stats_reset. */
typedef struct msa_session_stats {
    int64_t n_prefill_tokens, n_decode_tokens; /* fed two or more at a time, and one by one */
    double prefill_s, decode_s;                /* wall seconds */
    double prefill_attn_s, decode_attn_s;      /* of these in selection and attention */
    double prefill_keys, decode_keys; /* main keys read, summed over queries; mean over layers and
                                         groups */
    double prefill_keys_dense, decode_keys_dense;   /* what dense attention would have read */
    msa_index8_stats prefill_index8, decode_index8; /* through the int8 copy, all layers */
} msa_session_stats;
MSA_API msa_session_stats msa_session_get_stats(const msa_session *session);
MSA_API void msa_session_stats_reset(msa_session *session);

/* Watching selections: called for each layer and chunk that selected, with ids token-major,
 * ascending ([n, Hkv, k], MSA_TOKEN_MAJOR) for the n tokens from position `first`. NULL stops. */
typedef void msa_watch_fn(void *user, int32_t layer, int64_t first, int64_t n,
                          const msa_shape *shape, const int32_t *ids);
MSA_API void msa_session_watch(msa_session *session, msa_watch_fn *watch, void *user);
/* Watching also how much attention each block would get: mass [n, Hkv, n_blocks] is a block's share
 * of the attention to everything visible, mean over the heads of the group; 0 behind the query. By
 * it a selection is held against the best there is. It costs about as much as dense attention. */
typedef void msa_mass_fn(void *user, int32_t layer, int64_t first, int64_t n,
                         const msa_shape *shape, const int32_t *ids, const float *mass,
                         int64_t n_blocks);
MSA_API void msa_session_watch_mass(msa_session *session, msa_mass_fn *watch, void *user);

/* ---- sampling -------------------------------------------------------------------------------- */

typedef struct msa_sampler_params {
    float temperature;    /* 0: greedy */
    int32_t top_k;        /* 0: off */
    float top_p;          /* 1: off */
    float min_p;          /* 0: off */
    float repeat_penalty; /* 1: off */
    int32_t repeat_last;  /* tokens looked back for the penalty; 0: off, -1: all */
    uint64_t seed;
} msa_sampler_params;

/* temperature 0.8, top-k 40, top-p 0.95, min-p 0.05, penalty off (1.0, last 64), seed 0. */
MSA_API msa_sampler_params msa_sampler_defaults(void);

typedef struct msa_sampler msa_sampler;
MSA_API msa_status msa_sampler_create(msa_sampler **s, const msa_sampler_params *params,
                                      int32_t n_vocab, msa_error *err);
/* Order: repetition penalty, top-k, top-p, min-p, temperature, draw; greedy when temperature is 0.
 * Ties go to the lower id. Same seed, same logits: same tokens, on every machine. */
MSA_API msa_status msa_sampler_pick(msa_sampler *s, const float *logits, int32_t *id,
                                    msa_error *err);
/* Tells the sampler of a token in the text (prompt or picked): the penalty looks at these. */
MSA_API msa_status msa_sampler_accept(msa_sampler *s, int32_t id, msa_error *err);
/* Forgets the tokens it was told of, for a text that was rewound; the draws go on. NULL is fine. */
MSA_API void msa_sampler_forget(msa_sampler *s);
MSA_API void msa_sampler_free(msa_sampler *s);

#ifdef __cplusplus
}
#endif
#endif
