/* stamp.c: see stamp.h. */
#include "eval/stamp.h"

#include <string.h>

#include "base/checksum.h"
#include "base/hash.h"
#include "base/mem.h"
#include "model/bpe.h"
#include "model/model.h"

/* ---- weights --------------------------------------------------------------------------------- */

static msa_status add_row(tensor_source *source, const tensor_spec *spec, uint64_t *hash,
                          msa_error *err) {
    float *row = mem_alloc((size_t)spec->n_in, sizeof *row);
    if (!row) return error_set(err, MSA_E_NOMEM, "no memory to look at the model");
    msa_status status = tensor_source_rows(source, spec, spec->n_out / 2, 1, row, err);
    if (status == MSA_OK)
        *hash = hash_u64(*hash ^ hash_bytes(row, (size_t)spec->n_in * sizeof *row));
    mem_free(row);
    return status;
}

static msa_status look_at_weights(const msa_model *model, uint64_t *hash, msa_error *err) {
    tensor_source source = model_tensors(model);
    tensor_list list;
    *hash = 0;
    msa_status status = tensor_list_create(&list, source.arch, err);
    if (status != MSA_OK) return status;
    for (int64_t i = 0; i < list.n && status == MSA_OK; i++)
        status = add_row(&source, &list.specs[i], hash, err);
    tensor_list_free(&list);
    return status;
}

/* ---- numbers --------------------------------------------------------------------------------- */

/* Shapes that a row can't tell are here too: four heads of 16 or two of 32. */
static uint64_t hash_numbers(const weights *w) {
    const arch *a = &w->arch;
    const rope_params *rope = &w->rope;
    const double numbers[] = {a->family,
                              a->n_layers,
                              a->n_q_heads,
                              a->n_kv_heads,
                              a->head_dim,
                              a->n_dense_layers,
                              a->qk_norm,
                              a->qkv_bias,
                              (double)a->norm_eps,
                              a->swiglu_oai,
                              (double)a->swiglu_alpha,
                              (double)a->swiglu_limit,
                              a->index.present,
                              a->index.dim,
                              a->moe.present,
                              a->moe.n_experts,
                              a->moe.n_used,
                              (double)a->moe.scale,
                              rope->n_rot,
                              rope->base,
                              rope->linear_factor};
    checksum sum = checksum_begin();
    checksum_add(&sum, numbers, sizeof numbers);
    if (rope->factors)
        checksum_add(&sum, rope->factors, (size_t)(rope->n_rot / 2) * sizeof *rope->factors);
    return checksum_end(&sum);
}

/* ---- tokenizer ------------------------------------------------------------------------------- */

static uint64_t hash_tokenizer(const tokenizer *t) {
    tokenizer_parts parts = tokenizer_get_parts(t);
    const vocab *v = parts.vocab;
    const bpe *b = parts.bpe;
    const int32_t ids[] = {v->n,          parts.bos,     parts.eos,          parts.eot,
                           parts.add_bos, parts.add_eos, parts.ignore_merges};
    checksum sum = checksum_begin();
    checksum_add(&sum, ids, sizeof ids);
    checksum_add(&sum, parts.pre, strlen(parts.pre));
    checksum_add(&sum, v->types, (size_t)v->n * sizeof *v->types);
    checksum_add(&sum, v->text_at, ((size_t)v->n + 1) * sizeof *v->text_at);
    checksum_add(&sum, v->text, (size_t)v->text_at[v->n]);
    checksum_add(&sum, b->left, b->n_merges * sizeof *b->left);
    checksum_add(&sum, b->right, b->n_merges * sizeof *b->right);
    return checksum_end(&sum);
}

msa_status stamp_model(const msa_model *model, stamp *out, msa_error *err) {
    vocab_text chat = model_chat_text(model);
    out->numbers = hash_numbers(model->weights);
    out->tokenizer = hash_tokenizer(model->tokenizer);
    out->chat = chat.data ? checksum_of(chat.data, chat.n) : 0;
    return look_at_weights(model, &out->weights, err);
}
