/* sparse.c: attention over the selected blocks, many queries. */
#include "attn/sparse.h"

#include "attn/e4m3.h"

msa_status msa_sparse_plan(msa_plan **plan, const msa_shape *shape, const msa_batch *batch,
                           const msa_plan_options *options, msa_error *err) {
    msa_status status = plan_prepare(plan, PLAN_SPARSE, shape, batch, options, err);
    if (status) return status;
    msa_plan *p = *plan;
    if (p->p_e4m3) return e4m3_plan(p, err);
    for (int32_t r = 0; r < p->n_requests; r++) p->requests[r].n_splits = 1;
    if (p->order == MSA_ORDER_AUTO)
        p->order = !p->paged && p->total_q >= SPARSE_KV_QUERIES ? MSA_ORDER_KV : MSA_ORDER_QUERY;
    return p->order == MSA_ORDER_QUERY ? attend_plan_items(p, err) : sparse_kv_plan(p, err);
}

msa_status msa_sparse_run(msa_plan *plan, const msa_attn_args *args, msa_error *err) {
    attend_run run;
    msa_status status;
    if ((status = plan_check(plan, PLAN_SPARSE, err)) ||
        (status = attend_run_begin(&run, plan, args, err)) ||
        (status = attend_check_sparse(plan, args, err)))
        return status;
    if (plan->p_e4m3) return e4m3_run(&run, err);
    if (plan->order == MSA_ORDER_KV)
        sparse_kv_run(&run);
    else
        attend_run_items(&run, attend_take_selected);
    return MSA_OK;
}
