/* session_record.h: all logits and selections of a run of a session, and what the forward pass in
 * double of tiny_model.h says of them. */
#ifndef MSA_TESTS_SESSION_RECORD_H
#define MSA_TESTS_SESSION_RECORD_H

#include "support/session_case.h"

/* What a run saw: all logits, and all selections. */
typedef struct session_record {
    float *logits;     /* [tokens][SESSION_VOCAB] */
    int32_t *selected; /* [layers][tokens][Hkv][topk] */
    size_t n_ids;      /* of selected */
    int64_t next;      /* position expected next */
    int n_tokens, n_kv_heads, topk;
} session_record;

/* Feeds the f->n tokens in pieces of `step` at most. */
session_record session_record_run(const session_case *f, const msa_session_params *p, int step);
void session_record_free(session_record *r);
/* The greatest difference. */
double session_worst(const float *a, const double *b, size_t n);

typedef struct session_agreement {
    double worst, largest; /* difference of a logit; logit of the reference */
} session_agreement;
/* With the forward pass in double; the selections must be equal. */
session_agreement session_compare(const session_case *f, const msa_session_params *p);
/* The same, and logits to 1e-4. */
void session_matches_reference(const session_case *f, const msa_session_params *p);

#endif
