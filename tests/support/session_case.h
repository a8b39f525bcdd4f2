/* session_case.h: a small random model of each family and a text for it: what the tests of sessions
 * run. */
#ifndef MSA_TESTS_SESSION_CASE_H
#define MSA_TESTS_SESSION_CASE_H

#include "msa/model.h"
#include "support/tiny_model.h"

enum { SESSION_M3 = 3, N_SESSION_FAMILIES = 4, SESSION_N = 300, SESSION_VOCAB = 300 };
extern const char *const SESSION_FAMILIES[N_SESSION_FAMILIES]; /* the last is SESSION_M3 */

typedef struct session_case {
    tiny_model *tiny;
    msa_model *model;
    int n; /* tokens of the text: SESSION_N, fewer where test_brief() says so */
    int32_t ids[SESSION_N];
} session_case;

/* With an index branch beside the model's file where the parameters ask for that. */
session_case session_case_open(const tiny_params *params);
session_case session_case_family(int family);
void session_case_close(session_case *f);

/* f32 keys and values; blocks of 16, 5 of them chosen of up to 19. */
msa_session_params session_case_params(const session_case *f, msa_attn_mode attn);
msa_session *session_case_start(const session_case *f, const msa_session_params *params);
void session_case_feed(msa_session *s, const int32_t *ids, int n);

#endif
