/* weights_safetensors.c: weights from safetensors files. See weights.h.
 *
 * The tensors are visited twice: first each is found and checked against the architecture, and what
 * must be copied is counted; then, with the copies' memory at hand, everything is set. So no size
 * that a config.json merely claims is ever allocated. */
#include <string.h>

#include "base/mem.h"
#include "base/utf8.h"
#include "model/tensor_view.h"
#include "model/weights_loader.h"
#include "nn/router.h"

enum { MAX_EXPERTS = 4096 };

typedef struct filler {
    const safetensors *files;
    weights *w;
    bool *used;      /* per tensor of the files */
    float *next;     /* of the copies; NULL on the first visit */
    size_t n_floats; /* counted on the first visit */
    msa_error *err;
} filler;

static msa_status find(filler *f, tensor_role role, int32_t layer, int32_t expert,
                       tensor_spec *spec, tensor_view *view) {
    *spec = tensor_spec_of(&f->w->arch, role, layer, expert);
    msa_status status = tensor_view_find(f->files, &f->w->arch, spec, view, f->err);
    if (status == MSA_OK) f->used[view->tensor - safetensors_at(f->files, 0)] = true;
    return status;
}

static msa_status set_matrix(filler *f, tensor_role role, int32_t layer, int32_t expert,
                             gemm_weight *out) {
    tensor_spec spec;
    tensor_view view;
    msa_status status = find(f, role, layer, expert, &spec, &view);
    if (status != MSA_OK) return status;
    if ((uintptr_t)view.data % (view.type == QUANT_F32 ? 4 : 2))
        return error_set(f->err, MSA_E_UNSUPPORTED,
                         "tensor '%s' of type %s does not lie at a multiple of its size; save the "
                         "checkpoint again with its widest formats first",
                         view.tensor->name, view.tensor->dtype);
    *out = (gemm_weight){view.data, view.type, spec.n_out, spec.n_in, view.row_bytes};
    return MSA_OK;
}

/* A vector, or all rows of the router. */
static msa_status copy_floats(filler *f, tensor_role role, int32_t layer, const float **out) {
    tensor_spec spec;
    tensor_view view;
    msa_status status = find(f, role, layer, -1, &spec, &view);
    if (status != MSA_OK) return status;
    size_t n = (size_t)(spec.n_out * spec.n_in); /* the file holds them: no overflow */
    f->n_floats += n;
    if (!f->next) return MSA_OK;
    for (int64_t row = 0; row < spec.n_out; row++)
        tensor_view_row(&view, spec.n_in, row, f->next + row * spec.n_in);
    bool gemma = f->w->arch.family == ARCH_MINIMAX_M3 && tensor_is_norm(role);
    for (size_t i = 0; gemma && i < n; i++) f->next[i] += 1;
    *out = f->next;
    f->next += n;
    return MSA_OK;
}

static msa_status set_mlp(filler *f, tensor_role gate, int32_t layer, int32_t expert,
                          weights_mlp *mlp) {
    msa_status status = set_matrix(f, gate, layer, expert, &mlp->gate);
    if (!status) status = set_matrix(f, (tensor_role)(gate + 1), layer, expert, &mlp->up);
    if (!status) status = set_matrix(f, (tensor_role)(gate + 2), layer, expert, &mlp->down);
    return status;
}

static msa_status set_attention(filler *f, int32_t i, weights_layer *layer) {
    const arch *a = &f->w->arch;
    const struct {
        tensor_role role;
        gemm_weight *to;
    } matrices[] = {{TENSOR_Q, &layer->wq},
                    {TENSOR_K, &layer->wk},
                    {TENSOR_V, &layer->wv},
                    {TENSOR_O, &layer->wo}};
    const struct {
        tensor_role role;
        const float **to;
    } vectors[] = {
        {TENSOR_ATTN_NORM, &layer->attn_norm}, {TENSOR_FFN_NORM, &layer->ffn_norm},
        {TENSOR_Q_BIAS, &layer->bq},           {TENSOR_K_BIAS, &layer->bk},
        {TENSOR_V_BIAS, &layer->bv},           {TENSOR_Q_NORM, &layer->q_norm},
        {TENSOR_K_NORM, &layer->k_norm},
    };
    msa_status status = MSA_OK;
    for (size_t m = 0; m < sizeof matrices / sizeof *matrices && !status; m++)
        status = set_matrix(f, matrices[m].role, i, -1, matrices[m].to);
    for (size_t v = 0; v < sizeof vectors / sizeof *vectors && !status; v++)
        if (tensor_layer_has(a, i, vectors[v].role))
            status = copy_floats(f, vectors[v].role, i, vectors[v].to);
    return status;
}

static msa_status set_experts(filler *f, int32_t i, weights_layer *layer) {
    const arch *a = &f->w->arch;
    weights_mlp *experts =
        f->w->experts + (size_t)(i - a->n_dense_layers) * (size_t)a->moe.n_experts;
    msa_status status = copy_floats(f, TENSOR_ROUTER, i, &layer->router);
    if (!status) status = copy_floats(f, TENSOR_ROUTER_BIAS, i, &layer->router_bias);
    for (int32_t e = 0; e < a->moe.n_experts && !status; e++)
        status = set_mlp(f, TENSOR_EXPERT_GATE, i, e, &experts[e]);
    if (!status && a->moe.n_ff_shared > 0)
        status = set_mlp(f, TENSOR_SHARED_GATE, i, -1, &layer->mlp);
    layer->experts = experts;
    return status;
}

static msa_status set_index(filler *f, int32_t i, weights_index *x) {
    msa_status status = set_matrix(f, TENSOR_INDEX_Q, i, -1, &x->wq);
    if (!status) status = set_matrix(f, TENSOR_INDEX_K, i, -1, &x->wk);
    if (status != MSA_OK || !f->w->arch.qk_norm) return status;
    status = copy_floats(f, TENSOR_INDEX_Q_NORM, i, &x->q_norm);
    return status ? status : copy_floats(f, TENSOR_INDEX_K_NORM, i, &x->k_norm);
}

static msa_status set_all(filler *f) {
    weights *w = f->w;
    const arch *a = &w->arch;
    msa_status status = set_matrix(f, TENSOR_EMBED, -1, -1, &w->token_embd);
    if (!status) status = copy_floats(f, TENSOR_OUTPUT_NORM, -1, &w->output_norm);
    if (!status && !a->tied) status = set_matrix(f, TENSOR_OUTPUT, -1, -1, &w->output);
    if (a->tied) w->output = w->token_embd;
    for (int32_t i = 0; i < a->n_layers && !status; i++) {
        weights_layer *layer = &w->layers[i];
        status = set_attention(f, i, layer);
        if (!status)
            status = tensor_layer_has_experts(a, i) ? set_experts(f, i, layer)
                                                    : set_mlp(f, TENSOR_GATE, i, -1, &layer->mlp);
        if (!status && tensor_layer_has_index(a, i)) status = set_index(f, i, &w->index[i]);
    }
    return status;
}

/* ---- what is left ---- */

/* Some writers store the output of a tied model too. It must be the embedding then. */
static msa_status check_tied(filler *f) {
    tensor_spec spec = tensor_spec_of(&f->w->arch, TENSOR_OUTPUT, -1, -1);
    tensor_view view;
    if (!f->w->arch.tied || tensor_view_find(f->files, &f->w->arch, &spec, &view, NULL) != MSA_OK)
        return MSA_OK;
    const gemm_weight *embd = &f->w->token_embd;
    f->used[view.tensor - safetensors_at(f->files, 0)] = true;
    if (view.type == embd->type &&
        memcmp(view.data, embd->data, (size_t)embd->n_out * embd->row_bytes) == 0)
        return MSA_OK;
    return error_set(f->err, MSA_E_FORMAT,
                     "key 'tie_word_embeddings' is true, but tensor '%s' is not the embedding",
                     view.tensor->name);
}

static msa_status account(filler *f) {
    weights *w = f->w;
    for (size_t i = 0; i < safetensors_count(f->files); i++) {
        const safetensors_tensor *t = safetensors_at(f->files, i);
        char name[140];
        if (!f->used[i] && !tensor_view_ignores(t->name))
            return error_set(f->err, MSA_E_UNSUPPORTED,
                             "tensor '%s' has no place in the model config.json describes "
                             "(%s, %d layers); running without it would give wrong results",
                             utf8_quote(name, sizeof name, t->name, strlen(t->name)),
                             w->architecture, w->arch.n_layers);
        if (!f->used[i]) continue;
        w->n_parameters += (int64_t)(t->n_bytes / (t->type == QUANT_F32 ? 4 : 2));
        w->n_bytes += (int64_t)t->n_bytes;
        w->format_bytes[t->type] += t->n_bytes;
    }
    return MSA_OK;
}

/* ---- loading ---- */

/* What the runtime takes, of what a config.json may say. */
static msa_status check_limits(const arch *a, const safetensors *files, msa_error *err) {
    const arch_index *x = &a->index;
    if ((size_t)a->n_layers > safetensors_count(files))
        return error_set(err, MSA_E_FORMAT, "config.json says %d layers; there are %zu tensors",
                         a->n_layers, safetensors_count(files));
    if (a->moe.present && (a->moe.n_experts > MAX_EXPERTS || a->moe.n_used > ROUTER_MAX_USED))
        return error_set(err, MSA_E_UNSUPPORTED,
                         "%d experts, of which a token goes through %d; supported are up to %d and "
                         "%d",
                         a->moe.n_experts, a->moe.n_used, MAX_EXPERTS, ROUTER_MAX_USED);
    if (x->present && (x->dim % 8 || x->dim > 256 || x->topk > 64 || x->block < 16 ||
                       x->block > 256 || (x->block & (x->block - 1))))
        return error_set(err, MSA_E_UNSUPPORTED,
                         "an index of width %d with %d blocks of %d tokens; supported are widths "
                         "that are multiples of 8 up to 256, up to 64 blocks of 16, 32, 64, 128 or "
                         "256",
                         x->dim, x->topk, x->block);
    return MSA_OK;
}

static msa_status allocate(filler *f) {
    weights *w = f->w;
    const arch *a = &w->arch;
    size_t n_layers = (size_t)a->n_layers;
    f->used = mem_calloc(safetensors_count(f->files), sizeof *f->used);
    w->layers = mem_calloc(n_layers, sizeof *w->layers);
    if (a->index.present) w->index = mem_calloc(n_layers, sizeof *w->index);
    if (!f->used || !w->layers || (a->index.present && !w->index))
        return error_set(f->err, MSA_E_NOMEM, "no memory for a table of %d layers", a->n_layers);
    return weights_allocate_experts(w, safetensors_file_bytes(f->files), f->err);
}

static msa_status load(filler *f) {
    msa_status status = check_limits(&f->w->arch, f->files, f->err);
    if (!status) status = allocate(f);
    if (!status) status = set_all(f);
    if (status != MSA_OK) return status;
    f->next = f->w->owned = mem_alloc(f->n_floats, sizeof *f->next);
    if (!f->next) return error_set(f->err, MSA_E_NOMEM, "no memory for %zu floats", f->n_floats);
    status = set_all(f);
    if (!status) status = check_tied(f);
    if (!status) status = account(f);
    if (!status) weights_count_parts(f->w);
    return status;
}

msa_status weights_load_safetensors(weights **out, const safetensors *files, const arch *a,
                                    msa_error *err) {
    static const char *const names[ARCH_FAMILY_COUNT] = {
        [ARCH_LLAMA] = "llama",
        [ARCH_QWEN2] = "qwen2",
        [ARCH_QWEN3] = "qwen3",
        [ARCH_MINIMAX_M3] = "minimax-m3",
    };
    *out = NULL;
    weights *w = mem_calloc(1, sizeof *w);
    if (!w) return error_set(err, MSA_E_NOMEM, "no memory for the weights' table");
    w->file = safetensors_name(files);
    w->architecture = names[a->family];
    w->arch = *a;
    w->rope = (rope_params){
        .pairs = ROPE_SPLIT, .n_rot = a->n_rot, .base = a->rope_base, .linear_factor = 1};
    filler f = {.files = files, .w = w, .err = err};
    msa_status status = load(&f);
    mem_free(f.used);
    if (status != MSA_OK) {
        weights_free(w);
        return error_prefix(err, status, "'%s': ", safetensors_name(files));
    }
    *out = w;
    return MSA_OK;
}
