/* index8.c: rotating, rounding, and copying the keys of a step.
 *
 * In double and in plain C, compiled once: a token costs a microsecond, once in its life, and a
 * query as much for each run, which is nothing beside a scan; and the proof needs to count no
 * roundings here, double's being lost in the rounding of the results to f32. */
#include "attn/index8.h"

#include <math.h>
#include <omp.h>

#include "base/half.h"
#include "base/random.h"

#define LONGEST  0x1p60  /* beyond it, no bound: so products of norms stay far from overflow */
#define SHORTEST 0x1p-60 /* below it, no whole numbers: so products stay far from underflow */
#define SPARE    (1 + 0x1p-40) /* more than all roundings of a norm in double */
#define MAX_DIM  256

/* ---- rotation */

static void flip_signs(double *x, int dim, int pass) {
    uint64_t bits = 0;
    for (int c = 0; c < dim; c++, bits >>= 1) {
        if (c % 64 == 0) bits = random_u64(INDEX8_SEED, (uint64_t)(4 * pass + c / 64));
        if (bits & 1) x[c] = -x[c];
    }
}

static void transform(double *x, int n) {
    for (int half = 1; half < n; half *= 2)
        for (int i = 0; i < n; i += 2 * half)
            for (int j = i; j < i + half; j++) {
                double a = x[j], b = x[j + half];
                x[j] = a + b;
                x[j + half] = a - b;
            }
    double scale = 1 / sqrt(n);
    for (int i = 0; i < n; i++) x[i] *= scale;
}

static void rotate(double *x, int dim) {
    int n = 8;
    while (2 * n <= dim) n *= 2;
    flip_signs(x, dim, 0);
    transform(x, n);
    if (n == dim) return;
    flip_signs(x, dim, 1);
    transform(x + dim - n, n);
}

/* ---- rounding */

static float round_up(double x) {
    float f = (float)x;
    return (double)f < x ? nextafterf(f, INFINITY) : f;
}

static float round_up_bf16(double x) { /* x in [2^-67, 2^60] */
    return f32_from_bits((f32_bits(round_up(x)) + 0xffff) & 0xffff0000u);
}

static double greatest(const double *x, int n) {
    double most = 0;
    for (int i = 0; i < n; i++) most = fabs(x[i]) > most ? fabs(x[i]) : most;
    return most;
}

/* At least |x|, by little. */
static double norm_of(const double *x, int n) {
    double part[4] = {0};
    for (int i = 0; i < n; i += 4)
        for (int j = 0; j < 4; j++) part[j] += x[i + j] * x[i + j];
    return sqrt((part[0] + part[1]) + (part[2] + part[3])) * SPARE;
}

/* x becomes the nearest whole numbers of x / scale, and `rest` what they leave. */
static void round_whole(double *x, int n, double scale, double *rest) {
    const double magic = 0x1.8p52; /* added and taken away, rounds to even */
    for (int i = 0; i < n; i++) {
        double whole = x[i] / scale + magic - magic;
        rest[i] = x[i] - scale * whole;
        x[i] = whole;
    }
}

/* What norm_of says of the rest, and what the rotation itself was off. */
static double error_of(const double *rest, int n, double norm) {
    return norm_of(rest, n) + 0x1p-44 * norm;
}

/* Widened, its norm; false where there is no bound. */
static bool widen(const float *from, int dim, double *x, double *norm) {
    for (int c = 0; c < dim; c++) x[c] = from[c];
    *norm = norm_of(x, dim);
    return *norm <= LONGEST; /* not where it is NaN */
}

void index8_round_query(const float *q, int dim, index8_query *out, int16_t *numbers) {
    double x[MAX_DIM] = {0}, rest[MAX_DIM], norm;
    bool bounded = widen(q, dim, x, &norm);
    *out = (index8_query){.norm = SHORTEST, .error = INFINITY};
    for (int c = 0; c < dim; c++) numbers[c] = 0;
    if (!bounded) return;
    if (norm > SHORTEST) out->norm = round_up(norm);
    out->error = out->norm; /* of no numbers at all */
    rotate(x, dim);
    double most = greatest(x, dim);
    if (most < SHORTEST) return;
    out->scale = round_up(most / 32767);
    round_whole(x, dim, out->scale, rest);
    out->error = round_up(error_of(rest, dim, norm));
    for (int c = 0; c < dim; c++) numbers[c] = (int16_t)x[c];
}

void index8_clear(void *copy, int dim, int block) {
    memset(copy, 0, (size_t)block * (size_t)(dim + 2));
    *index8_tail_of(copy, dim, block) = (index8_tail){.ratio = 0x1p-20f, .norm = SHORTEST};
}

static void raise(float *most, double x) {
    float up = round_up(x);
    if (up > *most) *most = up;
}

void index8_put(void *copy, int dim, int block, int token, const float *k) {
    double x[MAX_DIM] = {0}, rest[MAX_DIM], norm, most = 0;
    index8_tail *tail = index8_tail_of(copy, dim, block);
    int8_t *numbers = index8_token(copy, dim, token);
    float scale = 0;
    bool bounded = widen(k, dim, x, &norm);
    if (bounded) {
        rotate(x, dim);
        most = greatest(x, dim);
    }
    if (!bounded) {
        tail->norm = INFINITY;
    } else if (most < SHORTEST) {
        raise(&tail->tiny, norm);
        raise(&tail->norm, 2 * norm);
    } else {
        scale = round_up_bf16(most / 127);
        round_whole(x, dim, scale, rest);
        double error = error_of(rest, dim, norm);
        raise(&tail->ratio, error / scale * SPARE);
        raise(&tail->norm, (norm + error) * SPARE);
    }
    index8_scales(copy, dim, block)[token] = (uint16_t)(f32_bits(scale) >> 16);
    for (int c = 0; c < dim; c++) numbers[c / 2 * 32 + c % 2] = (int8_t)(scale > 0 ? x[c] : 0);
}

static float element(const void *data, int64_t at, msa_dtype dtype) {
    if (dtype == MSA_F32) return ((const float *)data)[at];
    uint16_t half = ((const uint16_t *)data)[at];
    return dtype == MSA_F16 ? f16_to_f32(half) : bf16_to_f32(half);
}

void index8_put_stored(void *copy, int dim, int block, const msa_lane *ki, const void *keys,
                       int first, int end) {
    bool panels = ki->layout == MSA_PANELS;
    if (first == 0) index8_clear(copy, dim, block);
    for (int j = first; j < end; j++) {
        float k[MAX_DIM];
        int64_t at = panels ? j / 16 * 16 * dim + j % 16 : j * ki->stride_token;
        for (int c = 0; c < dim; c++) k[c] = element(keys, at + (panels ? 16 * c : c), ki->dtype);
        index8_put(copy, dim, block, j, k);
    }
}

/* ---- lanes */

size_t msa_index8_block_bytes(const msa_shape *shape) {
    return msa_shape_check(shape, NULL) == MSA_OK ? index8_bytes(shape) : 0;
}

msa_index8_lane msa_index8_lane_of(void *data, const msa_shape *shape) {
    int64_t bytes = (int64_t)msa_index8_block_bytes(shape);
    return (msa_index8_lane){.data = data,
                             .stride_page = bytes * (shape ? shape->n_index_keys : 0),
                             .stride_head = bytes};
}

void index8_number_blocks(msa_plan *plan) {
    int64_t n = 0;
    for (int32_t r = 0; r < plan->n_requests; r++) {
        plan->requests[r].first_block = n;
        n += (plan->requests[r].kv_len + plan->shape.block - 1) / plan->shape.block;
    }
}

msa_status index8_check_keys(const msa_lane *ki, msa_error *err) {
    if (index8_is_of(ki->dtype)) return MSA_OK;
    return error_set(err, MSA_E_ARG,
                     "ki: dtype is %s; an int8 copy is of keys in f32, f16 or bf16: narrower ones "
                     "are scanned as they are",
                     msa_dtype_name(ki->dtype));
}

msa_status index8_check_lane(const msa_plan *plan, const msa_index8_lane *lane, const char *name,
                             msa_error *err) {
    int64_t bytes = (int64_t)index8_bytes(&plan->shape);
    if (!lane->data) return error_set(err, MSA_E_ARG, "%s: data is NULL", name);
    if ((uintptr_t)lane->data % 64)
        return error_set(err, MSA_E_ARG, "%s: data is not aligned to 64 bytes", name);
    if (lane->stride_page < bytes || lane->stride_page % 64)
        return error_set(err, MSA_E_ARG,
                         "%s: stride_page is %lld; expected a multiple of 64, at least %lld", name,
                         (long long)lane->stride_page, (long long)bytes);
    if (plan->shape.n_index_keys > 1 && (lane->stride_head < bytes || lane->stride_head % 64))
        return error_set(err, MSA_E_ARG,
                         "%s: stride_head is %lld; expected a multiple of 64, at least %lld", name,
                         (long long)lane->stride_head, (long long)bytes);
    for (int32_t r = 0; !plan->paged && lane->start && r < plan->n_requests; r++)
        if (lane->start[r] < 0)
            return error_set(err, MSA_E_ARG, "%s: start[%d] is %lld; expected 0 or more", name, r,
                             (long long)lane->start[r]);
    return MSA_OK;
}

/* ---- the keys of a step */

/* An item is a block of a request and a head: its tokens that are queries' positions. */
static size_t fill_items(const msa_plan *plan, plan_item *items) {
    size_t n = 0;
    for (int32_t r = 0; r < plan->n_requests; r++) {
        const plan_request *request = &plan->requests[r];
        int64_t block = plan->shape.block, end = request->position + request->q_len;
        for (int64_t b = request->position / block; b * block < end && request->q_len; b++)
            for (int32_t head = 0; head < plan->shape.n_index_keys; head++, n++)
                if (items) items[n] = (plan_item){.request = r, .head = head, .q_first = b};
    }
    return n;
}

msa_status msa_index8_plan(msa_plan **plan, const msa_shape *shape, const msa_batch *batch,
                           const msa_plan_options *options, msa_error *err) {
    bool is_new = plan && !*plan;
    msa_status status = plan_prepare(plan, PLAN_INDEX8, shape, batch, options, err);
    if (status) return status;
    msa_plan *p = *plan;
    index8_number_blocks(p);
    if (!(status = plan_reserve_items(p, fill_items(p, NULL), err)) &&
        !(status = plan_reserve_workspace(p, 0, 0, err)))
        p->n_items = fill_items(p, p->items);
    if (status && is_new) {
        msa_plan_free(p);
        *plan = NULL;
    }
    return status;
}

static void copy_block(const msa_plan *plan, const msa_index8_args *args, const plan_item *item) {
    const plan_request *request = &plan->requests[item->request];
    int dim = plan->shape.index_dim, block = plan->shape.block;
    int64_t start = item->q_first * block, end = request->position + request->q_len;
    int first = (int)(request->position > start ? request->position - start : 0);
    int last = (int)(end - start < block ? end - start : block);
    index8_put_stored(index8_copy(plan, &args->out, request, item->head, item->q_first), dim, block,
                      &args->ki, plan_block(plan, &args->ki, request, item->head, item->q_first),
                      first, last);
}

msa_status msa_index8_run(msa_plan *plan, const msa_index8_args *args, msa_error *err) {
    msa_status status = plan_check(plan, PLAN_INDEX8, err);
    if (status) return status;
    if (!args) return error_set(err, MSA_E_ARG, "args is NULL");
    if (plan->total_q == 0) return MSA_OK;
    if ((status = plan_check_lane(plan, &args->ki, "ki", plan->shape.n_index_keys,
                                  plan->shape.index_dim, true, err)) ||
        (status = index8_check_keys(&args->ki, err)) ||
        (status = index8_check_lane(plan, &args->out, "out", err)))
        return status;
    int64_t n_items = (int64_t)plan->n_items;
#pragma omp parallel for schedule(dynamic, 1) num_threads(plan->n_threads) if (n_items > 1)
    for (int64_t i = 0; i < n_items; i++) copy_block(plan, args, &plan->items[i]);
    return MSA_OK;
}
