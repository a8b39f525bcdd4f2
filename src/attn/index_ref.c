/* index_ref.c: the truth of the index: all scores of a row, then the rule of selection. */
#include "attn/index.h"

#include "attn/ref.h"
#include "attn/score.h"
#include "attn/select.h"
#include "base/mem.h"

int index_ref(const msa_shape *shape, const msa_batch *batch, const msa_index_args *args) {
    int64_t total_q = batch->n_requests ? batch->cu_seqlens_q[batch->n_requests] : 0, n_blocks = 1;
    for (int32_t r = 0; r < batch->n_requests; r++) {
        int64_t n = (batch->kv_len[r] + shape->block - 1) / shape->block;
        if (n > n_blocks) n_blocks = n;
    }
    float *scores = mem_alloc((size_t)(total_q * shape->n_index_heads * n_blocks), sizeof *scores);
    if (!scores) return 0;
    score_ref(shape, batch, args->qi, &args->ki, n_blocks, scores, NULL);
    for (int32_t r = 0; r < batch->n_requests; r++)
        for (int64_t i = 0; i < ref_q_len(batch, r); i++)
            for (int32_t g = 0; g < shape->n_kv_heads; g++) {
                int64_t t = batch->cu_seqlens_q[r] + i;
                int64_t row = args->out.layout == MSA_TOKEN_MAJOR ? t * shape->n_kv_heads + g
                                                                  : g * total_q + t;
                select_ref(shape, ref_position(batch, r) + i, scores + (g * total_q + t) * n_blocks,
                           args->out.order, args->out.ids + row * shape->topk);
            }
    mem_free(scores);
    return 1;
}
