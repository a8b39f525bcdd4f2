/* weights_index.c: the index branch: its keys and tensors, in the model's own file or in one beside
 * it. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/hash.h"
#include "base/mem.h"
#include "model/index_sum.h"
#include "model/weights_loader.h"

static const char *const MSA_KEYS[] = {
    "msa.indexer.head_count",        "msa.indexer.key_length",   "msa.indexer.top_k",
    "msa.indexer.block_size",        "msa.indexer.local_blocks", "msa.indexer.init_blocks",
    "msa.leading_dense_block_count",
};

/* "blk.N.indexer.anything" */
static bool names_index(gguf_string name) {
    static const char part[] = ".indexer.";
    for (uint64_t i = 0; i + sizeof part - 1 <= name.n; i++)
        if (memcmp(name.data + i, part, sizeof part - 1) == 0) return true;
    return false;
}

bool loader_has_index(const loader *l) {
    for (size_t i = 0; i < sizeof MSA_KEYS / sizeof *MSA_KEYS; i++)
        if (gguf_find(l->file, MSA_KEYS[i])) return true;
    for (size_t i = 0; i < gguf_tensor_count(l->file); i++)
        if (names_index(gguf_tensor_at(l->file, i)->name)) return true;
    return false;
}

/* ---- keys ---- */

static msa_status out_of_range(const loader *l, int32_t value, const char *expected) {
    return error_set(l->err, MSA_E_UNSUPPORTED, "key '%s' is %d; expected %s", l->key, value,
                     expected);
}

static msa_status read_branch(loader *l, const arch *a, arch_index *x) {
    int32_t heads = 0;
    msa_status status = loader_count(l, "indexer.head_count", 1, -1, &heads);
    if (status != MSA_OK) return status;
    if (heads != a->n_kv_heads)
        return error_set(l->err, MSA_E_FORMAT,
                         "key '%s' is %d, but the model has %d key heads: expected an index head "
                         "for each",
                         l->key, heads, a->n_kv_heads);
    status = loader_count(l, "indexer.key_length", 1, -1, &x->dim);
    if (status != MSA_OK) return status;
    if (x->dim % 8 || x->dim > 256) return out_of_range(l, x->dim, "a multiple of 8 in 8..256");
    if (x->dim < a->n_rot)
        return error_set(l->err, MSA_E_FORMAT,
                         "key '%s' is %d, but %d elements of a head are rotated "
                         "(rope.dimension_count): an index head must hold them",
                         l->key, x->dim, a->n_rot);
    status = loader_count(l, "indexer.top_k", 1, -1, &x->topk);
    if (status != MSA_OK) return status;
    if (x->topk > 64) return out_of_range(l, x->topk, "1 to 64 blocks");
    status = loader_count(l, "indexer.block_size", 1, -1, &x->block);
    if (status != MSA_OK) return status;
    if (x->block < 16 || x->block > 256 || (x->block & (x->block - 1)))
        return out_of_range(l, x->block, "a power of two in 16..256");
    return MSA_OK;
}

static msa_status read_forced(loader *l, bool m3, arch_index *x) {
    msa_status status = loader_count(l, "indexer.local_blocks", 0, -1, &x->local);
    if (status == MSA_OK && !m3) status = loader_count(l, "indexer.init_blocks", 0, -1, &x->init);
    if (status != MSA_OK) return status;
    if ((int64_t)x->local + x->init > x->topk)
        return error_set(l->err, MSA_E_FORMAT,
                         "keys '%sindexer.local_blocks' (%d) and init blocks (%d) ask for more "
                         "than '.top_k' (%d) has room for",
                         l->prefix, x->local, x->init, x->topk);
    return MSA_OK;
}

msa_status loader_read_index_keys(loader *l, arch *a) {
    bool m3 = a->family == ARCH_MINIMAX_M3;
    const char *prefix = l->prefix;
    arch_index x = {.present = true};
    if (!m3) l->prefix = "msa.";
    msa_status status = loader_count(l, "leading_dense_block_count", 0, -1, &a->n_dense_layers);
    if (status == MSA_OK && a->n_dense_layers > a->n_layers)
        status = error_set(l->err, MSA_E_FORMAT, "key '%s' is %d; the model has %d layers", l->key,
                           a->n_dense_layers, a->n_layers);
    if (m3) l->prefix = "minimax-m3.attention.";
    if (status == MSA_OK) status = read_branch(l, a, &x);
    if (status == MSA_OK) status = read_forced(l, m3, &x);
    l->prefix = prefix;
    x.present = a->n_dense_layers < a->n_layers;
    if (status == MSA_OK) a->index = x;
    return status;
}

/* ---- tensors ---- */

static msa_status read_layer(loader *l, const arch *a, int32_t layer, weights_index *out) {
    demand norm = a->qk_norm ? REQUIRED : ABSENT;
    char name[64];
    snprintf(name, sizeof name, "blk.%d.indexer.q_proj.weight", layer);
    msa_status status =
        loader_matrix(l, name, (int64_t)a->n_kv_heads * a->index.dim, a->n_embd, &out->wq);
    snprintf(name, sizeof name, "blk.%d.indexer.k_proj.weight", layer);
    if (status == MSA_OK) status = loader_matrix(l, name, a->index.dim, a->n_embd, &out->wk);
    snprintf(name, sizeof name, "blk.%d.indexer.q_norm.weight", layer);
    if (status == MSA_OK) status = loader_vector(l, name, norm, a->index.dim, &out->q_norm);
    snprintf(name, sizeof name, "blk.%d.indexer.k_norm.weight", layer);
    if (status == MSA_OK) status = loader_vector(l, name, norm, a->index.dim, &out->k_norm);
    return status;
}

msa_status loader_read_index(loader *l, const arch *a, weights_index **out) {
    *out = NULL;
    if (!a->index.present) return MSA_OK;
    weights_index *index = mem_calloc((size_t)a->n_layers, sizeof *index);
    if (!index)
        return error_set(l->err, MSA_E_NOMEM, "no memory for a table of %d layers", a->n_layers);
    msa_status status = MSA_OK;
    for (int32_t i = a->n_dense_layers; i < a->n_layers && status == MSA_OK; i++)
        status = read_layer(l, a, i, &index[i]);
    if (status != MSA_OK)
        mem_free(index);
    else
        *out = index;
    return status;
}

/* ---- a file beside the model ---- */

uint64_t weights_fingerprint_add(uint64_t fingerprint, const float *norm, int64_t n) {
    return hash_u64(fingerprint ^ hash_bytes(norm, (size_t)n * sizeof *norm));
}

uint64_t weights_fingerprint(const weights *w) {
    uint64_t fingerprint = 0;
    for (int32_t i = 0; i < w->arch.n_layers; i++) {
        fingerprint = weights_fingerprint_add(fingerprint, w->layers[i].attn_norm, w->arch.n_embd);
        fingerprint = weights_fingerprint_add(fingerprint, w->layers[i].ffn_norm, w->arch.n_embd);
    }
    return weights_fingerprint_add(fingerprint, w->output_norm, w->arch.n_embd);
}

static msa_status expect_string(loader *l, const char *key, const char *expected,
                                const char *otherwise) {
    gguf_string found;
    char printable[GGUF_PRINTABLE];
    msa_status status = gguf_get_string(l->file, key, &found, l->err);
    if (status != MSA_OK || gguf_string_is(found, expected)) return status;
    return error_set(l->err, MSA_E_FORMAT, "key '%s' is '%s', expected '%s': %s", key,
                     gguf_printable(found, printable), expected, otherwise);
}

static msa_status check_base(loader *l) {
    static const char other[] = "this index branch was trained for another model";
    const weights *w = l->w;
    const struct {
        const char *key;
        int32_t value;
    } facts[] = {
        {"base.block_count", w->arch.n_layers}, {"base.embedding_length", w->arch.n_embd},
        {"base.head_count", w->arch.n_q_heads}, {"base.head_count_kv", w->arch.n_kv_heads},
        {"base.key_length", w->arch.head_dim},
    };
    msa_status status = expect_string(l, "msa.base.architecture", w->architecture, other);
    for (size_t i = 0; i < sizeof facts / sizeof *facts && status == MSA_OK; i++) {
        int32_t found = 0;
        status = loader_count(l, facts[i].key, 0, -1, &found);
        if (status == MSA_OK && found != facts[i].value)
            return error_set(l->err, MSA_E_FORMAT, "key '%s' is %d, but the model's is %d: %s",
                             l->key, found, facts[i].value, other);
    }
    if (status != MSA_OK) return status;
    char fingerprint[17];
    snprintf(fingerprint, sizeof fingerprint, "%016" PRIx64, weights_fingerprint(w));
    return expect_string(l, "msa.base.fingerprint", fingerprint,
                         "this index branch was trained for a model of the same shape but other "
                         "weights");
}

static msa_status check_sum(loader *l, const arch *a) {
    char text[INDEX_SUM_TEXT];
    checksum c = index_sum_begin(a);
    if (!gguf_find(l->file, INDEX_SUM_KEY)) return MSA_OK;
    for (size_t i = 0; i < gguf_tensor_count(l->file); i++) {
        const gguf_tensor *t = gguf_tensor_at(l->file, i);
        index_sum_tensor(&c, t->name.data, (size_t)t->name.n, t->type);
        checksum_add(&c, t->data, (size_t)t->n_bytes);
    }
    index_sum_text(&c, text);
    return expect_string(l, INDEX_SUM_KEY, text,
                         "the file is damaged, what it holds is not what was written; copy it "
                         "again from where it came from");
}

static msa_status load_index(loader *l, arch *a, weights_index **index) {
    int64_t n_parameters = 0, n_bytes = 0;
    msa_status status = expect_string(l, "general.architecture", "msa-index",
                                      "an index branch is a file of its own kind");
    if (status == MSA_OK) status = check_base(l);
    if (status == MSA_OK) status = loader_read_index_keys(l, a);
    if (status == MSA_OK && !a->index.present)
        status = error_set(l->err, MSA_E_FORMAT,
                           "key 'msa.leading_dense_block_count' is %d, which leaves no layer of %d "
                           "an index branch",
                           a->n_dense_layers, a->n_layers);
    if (status != MSA_OK) return status;
    l->used = mem_calloc(gguf_tensor_count(l->file), sizeof *l->used);
    if (!l->used) return error_set(l->err, MSA_E_NOMEM, "no memory for a table of tensors");
    status = loader_read_index(l, a, index);
    if (status == MSA_OK) status = loader_account(l, &n_parameters, &n_bytes);
    if (status == MSA_OK) status = check_sum(l, a);
    if (status == MSA_OK) l->w->n_index_parameters = n_parameters;
    return status;
}

msa_status weights_load_index(weights *w, const gguf_file *file, msa_error *err) {
    static const loader_family INDEX = {.name = "msa-index"};
    if (w->index || w->arch.family == ARCH_MINIMAX_M3)
        return error_set(
            err, MSA_E_ARG, "'%s': this %s model has an index branch of its own already%s",
            gguf_name(file), w->architecture, w->index ? "" : ", but its layers are all dense");
    if (w->arch.family == ARCH_LLAMA && w->rope.pairs != ROPE_ADJACENT)
        return error_set(err, MSA_E_UNSUPPORTED,
                         "'%s': an index file of a Llama holds adjacent RoPE pairs, as GGUF files "
                         "do; '%s' does not: convert it to GGUF first (msa export)",
                         gguf_name(file), w->file);
    loader l = {.file = file, .err = err, .w = w, .family = &INDEX, .prefix = "msa."};
    arch a = w->arch;
    weights_index *index = NULL;
    msa_status status = load_index(&l, &a, &index);
    mem_free(l.used);
    if (status != MSA_OK) {
        mem_free(index);
        return error_prefix(err, status, "'%s': ", gguf_name(file));
    }
    w->arch = a;
    w->index = index;
    return MSA_OK;
}
