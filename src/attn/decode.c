/* decode.c: sparse attention of a few queries per request, cut over the slots of their lists. */
#include "attn/decode.h"

#include "attn/attend.h"

static int32_t splits_of(const msa_shape *shape, const plan_request *r, int32_t asked) {
    int64_t n_blocks = (r->kv_len + shape->block - 1) / shape->block;
    int64_t most = n_blocks < shape->topk ? n_blocks : shape->topk, keys = most * shape->block;
    int64_t few = (DECODE_FEW_PIECES + shape->n_kv_heads - 1) / shape->n_kv_heads;
    if (few > keys / DECODE_FEW_KEYS) few = keys / DECODE_FEW_KEYS;
    int64_t n = keys / DECODE_SPLIT_KEYS > few ? keys / DECODE_SPLIT_KEYS : few;
    return plan_clamp_splits(asked ? asked : n, most);
}

msa_status msa_decode_plan(msa_plan **plan, const msa_shape *shape, const msa_batch *batch,
                           const msa_plan_options *options, msa_error *err) {
    msa_status status = plan_prepare(plan, PLAN_DECODE, shape, batch, options, err);
    if (status) return status;
    for (int32_t r = 0; r < (*plan)->n_requests; r++) {
        plan_request *q = &(*plan)->requests[r];
        if (q->q_len > DECODE_MOST_QUERIES)
            return error_set(err, MSA_E_ARG,
                             "decode: request %d has %lld queries; expected at most %d (prefill "
                             "is msa_sparse or msa_dense)",
                             r, (long long)q->q_len, DECODE_MOST_QUERIES);
        q->n_splits = splits_of(shape, q, options ? options->n_splits : 0);
    }
    return attend_plan_items(*plan, err);
}

msa_status msa_decode_run(msa_plan *plan, const msa_attn_args *args, msa_error *err) {
    attend_run run;
    msa_status status;
    if ((status = plan_check(plan, PLAN_DECODE, err)) ||
        (status = attend_run_begin(&run, plan, args, err)) ||
        (status = attend_check_sparse(plan, args, err)))
        return status;
    attend_run_items(&run, attend_take_selected);
    return MSA_OK;
}
