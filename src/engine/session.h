/* session.h: a session: one sequence of the cache, its logits, its parameters and counts. */
#ifndef MSA_ENGINE_SESSION_H
#define MSA_ENGINE_SESSION_H

#include "engine/forward.h"

struct msa_session {
    forward *forward; /* shared with its forks */
    msa_kv_seq *seq;
    msa_session_params params;
    float *logits; /* [n_vocab] */
    bool has_logits;
    float *row_logits; /* [row_tile, n_vocab] of feed_logits; NULL until first needed */
    int64_t row_tile;
    msa_session_stats stats;
    forward_watch watch;
};

/* Replaces zeros by what is chosen, and checks every field against the model. */
msa_status session_params_resolve(msa_session_params *params, const msa_model *model,
                                  msa_error *err);

#endif
