/* bench_memory.c: see bench_memory.h. */
#include "cli/bench_memory.h"

#include <stdio.h>
#include <stdlib.h>

#include "cli/table.h"

static const int64_t QUERIES[] = {256, 1024, 4096, 16384};
static const int64_t LENGTHS[] = {32768, 131072, 1048576};

typedef msa_status plan_fn(msa_plan **plan, const msa_shape *shape, const msa_batch *batch,
                           const msa_plan_options *options, msa_error *err);

static msa_status plan_mib(plan_fn *make, const msa_shape *shape, const msa_batch *batch,
                           msa_order order, double *mib, msa_error *err) {
    msa_plan *plan = NULL;
    msa_plan_options options = {.order = order};
    msa_status status = make(&plan, shape, batch, &options, err);
    if (status == MSA_OK) *mib = (double)msa_plan_bytes(plan) / (1 << 20);
    msa_plan_free(plan);
    return status;
}

static msa_status add_row(json_t *rows, const msa_shape *shape, int64_t queries, int64_t n,
                          const int32_t *table, msa_error *err) {
    int32_t cu_seqlens[2] = {0, (int32_t)queries};
    int64_t blocks = n / shape->block;
    msa_batch batch = {.n_requests = 1,
                       .cu_seqlens_q = cu_seqlens,
                       .kv_len = &n,
                       .page_table = table,
                       .page_table_stride = blocks,
                       .n_pages = blocks};
    double index, by_query, by_key, dense;
    msa_status status = plan_mib(msa_index_plan, shape, &batch, MSA_ORDER_AUTO, &index, err);
    if (status == MSA_OK)
        status = plan_mib(msa_sparse_plan, shape, &batch, MSA_ORDER_QUERY, &by_query, err);
    if (status == MSA_OK)
        status = plan_mib(msa_sparse_plan, shape, &batch, MSA_ORDER_KV, &by_key, err);
    if (status == MSA_OK)
        status = plan_mib(msa_dense_plan, shape, &batch, MSA_ORDER_AUTO, &dense, err);
    if (status != MSA_OK) return status;
    double lists = 4.0 * (double)queries * shape->n_kv_heads * shape->topk;
    double scores = 4.0 * (double)queries * shape->n_kv_heads * (double)blocks;
    double outputs = 4.0 * (double)queries * shape->n_q_heads * shape->head_dim;
    json_t *row =
        json_pack("{s:I, s:I, s:f, s:f, s:f, s:f, s:f, s:f, s:f}", "n", (json_int_t)n, "queries",
                  (json_int_t)queries, "index_mib", index, "sparse_query_mib", by_query,
                  "sparse_kv_mib", by_key, "dense_mib", dense, "lists_mib", lists / (1 << 20),
                  "outputs_mib", outputs / (1 << 20), "scores_mib", scores / (1 << 20));
    if (!row || json_array_append_new(rows, row) != 0)
        return fail_memory(err, "collecting results");
    return MSA_OK;
}

msa_status bench_memory_print(const msa_shape *shape, bool json, msa_error *err) {
    static const table_column COLUMNS[] = {
        {"n", "n", 0, 0, NULL},
        {"queries", "queries", 0, 0, NULL},
        {"index_mib", "index", 1, 0, " MiB"},
        {"sparse_query_mib", "sparse, query-outer", 1, 0, " MiB"},
        {"sparse_kv_mib", "sparse, KV-outer", 1, 0, " MiB"},
        {"dense_mib", "dense", 1, 0, " MiB"},
        {"lists_mib", "the lists", 1, 0, " MiB"},
        {"outputs_mib", "the outputs", 1, 0, " MiB"},
        {"scores_mib", "a table of scores", 1, 0, " MiB"},
    };
    int64_t most = LENGTHS[sizeof LENGTHS / sizeof *LENGTHS - 1] / shape->block;
    int32_t *table = malloc((size_t)most * sizeof *table);
    json_t *rows = json_array();
    msa_status status = table && rows ? MSA_OK : fail_memory(err, "collecting results");
    for (int64_t b = 0; b < most && table; b++) table[b] = (int32_t)b;
    for (size_t i = 0; i < sizeof LENGTHS / sizeof *LENGTHS; i++)
        for (size_t j = 0; j < sizeof QUERIES / sizeof *QUERIES && status == MSA_OK; j++)
            status = add_row(rows, shape, QUERIES[j], LENGTHS[i], table, err);
    free(table);
    if (status == MSA_OK && json) return json_print(json_pack("{s:o}", "rows", rows), err);
    if (status == MSA_OK) {
        printf("What a prefill allocates beside its inputs, by operator. The lists and the outputs "
               "are the\ncaller's; the table of block scores is what it would take to store them, "
               "and nobody does.\n\n");
        status = table_print(COLUMNS, sizeof COLUMNS / sizeof *COLUMNS, rows, err);
    }
    json_decref(rows);
    return status;
}
