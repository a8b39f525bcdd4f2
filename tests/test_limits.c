/* test_limits.c: contexts whose pages or blocks 31 bits can't number are refused, naming them. */
#include "support/support.h"

#include "msa/attn.h"
#include "msa/kv.h"

static msa_error err;

static const msa_shape SHAPE = {.n_q_heads = 2,
                                .n_kv_heads = 1,
                                .head_dim = 16,
                                .n_index_heads = 1,
                                .n_index_keys = 1,
                                .index_dim = 16,
                                .block = 16,
                                .topk = 2,
                                .local = 1};

static void a_cache_of_too_many_pages_is_refused(void **state) {
    (void)state;
    msa_kv *kv;
    msa_kv_params p = {.n_layers = 1, .n_kv_heads = 1, .head_dim = 16, .block = 16};
    static const int64_t PAGES[] = {(int64_t)INT32_MAX + 1, (int64_t)1 << 40, INT64_MAX, 0, -1};
    for (size_t i = 0; i < sizeof PAGES / sizeof *PAGES; i++) {
        p.n_pages = PAGES[i];
        assert_fails(msa_kv_create(&kv, &p, &err), MSA_E_ARG, &err, "n_pages must be in 1..214748");
    }
}

/* A query behind more tokens than a selection or a page table can name. */
static void a_context_of_too_many_blocks_is_refused(void **state) {
    (void)state;
    const int32_t cu[2] = {0, 1}, pages[1] = {0};
    const int64_t most = (int64_t)INT32_MAX * 16;
    int64_t kv_len = most + 1;
    msa_batch batch = {.n_requests = 1, .cu_seqlens_q = cu, .kv_len = &kv_len};
    msa_plan *plan = NULL;
    assert_fails(msa_sparse_plan(&plan, &SHAPE, &batch, NULL, &err), MSA_E_ARG, &err,
                 "2147483648 blocks; a selection numbers them in 31 bits");
    assert_fails(msa_index_plan(&plan, &SHAPE, &batch, NULL, &err), MSA_E_ARG, &err, "31 bits");
    assert_fails(msa_dense_plan(&plan, &SHAPE, &batch, NULL, &err), MSA_E_ARG, &err, "31 bits");
    batch.page_table = pages, batch.page_table_stride = INT64_MAX, batch.n_pages = 1;
    assert_fails(msa_decode_plan(&plan, &SHAPE, &batch, NULL, &err), MSA_E_ARG, &err, "31 bits");
    kv_len = most, batch.page_table_stride = 1;
    assert_fails(msa_decode_plan(&plan, &SHAPE, &batch, NULL, &err), MSA_E_ARG, &err,
                 "needs 2147483647 pages, page_table_stride is 1");
    kv_len = ((int64_t)1 << 40) + 1;
    assert_fails(msa_decode_plan(&plan, &SHAPE, &batch, NULL, &err), MSA_E_ARG, &err, "2^40");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_cache_of_too_many_pages_is_refused),
        cmocka_unit_test(a_context_of_too_many_blocks_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
