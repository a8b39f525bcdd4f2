/* trainer_setup.c: what is made before the first step: texts, tokenizer, weights, network. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/file_out.h"
#include "base/hash.h"
#include "base/mem.h"
#include "model/config_json.h"
#include "model/model_files.h"
#include "model/tokenizer_gguf.h"
#include "model/tokenizer_json.h"
#include "train/tokens_make.h"
#include "train/trainer.h"

/* ---- folders -------------------------------------------------------------------------------- */

/* Makes the folder and those above it. */
static msa_status make_folder(const char *key, const char *path, msa_error *err) {
    char part[4096];
    struct stat info;
    size_t n = strlen(path);
    if (n >= sizeof part - 64)
        return error_set(err, MSA_E_ARG, "%s: a path of %zu bytes is too long", key, n);
    for (size_t i = 1; i <= n; i++) {
        if (path[i] != '/' && path[i] != 0) continue;
        memcpy(part, path, i);
        part[i] = 0;
        if (mkdir(part, 0777) != 0 && errno != EEXIST)
            return error_set(err, MSA_E_IO, "%s: can't make the directory '%.200s': %s", key, part,
                             strerror(errno));
    }
    if (stat(path, &info) != 0 || !S_ISDIR(info.st_mode))
        return error_set(err, MSA_E_IO, "%s: '%.200s' is no directory", key, path);
    return MSA_OK;
}

/* What killed runs were writing. A data.cache may serve runs elsewhere and stays as it is. */
static void tidy_folder(const char *out) {
    static const char *const RUN[] = {"checkpoint-*.msac", "tokens-*.bin", "log.jsonl",
                                      "model.gguf", "index.gguf"};
    static const char *const MODEL[] = {"model*.safetensors", "model.safetensors.index.json",
                                        "config.json",        "generation_config.json",
                                        "tokenizer.json",     "tokenizer_config.json"};
    char model[4096];
    file_out_tidy(out, RUN, sizeof RUN / sizeof *RUN);
    snprintf(model, sizeof model, "%.4000s/model", out);
    file_out_tidy(model, MODEL, sizeof MODEL / sizeof *MODEL);
}

/* ---- texts ---------------------------------------------------------------------------------- */

/* A model that is trained further talks as it did. Without memory it goes without. */
static void keep_chat(msa_trainer *t, const char *text, size_t n) {
    if (t->config.model.from[0]) bytes_append(&t->chat, text, n);
}

static msa_status tokenizer_of_gguf(msa_trainer *t, const char *path, msa_error *err) {
    gguf_file *file;
    chat_template chat;
    gguf_string text;
    msa_status status = gguf_open(&file, path, err);
    if (status != MSA_OK) return status;
    status = tokenizer_from_gguf(&t->tokenizer, &chat, file, err);
    if (status == MSA_OK) {
        chat_template_free(&chat);
        if (gguf_get_string(file, "tokenizer.chat_template", &text, NULL) == MSA_OK)
            keep_chat(t, text.data, (size_t)text.n);
    }
    gguf_close(file);
    return status;
}

/* Beside config.json, which says how many rows the embedding has. */
static msa_status tokenizer_of_folder(msa_trainer *t, const model_files *found, msa_error *err) {
    arch a;
    bytes chat = {0};
    char path[4096];
    snprintf(path, sizeof path, "%.4000s/tokenizer.json", found->folder);
    if (access(path, F_OK) != 0)
        return error_set(err, MSA_E_IO,
                         "'%.300s' is missing; expected the tokenizer beside the tensors, as the "
                         "model was published with it, or a GGUF file of the model",
                         path);
    msa_status status = config_json_read(&a, found->config, err);
    if (status == MSA_OK)
        status = tokenizer_from_json(&t->tokenizer, &chat, found->folder, a.n_vocab, err);
    if (status == MSA_OK) keep_chat(t, chat.data, chat.n);
    bytes_free(&chat);
    return status;
}

static msa_status open_tokenizer(msa_trainer *t, msa_error *err) {
    const char *name = t->config.data.tokenizer;
    model_files found;
    if (strcmp(name, "bytes") == 0) return tokenizer_create_bytes(&t->tokenizer, NULL, 0, err);
    msa_status status = model_files_find(&found, name, err);
    if (status == MSA_OK)
        status =
            found.folder ? tokenizer_of_folder(t, &found, err) : tokenizer_of_gguf(t, name, err);
    model_files_free(&found);
    return status == MSA_OK ? MSA_OK : error_prefix(err, status, "data.tokenizer: ");
}

static int tell_progress(void *user, int64_t n_done, int64_t n_total) {
    msa_trainer *t = user;
    trainer_tell(
        t, (msa_train_event){.kind = MSA_TRAIN_PREPARE, .n_done = n_done, .n_total = n_total});
    return t->stopping;
}

static msa_status open_text(msa_trainer *t, const config_texts *paths, tokens *out,
                            msa_error *err) {
    const train_config *c = &t->config;
    if (paths->n == 0) return MSA_OK;
    tokens_source source = {.paths = paths,
                            .separator = c->data.separator,
                            .tokenizer = t->tokenizer,
                            .tokenizer_name = c->data.tokenizer,
                            .folder = c->data.cache[0] ? c->data.cache : c->run.out,
                            .progress = tell_progress,
                            .user = t};
    msa_status status = tokens_open(out, &source, err);
    if (status == MSA_OK && out->n_skipped)
        trainer_note(t, "%lld files hold bytes 0, are no text and were left out",
                     (long long)out->n_skipped);
    if (status == MSA_OK && out->n_replaced)
        trainer_note(t, "%lld bytes of the text have no token and became U+FFFD",
                     (long long)out->n_replaced);
    return status;
}

/* Of the texts, or of the tokenizer alone where there is none. */
static msa_status fingerprint_data(msa_trainer *t, msa_error *err) {
    static const config_texts NO_FILES;
    tokens_source source = {.separator = "", .tokenizer_name = t->config.data.tokenizer};
    t->state.data = t->text.fingerprint ^ (t->valid_text.fingerprint << 1);
    return t->text.n ? MSA_OK : tokens_fingerprint(&source, &NO_FILES, &t->state.data, err);
}

msa_status trainer_open_data(msa_trainer *t, msa_error *err) {
    const train_config *c = &t->config;
    t->max_tokens = c->data.rows * c->data.context;
    msa_status status = make_folder("run.out", c->run.out, err);
    if (status == MSA_OK) tidy_folder(c->run.out);
    if (status == MSA_OK && c->data.cache[0])
        status = make_folder("data.cache", c->data.cache, err);
    if (status == MSA_OK) status = open_tokenizer(t, err);
    if (status == MSA_OK) status = open_text(t, &c->data.text, &t->text, err);
    if (status == MSA_OK) status = open_text(t, &c->data.valid, &t->valid_text, err);
    if (status == MSA_OK && t->text.n)
        status = corpus_create_long(&t->corpus, &t->text, t->valid_text.n ? &t->valid_text : NULL,
                                    c->data.valid_share, c->data.context, c->data.shortest,
                                    t->max_tokens, (uint64_t)c->run.seed, err);
    if (status == MSA_OK) status = batch_create(&t->batch, t->max_tokens, err);
    if (status == MSA_OK) status = mixture_create(&t->mixture, c, t->tokenizer, t->corpus, err);
    if (status == MSA_OK) status = fingerprint_data(t, err);
    return status;
}

/* ---- weights -------------------------------------------------------------------------------- */

bool trainer_is_frozen(const msa_trainer *t) {
    return t->config.recipe.kind == RECIPE_INDEX_ONLY && t->config.recipe.detach;
}

int64_t trainer_floats(const msa_trainer *t) {
    return t->params->n_floats - t->params->trained;
}

static msa_status start_index(msa_trainer *t, msa_error *err) {
    if (!t->from_index) {
        msa_status status = params_fill_index_from_heads(t->params, err);
        return status == MSA_OK ? MSA_OK : error_prefix(err, status, "model.index.start: ");
    }
    if (!t->config.model.index.from[0])
        trainer_note(t, "the model of model.from has an index branch, which is gone on with");
    return MSA_OK;
}

/* What checkpoints don't hold must be what it was when they are resumed. */
static void fingerprint_frozen(msa_trainer *t) {
    size_t n = (size_t)t->params->trained * sizeof(float);
    t->frozen = hash_bytes(t->params->w, n);
    t->state.data ^= t->frozen;
}

static msa_status make_weights(msa_trainer *t, msa_error *err) {
    const train_config *c = &t->config;
    params_init init = {.seed = (uint64_t)c->run.seed,
                        .std = (float)c->model.init_std,
                        .embed_std = (float)c->model.embed_std,
                        .qk_gain = (float)c->model.qk_gain,
                        .index_gain = (float)c->model.index_qk_gain};
    bool from = c->model.from[0] != 0;
    msa_status status = from ? trainer_arch_from(t, err) : MSA_OK;
    int32_t n_vocab = tokenizer_size(t->tokenizer);
    if (status == MSA_OK && !from) status = config_arch(c, n_vocab, &t->arch, err);
    if (status == MSA_OK && from && (n_vocab > t->arch.n_vocab || n_vocab < t->arch.n_vocab / 2))
        return error_set(err, MSA_E_ARG,
                         "data.tokenizer has %d tokens, the model of model.from %d; expected the "
                         "model file itself, or another of the same vocabulary",
                         n_vocab, t->arch.n_vocab);
    if (status == MSA_OK) status = trainer_check_export(t, err);
    if (status == MSA_OK)
        status = trainer_is_frozen(t) ? params_create_frozen(&t->params, &t->arch, err)
                                      : params_create(&t->params, &t->arch, err);
    if (status == MSA_E_NOMEM)
        return error_prefix(err, status, "model.layers, model.width, model.ffn, model.moe: ");
    if (status != MSA_OK) return status;
    params_fill(t->params, &init);
    if (from) status = trainer_weights_from(t, err);
    if (status == MSA_OK && c->model.index.start == INDEX_FROM_HEADS) status = start_index(t, err);
    if (status == MSA_OK && trainer_is_frozen(t)) fingerprint_frozen(t);
    return status;
}

static msa_status make_room(msa_trainer *t, msa_error *err) {
    size_t groups = (size_t)t->arch.n_layers * (size_t)t->arch.n_kv_heads;
    t->kl_layer = mem_calloc(groups, sizeof *t->kl_layer);
    t->window.kl_layer = mem_calloc(groups, sizeof *t->kl_layer);
    t->grad_layer = mem_calloc(2 * ((size_t)t->arch.n_layers + 1), sizeof *t->grad_layer);
    t->predicted = mem_alloc((size_t)t->max_tokens, sizeof *t->predicted);
    t->survey.kl = mem_calloc(groups, sizeof *t->survey.kl);
    t->nll = mem_alloc((size_t)t->max_tokens, sizeof *t->nll);
    if (t->kl_layer && t->window.kl_layer && t->grad_layer && t->predicted && t->survey.kl &&
        t->nll)
        return MSA_OK;
    return error_set(err, MSA_E_NOMEM, "no memory for what a step reports");
}

static net_memory memory_of(const msa_trainer *t) {
    bool alone = trainer_is_frozen(t) && t->config.recipe.kl_warmup != NET_KL_SELECTED;
    if (alone) return NET_KEEP_INDEX;
    return t->config.run.recompute ? NET_KEEP_INPUTS : NET_KEEP_ALL;
}

/* Room is taken when it is used: what does not fit ends the process in the middle of a step. */
static msa_status check_room(const msa_trainer *t, msa_error *err) {
    size_t weights = params_bytes(t->params), room = mem_of_machine();
    if (net_bytes(t->net) <= room && weights <= room - net_bytes(t->net)) return MSA_OK;
    return error_set(err, MSA_E_NOMEM,
                     "data.rows, data.context, model: a step takes %zu MB, weights, gradients and "
                     "moments %zu MB; the machine has %zu MB: expected fewer tokens or weights%s",
                     net_bytes(t->net) >> 20, weights >> 20, room >> 20,
                     memory_of(t) == NET_KEEP_ALL ? ", or run.recompute" : "");
}

msa_status trainer_open_model(msa_trainer *t, msa_error *err) {
    enum { DIAGNOSED_ROWS = 32 };
    const train_config *c = &t->config;
    int n_threads = t->info.n_threads;
    msa_status status = make_weights(t, err);
    if (status == MSA_OK)
        status = net_create(&t->net, t->params, t->max_tokens, memory_of(t), n_threads, err);
    if (status == MSA_E_NOMEM)
        return error_prefix(err, status, "data.rows, data.context, run.recompute: ");
    if (status == MSA_OK) status = check_room(t, err);
    if (status == MSA_OK) status = optimiser_create(&t->optimiser, t->params, c, n_threads, err);
    if (status == MSA_OK && t->arch.index.present)
        status = diagnose_create(&t->diagnose, t->net, DIAGNOSED_ROWS, err);
    return status == MSA_OK ? make_room(t, err) : status;
}

/* ---- in words ------------------------------------------------------------------------------- */

static void describe_phase(const recipe_phase *p, bytes *out) {
    static const char *const KL[] = {"", "visible tokens", "selected tokens", "far tokens",
                                     "far tokens by their mass"};
    static const char *const CHOICE[] = {"blocks by index", "fixed sink and window",
                                         "random blocks"};
    const net_mode *m = &p->mode;
    char line[256];
    int n = snprintf(line, sizeof line, "steps %lld to %lld: %s, attention %s%s, loss ",
                     (long long)p->from, (long long)p->to - 1, p->name,
                     m->sparse ? "sparse: " : "dense", m->sparse ? CHOICE[m->selection] : "");
    if (m->lm) n += snprintf(line + n, sizeof line - (size_t)n, "LM");
    if (m->kl != NET_KL_OFF)
        n += snprintf(line + n, sizeof line - (size_t)n, "%s%g KL over %s", m->lm ? " + " : "",
                      (double)m->lambda, KL[m->kl]);
    snprintf(line + n, sizeof line - (size_t)n, "%s%s%s%s\n",
             m->detach ? "" : ", without stop-gradient", m->index_value ? ", index values" : "",
             m->lm_index ? ", index scores in the logits" : "",
             m->fp8_p ? ", probabilities through E4M3" : "");
    bytes_append_text(out, line);
}

static char *join_path(const char *folder, const char *name) {
    size_t n = strlen(folder) + strlen(name) + 2;
    char *path = mem_alloc(n, 1);
    if (path) snprintf(path, n, "%s/%s", folder, name);
    return path;
}

msa_status trainer_describe(msa_trainer *t, msa_error *err) {
    bytes phases = {0};
    msa_train_info *info = &t->info;
    for (int32_t i = 0; i < t->recipe.n; i++) describe_phase(&t->recipe.phases[i], &phases);
    bytes_terminate(&phases);
    t->phases = phases.data;
    static const char *const FILES[] = {"model.gguf", "model", "model.gguf", "index.gguf", ""};
    t->model_path = join_path(t->config.run.out, FILES[t->config.run.format]);
    t->log_path = join_path(t->config.run.out, "log.jsonl");
    if (phases.failed || !t->model_path || !t->log_path)
        return error_set(err, MSA_E_NOMEM, "no memory to describe the run");
    for (int32_t i = 0; i < t->params->n; i++) {
        int64_t n = t->params->list[i].n_out * t->params->list[i].n_in;
        info->n_parameters += n;
        if (t->params->list[i].index) info->n_index_parameters += n;
    }
    info->n_steps = t->config.run.steps;
    info->n_text_tokens = t->corpus ? corpus_tokens(t->corpus, false) : 0;
    info->n_valid_tokens = t->corpus ? corpus_tokens(t->corpus, true) : 0;
    info->folder = t->config.run.out;
    info->model = t->config.run.format == FORMAT_NONE ? "" : t->model_path;
    info->base = t->config.run.format == FORMAT_INDEX ? t->config.model.from : "";
    info->log = t->log_path;
    info->phases = t->phases;
    return MSA_OK;
}
