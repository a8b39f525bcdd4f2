/* feed_forward.h: the second half of a layer: a dense MLP, or a router and the experts it chose
 * with a shared one beside them, and the memory that takes.
 *
 * The tokens of a step are sorted by expert, so that each expert's weights are read once for all
 * its tokens, and those of experts nobody chose are not touched. */
#ifndef MSA_ENGINE_FEED_FORWARD_H
#define MSA_ENGINE_FEED_FORWARD_H

#include <stdbool.h>

#include "model/weights.h"

typedef struct feed_forward {
    const arch *arch;
    int n_threads;
    float *gate, *up; /* [max_tokens, widest n_ff] */
    /* With experts; else NULL. */
    float *logits;         /* [max_tokens, n_experts] */
    int32_t *ids;          /* [max_tokens, n_used] */
    float *weights;        /* [max_tokens, n_used] */
    int32_t *groups;       /* experts_ints() */
    float *rows;           /* [max_tokens * n_used, n_embd]: in and out of the experts */
    float *gemm_workspace; /* borrowed: for n_in up to feed_forward_widest */
} feed_forward;

/* The longest rows its products read. */
int64_t feed_forward_widest(const arch *a);

/* For steps of up to max_tokens; false without memory. */
bool feed_forward_create(feed_forward *f, const arch *a, int64_t max_tokens, int n_threads,
                         float *gemm_workspace);
void feed_forward_free(feed_forward *f);

/* x[n, n_embd], the normalised stream, becomes what the layer adds to the stream. */
void feed_forward_run(feed_forward *f, const weights_layer *l, float *x, int64_t n);

#endif
