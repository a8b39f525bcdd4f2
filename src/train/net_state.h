/* net_state.h: what the parts of a network share: its parameters by layer and role, what the
 * forward pass keeps for the backward pass, and the step in progress.
 *
 * All of it lies in one slab that is laid out twice by the same code: once to count, once to place.
 * With NET_KEEP_INPUTS a layer keeps its input alone and all layers share one set of the rest,
 * filled again layer by layer on the way back; with NET_KEEP_INDEX each has Q, K and LSE besides,
 * the teacher of its index branch. */
#ifndef MSA_TRAIN_NET_STATE_H
#define MSA_TRAIN_NET_STATE_H

#include "msa/grad.h"
#include "nn/experts.h"
#include "nn/linear.h"
#include "nn/rope.h"
#include "train/net.h"

/* T is the number of tokens of the step, at most net.max_tokens; E n_embd. NULL where the layer has
 * no use for it. */
typedef struct net_attn_acts {
    float *normed;          /* [T, E] */
    float *q_raw, *k_raw;   /* as q and k, before the norm of the heads; q and k where none is */
    float *q, *k, *v;       /* [T, heads, d], normalised and turned */
    float *lse, *out;       /* [T, Hq], [T, Hq, d] */
    float *qi_raw, *ki_raw; /* of the index branch: [T, Hkv, di], [T, di] */
    float *qi, *ki;
    int32_t *ids;              /* [T, Hkv, topk] selected blocks */
    float *vi, *lse_i, *out_i; /* index value ablation: [T, di], [T, Hkv], [T, Hkv, di] */
} net_attn_acts;

/* A feed-forward layer on `rows` rows: T of them, or T * n_used for the experts. */
typedef struct net_ff_acts {
    float *gate, *up; /* [rows, n_ff] */
} net_ff_acts;

typedef struct net_mlp_acts {
    float *normed;    /* [T, E] */
    net_ff_acts ff;   /* the dense layer, or the shared expert */
    float *logits;    /* [T, n_experts] */
    int32_t *chosen;  /* [T, n_used] */
    float *weights;   /* [T, n_used] */
    int32_t *sorting; /* memory of groups */
    experts_groups groups;
    net_ff_acts experts; /* rows sorted by expert */
    float *out;          /* [T * n_used, E] what the experts gave, before the weights */
} net_mlp_acts;

typedef struct net_acts {
    float *mid; /* [T, E]: the layer's input plus what attention added */
    net_attn_acts attn;
    net_mlp_acts mlp;
} net_acts;

typedef struct net_layer {
    const param *of[TENSOR_ROLE_COUNT];
    const param **experts; /* [n_experts][3]: gate, up, down */
    bool has_index, has_experts;
    float *x; /* [T, E] its input */
    net_acts *acts;
} net_layer;

/* Gradients on their way back, one set for all layers, and room to work in. */
typedef struct net_scratch {
    float *dx;                                          /* [T, E] of the residual stream */
    float *d_normed;                                    /* [T, E] */
    float *dq, *dk, *dv;                                /* [T, heads, d] */
    float *d_out;                                       /* [T, Hq, d] */
    float *dqi, *dki;                                   /* [T, Hkv, di], [T, di] */
    float *d_out_i, *dqi_value, *dki_heads, *dvi_heads; /* index value ablation: [T, Hkv, di] */
    float *dvi;                                         /* [T, di] */
    float *act, *d_act;                                 /* [rows, n_ff] */
    float *rows, *d_rows;                               /* experts: [T * n_used, E] */
    float *d_weights;                                   /* [T, n_used] */
    float *d_logits;                                    /* [T, n_experts] */
    float *nll;                                         /* [T] */
    int32_t *predicted;                                 /* [T] */
    float *ops;                                         /* of net_ops.c */
    void *loss;                                         /* of nn/loss.h */
} net_scratch;

/* The ablation in which the index learns from the loss of the model (net_wide.c): heads of d + di.
 * Allocated when first asked for. */
typedef struct net_wide {
    float *q, *k, *v, *out, *d_out, *dq, *dk, *dv; /* [T, heads, d + di] */
    msa_plan *dense, *dense_grad; /* of the warm-up; the sparse ones are the main plans */
} net_wide;

/* The rows of a loss, gathered, where the index branch learns alone (net_index.c): R of them. */
typedef struct net_rows {
    float *normed, *rope; /* [R, E], [R, 2 n_rot] */
    float *raw, *q;       /* [R, Hkv, di] */
} net_rows;

typedef struct net_plans {
    msa_plan *dense, *dense_grad, *sparse, *sparse_grad, *index, *loss;
    msa_plan *value_dense, *value_dense_grad, *value_sparse, *value_sparse_grad; /* ablation */
} net_plans;

struct net {
    params *p;
    const arch *arch;
    msa_shape shape;
    int64_t max_tokens;
    int n_threads;
    net_memory keep;
    char *slab;
    size_t slab_bytes;
    net_layer *layers;
    net_acts *acts; /* [n_layers]; one shared by all with NET_KEEP_INPUTS */
    const param *embedding, *output_norm, *output;
    net_scratch scratch;
    net_wide wide;
    net_plans plans;
    linear_product *products; /* of net_ops.h */
    float *x_out, *x_normed;  /* [T, E] what the last layer gave; the same normalised */
    float *rope_all;          /* positions 0 .. max_tokens - 1 */
    float *rope;              /* of this step's tokens */
    int64_t *kv_len;          /* [max_tokens] of the documents */
    int32_t *kl_rows;         /* [T] */
    int64_t *load;            /* [n_layers, n_experts] */
    net_rows rows;            /* with NET_KEEP_INDEX */
    struct diagnose *watch;

    /* the step in progress */
    const train_batch *batch;
    net_mode mode;
    int64_t n_tokens, n_kl_rows;
    float scale;
    int32_t n_index_layers;
    double *kl; /* [n_layers, Hkv]: sums over rows */
    bool with_grad;
    bool kept; /* what net_step_again goes on from is there */
};

/* Whether anything reads what the last layer gives: not where the index branch alone is trained. */
static inline bool net_needs_output(const net *n) {
    return n->mode.lm || !n->with_grad || n->keep != NET_KEEP_INDEX;
}
/* What the layer's index branch is needed for in this mode. */
static inline bool net_selects(const net *n, const net_layer *l) {
    return n->mode.sparse && l->has_index;
}
static inline bool net_has_loss(const net *n, const net_layer *l) {
    return n->mode.kl != NET_KL_OFF && l->has_index;
}
static inline bool net_uses_index(const net *n, const net_layer *l) {
    bool chooses = net_selects(n, l) && n->mode.selection == NET_SELECT_INDEX;
    return l->has_index &&
           (chooses || net_has_loss(n, l) || n->mode.lm_index || n->mode.index_value || n->watch);
}

#endif
