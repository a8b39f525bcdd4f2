/* bench_select.c: see bench_select.h. */
#include "cli/bench_select.h"

#include <stdlib.h>

#include "cli/bench_data.h"
#include "cli/table.h"

enum { CALLS = 10 }; /* a round */

msa_status bench_select_run(const msa_shape *shape, int64_t n, int64_t queries, int rounds,
                            const ceilings *top, busy_meter *busy, json_t *rows, msa_error *err) {
    int64_t stride = (n + shape->block - 1) / shape->block, n_rows = queries * shape->n_kv_heads;
    size_t n_scores = (size_t)(n_rows * stride), n_bytes = n_scores * sizeof(float);
    float *scores = bench_alloc(n_bytes);
    int64_t *position = malloc((size_t)n_rows * sizeof *position);
    int32_t *ids = malloc((size_t)(n_rows * shape->topk) * sizeof *ids);
    samples times = {0};
    msa_status status = MSA_OK;
    if (!scores || !position || !ids) status = fail_memory(err, "making up scores");
    if (status == MSA_OK) {
        bench_fill_normal(7, scores, n_scores);
        for (int64_t i = 0; i < n_rows; i++) position[i] = n - 1;
    }
    for (int i = 0; i < CALLS * rounds && status == MSA_OK; i++) {
        busy_start(busy);
        status = msa_select_run(shape, n_rows, position, scores, stride, MSA_ASCENDING, ids, err);
        samples_add(&times, busy_stop(busy));
    }
    bench_free(scores, n_bytes);
    free(position);
    free(ids);
    if (status != MSA_OK) return status;
    bool by_memory;
    double time = samples_median(&times);
    work w = {0, (double)n_bytes};
    json_t *row =
        json_pack("{s:s, s:s, s:I, s:I, s:s, s:s, s:o, s:o, s:o, s:o, s:n}", "op", "select", "attn",
                  "msa", "n", (json_int_t)n, "queries", (json_int_t)queries, "format", "f32",
                  "index_format", "-", "time_us", json_number(time * 1e6), "gflops", json_null(),
                  "gbps", json_number(w.bytes / time * 1e-9), "roofline",
                  json_number(work_floor(w, top, &by_memory) / time), "speedup");
    if (!row || json_array_append_new(rows, row) != 0)
        return fail_memory(err, "collecting results");
    return MSA_OK;
}
