/* answer.h: a prompt goes in, an answer streams out, the timeline stays for the next turn. */
#ifndef MSA_CLI_ANSWER_H
#define MSA_CLI_ANSWER_H

#include <stdbool.h>

#include "cli/fail.h"
#include "msa/model.h"

typedef struct timeline {
    int32_t *ids;
    size_t n, capacity;
} timeline;

typedef struct speaker {
    const msa_model *model;
    msa_session *session;
    msa_sampler *sampler;
    timeline past; /* what the session holds */
    bool silent;   /* the text is kept, not printed */
} speaker;

/* On failure nothing is left to free. */
msa_status speaker_create(speaker *s, const msa_model *model, const msa_session_params *params,
                          const msa_sampler_params *sampling, msa_error *err);
void speaker_free(speaker *s);

typedef enum answer_stop {
    ANSWER_END,        /* the model ended its turn */
    ANSWER_LENGTH,     /* -n tokens are made */
    ANSWER_CONTEXT,    /* the context is full */
    ANSWER_INTERRUPTED /* Ctrl-C */
} answer_stop;

typedef struct answer {
    char *text; /* NUL-terminated; free() */
    size_t n_bytes, capacity;
    int64_t n_tokens;
    answer_stop stop;
} answer;

const char *answer_stop_name(answer_stop stop);

/* Brings the session to exactly these tokens: keeps the part it holds already, rewinds behind it,
 * feeds the rest with a progress bar. */
msa_status speaker_listen(speaker *s, const msa_tokens *prompt, msa_error *err);
/* Makes at most n_predict tokens (-1: until the model ends) and streams them to standard output. */
msa_status speaker_answer(speaker *s, int64_t n_predict, answer *out, msa_error *err);

#endif
