/* config_keys.c: the table of keys, see config.h. */
#include "train/config_keys.h"

#include <stdio.h>
#include <string.h>

#include "base/nearest.h"

const char *const CONFIG_TASK_NAMES[TASK_COUNT] = {"recall", "copy", "passkey", "needle"};

#define AT(field) offsetof(train_config, field)
#define INT(path, field, lo, hi, otherwise, help)                                                  \
    { path, KEY_INT, AT(field), lo, hi, NULL, otherwise, help, false }
#define INT_FREE(path, field, lo, hi, otherwise, help)                                             \
    { path, KEY_INT, AT(field), lo, hi, NULL, otherwise, help, true }
#define REAL(path, field, lo, hi, otherwise, help)                                                 \
    { path, KEY_REAL, AT(field), lo, hi, NULL, otherwise, help, false }
#define BOOL(path, field, otherwise, help)                                                         \
    { path, KEY_BOOL, AT(field), 0, 1, NULL, otherwise, help, false }
#define CHOICE(path, field, choices, otherwise, help)                                              \
    { path, KEY_CHOICE, AT(field), 0, 0, choices, otherwise, help, false }
#define TEXT(path, field, otherwise, help)                                                         \
    { path, KEY_TEXT, AT(field), 0, 0, NULL, otherwise, help, false }
#define TEXT_FREE(path, field, otherwise, help)                                                    \
    { path, KEY_TEXT, AT(field), 0, 0, NULL, otherwise, help, true }
#define TEXTS(path, field, otherwise, help)                                                        \
    { path, KEY_TEXTS, AT(field), 0, 0, NULL, otherwise, help, false }
#define MUCH 1e12
#define TASK(name, i, usual, items_most, items_help, asked)                                        \
    REAL("tasks." name ".weight", tasks[i].weight, 0, 1e6, "0",                                    \
         "share of the micro-batches, against data.weight and the other tasks; 0: off"),           \
        INT("tasks." name ".length", tasks[i].length, 0, 1 << 24, "0",                             \
            "tokens of a sample; 0: data.context"),                                                \
        INT("tasks." name ".start_length", tasks[i].start_length, 0, 1 << 24, "0",                 \
            "tokens of a sample at the first step, growing to length; 0: length"),                 \
        INT("tasks." name ".items", tasks[i].items, 1, items_most, usual, items_help),             \
        INT("tasks." name ".start_items", tasks[i].start_items, 0, items_most, "0",                \
            "items at the first step, growing to items; 0: items"),                                \
        INT("tasks." name ".questions", tasks[i].questions, 1, 4096, asked,                        \
            "questions at the end of a sample; what it lacks items for is left out, but recall "   \
            "asks again, whose answers then stand nearby too"),                                    \
        INT("tasks." name ".grow_from", tasks[i].grow_from, 0, MUCH, "0",                          \
            "step at which length and items begin to grow"),                                       \
        INT("tasks." name ".grow_steps", tasks[i].grow_steps, 0, MUCH, "0",                        \
            "steps over which length and items grow, with the square of the time"),                \
        BOOL("tasks." name ".mixed", tasks[i].mixed, "false",                                      \
             "samples of all sizes from the first to the present one, drawn one by one; false: "   \
             "the present one"),                                                                   \
        BOOL("tasks." name ".answers_only", tasks[i].answers_only, "true",                         \
             "loss on the answers alone; false: on every token")
#define SCHEDULE(prefix, field, usual)                                                             \
    CHOICE(prefix ".kind", field.kind, "cosine|wsd|constant", "cosine",                            \
           "after the warm-up: half a cosine, steady then falling, or steady"),                    \
        INT(prefix ".warmup", field.warmup, 0, MUCH, usual, "steps from 0 to the full rate"),      \
        REAL(prefix ".final", field.final, 0, 1, "0.1",                                            \
             "share of the rate left at the last step"),                                           \
        REAL(prefix ".decay_share", field.decay_share, 0, 1, "0.2",                                \
             "wsd: share of the steps that the fall takes")

const config_key CONFIG_KEYS[] = {
    TEXT("model.from", model.from, "",
         "model file to start from, whose shape then counts (GGUF or safetensors); empty: random"),
    CHOICE("model.family", model.family, "llama|qwen2|qwen3|minimax-m3", "minimax-m3",
           "architecture"),
    INT("model.layers", model.layers, 1, 256, "4", "layers"),
    INT("model.width", model.width, 8, 65536, "256", "width of the residual stream"),
    INT("model.heads", model.heads, 1, 1024, "4", "query heads"),
    INT("model.kv_heads", model.kv_heads, 0, 1024, "0",
        "key and value heads, = groups; 0: half of heads"),
    INT("model.head_dim", model.head_dim, 0, 256, "0",
        "width of a head, a multiple of 8; 0: width / heads"),
    INT("model.ffn", model.ffn, 0, 1 << 20, "0", "width of the dense feed-forward; 0: 3 x width"),
    INT("model.rot", model.rot, 0, 256, "0",
        "dims of a head that RoPE turns; 0: half of them in minimax-m3, else all"),
    REAL("model.rope_base", model.rope_base, 1, 1e9, "10000", "base of RoPE's wavelengths"),
    REAL("model.norm_eps", model.norm_eps, 1e-12, 1e-2, "1e-6", "epsilon of RMSNorm"),
    INT("model.vocab", model.vocab, 0, 1 << 24, "0", "vocabulary; 0: the tokenizer's"),
    INT("model.dense_layers", model.dense_layers, 0, 256, "1",
        "leading layers with dense attention and a dense feed-forward"),
    BOOL("model.tied", model.tied, "false", "the output projection is the embedding"),
    REAL("model.swiglu_alpha", model.swiglu_alpha, 0, 100, "1.702",
         "minimax-m3: steepness of the gate's sigmoid"),
    REAL("model.swiglu_limit", model.swiglu_limit, 0.1, 1e6, "7",
         "minimax-m3: where gate and up are clamped"),
    REAL("model.init_std", model.init_std, 0, 1, "0.02", "standard deviation of random weights"),
    REAL("model.embed_std", model.embed_std, 0, 10, "0",
         "the same of the embedding (with model.tied the output too); 0: init_std. What a token is "
         "must outweigh what the first layer adds, or matching keys is learnt late"),
    REAL("model.qk_gain", model.qk_gain, 0.01, 100, "1",
         "initial gain of the norms of Q and K, where the family has them"),
    REAL("model.index_qk_gain", model.index_qk_gain, 0.01, 100, "1",
         "the same of the index branch"),
    BOOL("model.index.on", model.index.on, "true",
         "the layers behind dense_layers have an index branch"),
    TEXT("model.index.from", model.index.from, "",
         "file of an index branch beside model.from, which is gone on with; empty: none"),
    BOOL("model.index.keep", model.index.keep, "true",
         "a branch in the file of model.from is gone on with; false: these keys make another"),
    INT("model.index.dim", model.index.dim, 0, 256, "0",
        "width of an index head, a multiple of 8; 0: head_dim"),
    INT("model.index.block", model.index.block, 16, 256, "16", "tokens of a block, a power of two"),
    INT("model.index.topk", model.index.topk, 1, 64, "8",
        "blocks a query reads, forced ones included"),
    INT("model.index.local", model.index.local, 0, 64, "1",
        "forced trailing blocks, the own one included"),
    INT("model.index.init", model.index.init, 0, 64, "0", "forced leading blocks"),
    CHOICE("model.index.start", model.index.start, "random|heads", "random",
           "weights to begin with: random, or the mean query of each group and the mean key of the "
           "model of model.from (index.dim as wide as its heads)"),
    INT("model.moe.experts", model.moe.experts, 0, 4096, "0",
        "minimax-m3: experts of the layers behind dense_layers; 0: dense"),
    INT("model.moe.used", model.moe.used, 1, 64, "2", "experts a token goes through"),
    INT("model.moe.ffn", model.moe.ffn, 0, 1 << 20, "0", "width of an expert; 0: ffn / used"),
    INT("model.moe.shared_ffn", model.moe.shared_ffn, 0, 1 << 20, "0",
        "width of the shared expert; 0: none"),
    REAL("model.moe.scale", model.moe.scale, 0, 1000, "1",
         "times the weights of the experts, which sum to 1"),

    TEXTS("data.text", data.text, "", "text files and directories to learn from"),
    TEXTS("data.valid", data.valid, "",
          "text held out for validation; empty: a share of data.text"),
    REAL("data.valid_share", data.valid_share, 0, 0.5, "0.02",
         "share of the text held out where data.valid is empty"),
    TEXT("data.tokenizer", data.tokenizer, "bytes",
         "\"bytes\", or a model whose tokenizer is used: a GGUF file, or a folder of safetensors"),
    TEXT("data.separator", data.separator, "",
         "text between documents of one file; empty: a file is a document"),
    TEXT_FREE("data.cache", data.cache, "", "directory of the token files; empty: run.out"),
    REAL("data.weight", data.weight, 0, 1e6, "1",
         "share of the micro-batches that are text, against the tasks"),
    INT("data.context", data.context, 16, 1 << 24, "1024", "tokens of a training sequence"),
    INT("data.rows", data.rows, 1, 65536, "4", "sequences of a micro-batch"),
    INT("data.shortest", data.shortest, 1, 1 << 24, "1",
        "pieces of text with fewer tokens are left out; at most context"),

    TASK("recall", TASK_RECALL, "32", 4096, "pairs told", "16"),
    TASK("copy", TASK_COPY, "16", 4096, "symbols to go on with, for each question", "4"),
    TASK("passkey", TASK_PASSKEY, "5", 18, "digits of the pass key", "1"),
    TASK("needle", TASK_NEEDLE, "8", 4096, "facts told inside real text", "4"),

    REAL("optim.lr", optim.lr, 0, 10, "1e-3", "learning rate at its peak"),
    REAL("optim.beta1", optim.beta1, 0, 0.999999, "0.9", "AdamW: memory of the gradient"),
    REAL("optim.beta2", optim.beta2, 0, 0.999999999, "0.95", "AdamW: memory of its square"),
    REAL("optim.eps", optim.eps, 1e-20, 1, "1e-8", "AdamW: epsilon"),
    REAL("optim.weight_decay", optim.weight_decay, 0, 10, "0.1",
         "of matrices, times the learning rate"),
    REAL("optim.clip", optim.clip, 0, 1e9, "1", "largest norm of a step's gradient; 0: off"),
    REAL("optim.spike", optim.spike, 0, 1e9, "4",
         "a gradient norm or KL this many times its recent mean is logged as a spike; 0: off"),
    BOOL("optim.skip_spikes", optim.skip_spikes, "false",
         "leave the weights alone in a step with a spike"),
    INT("optim.accumulate", optim.accumulate, 1, 65536, "1", "micro-batches of a step"),
    REAL("optim.index_lr", optim.index_lr, 0, 10, "1e-3",
         "learning rate of the index branch at its peak"),
    REAL("optim.index_sparse", optim.index_sparse, 0, 1000, "1",
         "times the rate of the index branch in the sparse phase"),
    REAL("optim.router_bias", optim.router_bias, 0, 1, "1e-3",
         "step of the router's bias against uneven load; 0: off"),

    SCHEDULE("schedule", schedule.main, "100"),
    BOOL("schedule.index_own", schedule.index_own, "false",
         "the index branch follows schedule.index, else schedule"),
    SCHEDULE("schedule.index", schedule.index, "0"),

    CHOICE("recipe.kind", recipe.kind, "full|pt|cpt|index-only", "pt",
           "dense; warm-up then sparse; dense, warm-up, sparse; frozen backbone, index alone"),
    INT("recipe.warmup", recipe.warmup, -1, MUCH, "-1",
        "steps of the warm-up, dense with the KL loss; -1: a fifth of the steps (pt), a tenth "
        "(cpt)"),
    INT("recipe.dense", recipe.dense, -1, MUCH, "-1",
        "cpt: dense steps before the warm-up; -1: half of the steps"),
    REAL("recipe.lambda", recipe.lambda, 0, 1e6, "1", "weight of the KL loss"),
    CHOICE("recipe.kl_warmup", recipe.kl_warmup, "off|visible|selected|far|far-mass", "visible",
           "support of the KL loss in the warm-up, and of index-only; far-mass: far, each query by "
           "the attention it has there"),
    CHOICE("recipe.kl_sparse", recipe.kl_sparse, "off|visible|selected|far", "selected",
           "support of the KL loss in the sparse phase"),
    CHOICE("recipe.selection", recipe.selection, "index|sink-window|random", "index",
           "what chooses the blocks in the sparse phase"),
    BOOL("recipe.detach", recipe.detach, "true",
         "the index branch reads stop-gradient(X); false is an ablation"),
    BOOL("recipe.index_value", recipe.index_value, "false",
         "ablation: the index branch attends too and adds its output"),
    BOOL("recipe.lm_index", recipe.lm_index, "false",
         "ablation: the index branch learns from the LM loss alone"),
    BOOL("recipe.fp8_p", recipe.fp8_p, "false",
         "probabilities of the main branch pass through FP8 E4M3, straight-through backward"),
    INT("recipe.kl_rows", recipe.kl_rows, 0, 1 << 24, "0",
        "query rows sampled per document for the KL loss; 0: all"),
    INT("recipe.kl_repeats", recipe.kl_repeats, 1, 1024, "1",
        "index-only: steps on one micro-batch, each with rows of its own; the model runs forward "
        "in the first of them alone"),

    INT_FREE("log.every", log.every, 1, MUCH, "10", "steps between records of the log"),
    INT_FREE("log.diagnostics", log.diagnostics, 0, MUCH, "100",
             "steps between recall and mass of the selection; 0: only at the end"),
    INT_FREE("log.eval", log.eval, 0, MUCH, "100", "steps between evaluations; 0: only at the end"),
    {"log.eval_first", KEY_BOOL, AT(log.eval_first), 0, 1, NULL, "false",
     "an evaluation before the first step", true},
    INT_FREE("log.eval_rows", log.eval_rows, 1, 1 << 20, "16",
             "sequences of text, and of each task, in an evaluation"),
    INT_FREE("log.checkpoint", log.checkpoint, 0, MUCH, "200",
             "steps between checkpoints; 0: only at the end"),
    INT_FREE("log.keep", log.keep, 1, 1000, "2", "checkpoints kept"),

    TEXT_FREE("run.out", run.out, "run", "directory of checkpoints, log and model"),
    INT("run.steps", run.steps, 1, MUCH, "1000", "steps"),
    INT("run.seed", run.seed, 0, 9007199254740992.0, "1", "seed of weights, order and tasks"),
    INT_FREE("run.threads", run.threads, 0, 1024, "0", "threads; 0: all"),
    {"run.recompute", KEY_BOOL, AT(run.recompute), 0, 1, NULL, "false",
     "keep only the input of each layer and run it again in the backward pass: less memory", true},
    {"run.format", KEY_CHOICE, AT(run.format), 0, 0, "gguf|safetensors|both|index|none", "gguf",
     "of the model that is written at the end; index: the index branch alone, beside its base",
     true},
    {"run.type", KEY_CHOICE, AT(run.type), 0, 0, "f32|f16|bf16", "f32",
     "number format of its matrices; an index branch inside a whole model stays f32", true},
};
const size_t N_CONFIG_KEYS = sizeof CONFIG_KEYS / sizeof *CONFIG_KEYS;

const config_key *config_find(const char *path) {
    for (size_t i = 0; i < N_CONFIG_KEYS; i++)
        if (strcmp(CONFIG_KEYS[i].path, path) == 0) return &CONFIG_KEYS[i];
    return NULL;
}

msa_status config_unknown(const char *path, msa_error *err) {
    const char *near = NULL;
    size_t best = nearest_limit(path);
    for (size_t i = 0; i < N_CONFIG_KEYS; i++) {
        const char *known = CONFIG_KEYS[i].path, *last = strrchr(known, '.') + 1;
        size_t whole = nearest_distance(path, known), tail = nearest_distance(path, last);
        if (!strchr(path, '.') && tail < whole) whole = tail; /* "lr" is optim.lr */
        if (whole <= best && (!near || whole < best)) best = whole, near = known;
    }
    if (near)
        return error_set(err, MSA_E_ARG, "there is no key '%.100s'; did you mean %s?", path, near);
    return error_set(err, MSA_E_ARG, "there is no key '%.100s'; --help-config lists them all",
                     path);
}

bool config_choice(const char *choices, int i, const char **text, size_t *n) {
    for (; i > 0; i--) {
        choices += strcspn(choices, "|");
        if (*choices++ == 0) return false;
    }
    *text = choices;
    *n = strcspn(choices, "|");
    return true;
}

static void choices_in_words(const char *choices, char *text, size_t size) {
    size_t used = 0, n;
    const char *one;
    text[0] = 0;
    for (int i = 0; config_choice(choices, i, &one, &n) && used < size; i++)
        used += (size_t)snprintf(text + used, size - used, "%s%.*s",
                                 i == 0   ? ""
                                 : one[n] ? ", "
                                          : " or ",
                                 (int)n, one);
}

void config_allowed(const config_key *k, char *text, size_t size) {
    switch (k->kind) {
    case KEY_INT: snprintf(text, size, "a whole number from %.0f to %.0f", k->min, k->max); return;
    case KEY_REAL: snprintf(text, size, "a number from %g to %g", k->min, k->max); return;
    case KEY_BOOL: snprintf(text, size, "true or false"); return;
    case KEY_CHOICE: choices_in_words(k->choices, text, size); return;
    case KEY_TEXT: snprintf(text, size, "a text"); return;
    case KEY_TEXTS: snprintf(text, size, "a text or a list of texts"); return;
    }
}
