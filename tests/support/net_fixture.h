/* net_fixture.h: a small model, its network and a batch of packed documents, and the cases in which
 * tests/oracle/train_net.py runs them. */
#ifndef MSA_TESTS_NET_FIXTURE_H
#define MSA_TESTS_NET_FIXTURE_H

#include "support/train_case.h"

/* Documents of 200, 1, 33, 64 and 17 tokens. */
enum { DOCS = 5, TOKENS = 315 };
extern const int32_t LENGTHS[DOCS];

typedef struct fixture {
    arch a;
    params *p;
    train_batch batch;
    net *n;
    double kl[16];
    float nll[TOKENS];
    int32_t predicted[TOKENS];
    net_losses losses;
} fixture;

fixture *fixture_make(const arch *a, uint64_t seed, net_memory keep, int n_threads);
void fixture_drop(fixture *f);
/* net_step with scale 1; fails the test where it fails. */
void fixture_step(fixture *f, const net_mode *mode);

/* The same losses, of every token too, and gradients, to the bit. */
void assert_same_step(const fixture *a, const fixture *b);
/* Whether all gradients of the index branch, or of everything else, are 0. */
bool gradients_are_zero(const params *p, bool index);

typedef enum model { M3, M3_VALUE, LLAMA, QWEN2, QWEN3 } model;

typedef struct net_case {
    const char *name; /* in the golden file */
    model model;
    net_mode mode;
} net_case;

/* What modes are made of. */
#define BASE     .lm = true, .lambda = 0.5f, .detach = true, .seed = 5
#define SPARSE   .sparse = true
#define KL(kind) .kl = NET_KL_##kind

enum { N_CASES = 24 };
extern const net_case CASES[N_CASES];
arch net_case_arch(const net_case *c);
/* The mode of the case of that name. */
const net_mode *net_case_mode(const char *name);

#endif
