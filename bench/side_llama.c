/* side_llama.c: llama.cpp's side of side.h, as it is in the release that rivals.py pins. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "llama.h"
#include "side.h"

struct side {
    struct llama_model *model;
    struct llama_context *context;
    struct llama_batch batch;
};

static bool refuse(const char *why) {
    fprintf(stderr, "llama.cpp: %s\n", why);
    return false;
}

static void log_warnings(enum ggml_log_level level, const char *text, void *user) {
    (void)user;
    if (level == GGML_LOG_LEVEL_WARN || level == GGML_LOG_LEVEL_ERROR) fputs(text, stderr);
}

/* Sparse attention needs flash attention, and a cache of one sequence or not unified. */
static struct llama_context_params choose_params(int n_threads, int n_ctx) {
    struct llama_context_params p = llama_context_default_params();
    p.n_ctx = (uint32_t)n_ctx;
    p.n_batch = p.n_ubatch = SIDE_BATCH;
    p.n_threads = p.n_threads_batch = n_threads;
    p.flash_attn_type = LLAMA_FLASH_ATTN_TYPE_ENABLED;
    p.type_k = p.type_v = GGML_TYPE_F16;
    return p;
}

/* ---- is it sparse? ---- */

static bool note_sparse(struct ggml_tensor *t, bool ask, void *n_seen) {
    if (ask && strncmp(t->name, "msa_fattn", strlen("msa_fattn")) == 0) ++*(int *)n_seen;
    return false; /* nobody wants to see the tensor */
}

/* Where it can't be sparse llama.cpp warns and runs dense. So a context apart, without a clock, is
 * asked whether sparse attention is in its graphs, of two tokens and of one. */
static bool runs_sparse(struct llama_model *model) {
    llama_token ids[] = {1, 2};
    int n_seen[2] = {0, 0};
    for (int i = 0; i < 2; i++) {
        struct llama_context_params p = choose_params(1, SIDE_BATCH);
        p.cb_eval = note_sparse;
        p.cb_eval_user_data = &n_seen[i];
        struct llama_context *c = llama_init_from_model(model, p);
        if (!c) return refuse("no context for a first look");
        if (llama_decode(c, llama_batch_get_one(ids, 2 - i)) != 0) n_seen[i] = 0;
        llama_free(c);
    }
    return (n_seen[0] && n_seen[1]) ||
           refuse("sparse attention is not in the graph: it runs dense");
}

/* ---- side.h ---- */

side *side_open(const char *model, int n_threads, int n_ctx) {
    side *s = calloc(1, sizeof *s);
    if (!s) return NULL;
    llama_log_set(log_warnings, NULL);
    llama_backend_init();
    s->batch = llama_batch_init(SIDE_BATCH, 0, 1);
    s->model = llama_model_load_from_file(model, llama_model_default_params());
    if (s->model && runs_sparse(s->model))
        s->context = llama_init_from_model(s->model, choose_params(n_threads, n_ctx));
    if (s->context) return s;
    side_close(s);
    refuse("the model can't be run");
    return NULL;
}

int side_vocab(const side *s) {
    return llama_vocab_n_tokens(llama_model_get_vocab(s->model));
}

bool side_feed(side *s, const int32_t *ids, int n, float *logits) {
    int first = llama_memory_seq_pos_max(llama_get_memory(s->context), 0) + 1;
    s->batch.n_tokens = n;
    for (int i = 0; i < n; i++) {
        s->batch.token[i] = ids[i];
        s->batch.pos[i] = first + i;
        s->batch.n_seq_id[i] = 1;
        s->batch.seq_id[i][0] = 0;
        s->batch.logits[i] = logits || i == n - 1;
    }
    if (llama_decode(s->context, s->batch) != 0) return refuse("decoding failed");
    llama_synchronize(s->context);
    size_t n_row = (size_t)side_vocab(s);
    for (int i = 0; logits && i < n; i++)
        memcpy(logits + (size_t)i * n_row, llama_get_logits_ith(s->context, i),
               sizeof *logits * n_row);
    return true;
}

bool side_rewind(side *s, int n) {
    return llama_memory_seq_rm(llama_get_memory(s->context), 0, n, -1) ||
           refuse("can't drop tokens");
}

void side_close(side *s) {
    if (s->context) llama_free(s->context);
    if (s->model) llama_model_free(s->model);
    llama_batch_free(s->batch);
    free(s);
}
