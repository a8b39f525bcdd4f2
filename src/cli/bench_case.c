/* bench_case.c: see bench_case.h. */
#include "cli/bench_case.h"
#include "cli/settings.h"

#include <math.h>
#include <stdlib.h>

/* Tokens in the chunk, tokens already cached, calls the stratum stands for. */
static const struct {
    int32_t queries, prefix, weight;
} PREFILL[] = {
    {182, 17536, 611},    {171, 55168, 1325},   {338, 74240, 1418},   {347, 131200, 312},
    {1623, 16384, 388},   {1404, 45440, 492},   {1626, 91520, 565},   {1649, 133888, 180},
    {8897, 16640, 47},    {9844, 39040, 110},   {10295, 75520, 103},  {8476, 145408, 14},
    {16384, 10752, 1010}, {16384, 31360, 2477}, {16384, 68096, 1347}, {16384, 157440, 35},
};

enum { DECODE_QUERIES = 8, N_BATCHES = 4, N_LOW = 3 };
static const int32_t BATCHES[N_BATCHES] = {8, 32, 64, 128};
static const struct {
    int32_t length, weights[N_BATCHES]; /* in the order of BATCHES */
} DECODE[] = {
    {1000, {30, 90, 180, 300}},    {4000, {40, 120, 240, 400}},   {5000, {50, 150, 300, 500}},
    {10000, {140, 350, 490, 420}}, {50000, {500, 800, 500, 200}}, {100000, {1260, 980, 420, 140}},
    {200000, {910, 350, 112, 28}},
};
/* Few requests, where the time of one answer counts; no weights are published. */
static const int32_t LOW_BATCHES[N_LOW] = {1, 2, 4};
static const int32_t LOW_LENGTHS[] = {1000, 4000, 8000, 32000};

static void add(bench_cases *out, bench_case c) {
    if (out->n < CASES_MAX) out->list[out->n++] = c;
}

void bench_cases_prefill_suite(bench_cases *out, int64_t chunk) {
    for (size_t i = 0; i < sizeof PREFILL / sizeof *PREFILL; i++) {
        int64_t queries = PREFILL[i].queries;
        int64_t n = queries + PREFILL[i].prefix;
        if (chunk > 0 && queries > chunk) queries = chunk;
        add(out, (bench_case){true, 1, queries, n, false, PREFILL[i].weight});
    }
}

void bench_cases_decode_suite(bench_cases *out) {
    for (size_t i = 0; i < sizeof LOW_LENGTHS / sizeof *LOW_LENGTHS; i++)
        for (int b = 0; b < N_LOW; b++)
            add(out, (bench_case){false, LOW_BATCHES[b], DECODE_QUERIES, LOW_LENGTHS[i], true, 0});
    for (size_t i = 0; i < sizeof DECODE / sizeof *DECODE; i++)
        for (int b = 0; b < N_BATCHES; b++)
            add(out, (bench_case){false, BATCHES[b], DECODE_QUERIES, DECODE[i].length, true,
                                  DECODE[i].weights[b]});
}

/* Requests r and r' = n - 1 - r lie as far above n as below it. */
int64_t bench_case_length(const bench_case *c, int32_t r) {
    if (!c->ragged || c->n_requests < 2) return c->n;
    double place = 2.0 * r / (c->n_requests - 1) - 1; /* -1 .. 1 */
    int64_t n = c->n + (int64_t)lround(place * (double)c->n / 4);
    return n < c->queries ? c->queries : n;
}

int64_t bench_case_longest(const bench_case *c) {
    return bench_case_length(c, c->n_requests - 1);
}

int64_t bench_case_pages(const bench_case *c, int32_t block) {
    int64_t pages = 0;
    for (int32_t r = 0; r < c->n_requests; r++)
        pages += (bench_case_length(c, r) + block - 1) / block;
    return pages;
}

/* Bytes of queries and outputs of the main branch, f32. */
static double rows_bytes(const bench_case *c, const msa_shape *shape) {
    return 2.0 * 4 * (double)bench_case_rows(c) * shape->n_q_heads * shape->head_dim;
}

static int64_t max64(int64_t a, int64_t b) {
    return a > b ? a : b;
}

work bench_work_index(const bench_case *c, const msa_shape *shape, msa_dtype index_format) {
    double scored = 0, keys = 0;
    for (int32_t r = 0; r < c->n_requests; r++) {
        int64_t length = bench_case_length(c, r), most = 0;
        for (int64_t t = length - c->queries; t < length; t++) {
            int64_t own = t / shape->block;
            if (own + 1 <= shape->topk) continue;
            int64_t blocks = max64(0, own + 1 - shape->local - shape->init);
            scored += (double)(blocks * shape->block);
            most = max64(most, blocks);
        }
        keys += (double)(most * shape->block);
    }
    double rows = (double)bench_case_rows(c);
    double key_bytes =
        keys * shape->n_index_keys * settings_row_bytes(index_format, shape->index_dim);
    double query_bytes = 4 * rows * shape->n_index_heads * shape->index_dim;
    double id_bytes = 4 * rows * shape->n_kv_heads * shape->topk;
    return (work){2.0 * shape->n_index_heads * shape->index_dim * scored,
                  key_bytes + query_bytes + id_bytes};
}

work bench_work_dense(const bench_case *c, const msa_shape *shape, msa_dtype format) {
    double pairs = 0, keys = 0;
    for (int32_t r = 0; r < c->n_requests; r++) {
        double length = (double)bench_case_length(c, r), q = (double)c->queries;
        pairs += q * length - q * (q - 1) / 2;
        keys += length;
    }
    double key_bytes = 2 * keys * shape->n_kv_heads * settings_row_bytes(format, shape->head_dim);
    return (work){4.0 * shape->n_q_heads * shape->head_dim * pairs,
                  key_bytes + rows_bytes(c, shape)};
}

/* What the queries of one request and group look at. */
typedef struct chosen {
    unsigned char *seen; /* [blocks] bit 0: by anyone; bit 1: by the four at hand */
    int64_t distinct, distinct_of_four;
    double pairs;
} chosen;

static void look_at(chosen *all, const msa_shape *shape, const int32_t *list, int64_t t) {
    for (int32_t i = 0; i < shape->topk && list[i] >= 0; i++) {
        int32_t b = list[i];
        all->pairs += b == t / shape->block ? (double)(t % shape->block + 1) : shape->block;
        all->distinct += !(all->seen[b] & 1);
        all->distinct_of_four += !(all->seen[b] & 2);
        all->seen[b] |= 3;
    }
}

static void forget_four(chosen *all, int64_t n_blocks) {
    for (int64_t b = 0; b < n_blocks; b++) all->seen[b] &= 1;
}

bool bench_work_sparse(const bench_case *c, const msa_shape *shape, msa_dtype format,
                       const int32_t *ids, work *out, double *distinct) {
    int64_t n_blocks = bench_case_longest(c) / shape->block + 1, fours = 0;
    chosen all = {.seen = malloc((size_t)n_blocks)};
    if (!all.seen) return false;
    for (int32_t r = 0; r < c->n_requests; r++)
        for (int32_t g = 0; g < shape->n_kv_heads; g++) {
            for (int64_t b = 0; b < n_blocks; b++) all.seen[b] = 0;
            for (int64_t i = 0; i < c->queries; i++) {
                int64_t row = r * c->queries + i;
                if (i % 4 == 0) forget_four(&all, n_blocks), fours++;
                look_at(&all, shape, ids + (row * shape->n_kv_heads + g) * shape->topk,
                        bench_case_length(c, r) - c->queries + i);
            }
        }
    free(all.seen);
    double heads = (double)shape->n_q_heads / shape->n_kv_heads;
    out->flops = 4 * heads * shape->head_dim * all.pairs;
    out->bytes =
        2.0 * (double)all.distinct * shape->block * settings_row_bytes(format, shape->head_dim) +
        rows_bytes(c, shape);
    *distinct = (double)all.distinct_of_four / (double)fours;
    return true;
}
