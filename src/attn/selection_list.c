/* selection_list.c: a selection from one order or layout into another. */
#include "attn/select.h"
#include "base/error.h"
#include "base/mem.h"

typedef struct convert_job {
    const msa_shape *shape;
    int64_t total_q;
    const int64_t *position;
    const msa_selection *from, *to;
} convert_job;

static int64_t row_start(const convert_job *job, const msa_selection *s, int64_t t, int32_t group) {
    int64_t row = s->layout == MSA_TOKEN_MAJOR ? t * job->shape->n_kv_heads + group
                                               : group * job->total_q + t;
    return row * job->shape->topk;
}

static msa_status check_list(const msa_selection *s, const char *name, msa_error *err) {
    if (!s) return error_set(err, MSA_E_ARG, "%s is NULL", name);
    if (!s->ids) return error_set(err, MSA_E_ARG, "%s: ids is NULL", name);
    if ((int)s->layout < 0 || s->layout > MSA_HEAD_MAJOR)
        return error_set(err, MSA_E_ARG, "%s: layout %d; expected an msa_list_layout", name,
                         (int)s->layout);
    if ((int)s->order < 0 || s->order > MSA_SCORE_DESC)
        return error_set(err, MSA_E_ARG, "%s: order %d; expected an msa_list_order", name,
                         (int)s->order);
    return MSA_OK;
}

static msa_status check_sizes(const convert_job *job, msa_error *err) {
    if (job->total_q < 0)
        return error_set(err, MSA_E_ARG, "total_q is %lld; expected 0 or more",
                         (long long)job->total_q);
    size_t n = (size_t)job->total_q;
    if (!size_mul(n, (size_t)job->shape->n_kv_heads, &n) ||
        !size_mul(n, (size_t)job->shape->topk * sizeof(int32_t), &n) || n > PTRDIFF_MAX)
        return error_set(err, MSA_E_ARG, "total_q is %lld; no array is that long",
                         (long long)job->total_q);
    uintptr_t from = (uintptr_t)job->from->ids, to = (uintptr_t)job->to->ids;
    if (from < to + n && to < from + n)
        return error_set(err, MSA_E_ARG, "to: ids overlaps the ids of from");
    if (job->to->order == MSA_SCORE_DESC && job->from->order != MSA_SCORE_DESC)
        return error_set(err, MSA_E_ARG,
                         "to: order by score needs scores, which a list in another order has lost");
    for (int64_t t = 0; t < job->total_q; t++)
        if (job->position[t] < 0)
            return error_set(err, MSA_E_ARG, "position[%lld] is %lld; expected 0 or more",
                             (long long)t, (long long)job->position[t]);
    return MSA_OK;
}

/* Orders of a row: by id, by id with forced leading and trailing blocks behind, or as it stands. */
static int64_t rank(const convert_job *job, int32_t id, int64_t own) {
    if (job->to->order == MSA_ASCENDING) return id;
    if (job->to->order == MSA_SCORE_DESC) return 0;
    int64_t kind = id > own - job->shape->local ? 2 : id < job->shape->init ? 1 : 0;
    return kind << 32 | id;
}

static msa_status convert_row(const convert_job *job, int64_t t, int32_t group, int32_t *sorted,
                              msa_error *err) {
    int32_t k = job->shape->topk, n = 0;
    int64_t own = job->position[t] / job->shape->block;
    const int32_t *ids = job->from->ids + row_start(job, job->from, t, group);
    for (int32_t i = 0; i < k; i++) {
        int32_t id = ids[i], j = n;
        if (id == -1) continue;
        if (id < -1 || id > own)
            return error_set(err, MSA_E_ARG,
                             "from: id %d of query %lld, group %d is %d; expected -1 to its own "
                             "block, %lld",
                             i, (long long)t, group, id, (long long)own);
        for (int32_t twin = 0; twin < n; twin++)
            if (sorted[twin] == id)
                return error_set(err, MSA_E_ARG,
                                 "from: block %d is listed twice for query %lld, group %d", id,
                                 (long long)t, group);
        for (; j > 0 && rank(job, sorted[j - 1], own) > rank(job, id, own); j--)
            sorted[j] = sorted[j - 1];
        sorted[j] = id;
        n++;
    }
    while (n < k) sorted[n++] = -1;
    return MSA_OK;
}

msa_status msa_selection_convert(const msa_shape *shape, int64_t total_q, const int64_t *position,
                                 const msa_selection *from, const msa_selection *to,
                                 msa_error *err) {
    msa_status status = msa_shape_check(shape, err);
    if (status) return status;
    if (total_q == 0) return MSA_OK;
    if (!position) return error_set(err, MSA_E_ARG, "position is NULL");
    if ((status = check_list(from, "from", err)) || (status = check_list(to, "to", err)))
        return status;
    convert_job job = {shape, total_q, position, from, to};
    if ((status = check_sizes(&job, err))) return status;
    /* The first pass writes nothing: a refused list leaves `to` as it was. */
    for (int pass = 0; pass < 2; pass++)
        for (int64_t t = 0; t < total_q; t++)
            for (int32_t group = 0; group < shape->n_kv_heads; group++) {
                int32_t row[SELECT_MAX_K];
                if ((status = convert_row(&job, t, group, row, err))) return status;
                if (pass == 0) continue;
                memcpy(to->ids + row_start(&job, to, t, group), row,
                       (size_t)shape->topk * sizeof *row);
            }
    return MSA_OK;
}
