/* bench_train.c: see bench_train.h. */
#include "cli/bench_train.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/bench_case.h"
#include "cli/bench_data.h"
#include "cli/interrupt.h"
#include "cli/table.h"
#include "msa/grad.h"

typedef enum train_op {
    INDEX,
    SPARSE_FORWARD,
    SPARSE_BACKWARD,
    LOSS,
    DENSE_FORWARD,
    DENSE_BACKWARD,
    OP_COUNT
} train_op;

static const char *const NAMES[OP_COUNT] = {"index",    "forward", "backward",
                                            "index-kl", "forward", "backward"};

/* Queries [first, first + queries) of a text: they see the tokens before them. */
typedef struct piece {
    int64_t queries, kv_len;
    int32_t cu_seqlens[2];
    msa_batch batch;
    double pairs, sparse_pairs; /* (query, token) that see each other; after selection */
} piece;

typedef struct bench_layer {
    msa_shape shape;
    piece sparse, dense;
    float *arrays[13];
    size_t n_bytes[13];
    int32_t *ids;
    double kl[256];
    msa_plan *plans[OP_COUNT];
    samples times[OP_COUNT];
} bench_layer;

enum { Q, K, V, QI, KI, OUT, LSE, D_OUT, DQ, DK, DV, DQI, DKI };

/* ---- set up ---- */

static void place(piece *p, const msa_shape *shape, int64_t n, int64_t queries) {
    int64_t first = (n - queries) / 2;
    *p =
        (piece){.queries = queries, .kv_len = first + queries, .cu_seqlens = {0, (int32_t)queries}};
    p->batch = (msa_batch){1, p->cu_seqlens, &p->kv_len, NULL, NULL, 0, 0, NULL};
    for (int64_t t = first; t < first + queries; t++) {
        int64_t own = t / shape->block, blocks = own < shape->topk ? own + 1 : shape->topk;
        p->pairs += (double)(t + 1);
        p->sparse_pairs += (double)((blocks - 1) * shape->block + t % shape->block + 1);
    }
}

/* n_bytes of all arrays; returns their sum. */
static double measure(bench_layer *l) {
    const msa_shape *s = &l->shape;
    size_t q = (size_t)l->sparse.queries, n = (size_t)l->sparse.kv_len;
    size_t wide = (size_t)(s->n_q_heads * s->head_dim),
           keys = (size_t)(s->n_kv_heads * s->head_dim);
    size_t index = (size_t)(s->n_index_heads * s->index_dim);
    size_t index_key = (size_t)(s->n_index_keys * s->index_dim);
    const size_t floats[] = {q * wide,
                             n * keys,
                             n * keys,
                             q * index,
                             n * index_key,
                             q * wide,
                             q * (size_t)s->n_q_heads,
                             q * wide,
                             q * wide,
                             n * keys,
                             n * keys,
                             q * index,
                             n * index_key};
    double sum = 0;
    for (int i = 0; i < 13; i++) {
        l->n_bytes[i] = floats[i] * sizeof(float);
        sum += (double)l->n_bytes[i];
    }
    return sum;
}

static bool allocate(bench_layer *l) {
    const msa_shape *s = &l->shape;
    bool good = true;
    for (int i = 0; i < 13; i++) {
        l->arrays[i] = bench_alloc(l->n_bytes[i]);
        good = good && l->arrays[i];
    }
    l->ids = malloc((size_t)l->sparse.queries * (size_t)(s->n_kv_heads * s->topk) * sizeof *l->ids);
    return good && l->ids;
}

/* Queries as bench_data makes them, and a first token that most of them choose. */
static msa_status invent(bench_layer *l, msa_error *err) {
    const msa_shape *s = &l->shape;
    bench_data one_page;
    msa_status status = bench_data_create(&one_page, s, MSA_F32, MSA_F32, 1, true, err);
    if (status != MSA_OK) return status;
    bench_data_queries(&one_page, 1, l->sparse.queries, l->arrays[Q], l->arrays[QI]);
    for (int i = K; i <= KI; i++)
        if (i != QI) bench_fill_normal(10 + (uint64_t)i, l->arrays[i], l->n_bytes[i] / 4);
    bench_fill_normal(30, l->arrays[D_OUT], l->n_bytes[D_OUT] / 4);
    for (int32_t g = 0; g < s->n_index_heads; g++)
        for (int32_t c = 0; c < s->index_dim; c++) {
            float *key = l->arrays[KI] + (s->n_index_keys == 1 ? 0 : g) * s->index_dim + c;
            *key = one_page.sink[g * s->index_dim + c] + (s->n_index_keys == 1 && g ? *key : 0);
        }
    bench_data_free(&one_page);
    return MSA_OK;
}

static msa_status make_plans(bench_layer *l, msa_error *err) {
    typedef msa_status plan_fn(msa_plan **, const msa_shape *, const msa_batch *,
                               const msa_plan_options *, msa_error *);
    static plan_fn *const plans[OP_COUNT] = {
        [INDEX] = msa_index_plan,
        [SPARSE_FORWARD] = msa_sparse_plan,
        [SPARSE_BACKWARD] = msa_sparse_grad_plan,
        [DENSE_FORWARD] = msa_dense_plan,
        [DENSE_BACKWARD] = msa_dense_grad_plan,
    };
    msa_status status = MSA_OK;
    for (int op = 0; op < OP_COUNT && status == MSA_OK; op++) {
        const msa_batch *batch = op < DENSE_FORWARD ? &l->sparse.batch : &l->dense.batch;
        status = op == LOSS ? msa_index_loss_plan(&l->plans[op], &l->shape, batch,
                                                  MSA_SUPPORT_SELECTED, NULL, err)
                            : plans[op](&l->plans[op], &l->shape, batch, NULL, err);
    }
    return status;
}

static void release(bench_layer *l) {
    for (int i = 0; i < 13; i++) bench_free(l->arrays[i], l->n_bytes[i]);
    for (int op = 0; op < OP_COUNT; op++) msa_plan_free(l->plans[op]);
    free(l->ids);
}

/* ---- a turn ---- */

static msa_status run_op(bench_layer *l, train_op op, msa_error *err) {
    const msa_shape *s = &l->shape;
    float *const *a = l->arrays;
    msa_selection selection = {.ids = l->ids};
    const msa_selection *chosen = op < DENSE_FORWARD ? &selection : NULL;
    msa_lane k = msa_lane_ragged(a[K], MSA_F32, s->n_kv_heads, s->head_dim);
    msa_lane v = msa_lane_ragged(a[V], MSA_F32, s->n_kv_heads, s->head_dim);
    msa_lane ki = msa_lane_ragged(a[KI], MSA_F32, s->n_index_keys, s->index_dim);
    msa_attn_args forward = {.q = a[Q], .k = k, .v = v, .selection = chosen};
    forward.out = a[OUT], forward.lse = a[LSE];
    msa_grad_args backward = {.q = a[Q], .k = k, .v = v, .selection = chosen, .out = a[OUT]};
    backward.lse = a[LSE], backward.d_out = a[D_OUT];
    backward.dq = a[DQ], backward.dk = a[DK], backward.dv = a[DV];
    msa_index_loss_args loss = {.q = a[Q], .k = k, .qi = a[QI], .ki = ki, .lse = a[LSE]};
    loss.selection = chosen, loss.loss_scale = 1, loss.kl = l->kl;
    loss.dqi = a[DQI], loss.dki = a[DKI];
    msa_plan *plan = l->plans[op];
    switch (op) {
    case INDEX:
        return msa_index_run(plan, &(msa_index_args){.qi = a[QI], .ki = ki, .out = selection}, err);
    case SPARSE_FORWARD: return msa_sparse_run(plan, &forward, err);
    case SPARSE_BACKWARD: return msa_sparse_grad_run(plan, &backward, err);
    case LOSS: return msa_index_loss_run(plan, &loss, err);
    case DENSE_FORWARD: return msa_dense_run(plan, &forward, err);
    default: return msa_dense_grad_run(plan, &backward, err);
    }
}

/* A round runs them in the order of a step, so that each finds what it needs; the first is not
 * counted where a second is wanted: it touches memory for the first time. */
static msa_status take_rounds(bench_layer *l, const bench_train_settings *settings,
                              msa_error *err) {
    double spent = 0;
    for (int round = 0; round <= settings->rounds; round++) {
        if (round > 1 && spent > settings->budget_s) break;
        for (int op = 0; op < OP_COUNT; op++) {
            busy_start(settings->busy);
            msa_status status = run_op(l, (train_op)op, err);
            double seconds = busy_stop(settings->busy);
            if (status != MSA_OK) return status;
            if (interrupt_seen()) return fail(err, MSA_E_CANCELLED, "interrupted");
            if (round > 0) samples_add(&l->times[op], seconds);
            if (round > 0 && op >= DENSE_FORWARD) spent += seconds / 2;
        }
    }
    return MSA_OK;
}

/* ---- rows ---- */

/* Of the piece: operations that the formulas ask for; bytes that must be read and written once. */
static work work_of(const bench_layer *l, train_op op) {
    const msa_shape *s = &l->shape;
    const piece *p = op < DENSE_FORWARD ? &l->sparse : &l->dense;
    double pairs = op >= DENSE_FORWARD ? p->pairs : p->sparse_pairs;
    double main = (double)s->n_q_heads * s->head_dim, index = s->n_index_heads * s->index_dim;
    double q = 4.0 * (double)p->queries, n = 4.0 * (double)p->kv_len;
    double keys = (double)s->n_kv_heads * s->head_dim, index_key = s->n_index_keys * s->index_dim;
    bench_case scored = {.n_requests = 1, .queries = p->queries, .n = p->kv_len};
    if (op == INDEX) return bench_work_index(&scored, s, MSA_F32);
    if (op == LOSS)
        return (work){2 * (main + 3 * index) * pairs,
                      q * (main + 2 * index) + n * (keys + 2 * index_key)};
    if (op == SPARSE_FORWARD || op == DENSE_FORWARD)
        return (work){4 * main * pairs, 2 * q * main + 2 * n * keys};
    return (work){10 * main * pairs, 4 * q * main + 4 * n * keys};
}

static int add_row(json_t *rows, const char *op, const char *attn, int64_t n, const piece *p,
                   double time, work w, double floor_s, double speedup, bool json, int n_samples,
                   size_t plan_bytes) {
    double scale = (double)n / (double)p->queries; /* from the piece to all queries */
    json_t *row = json_pack(
        "{s:s, s:s, s:I, s:I, s:s, s:s, s:o, s:o, s:o, s:o, s:o}", "op", op, "attn", attn, "n",
        (json_int_t)n, "queries", (json_int_t)p->queries, "format", "f32", "index_format", "f32",
        "time_us", json_number(time * scale * 1e6), "gflops", json_number(w.flops / time * 1e-9),
        "gbps", json_number(w.bytes / time * 1e-9), "roofline", json_number(floor_s / time),
        "speedup", speedup > 0 ? json_number(speedup) : json_null());
    if (row && !json)
        json_object_update_new(row, json_pack("{s:s, s:I, s:f}", "bound", "compute", "samples",
                                              (json_int_t)n_samples, "plan_mib",
                                              (double)plan_bytes / (1 << 20)));
    return json_array_append_new(rows, row);
}

static msa_status add_rows(const bench_layer *l, int64_t n, const ceilings *top, bool json,
                           json_t *rows, msa_error *err) {
    double time[OP_COUNT], floor_s[OP_COUNT];
    int bad = 0;
    bool ignored;
    for (int op = 0; op < OP_COUNT; op++) {
        const piece *p = op < DENSE_FORWARD ? &l->sparse : &l->dense;
        work w = work_of(l, (train_op)op);
        time[op] = samples_median(&l->times[op]);
        floor_s[op] = work_floor(w, top, &ignored);
        bad |= add_row(rows, NAMES[op], op < DENSE_FORWARD ? "msa" : "dense", n, p, time[op], w,
                       floor_s[op], 0, json, l->times[op].n, msa_plan_bytes(l->plans[op]));
    }
    double dense = (time[DENSE_FORWARD] + time[DENSE_BACKWARD]) / (double)l->dense.queries;
    for (int op = SPARSE_FORWARD; op < OP_COUNT; op += DENSE_FORWARD - SPARSE_FORWARD) {
        const piece *p = op == SPARSE_FORWARD ? &l->sparse : &l->dense;
        double both = time[op] + time[op + 1];
        work w = work_add(work_of(l, (train_op)op), work_of(l, (train_op)(op + 1)));
        bad |= add_row(rows, "train", op == SPARSE_FORWARD ? "msa" : "dense", n, p, both, w,
                       floor_s[op] + floor_s[op + 1], dense / (both / (double)p->queries), json,
                       l->times[op].n,
                       msa_plan_bytes(l->plans[op]) + msa_plan_bytes(l->plans[op + 1]));
    }
    return bad ? fail_memory(err, "collecting results") : MSA_OK;
}

msa_status bench_train_run(const msa_shape *shape, int64_t n, const bench_train_settings *settings,
                           bool json, json_t *rows, msa_error *err) {
    if (shape->n_kv_heads > 256)
        return fail(err, MSA_E_ARG, "--heads: training is timed with at most 256 key heads");
    bench_layer *l = calloc(1, sizeof *l);
    if (!l) return fail_memory(err, "making up a layer");
    l->shape = *shape;
    int64_t queries = settings->queries < n ? settings->queries : n;
    place(&l->sparse, shape, n, queries);
    place(&l->dense, shape, n, (queries + 15) / 16);
    double bytes = measure(l), room = bench_room();
    if (bytes > room) {
        fprintf(stderr, "msa: training at n = %lld left out: needs %.1f GB, %.1f are free\n",
                (long long)n, bytes * 1e-9, room * 1e-9);
        free(l);
        return MSA_OK;
    }
    msa_status status = MSA_OK;
    if (!allocate(l)) status = fail_memory(err, "making up a layer");
    if (status == MSA_OK) status = invent(l, err);
    if (status == MSA_OK) status = make_plans(l, err);
    if (status == MSA_OK) status = take_rounds(l, settings, err);
    if (status == MSA_OK) status = add_rows(l, n, settings->top, json, rows, err);
    release(l);
    free(l);
    return status;
}

void bench_train_notes(const json_t *rows) {
    double time[3] = {0, 0, 0};
    size_t i;
    json_t *row;
    printf("\nTimes are those of all n queries, scaled from so many in the middle of the context.\n"
           "Keys are f32; no index or loss is in 'train', which is forward and backward.\n");
    json_array_foreach(rows, i, row) {
        static const char *const names[] = {"index", "index-kl", "train"};
        for (int j = 0; j < 3; j++)
            if (strcmp(json_string_value(json_object_get(row, "op")), names[j]) == 0 &&
                strcmp(json_string_value(json_object_get(row, "attn")), "msa") == 0)
                time[j] = json_number_value(json_object_get(row, "time_us"));
        if (time[2] == 0) continue;
        printf("At n = %lld the KL over selected tokens costs %.0f %% of sparse forward and "
               "backward, choosing the blocks %.0f %%.\n",
               (long long)json_integer_value(json_object_get(row, "n")), 100 * time[1] / time[2],
               100 * time[0] / time[2]);
        time[2] = 0;
    }
}
