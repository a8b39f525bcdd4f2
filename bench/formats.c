/* formats.c: what the stored formats cost in accuracy: the error of attention's output on invented
 * keys and values, and how many selected blocks of a real text are those of f32.
 *
 *   cc -O2 -fopenmp -Iinclude bench/formats.c build/libmsa.so -Wl,-rpath,build -lm -o formats
 *   ./formats weights/needle.gguf TEXT 8192 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "msa/model.h"

enum { N_KEYS = 4096, N_QUERIES = 32, DIM = 128, TOPK_MOST = 64 };

static void must(msa_status status, const msa_error *err) {
    if (status == MSA_OK) return;
    fprintf(stderr, "%s\n", err->text);
    exit(1);
}

static void *room(size_t n, size_t size) {
    void *p = calloc(n, size);
    if (!p) exit(1);
    return p;
}

/* ---- the output's error ---- */

static uint64_t state = 1;

static float uniform(void) {
    state = state * 6364136223846793005u + 1442695040888963407u;
    return ((float)(state >> 40) + 0.5f) * 0x1p-24f;
}

static float normal(void) {
    return sqrtf(-2 * logf(uniform())) * cosf(6.2831853f * uniform());
}

static void attend(const float *q, const float *k, const float *v, double *out) {
    static double p[N_KEYS];
    for (int i = 0; i < N_QUERIES; i++) {
        double most = -INFINITY, sum = 0;
        for (int j = 0; j <= N_KEYS - N_QUERIES + i; j++) {
            p[j] = 0;
            for (int c = 0; c < DIM; c++) p[j] += (double)q[i * DIM + c] * k[j * DIM + c];
            p[j] /= sqrt(DIM);
            most = fmax(most, p[j]);
        }
        for (int c = 0; c < DIM; c++) out[i * DIM + c] = 0;
        for (int j = 0; j <= N_KEYS - N_QUERIES + i; j++) {
            double weight = exp(p[j] - most);
            sum += weight;
            for (int c = 0; c < DIM; c++) out[i * DIM + c] += weight * v[j * DIM + c];
        }
        for (int c = 0; c < DIM; c++) out[i * DIM + c] /= sum;
    }
}

static msa_lane stored(msa_dtype dtype, const float *x) {
    size_t bytes = msa_row_bytes(dtype, DIM), scales = msa_row_scale_bytes(dtype, DIM);
    msa_rows rows = {.dtype = dtype,
                     .codes = room(N_KEYS, bytes),
                     .stride = (int64_t)bytes,
                     .scales = room(N_KEYS, scales + 1),
                     .scale_stride = (int64_t)scales};
    msa_error err;
    must(msa_rows_pack(&rows, N_KEYS, DIM, x, DIM, &err), &err);
    msa_lane lane = msa_lane_ragged(rows.codes, dtype, 1, DIM);
    lane.scales = rows.scales;
    return lane;
}

/* Root mean square of the error over that of the output. */
static double output_error(msa_dtype dtype, const float *q, const float *k, const float *v,
                           const double *truth) {
    static float out[N_QUERIES * DIM];
    const int32_t cu[2] = {0, N_QUERIES};
    const int64_t kv_len[1] = {N_KEYS};
    msa_shape shape = msa_shape_m3();
    shape.n_q_heads = shape.n_kv_heads = shape.n_index_heads = 1;
    const msa_batch batch = {.n_requests = 1, .cu_seqlens_q = cu, .kv_len = kv_len};
    msa_error err;
    msa_plan *plan = NULL;
    must(msa_dense_plan(&plan, &shape, &batch, NULL, &err), &err);
    msa_attn_args args = {.q = q, .k = stored(dtype, k), .v = stored(dtype, v), .out = out};
    must(msa_dense_run(plan, &args, &err), &err);
    double error = 0, size = 0;
    for (int i = 0; i < N_QUERIES * DIM; i++) {
        error += (out[i] - truth[i]) * (out[i] - truth[i]);
        size += truth[i] * truth[i];
    }
    msa_plan_free(plan);
    return sqrt(error / size);
}

/* ---- selections of a text ---- */

typedef struct record {
    int32_t *ids; /* [layers][tokens][groups][k] */
    int64_t n_tokens;
    size_t per_token; /* groups * k */
    int32_t topk, block;
} record;

static void keep(void *user, int32_t layer, int64_t first, int64_t n, const msa_shape *shape,
                 const int32_t *ids) {
    record *r = user;
    r->topk = shape->topk, r->block = shape->block;
    r->per_token = (size_t)(shape->n_kv_heads * shape->topk);
    memcpy(r->ids + ((size_t)layer * (size_t)r->n_tokens + (size_t)first) * r->per_token, ids,
           (size_t)n * r->per_token * sizeof *ids);
}

static record run(const msa_model *model, const int32_t *tokens, size_t n, msa_dtype dtype) {
    msa_error err;
    msa_session *session;
    msa_session_params p = msa_session_defaults(model);
    p.k_dtype = p.v_dtype = p.index_dtype = dtype;
    record r = {.n_tokens = (int64_t)n};
    size_t most = (size_t)msa_model_get_info(model)->n_kv_heads * TOPK_MOST;
    r.ids = room((size_t)msa_model_get_info(model)->n_layers * n * most, sizeof *r.ids);
    must(msa_session_create(&session, model, &p, &err), &err);
    msa_session_watch(session, keep, &r);
    must(msa_session_feed(session, tokens, n, NULL, NULL, &err), &err);
    msa_session_free(session);
    return r;
}

/* Of rows that leave blocks out, the share of ids that f32 chose too. */
static double share(const record *a, const record *b, int32_t n_layers) {
    int64_t same = 0, all = 0;
    for (int64_t row = 0; row < n_layers * a->n_tokens; row++) {
        if (row % a->n_tokens / a->block < a->topk) continue;
        size_t at = (size_t)row * a->per_token;
        for (size_t i = at; i < at + a->per_token; i++) {
            size_t list = at + (i - at) / (size_t)a->topk * (size_t)a->topk;
            if (a->ids[i] == 0 && a->ids[list] == 0 && a->ids[list + 1] == 0) continue; /* dense */
            all++;
            for (int32_t j = 0; j < a->topk; j++) same += b->ids[list + (size_t)j] == a->ids[i];
        }
    }
    return all ? (double)same / (double)all : NAN;
}

int main(int argc, char **argv) {
    if (argc != 4) return fprintf(stderr, "usage: formats MODEL TEXT N_TOKENS\n"), 2;
    static float q[N_QUERIES * DIM], k[N_KEYS * DIM], v[N_KEYS * DIM];
    static double truth[N_QUERIES * DIM];
    for (int i = 0; i < N_QUERIES * DIM; i++) q[i] = normal();
    for (int i = 0; i < N_KEYS * DIM; i++) k[i] = normal(), v[i] = normal();
    attend(q, k, v, truth);
    msa_error err;
    msa_model *model;
    msa_tokens tokens = {0};
    must(msa_model_load(&model, argv[1], &err), &err);
    FILE *file = fopen(argv[2], "rb");
    char *text = room(1 << 20, 1);
    size_t n_bytes = file ? fread(text, 1, 1 << 20, file) : 0, n = (size_t)atoi(argv[3]);
    must(msa_tokenize(model, text, n_bytes, MSA_ADD_SPECIAL, &tokens, &err), &err);
    if (n > tokens.n) n = tokens.n;
    int32_t n_layers = msa_model_get_info(model)->n_layers;
    record exact = run(model, tokens.ids, n, MSA_F32);
    printf("| format | bytes | error of the output | blocks that are f32's |\n|-|-|-|-|\n");
    for (int i = 0; i < MSA_DTYPE_COUNT; i++) {
        msa_dtype dtype = (msa_dtype)i;
        record r = run(model, tokens.ids, n, dtype);
        printf("| %s | %zu + %zu | %.1e | %.2f %% |\n", msa_dtype_name(dtype),
               msa_row_bytes(dtype, DIM), msa_row_scale_bytes(dtype, DIM),
               output_error(dtype, q, k, v, truth), 100 * share(&exact, &r, n_layers));
        free(r.ids);
    }
    return 0;
}
