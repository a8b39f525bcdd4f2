/* index_loss.c: see index_loss.h. */
#include "attn/index_loss.h"

#include <float.h>
#include <math.h>
#include <string.h>

#include "attn/gather.h"
#include "attn/row_sums.h"
#include "attn/selection.h"

#define LOG2E 1.4426950408889634
#define LN2   0.6931471805599453

typedef struct loss_job {
    block_walk walk;
    const msa_index_loss_args *args;
    const attn_kernels *kernels;
    float teacher_log2, student_log2; /* what scores are multiplied by for exponents of base 2 */
    float scale;                      /* of Pi - P */
    bool gradients, teacher_known;
    bool by_mass; /* the teacher's sums over the support are found, and its lse is known besides */
    int group, index_dim, index_stride, index_padded;
    row_sums teacher, student; /* of width Hq, Hkv */
    float *dqi;                /* [n_parts][chunk_q][Hi][index_padded] */
    double *kl;                /* [n_parts][Hkv] */
} loss_job;

/* A thread's space, and the part it walks. */
typedef struct loss_worker {
    loss_job *job;
    int32_t part;
    gather_keys k, ki;
    gather_rows q, qi;  /* heads of queries; queries of the index */
    float *lse, *m, *l; /* [GRAD_ROWS] */
    float *p;           /* [GRAD_ROWS][GRAD_S_STRIDE] */
    float *dki;         /* [B][index_stride] */
    float **dq;
    double *kl;
    float *scratch;
} loss_worker;

/* ---- space ---- */

static void lay_out_worker(loss_worker *w, const msa_shape *s, carver *c) {
    size_t rows = GRAD_ROWS, index_stride = (size_t)grad_stride(s->index_dim);
    gather_keys_lay_out(&w->k, s, s->head_dim, GATHER_PANELS, c);
    gather_keys_lay_out(&w->ki, s, s->index_dim, GATHER_PANELS | GATHER_ROWS, c);
    gather_rows_lay_out(&w->q, s->n_q_heads, s->n_q_heads / s->n_kv_heads, s->head_dim, 1, c);
    gather_rows_lay_out(&w->qi, s->n_index_heads, 1, s->index_dim, 1, c);
    w->lse = carve(c, rows, sizeof(float));
    w->m = carve(c, rows, sizeof(float));
    w->l = carve(c, rows, sizeof(float));
    w->p = carve(c, rows * GRAD_S_STRIDE, sizeof(float));
    w->dki = carve(c, (size_t)s->block * index_stride, sizeof(float));
    w->dq = carve(c, rows, sizeof *w->dq);
    w->kl = carve(c, rows, sizeof(double));
    w->scratch = carve(c, grad_scratch_floats(), sizeof(float));
}

static void lay_out_job(loss_job *j, const msa_plan *plan, carver *c) {
    const msa_shape *s = &plan->shape;
    size_t padded = size_round_up((size_t)s->index_dim, 16), parts = (size_t)plan->n_parts;
    walk_lay_out(&j->walk, plan, c);
    row_sums_lay_out(&j->teacher, plan, s->n_q_heads, c);
    row_sums_lay_out(&j->student, plan, s->n_kv_heads, c);
    j->dqi =
        carve(c, parts * (size_t)plan->chunk_q * (size_t)s->n_index_heads * padded, sizeof(float));
    j->kl = carve(c, parts * (size_t)s->n_kv_heads, sizeof(double));
}

static loss_worker worker_of(loss_job *j, int thread, int32_t part) {
    loss_worker w = {.job = j, .part = part};
    carver c = {.base = plan_thread_space(j->walk.plan, thread)};
    lay_out_worker(&w, &j->walk.plan->shape, &c);
    w.q.walk = w.qi.walk = &j->walk;
    w.q.from[0] = j->args->q;
    w.qi.from[0] = j->args->qi;
    w.q.scale_log2 = j->teacher_log2;
    w.qi.scale_log2 = j->student_log2;
    return w;
}

static int32_t index_head(const loss_job *j, int32_t head) {
    return j->walk.plan->shape.n_index_keys == 1 ? 0 : head;
}

/* ---- first sweep: log-sum-exps ---- */

/* Takes the block into the pairs of n rows; row i is of query (first + i) / group. */
static void add_to_sums(loss_worker *w, const gather_visit *v, const row_sums *s,
                        const seen_rows *rows, const float *panels, int32_t first, int32_t group) {
    int64_t at[GRAD_ROWS];
    for (int32_t i = 0; i < rows->n; i++) {
        int32_t query = v->queries[(first + i) / group];
        at[i] = row_sums_at(s, w->job->walk.plan, w->part, query,
                            v->head * group + (first + i) % group);
        w->m[i] = s->m[at[i]];
        w->l[i] = s->l[at[i]];
    }
    w->job->kernels->loss_lse(rows, panels, v->n_keys, w->m, w->l, w->scratch);
    for (int32_t i = 0; i < rows->n; i++) {
        s->m[at[i]] = w->m[i];
        s->l[at[i]] = w->l[i];
    }
}

static void visit_sums(void *worker, const plan_request *r, int32_t head, int64_t block,
                       const int32_t *queries, int32_t n) {
    loss_worker *w = worker;
    const loss_job *j = w->job;
    const msa_plan *plan = j->walk.plan;
    gather_visit v = gather_visit_of(&j->walk, r, head, block, queries, n);
    gather_keys ki = w->ki;
    ki.rows = NULL;
    gather_keys_open(&ki, plan, &j->args->ki, &v, index_head(j, head));
    for (int32_t first = 0; first < n; first += GRAD_ROWS) {
        seen_rows rows = gather_rows_take(&w->qi, &v, first, n);
        add_to_sums(w, &v, &j->student, &rows, ki.panels, first, 1);
    }
    if (j->teacher_known) return;
    gather_keys_open(&w->k, plan, &j->args->k, &v, head);
    for (int32_t first = 0; first < n * j->group; first += GRAD_ROWS) {
        seen_rows rows = gather_rows_take(&w->q, &v, first, n * j->group);
        add_to_sums(w, &v, &j->teacher, &rows, w->k.panels, first, j->group);
    }
}

static void sum_part(void *job, int thread, int32_t set, int32_t part) {
    loss_worker w = worker_of(job, thread, part);
    const loss_job *j = w.job;
    row_sums_clear(&j->student, j->walk.plan, part, j->walk.n, 0, j->student.width);
    if (!j->teacher_known)
        row_sums_clear(&j->teacher, j->walk.plan, part, j->walk.n, 0, j->teacher.width);
    walk_part(&j->walk, set, part, visit_sums, &w);
}

static float known_lse(const loss_job *j, int32_t query, int64_t head) {
    float lse = j->args->lse[j->walk.queries[query].t * j->teacher.width + head];
    return lse == -INFINITY ? FLT_MAX : (float)(lse * LOG2E);
}

/* The teacher's sums become those of everything visible; the student is weighed by the share of
 * attention on the support. */
static void weigh_query(loss_job *j, int32_t query) {
    const float LEAST = 0x1p-100f; /* its logarithm stays a number */
    for (int64_t g = 0; g < j->student.width; g++) {
        float mass = 0;
        for (int64_t h = g * j->group; h < (g + 1) * j->group; h++) {
            float *lse = &j->teacher.lse[query * j->teacher.width + h],
                  all = known_lse(j, query, h);
            if (*lse != FLT_MAX) mass += exp2f(fminf(*lse - all, 0));
            *lse = all;
        }
        mass /= (float)j->group;
        j->student.lse[query * j->student.width + g] -= log2f(mass > LEAST ? mass : LEAST);
    }
}

static void merge_query(void *job, int32_t query) {
    loss_job *j = job;
    int64_t heads = j->teacher.width;
    row_sums_merge(&j->student, j->walk.plan, query);
    if (!j->teacher_known) row_sums_merge(&j->teacher, j->walk.plan, query);
    if (j->by_mass) weigh_query(j, query);
    if (!j->teacher_known) return;
    for (int64_t h = 0; h < heads; h++) j->teacher.lse[query * heads + h] = known_lse(j, query, h);
}

/* ---- second sweep: the loss and its gradient ---- */

/* w->p: the sum of the group's probabilities for n queries from the first-th on. */
static void sum_teacher(loss_worker *w, const gather_visit *v, int32_t first, int32_t n) {
    const loss_job *j = w->job;
    for (int32_t i = 0; i < n; i++)
        memset(w->p + i * GRAD_S_STRIDE, 0, (size_t)(v->n_keys + 15) / 16 * 16 * sizeof(float));
    for (int32_t row = 0; row < n * j->group; row += GRAD_ROWS) {
        seen_rows rows = gather_rows_take(&w->q, v, first * j->group + row, (first + n) * j->group);
        for (int32_t i = 0; i < rows.n; i++) w->lse[i] = j->teacher.lse[w->q.row[i]];
        j->kernels->loss_teacher(&rows, w->k.panels, v->n_keys, w->lse, row, j->group, w->p,
                                 w->scratch);
    }
}

static void compare(loss_worker *w, const gather_visit *v, int32_t first, int32_t n) {
    const loss_job *j = w->job;
    const msa_shape *s = &j->walk.plan->shape;
    sum_teacher(w, v, first, n);
    loss_student a = {.rows = gather_rows_take(&w->qi, v, first, first + n)};
    a.n_keys = a.rows.sees[n - 1]; /* ascending: the last sees most */
    a.k_panels = w->ki.panels, a.k_rows = w->ki.rows, a.lse_log2 = w->lse, a.p = w->p;
    a.share = 1.0f / (float)j->group, a.scale = j->scale;
    a.kl = w->kl, a.dk = w->dki, a.dq = j->gradients ? w->dq : NULL;
    for (int32_t i = 0; i < n; i++) {
        int32_t q = v->queries[first + i];
        int64_t row = (w->part * j->walk.plan->chunk_q + q) * s->n_index_heads + v->head;
        w->lse[i] = j->student.lse[q * j->student.width + v->head];
        w->dq[i] = j->dqi + row * j->index_padded;
        w->kl[i] = 0;
    }
    j->kernels->loss_student(&a, w->scratch);
    for (int32_t i = 0; i < n; i++) j->kl[w->part * s->n_kv_heads + v->head] += w->kl[i];
}

static void add_block(const loss_worker *w, const gather_visit *v) {
    const loss_job *j = w->job;
    for (int32_t i = 0; i < v->n_keys; i++) {
        int64_t row = (v->request->kv_start + v->token + i) * j->walk.plan->shape.n_index_keys;
        float *dki = j->args->dki + (row + index_head(j, v->head)) * j->index_dim;
        for (int c = 0; c < j->index_dim; c++) dki[c] += w->dki[i * j->index_stride + c];
    }
}

static void visit_loss(void *worker, const plan_request *r, int32_t head, int64_t block,
                       const int32_t *queries, int32_t n) {
    loss_worker *w = worker;
    const loss_job *j = w->job;
    gather_visit v = gather_visit_of(&j->walk, r, head, block, queries, n);
    gather_keys_open(&w->k, j->walk.plan, &j->args->k, &v, head);
    gather_keys_open(&w->ki, j->walk.plan, &j->args->ki, &v, index_head(j, head));
    memset(w->dki, 0, (size_t)(v.n_keys * j->index_stride) * sizeof(float));
    for (int32_t first = 0; first < n; first += GRAD_ROWS)
        compare(w, &v, first, n - first < GRAD_ROWS ? n - first : GRAD_ROWS);
    if (j->gradients) add_block(w, &v);
}

static void compare_part(void *job, int thread, int32_t set, int32_t part) {
    loss_worker w = worker_of(job, thread, part);
    const loss_job *j = w.job;
    const msa_plan *plan = j->walk.plan;
    size_t row = (size_t)(plan->shape.n_index_heads * j->index_padded);
    memset(j->dqi + (size_t)(part * plan->chunk_q) * row, 0,
           (size_t)j->walk.n * row * sizeof(float));
    walk_part(&j->walk, set, part, visit_loss, &w);
}

static void sum_query(void *job, int32_t query) {
    loss_job *j = job;
    if (!j->gradients) return;
    const msa_plan *plan = j->walk.plan;
    int64_t heads = plan->shape.n_index_heads, stride = plan->chunk_q * heads * j->index_padded;
    float *dqi = j->args->dqi + j->walk.queries[query].t * heads * j->index_dim;
    for (int64_t h = 0; h < heads; h++)
        walk_sum_parts(j->dqi + (query * heads + h) * j->index_padded, stride, plan->n_parts,
                       j->index_dim, dqi + h * j->index_dim);
}

static void zero_keys(void *job, int64_t first, int64_t n) {
    const loss_job *j = job;
    int64_t row = (int64_t)j->walk.plan->shape.n_index_keys * j->index_dim;
    if (j->gradients) memset(j->args->dki + first * row, 0, (size_t)(n * row) * sizeof(float));
}

/* ---- entries ---- */

msa_status msa_index_loss_plan(msa_plan **plan, const msa_shape *shape, const msa_batch *batch,
                               msa_support support, const msa_plan_options *options,
                               msa_error *err) {
    if ((int)support < 0 || support > MSA_SUPPORT_FAR_MASS)
        return error_set(err, MSA_E_ARG, "support is %d; expected an msa_support", (int)support);
    msa_status status = plan_prepare(plan, PLAN_INDEX_LOSS, shape, batch, options, err);
    if (!status) status = walk_check_batch(*plan, err);
    if (status) return status;
    msa_plan *p = *plan;
    size_t width = row_sums_floats(shape->n_q_heads) + row_sums_floats(shape->n_kv_heads);
    width += (size_t)shape->n_index_heads * size_round_up((size_t)shape->index_dim, 16);
    walk_plan(p, 1, width);
    p->support = support;
    loss_worker w;
    loss_job j;
    carver thread = {0}, shared = {0};
    lay_out_worker(&w, shape, &thread);
    lay_out_job(&j, p, &shared);
    return plan_reserve_workspace(p, thread.used, shared.used, err);
}

static msa_status check_rows(const msa_plan *plan, const msa_index_loss_args *a, msa_error *err) {
    if (!a->rows) return MSA_OK;
    if (a->n_rows < 0 || a->n_rows > plan->total_q)
        return error_set(err, MSA_E_ARG, "n_rows is %lld; expected 0 to total_q = %lld",
                         (long long)a->n_rows, (long long)plan->total_q);
    for (int64_t i = 0; i < a->n_rows; i++)
        if (a->rows[i] < (i ? a->rows[i - 1] + (int64_t)1 : 0) || a->rows[i] >= plan->total_q)
            return error_set(err, MSA_E_ARG,
                             "rows[%lld] is %d; expected ascending numbers below total_q = %lld",
                             (long long)i, a->rows[i], (long long)plan->total_q);
    return MSA_OK;
}

static bool is_far(const msa_plan *plan) {
    return plan->support == MSA_SUPPORT_FAR || plan->support == MSA_SUPPORT_FAR_MASS;
}

static msa_status check_args(const msa_plan *plan, const msa_index_loss_args *a, msa_error *err) {
    const msa_shape *s = &plan->shape;
    msa_status status;
    if (!a) return error_set(err, MSA_E_ARG, "args is NULL");
    if (!a->kl) return error_set(err, MSA_E_ARG, "kl is NULL");
    if (plan->total_q && (!a->q || !a->qi))
        return error_set(err, MSA_E_ARG, "%s is NULL", a->q ? "qi" : "q");
    if (!a->dqi != !a->dki)
        return error_set(err, MSA_E_ARG, "%s is NULL; give both gradients or neither",
                         a->dqi ? "dki" : "dqi");
    if (!isfinite(a->loss_scale))
        return error_set(err, MSA_E_ARG, "loss_scale is %g; expected a finite number",
                         (double)a->loss_scale);
    if ((status = plan_check_lane(plan, &a->k, "k", s->n_kv_heads, s->head_dim, false, err)) ||
        (status = plan_check_lane(plan, &a->ki, "ki", s->n_index_keys, s->index_dim, false, err)) ||
        (status = check_rows(plan, a, err)))
        return status;
    if (plan->support == MSA_SUPPORT_SELECTED) return selection_check(plan, a->selection, err);
    if (a->selection)
        return error_set(err, MSA_E_ARG,
                         "a selection is given; the loss was planned over %s tokens",
                         is_far(plan) ? "far" : "all visible");
    if (plan->support == MSA_SUPPORT_FAR_MASS && plan->total_q && !a->lse)
        return error_set(
            err, MSA_E_ARG,
            "lse is NULL; far tokens are weighed by it: expected that of msa_dense_run");
    return MSA_OK;
}

static loss_job job_of(const msa_plan *plan, const msa_index_loss_args *args) {
    const msa_shape *s = &plan->shape;
    loss_job j = {.args = args, .kernels = attn_kernels_get()};
    carver c = {.base = plan_shared_space(plan)};
    lay_out_job(&j, plan, &c);
    bool far = is_far(plan);
    walk_begin(&j.walk, plan, args->selection, 1);
    j.walk.local = far ? s->local : 0;
    j.walk.init = far ? s->init : 0;
    j.walk.rows = args->rows;
    if (args->rows) j.walk.n_rows = args->n_rows;
    j.group = s->n_q_heads / s->n_kv_heads;
    j.index_dim = s->index_dim, j.index_stride = grad_stride(s->index_dim);
    j.index_padded = j.index_stride - 16;
    j.gradients = args->dqi != NULL;
    j.teacher_known = args->lse && !far;
    j.by_mass = plan->support == MSA_SUPPORT_FAR_MASS;
    j.student_log2 = (float)(LOG2E / sqrt(s->index_dim));
    j.scale = (float)(args->loss_scale / sqrt(s->index_dim));
    return j;
}

msa_status msa_index_loss_run(msa_plan *plan, const msa_index_loss_args *args, msa_error *err) {
    msa_status status;
    float scale;
    if ((status = plan_check(plan, PLAN_INDEX_LOSS, err)) ||
        (status = check_args(plan, args, err)) ||
        (status = plan_check_scale(&plan->shape, args->scale, &scale, err)))
        return status;
    loss_job j = job_of(plan, args);
    j.teacher_log2 = (float)(scale * LOG2E);
    int64_t groups = plan->shape.n_kv_heads, row = plan->shape.n_index_heads * j.index_dim;
    for (int64_t i = 0; i < plan->n_parts * groups; i++) j.kl[i] = 0;
    if (j.gradients && args->rows)
        memset(args->dqi, 0, (size_t)(plan->total_q * row) * sizeof(float));
    static const walk_pass passes[] = {{sum_part, merge_query}, {compare_part, sum_query}};
    walk_run(&j.walk, zero_keys, passes, 2, &j);
    for (int64_t g = 0; g < groups; g++) {
        args->kl[g] = 0;
        for (int32_t p = 0; p < plan->n_parts; p++) args->kl[g] += j.kl[p * groups + g];
        args->kl[g] *= LN2;
    }
    return MSA_OK;
}
