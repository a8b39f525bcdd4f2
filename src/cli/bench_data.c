/* bench_data.c: see bench_data.h. */
#define _GNU_SOURCE
#include "cli/bench_data.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "cli/machine.h"

enum { TABLE_BITS = 16, TABLE_SIZE = 1 << TABLE_BITS, HUGE_PAGE = 2 << 20 };

/* Index queries are q[t] = SINK * common + x[t], x[t] = DRIFT * x[t-1] + noise: tuned so that four
 * neighbours choose 22 distinct blocks of their 64, the figure reported for MiniMax-M3. */
#define SINK  0.7f
#define DRIFT 0.99f

void *bench_alloc(size_t n_bytes) {
    void *p = mmap(NULL, n_bytes + HUGE_PAGE, PROT_READ | PROT_WRITE,
                   MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (p == MAP_FAILED) return NULL;
#ifdef MADV_HUGEPAGE
    madvise(p, n_bytes + HUGE_PAGE, MADV_HUGEPAGE);
#endif
    return p;
}

void bench_free(void *p, size_t n_bytes) {
    if (p) munmap(p, n_bytes + HUGE_PAGE);
}

double bench_room(void) {
    int64_t available = machine_available();
    return available > 0 ? 0.5 * (double)available : 4e9;
}

/* The n-th number of a seed (splitmix64). */
static uint64_t hash(uint64_t seed, uint64_t n) {
    uint64_t z = seed + n * 0x9e3779b97f4a7c15u;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return z ^ z >> 31;
}

/* Two uniform numbers become a normal one (Box-Muller). */
static float normal(uint64_t seed, uint64_t n) {
    uint64_t h = hash(seed, n);
    double u = ((double)(h >> 32) + 0.5) * 0x1p-32, v = (double)(h & 0xffffffffu) * 0x1p-32;
    return (float)(sqrt(-2 * log(u)) * cos(2 * M_PI * v));
}

void bench_fill_normal(uint64_t seed, float *out, size_t n) {
#pragma omp parallel for schedule(static)
    for (size_t i = 0; i < n; i++) out[i] = normal(seed, i);
}

/* What lanes are filled from: the codes and scales of so many normal numbers. */
typedef struct code_table {
    char *codes, *scales;
    size_t code_bytes, scale_bytes;
} code_table;

static bool table_make(code_table *t, msa_dtype dtype, uint64_t seed) {
    t->code_bytes = msa_row_bytes(dtype, TABLE_SIZE);
    t->scale_bytes = msa_row_scale_bytes(dtype, TABLE_SIZE);
    t->codes = malloc(t->code_bytes);
    t->scales = malloc(t->scale_bytes + 1);
    float *x = malloc(TABLE_SIZE * sizeof *x);
    bool good = t->codes && t->scales && x;
    for (size_t i = 0; i < TABLE_SIZE && good; i++) x[i] = normal(seed, i);
    msa_rows row = {.dtype = dtype,
                    .codes = t->codes,
                    .stride = (int64_t)t->code_bytes,
                    .scales = t->scales,
                    .scale_stride = (int64_t)t->scale_bytes};
    good = good && msa_rows_pack(&row, 1, TABLE_SIZE, x, TABLE_SIZE, NULL) == MSA_OK;
    free(x);
    return good;
}

static void table_free(code_table *t) {
    free(t->codes);
    free(t->scales);
}

/* n_bytes of a lane, `unit` bytes at a time: lookups are fast enough for billions. */
static void fill(char *lane, size_t n_bytes, size_t unit, const char *table, size_t table_bytes,
                 uint64_t seed) {
    size_t entries = table_bytes / unit;
#pragma omp parallel for schedule(static)
    for (size_t i = 0; i < n_bytes / unit / 4; i++) {
        uint64_t h = hash(seed, i);
        for (size_t j = 0; j < 4; j++, h >>= TABLE_BITS)
            memcpy(lane + (4 * i + j) * unit, table + (h & (entries - 1)) * unit, unit);
    }
}

/* A lane of normal numbers, its scales behind the codes. */
static bool fill_lane(char *lane, msa_dtype dtype, size_t code_bytes, size_t scale_bytes,
                      uint64_t seed) {
    code_table t;
    bool good = table_make(&t, dtype, seed);
    size_t unit = (size_t)msa_dtype_size(dtype);
    if (good) fill(lane, code_bytes, unit ? unit : 1, t.codes, t.code_bytes, seed + 1);
    unit = msa_row_scale_align(dtype);
    if (good && scale_bytes)
        fill(lane + code_bytes, scale_bytes, unit, t.scales, t.scale_bytes, seed + 2);
    table_free(&t);
    return good;
}

static int32_t lane_dim(const msa_shape *shape, int lane) {
    return lane < 2 ? shape->head_dim : shape->index_dim;
}

/* Of n_pages pages. */
static size_t lane_rows(const msa_shape *shape, int lane, int64_t n_pages) {
    int32_t heads = lane < 2 ? shape->n_kv_heads : shape->n_index_keys;
    return (size_t)heads * (size_t)shape->block * (size_t)n_pages;
}

static size_t code_bytes(const msa_shape *shape, msa_dtype dtype, int lane, int64_t n_pages) {
    return lane_rows(shape, lane, n_pages) * msa_row_bytes(dtype, lane_dim(shape, lane));
}

static size_t lane_bytes(const msa_shape *shape, msa_dtype dtype, int lane, int64_t n_pages) {
    return code_bytes(shape, dtype, lane, n_pages) +
           lane_rows(shape, lane, n_pages) * msa_row_scale_bytes(dtype, lane_dim(shape, lane));
}

size_t bench_data_bytes(const msa_shape *shape, msa_dtype format, msa_dtype index_format,
                        int64_t n_pages) {
    return lane_bytes(shape, format, 0, n_pages) + lane_bytes(shape, format, 1, n_pages) +
           lane_bytes(shape, index_format, 2, n_pages);
}

static void number_pages(bench_data *data, bool in_order) {
    for (int64_t i = 0; i < data->n_pages; i++) data->pages[i] = (int32_t)i;
    for (int64_t i = data->n_pages - 1; i > 0 && !in_order; i--) {
        int64_t j = (int64_t)(hash(data->seed, (uint64_t)i) % (uint64_t)(i + 1));
        int32_t page = data->pages[i];
        data->pages[i] = data->pages[j], data->pages[j] = page;
    }
}

msa_status bench_data_create(bench_data *data, const msa_shape *shape, msa_dtype format,
                             msa_dtype index_format, int64_t n_pages, bool in_order,
                             msa_error *err) {
    *data = (bench_data){.shape = *shape,
                         .format = format,
                         .index_format = index_format,
                         .n_pages = n_pages,
                         .seed = 20260613};
    size_t n_sink = (size_t)shape->n_index_heads * (size_t)shape->index_dim;
    data->pages = malloc((size_t)n_pages * sizeof *data->pages);
    data->sink = malloc(n_sink * sizeof *data->sink);
    bool good = data->pages && data->sink;
    for (int lane = 0; lane < 3 && good; lane++) {
        msa_dtype dtype = lane < 2 ? format : index_format;
        data->lane_bytes[lane] = lane_bytes(shape, dtype, lane, n_pages);
        data->lanes[lane] = bench_alloc(data->lane_bytes[lane]);
        size_t codes = code_bytes(shape, dtype, lane, n_pages);
        good = data->lanes[lane] &&
               fill_lane(data->lanes[lane], dtype, codes, data->lane_bytes[lane] - codes,
                         data->seed + 10 * (uint64_t)(lane + 1));
        data->n_bytes += data->lane_bytes[lane];
    }
    if (!good) {
        bench_data_free(data);
        return fail_memory(err, "making up keys and values");
    }
    number_pages(data, in_order);
    bench_fill_normal(data->seed + 100, data->sink, n_sink);
    data->k =
        msa_lane_panels(data->lanes[0], format, shape->n_kv_heads, shape->block, shape->head_dim);
    data->v =
        msa_lane_hnd(data->lanes[1], format, shape->n_kv_heads, shape->block, shape->head_dim);
    data->ki = msa_lane_panels(data->lanes[2], index_format, shape->n_index_keys, shape->block,
                               shape->index_dim);
    msa_lane *lanes[] = {&data->k, &data->v, &data->ki};
    for (int lane = 0; lane < 3; lane++) {
        size_t codes = code_bytes(shape, lanes[lane]->dtype, lane, n_pages);
        if (codes < data->lane_bytes[lane]) lanes[lane]->scales = (char *)data->lanes[lane] + codes;
    }
    return MSA_OK;
}

/* The int8 copies of n pages. */
static msa_status copy_pages(const bench_data *data, const int32_t *pages, int64_t n,
                             msa_error *err) {
    int64_t kv_len = n * data->shape.block;
    int32_t cu[2] = {0, (int32_t)kv_len};
    msa_batch batch = {.n_requests = 1,
                       .cu_seqlens_q = cu,
                       .kv_len = &kv_len,
                       .page_table = pages,
                       .page_table_stride = n,
                       .n_pages = data->n_pages};
    msa_plan *plan = NULL;
    msa_index8_args args = {.ki = data->ki, .out = data->ki8};
    msa_status status = msa_index8_plan(&plan, &data->shape, &batch, NULL, err);
    if (status == MSA_OK) status = msa_index8_run(plan, &args, err);
    msa_plan_free(plan);
    return status;
}

msa_status bench_data_add_index8(bench_data *data, msa_error *err) {
    size_t page = msa_index8_block_bytes(&data->shape) * (size_t)data->shape.n_index_keys;
    data->lane_bytes[3] = page * (size_t)data->n_pages;
    data->lanes[3] = bench_alloc(data->lane_bytes[3]);
    if (!data->lanes[3]) return fail_memory(err, "making up keys and values");
    data->n_bytes += data->lane_bytes[3];
    data->ki8 = msa_index8_lane_of(data->lanes[3], &data->shape);
    data->index8 = true;
    msa_status status = MSA_OK;
    int64_t most = (1 << 20) / data->shape.block; /* pages a call */
    for (int64_t i = 0; i < data->n_pages && status == MSA_OK; i += most)
        status = copy_pages(data, data->pages + i,
                            data->n_pages - i < most ? data->n_pages - i : most, err);
    return status;
}

void bench_data_free(bench_data *data) {
    for (int lane = 0; lane < 4; lane++) bench_free(data->lanes[lane], data->lane_bytes[lane]);
    free(data->pages);
    free(data->sink);
    *data = (bench_data){0};
}

/* The codes of a row, and its scales, as those of token 0 of a panel. */
static void put_first_token(const msa_lane *lane, int64_t at, int64_t scale_at, int32_t dim,
                            const char *codes, const char *scales) {
    size_t unit = (size_t)msa_dtype_size(lane->dtype),
           scale_unit = msa_row_scale_align(lane->dtype);
    char *data = (char *)lane->data, *to = (char *)lane->scales;
    for (int64_t c = 0; c < dim; c++) {
        if (unit) {
            memcpy(data + (size_t)(at + 16 * c) * unit, codes + (size_t)c * unit, unit);
            continue;
        }
        char *byte = data + (at + 16 * c) / 2; /* nvfp4: its low half */
        *byte = (char)((*byte & 0xf0) | (codes[c / 2] >> c % 2 * 4 & 15));
    }
    size_t n = msa_row_scale_bytes(lane->dtype, dim) / scale_unit;
    for (size_t g = 0; g < n; g++)
        memcpy(to + ((size_t)scale_at + 16 * g) * scale_unit, scales + g * scale_unit, scale_unit);
}

msa_status bench_data_set_sink(const bench_data *data, int32_t page, bool on, msa_error *err) {
    const msa_shape *shape = &data->shape;
    const msa_lane *ki = &data->ki;
    int32_t dim = shape->index_dim;
    float x[256], codes[256], scales[16];
    msa_rows row = {.dtype = ki->dtype,
                    .codes = codes,
                    .stride = sizeof codes,
                    .scales = scales,
                    .scale_stride = sizeof scales};
    for (int64_t head = 0; head < shape->n_index_keys; head++) {
        int64_t at = page * ki->stride_page + head * ki->stride_head;
        for (int64_t c = 0; c < dim; c++) {
            x[c] = on ? 0 : normal(data->seed, (uint64_t)(at + c * 16));
            for (int64_t g = 0; on && g < shape->n_index_heads; g++)
                if (shape->n_index_keys == 1 || g == head) x[c] += data->sink[g * dim + c];
        }
        if (msa_rows_pack(&row, 1, dim, x, dim, NULL) == MSA_OK)
            put_first_token(ki, at, page * ki->scale_stride_page + head * ki->scale_stride_head,
                            dim, (const char *)codes, (const char *)scales);
    }
    return data->index8 ? copy_pages(data, &page, 1, err) : MSA_OK;
}

void bench_data_queries(const bench_data *data, uint64_t seed, int64_t n, float *q, float *qi) {
    const msa_shape *shape = &data->shape;
    size_t width = (size_t)shape->n_index_heads * (size_t)shape->index_dim;
    bench_fill_normal(seed, q, (size_t)n * (size_t)shape->n_q_heads * (size_t)shape->head_dim);
    bench_fill_normal(seed + 1, qi, (size_t)n * width);
    float fresh = sqrtf(1 - DRIFT * DRIFT);
    for (size_t c = 0; c < width; c++)
        for (int64_t t = 1; t < n; t++)
            qi[(size_t)t * width + c] =
                DRIFT * qi[(size_t)(t - 1) * width + c] + fresh * qi[(size_t)t * width + c];
    for (int64_t t = 0; t < n; t++)
        for (size_t c = 0; c < width; c++) qi[(size_t)t * width + c] += SINK * data->sink[c];
}
