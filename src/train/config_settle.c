/* config_settle.c: what follows from the keys, and what contradicts between them, see config.h. */
#include "train/config.h"
#include "train/net.h"

enum { WIDEST_HEAD = 256 }; /* of any attention */

static msa_status settle_heads(train_config *c, msa_error *err) {
    if (c->model.kv_heads == 0) c->model.kv_heads = c->model.heads > 1 ? c->model.heads / 2 : 1;
    if (c->model.heads % c->model.kv_heads != 0)
        return error_set(err, MSA_E_ARG,
                         "model.heads is %lld and model.kv_heads %lld; expected a multiple of it: "
                         "every group has as many query heads",
                         (long long)c->model.heads, (long long)c->model.kv_heads);
    if (c->model.head_dim == 0) c->model.head_dim = c->model.width / c->model.heads;
    if (c->model.head_dim % 8 != 0 || c->model.head_dim < 8 || c->model.head_dim > WIDEST_HEAD)
        return error_set(err, MSA_E_ARG,
                         "model.head_dim is %lld (0 stands for width / heads); expected a multiple "
                         "of 8 from 8 to 256",
                         (long long)c->model.head_dim);
    bool partial = c->model.family == ARCH_MINIMAX_M3;
    if (c->model.rot == 0) c->model.rot = partial ? c->model.head_dim / 2 : c->model.head_dim;
    if (c->model.rot % 2 != 0 || c->model.rot > c->model.head_dim)
        return error_set(err, MSA_E_ARG,
                         "model.rot is %lld; expected an even number of at most model.head_dim, "
                         "%lld",
                         (long long)c->model.rot, (long long)c->model.head_dim);
    if (!partial && c->model.rot != c->model.head_dim)
        return error_set(err, MSA_E_ARG,
                         "model.rot is %lld; this family turns whole heads: expected %lld, or 0",
                         (long long)c->model.rot, (long long)c->model.head_dim);
    return MSA_OK;
}

static msa_status settle_index(train_config *c, msa_error *err) {
    if (c->recipe.kind == RECIPE_FULL) {
        c->model.index.on = false;
        return MSA_OK;
    }
    if (!c->model.index.on)
        return error_set(err, MSA_E_ARG,
                         "model.index.on is false; this recipe trains an index branch: set it "
                         "true, or recipe.kind to full");
    if (c->model.from[0] == 0 && c->model.dense_layers >= c->model.layers)
        return error_set(err, MSA_E_ARG,
                         "model.dense_layers is %lld of %lld layers; expected less: no layer is "
                         "left for the index branch",
                         (long long)c->model.dense_layers, (long long)c->model.layers);
    bool from = c->model.from[0] != 0; /* the file says how wide heads are */
    if (c->model.index.dim == 0 && !from) c->model.index.dim = c->model.head_dim;
    if (c->model.index.dim % 8 != 0 || (!from && c->model.index.dim < c->model.rot))
        return error_set(err, MSA_E_ARG,
                         "model.index.dim is %lld; expected a multiple of 8 of at least "
                         "model.rot, %lld: the index is rotated as Q and K are",
                         (long long)c->model.index.dim, (long long)c->model.rot);
    if ((c->model.index.block & (c->model.index.block - 1)) != 0)
        return error_set(err, MSA_E_ARG,
                         "model.index.block is %lld; expected a power of two from 16 to 256",
                         (long long)c->model.index.block);
    if (c->model.index.local + c->model.index.init > c->model.index.topk)
        return error_set(err, MSA_E_ARG,
                         "model.index.local + model.index.init is %lld; expected at most "
                         "model.index.topk, %lld",
                         (long long)(c->model.index.local + c->model.index.init),
                         (long long)c->model.index.topk);
    int64_t budget = c->model.index.topk * c->model.index.block;
    if (!from && c->data.context <= budget) /* else that of a branch which is there may count */
        return error_set(err, MSA_E_ARG,
                         "data.context is %lld and the key budget, topk x block, %lld; expected a "
                         "longer context: up to the budget everything is selected",
                         (long long)c->data.context, (long long)budget);
    return MSA_OK;
}

/* Keys of random weights where there are none; the shape of another model is no contradiction. */
static msa_status settle_from(const train_config *c, msa_error *err) {
    bool heads = c->model.index.start == INDEX_FROM_HEADS;
    train_config usual;
    msa_status status = config_init(&usual, err);
    const char *set = c->model.embed_std != usual.model.embed_std          ? "embed_std"
                      : c->model.qk_gain != usual.model.qk_gain            ? "qk_gain"
                      : heads && c->model.init_std != usual.model.init_std ? "init_std"
                                                                           : NULL;
    config_free(&usual);
    if (status != MSA_OK || !set) return status;
    return error_set(err, MSA_E_ARG,
                     "model.%s is set and so is model.from%s; weights that are read are not drawn: "
                     "expected no model.%s",
                     set, set[0] == 'i' ? ", with model.index.start heads" : "", set);
}

/* Where a branch that exists already is to come from. */
static msa_status settle_index_from(const train_config *c, msa_error *err) {
    if (c->model.from[0] == 0 && c->model.index.from[0])
        return error_set(err, MSA_E_ARG,
                         "model.index.from is set and model.from is empty; expected the model that "
                         "the branch was trained beside");
    if (c->model.from[0] == 0 && !c->model.index.keep)
        return error_set(err, MSA_E_ARG,
                         "model.index.keep is false and model.from empty; there is no branch to "
                         "leave out, expected true");
    if (c->model.index.from[0] && c->recipe.kind == RECIPE_FULL)
        return error_set(err, MSA_E_ARG,
                         "model.index.from is set and recipe.kind is full, which leaves an index "
                         "branch out; expected another recipe, or no branch");
    if (c->model.index.from[0] && !(c->model.index.keep && c->model.index.on))
        return error_set(err, MSA_E_ARG,
                         "model.index.from is set and model.index.%s is false; expected true: the "
                         "branch would be read for nothing",
                         c->model.index.on ? "keep" : "on");
    return MSA_OK;
}

static msa_status settle_model(train_config *c, msa_error *err) {
    msa_status branch = settle_index_from(c, err);
    if (branch != MSA_OK) return branch;
    if (c->model.from[0]) {
        msa_status from = settle_from(c, err);
        return from == MSA_OK ? settle_index(c, err) : from;
    }
    msa_status status = settle_heads(c, err);
    if (status == MSA_OK && c->model.dense_layers > c->model.layers)
        return error_set(err, MSA_E_ARG, "model.dense_layers is %lld; there are %lld layers",
                         (long long)c->model.dense_layers, (long long)c->model.layers);
    if (status == MSA_OK) status = settle_index(c, err);
    if (status != MSA_OK) return status;
    if (c->model.ffn == 0) c->model.ffn = 3 * c->model.width;
    if (c->model.moe.experts == 0) return MSA_OK;
    if (c->model.family != ARCH_MINIMAX_M3)
        return error_set(err, MSA_E_ARG,
                         "model.moe.experts is %lld; only the family minimax-m3 has experts, "
                         "expected 0",
                         (long long)c->model.moe.experts);
    if (c->model.moe.used > c->model.moe.experts)
        return error_set(err, MSA_E_ARG,
                         "model.moe.used is %lld; expected at most %lld, the experts",
                         (long long)c->model.moe.used, (long long)c->model.moe.experts);
    if (c->model.moe.ffn == 0) c->model.moe.ffn = c->model.ffn / c->model.moe.used;
    if (c->model.moe.ffn == 0)
        return error_set(err, MSA_E_ARG, "model.moe.ffn comes to 0; set it, or a larger model.ffn");
    return MSA_OK;
}

static msa_status settle_task(train_config *c, config_task *t, const char *name, msa_error *err) {
    if (t->weight == 0) return MSA_OK;
    if (t->length == 0) t->length = c->data.context;
    if (t->start_length == 0) t->start_length = t->length;
    if (t->start_items == 0) t->start_items = t->items;
    if (t->length > c->data.context || t->start_length > t->length)
        return error_set(err, MSA_E_ARG,
                         "tasks.%s: start_length is %lld and length %lld; expected them to rise "
                         "up to data.context, %lld, at most",
                         name, (long long)t->start_length, (long long)t->length,
                         (long long)c->data.context);
    if (t->start_items > t->items)
        return error_set(err, MSA_E_ARG,
                         "tasks.%s.start_items is %lld; expected at most items, %lld", name,
                         (long long)t->start_items, (long long)t->items);
    return MSA_OK;
}

static msa_status settle_data(train_config *c, msa_error *err) {
    double total = c->data.weight;
    for (int i = 0; i < TASK_COUNT; i++) {
        msa_status status = settle_task(c, &c->tasks[i], CONFIG_TASK_NAMES[i], err);
        if (status != MSA_OK) return status;
        total += c->tasks[i].weight;
    }
    if (total <= 0)
        return error_set(err, MSA_E_ARG,
                         "data.weight and the weights of all tasks are 0; expected one above 0: "
                         "there is nothing to learn from");
    if (c->data.weight > 0 && c->data.text.n == 0)
        return error_set(err, MSA_E_ARG,
                         "data.text is empty; expected text files or directories, or data.weight "
                         "0 to learn from tasks alone");
    if (c->tasks[TASK_NEEDLE].weight > 0 && c->data.text.n == 0)
        return error_set(err, MSA_E_ARG,
                         "data.text is empty; the task needle hides its facts in real text");
    if (c->data.text.n > 0 && c->data.valid.n == 0 && c->data.valid_share == 0)
        return error_set(err, MSA_E_ARG,
                         "data.valid is empty and data.valid_share 0; expected one of them: "
                         "nothing would be held out to validate on");
    if (c->data.shortest > c->data.context)
        return error_set(err, MSA_E_ARG,
                         "data.shortest is %lld; expected at most data.context, %lld",
                         (long long)c->data.shortest, (long long)c->data.context);
    if (c->data.rows * c->data.context > INT32_MAX)
        return error_set(err, MSA_E_ARG,
                         "data.rows x data.context is %lld tokens; expected at most %d",
                         (long long)(c->data.rows * c->data.context), INT32_MAX);
    return MSA_OK;
}

static msa_status settle_steps(train_config *c, msa_error *err) {
    int64_t steps = c->run.steps, *warmup = &c->recipe.warmup, *dense = &c->recipe.dense;
    int32_t kind = c->recipe.kind;
    if (kind != RECIPE_CPT) {
        if (*dense > 0)
            return error_set(err, MSA_E_ARG,
                             "recipe.dense is %lld; only the recipe cpt begins with dense steps, "
                             "expected 0",
                             (long long)*dense);
        *dense = 0;
    }
    if (kind == RECIPE_FULL || kind == RECIPE_INDEX_ONLY) *warmup = 0;
    if (*dense < 0) *dense = steps / 2;
    if (*warmup < 0) *warmup = (steps + 4) / (kind == RECIPE_CPT ? 10 : 5);
    if (*dense + *warmup > steps)
        return error_set(err, MSA_E_ARG,
                         "recipe.dense + recipe.warmup is %lld; expected at most run.steps, %lld",
                         (long long)(*dense + *warmup), (long long)steps);
    if (c->schedule.main.warmup > steps || c->schedule.index.warmup > steps)
        return error_set(err, MSA_E_ARG,
                         "schedule.warmup is %lld and schedule.index.warmup %lld; expected at most "
                         "run.steps, %lld",
                         (long long)c->schedule.main.warmup, (long long)c->schedule.index.warmup,
                         (long long)steps);
    return MSA_OK;
}

/* Keys that nothing would read. */
static msa_status settle_index_schedule(const train_config *c, msa_error *err) {
    const config_schedule *own = &c->schedule.index;
    train_config usual;
    if (c->schedule.index_own) return MSA_OK;
    msa_status status = config_init(&usual, err);
    const config_schedule *u = &usual.schedule.index;
    const char *set = own->kind != u->kind                 ? "kind"
                      : own->warmup != u->warmup           ? "warmup"
                      : own->final != u->final             ? "final"
                      : own->decay_share != u->decay_share ? "decay_share"
                                                           : NULL;
    config_free(&usual);
    if (status != MSA_OK || !set) return status;
    return error_set(err, MSA_E_ARG,
                     "schedule.index.%s is set and schedule.index_own is false; the index branch "
                     "then follows schedule: expected schedule.index_own true, or no "
                     "schedule.index.%s",
                     set, set);
}

/* What a phase of the recipe could not do once it is reached. */
static msa_status settle_switches(const train_config *c, msa_error *err) {
    bool index_only = c->recipe.kind == RECIPE_INDEX_ONLY;
    if (c->recipe.kl_warmup == NET_KL_SELECTED && c->recipe.warmup > 0 && !c->recipe.lm_index)
        return error_set(err, MSA_E_ARG,
                         "recipe.kl_warmup is selected; in the warm-up attention is dense and "
                         "nothing is selected, expected off, visible, far or far-mass (or "
                         "recipe.warmup 0)");
    if (index_only && c->recipe.index_value)
        return error_set(err, MSA_E_ARG,
                         "recipe.index_value is true; only the LM loss teaches an index value, and "
                         "the recipe index-only has none, expected false");
    if (c->recipe.lm_index && c->model.from[0] == 0 &&
        c->model.head_dim + c->model.index.dim > WIDEST_HEAD)
        return error_set(err, MSA_E_ARG,
                         "recipe.lm_index is true; model.head_dim + model.index.dim is %lld, "
                         "expected at most %d",
                         (long long)(c->model.head_dim + c->model.index.dim), WIDEST_HEAD);
    if (c->recipe.kl_repeats > 1 && (!index_only || !c->recipe.detach || c->optim.accumulate > 1 ||
                                     c->recipe.kl_warmup == NET_KL_SELECTED))
        return error_set(
            err, MSA_E_ARG,
            "recipe.kl_repeats is %lld; only where the model runs densely and the "
            "index branch alone learns does a forward pass serve again: expected 1, or "
            "the recipe index-only with recipe.detach, optim.accumulate 1 and another "
            "recipe.kl_warmup than selected",
            (long long)c->recipe.kl_repeats);
    if (c->recipe.kl_warmup == NET_KL_FAR_MASS && c->recipe.lm_index)
        return error_set(err, MSA_E_ARG,
                         "recipe.kl_warmup is far-mass; recipe.lm_index has no KL loss");
    if (c->model.index.start == INDEX_FROM_HEADS && c->model.from[0] == 0)
        return error_set(err, MSA_E_ARG,
                         "model.index.start is heads; those of a trained model are meant: expected "
                         "model.from, or random");
    if (c->run.format == FORMAT_INDEX &&
        (!index_only || !c->recipe.detach || c->model.from[0] == 0))
        return error_set(err, MSA_E_ARG,
                         "run.format is index, which writes the index branch alone; expected the "
                         "recipe index-only with recipe.detach and model.from, or a format that "
                         "holds the weights that are trained besides");
    return MSA_OK;
}

static msa_status settle_recipe(train_config *c, msa_error *err) {
    if (c->recipe.kind == RECIPE_INDEX_ONLY && c->recipe.kl_warmup == 0)
        return error_set(err, MSA_E_ARG,
                         "recipe.kl_warmup is off; the recipe index-only learns from the KL loss "
                         "alone, expected visible, selected, far or far-mass");
    if (c->recipe.kind == RECIPE_INDEX_ONLY && c->recipe.lm_index)
        return error_set(err, MSA_E_ARG,
                         "recipe.lm_index is true; the recipe index-only has no LM loss, expected "
                         "false");
    if (c->recipe.kind == RECIPE_FULL && c->model.from[0] == 0 &&
        c->model.family == ARCH_MINIMAX_M3 && c->run.format != FORMAT_NONE)
        return error_set(
            err, MSA_E_ARG,
            "recipe.kind is full; files of minimax-m3 have no word for a model without "
            "an index branch: expected another model.family (qwen3 norms Q and K "
            "too), or run.format none");
    if (c->model.index.init > 0 && c->model.index.on && c->model.from[0] == 0 &&
        c->model.family == ARCH_MINIMAX_M3 && c->run.format != FORMAT_NONE)
        return error_set(err, MSA_E_ARG,
                         "model.index.init is %lld; files of minimax-m3 have no word for forced "
                         "leading blocks: expected 0, another model.family, or run.format none",
                         (long long)c->model.index.init);
    if (c->recipe.index_value && c->run.format != FORMAT_NONE)
        return error_set(err, MSA_E_ARG,
                         "recipe.index_value is true; no file has a place for index values, "
                         "expected run.format none");
    if (c->run.out[0] == 0)
        return error_set(err, MSA_E_ARG, "run.out is empty; expected a directory");
    return MSA_OK;
}

msa_status config_settle(train_config *c, msa_error *err) {
    msa_status status = settle_model(c, err);
    if (status == MSA_OK) status = settle_data(c, err);
    if (status == MSA_OK) status = settle_index_schedule(c, err);
    if (status == MSA_OK) status = settle_steps(c, err);
    if (status == MSA_OK) status = settle_recipe(c, err);
    if (status == MSA_OK) status = settle_switches(c, err);
    return status;
}

msa_status config_arch(const train_config *c, int32_t n_vocab, arch *out, msa_error *err) {
    int64_t vocab = c->model.vocab ? c->model.vocab : n_vocab;
    if (vocab < n_vocab)
        return error_set(err, MSA_E_ARG,
                         "model.vocab is %lld; the tokenizer has %d tokens, expected 0 or at least "
                         "as many",
                         (long long)vocab, n_vocab);
    bool m3 = c->model.family == ARCH_MINIMAX_M3;
    *out = (arch){
        .family = (arch_family)c->model.family,
        .n_layers = (int32_t)c->model.layers,
        .n_embd = (int32_t)c->model.width,
        .n_q_heads = (int32_t)c->model.heads,
        .n_kv_heads = (int32_t)c->model.kv_heads,
        .head_dim = (int32_t)c->model.head_dim,
        .n_vocab = (int32_t)vocab,
        .n_ctx_train = (int32_t)c->data.context,
        .n_ff = (int32_t)c->model.ffn,
        .n_rot = (int32_t)c->model.rot,
        .rope_base = c->model.rope_base,
        .norm_eps = (float)c->model.norm_eps,
        .tied = c->model.tied,
        .qk_norm = m3 || c->model.family == ARCH_QWEN3,
        .qkv_bias = c->model.family == ARCH_QWEN2,
        .swiglu_oai = m3,
        .swiglu_alpha = (float)c->model.swiglu_alpha,
        .swiglu_limit = (float)c->model.swiglu_limit,
        .n_dense_layers = (int32_t)c->model.dense_layers,
    };
    if (c->model.index.on)
        out->index = (arch_index){true,
                                  (int32_t)c->model.index.dim,
                                  (int32_t)c->model.index.block,
                                  (int32_t)c->model.index.topk,
                                  (int32_t)c->model.index.local,
                                  (int32_t)c->model.index.init,
                                  c->recipe.index_value};
    if (c->model.moe.experts > 0)
        out->moe = (arch_moe){true,
                              (int32_t)c->model.moe.experts,
                              (int32_t)c->model.moe.used,
                              (int32_t)c->model.moe.ffn,
                              (int32_t)c->model.moe.shared_ffn,
                              (float)c->model.moe.scale};
    return MSA_OK;
}
