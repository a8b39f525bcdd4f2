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

/* f32 to the bits of a 16-bit format, rounded to nearest even; normal numbers of it only. */
static uint16_t to_half(float x, msa_dtype dtype) {
    uint32_t u;
    memcpy(&u, &x, sizeof u);
    if (dtype == MSA_BF16) return (uint16_t)((u + 0x7fff + (u >> 16 & 1)) >> 16);
    uint32_t magnitude = u & 0x7fffffff;
    if (magnitude < 0x38800000) return (uint16_t)(u >> 16 & 0x8000); /* tiny: 0 will do */
    magnitude -= (127 - 15) << 23;
    return (uint16_t)((u >> 16 & 0x8000) | (magnitude + 0xfff + (magnitude >> 13 & 1)) >> 13);
}

/* A lane of n normal numbers: lookups in a table of 65,536 are fast enough for billions. */
static bool fill_lane(void *lane, msa_dtype dtype, size_t n, uint64_t seed) {
    size_t size = (size_t)msa_dtype_size(dtype);
    char *table = malloc(TABLE_SIZE * size);
    if (!table) return false;
    for (size_t i = 0; i < TABLE_SIZE; i++) {
        float x = normal(seed, i);
        if (dtype == MSA_F32)
            ((float *)table)[i] = x;
        else
            ((uint16_t *)table)[i] = to_half(x, dtype);
    }
#pragma omp parallel for schedule(static)
    for (size_t i = 0; i < n / 4; i++) {
        uint64_t h = hash(seed + 1, i);
        for (size_t j = 0; j < 4; j++, h >>= TABLE_BITS) {
            if (dtype == MSA_F32)
                ((float *)lane)[4 * i + j] = ((const float *)table)[h & (TABLE_SIZE - 1)];
            else
                ((uint16_t *)lane)[4 * i + j] = ((const uint16_t *)table)[h & (TABLE_SIZE - 1)];
        }
    }
    free(table);
    return true;
}

static size_t page_elements(const msa_shape *shape, int lane) {
    size_t heads = (size_t)(lane < 2 ? shape->n_kv_heads : shape->n_index_keys);
    return heads * (size_t)(lane < 2 ? shape->head_dim : shape->index_dim) * (size_t)shape->block;
}

static size_t lane_bytes(const msa_shape *shape, msa_dtype dtype, int lane, int64_t n_pages) {
    return page_elements(shape, lane) * (size_t)msa_dtype_size(dtype) * (size_t)n_pages;
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
        good = data->lanes[lane] &&
               fill_lane(data->lanes[lane], dtype, page_elements(shape, lane) * (size_t)n_pages,
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

msa_status bench_data_set_sink(const bench_data *data, int32_t page, bool on, msa_error *err) {
    const msa_shape *shape = &data->shape;
    for (int64_t head = 0; head < shape->n_index_keys; head++)
        for (int64_t c = 0; c < shape->index_dim; c++) {
            int64_t at = page * data->ki.stride_page + head * data->ki.stride_head + c * 16;
            float x = on ? 0 : normal(data->seed, (uint64_t)at);
            for (int64_t g = 0; on && g < shape->n_index_heads; g++)
                if (shape->n_index_keys == 1 || g == head)
                    x += data->sink[g * shape->index_dim + c];
            if (data->index_format == MSA_F32)
                ((float *)data->lanes[2])[at] = x;
            else
                ((uint16_t *)data->lanes[2])[at] = to_half(x, data->index_format);
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
