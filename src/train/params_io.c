/* params_io.c: weights from models and to them; an index branch from the heads it stands for. */
#include <string.h>

#include "train/params.h"

static float *router_biases(const params *p, int32_t layer) {
    return p->router_bias + (int64_t)layer * p->arch.moe.n_experts;
}

static msa_status load_router_biases(params *p, tensor_rows_fn *rows, void *user, msa_error *err) {
    for (int32_t layer = 0; layer < p->arch.n_layers; layer++) {
        if (!tensor_layer_has(&p->arch, layer, TENSOR_ROUTER_BIAS)) continue;
        tensor_spec spec = tensor_spec_of(&p->arch, TENSOR_ROUTER_BIAS, layer, -1);
        msa_status status = rows(user, &spec, 0, 1, router_biases(p, layer), err);
        if (status) return status;
    }
    return MSA_OK;
}

msa_status params_load(params *p, tensor_rows_fn *rows, void *user, bool index, msa_error *err) {
    for (int32_t i = 0; i < p->n; i++) {
        const param *t = &p->list[i];
        if (t->index && !index) continue;
        tensor_spec spec = tensor_spec_of(&p->arch, t->role, t->layer, t->expert);
        msa_status status = rows(user, &spec, 0, t->n_out, p->w + t->at, err);
        if (status) return status;
    }
    return load_router_biases(p, rows, user, err);
}

msa_status params_rows(void *user, const tensor_spec *spec, int64_t row, int64_t n, float *out,
                       msa_error *err) {
    const params *p = user;
    const param *t = NULL;
    const float *from = NULL;
    if (spec->role == TENSOR_ROUTER_BIAS && p->arch.moe.present && spec->layer >= 0 &&
        spec->layer < p->arch.n_layers)
        from = router_biases(p, spec->layer);
    else if ((t = params_of(p, spec->role, spec->layer, spec->expert)))
        from = p->w + t->at + row * t->n_in;
    if (!from || (t && (row < 0 || n < 0 || row > t->n_out - n || spec->n_in != t->n_in)))
        return error_set(err, MSA_E_ARG, "%s: rows %lld..%lld are not among the parameters",
                         spec->name, (long long)row, (long long)(row + n));
    memcpy(out, from, (size_t)n * (size_t)spec->n_in * sizeof(float));
    return MSA_OK;
}

/* to [n_to * d, n_in]: head i the mean of heads i * of .. of `from`. */
static void take_mean(params *p, const param *to, int32_t n_to, const param *from, int32_t of) {
    int64_t head = (int64_t)p->arch.head_dim * to->n_in;
    for (int32_t i = 0; i < n_to; i++)
        for (int64_t c = 0; c < head; c++) {
            double sum = 0;
            for (int32_t h = i * of; h < (i + 1) * of; h++)
                sum += (double)p->w[from->at + h * head + c];
            p->w[to->at + i * head + c] = (float)(sum / of);
        }
}

msa_status params_fill_index_from_heads(params *p, msa_error *err) {
    const arch *a = &p->arch;
    int32_t groups = a->n_kv_heads;
    if (!a->index.present || a->index.dim != a->head_dim)
        return error_set(err, MSA_E_UNSUPPORTED,
                         "an index of width %d can't start from heads of %d; expected an index as "
                         "wide as a head (model.index.dim 0), or one of random weights",
                         a->index.present ? a->index.dim : 0, a->head_dim);
    for (int32_t i = 0; i < a->n_layers; i++) {
        if (!tensor_layer_has_index(a, i)) continue;
        take_mean(p, params_of(p, TENSOR_INDEX_Q, i, -1), groups, params_of(p, TENSOR_Q, i, -1),
                  a->n_q_heads / groups);
        take_mean(p, params_of(p, TENSOR_INDEX_K, i, -1), 1, params_of(p, TENSOR_K, i, -1), groups);
        if (!a->qk_norm) continue;
        size_t bytes = (size_t)a->head_dim * sizeof(float);
        memcpy(p->w + params_of(p, TENSOR_INDEX_Q_NORM, i, -1)->at,
               p->w + params_of(p, TENSOR_Q_NORM, i, -1)->at, bytes);
        memcpy(p->w + params_of(p, TENSOR_INDEX_K_NORM, i, -1)->at,
               p->w + params_of(p, TENSOR_K_NORM, i, -1)->at, bytes);
    }
    return MSA_OK;
}
