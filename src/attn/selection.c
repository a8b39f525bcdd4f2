/* selection.c: see selection.h. */
#include "attn/selection.h"

#include "attn/select.h"
#include "base/error.h"
#include "base/mem.h"

/* ---- soundness ---- */

static bool list_is_good(const int32_t *ids, int32_t k, int64_t own) {
    int32_t sorted[SELECT_MAX_K];
    for (int32_t i = 0; i < k; i++)
        if (ids[i] < -1 || ids[i] > own) return false;
    int32_t n = selection_sort(ids, k, sorted);
    for (int32_t i = 1; i < n; i++)
        if (sorted[i] == sorted[i - 1]) return false;
    return true;
}

static msa_status describe_bad_list(const int32_t *ids, int32_t k, int64_t own, int32_t request,
                                    int64_t query, int32_t group, msa_error *err) {
    for (int32_t i = 0; i < k; i++) {
        if (ids[i] < -1 || ids[i] > own)
            return error_set(err, MSA_E_ARG,
                             "selection: request %d, query %lld, group %d, slot %d names block %d; "
                             "expected -1 to the query's own block %lld",
                             request, (long long)query, group, i, ids[i], (long long)own);
        for (int32_t j = 0; j < i; j++)
            if (ids[i] >= 0 && ids[i] == ids[j])
                return error_set(err, MSA_E_ARG,
                                 "selection: request %d, query %lld, group %d lists block %d twice",
                                 request, (long long)query, group, ids[i]);
    }
    return MSA_OK;
}

msa_status selection_check(const msa_plan *plan, const msa_selection *s, msa_error *err) {
    if (plan->total_q == 0) return MSA_OK;
    if (!s || !s->ids)
        return error_set(err, MSA_E_ARG,
                         "selection is NULL; dense attention, for any number of "
                         "queries, is msa_dense_run");
    if (s->layout != MSA_TOKEN_MAJOR && s->layout != MSA_HEAD_MAJOR)
        return error_set(err, MSA_E_ARG, "selection: layout %d is not known", (int)s->layout);
    int32_t k = plan->shape.topk, groups = plan->shape.n_kv_heads;
    for (int32_t r = 0; r < plan->n_requests; r++) {
        const plan_request *q = &plan->requests[r];
        int64_t bad = INT64_MAX;
#pragma omp parallel for num_threads(plan->n_threads) reduction(min : bad) if (q->q_len > 256)
        for (int64_t i = 0; i < q->q_len * groups; i++) {
            int64_t query = i / groups, own = (q->position + query) / plan->shape.block;
            const int32_t *ids = selection_list(s, &plan->shape, plan->total_q, q->q_start + query,
                                                (int32_t)(i % groups));
            if (i < bad && !list_is_good(ids, k, own)) bad = i;
        }
        if (bad == INT64_MAX) continue;
        int64_t query = bad / groups;
        int32_t group = (int32_t)(bad % groups);
        const int32_t *ids =
            selection_list(s, &plan->shape, plan->total_q, q->q_start + query, group);
        return describe_bad_list(ids, k, (q->position + query) / plan->shape.block, r, query, group,
                                 err);
    }
    return MSA_OK;
}

/* ---- another order or layout ---- */

typedef struct convert_job {
    const msa_shape *shape;
    int64_t total_q;
    const int64_t *position;
    const msa_selection *from, *to;
} convert_job;

static int32_t *list_of(const convert_job *job, const msa_selection *s, int64_t t, int32_t group) {
    return selection_list(s, job->shape, job->total_q, t, group);
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
    const int32_t *ids = list_of(job, job->from, t, group);
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
                memcpy(list_of(&job, to, t, group), row, (size_t)shape->topk * sizeof *row);
            }
    return MSA_OK;
}
