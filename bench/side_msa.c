/* side_msa.c: our side of side.h. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "msa/model.h"
#include "side.h"

struct side {
    msa_model *model;
    msa_session *session;
};

static bool check(msa_status status, const msa_error *err) {
    if (status != MSA_OK) fprintf(stderr, "msa: %s\n", err->text);
    return status == MSA_OK;
}

side *side_open(const char *model, int n_threads, int n_ctx) {
    msa_error err;
    side *s = calloc(1, sizeof *s);
    if (!s) return NULL;
    if (check(msa_model_load(&s->model, model, &err), &err)) {
        msa_session_params params = msa_session_defaults(s->model);
        params.n_ctx = n_ctx;
        params.n_threads = n_threads;
        params.index8 = MSA_INDEX8_OFF;
        if (check(msa_session_create(&s->session, s->model, &params, &err), &err)) return s;
    }
    side_close(s);
    return NULL;
}

int side_vocab(const side *s) {
    return msa_model_get_info(s->model)->n_vocab;
}

static int copy_row(void *user, int64_t position, const float *logits, int32_t n_vocab) {
    (void)position;
    float **to = user;
    memcpy(*to, logits, sizeof **to * (size_t)n_vocab);
    *to += n_vocab;
    return 0;
}

bool side_feed(side *s, const int32_t *ids, int n, float *logits) {
    msa_error err;
    if (logits)
        return check(msa_session_feed_logits(s->session, ids, (size_t)n, copy_row, &logits, &err),
                     &err);
    return check(msa_session_feed(s->session, ids, (size_t)n, NULL, NULL, &err), &err);
}

bool side_rewind(side *s, int n) {
    msa_error err;
    return check(msa_session_rewind(s->session, n, &err), &err);
}

void side_close(side *s) {
    msa_session_free(s->session);
    msa_model_free(s->model);
    free(s);
}
