/* fit.c: see fit.h.
 *
 * Bisection between a number of units that fits and one that does not, guessing by the line through
 * what was seen: tokens are nearly linear in units. What is returned was counted, so that it fits
 * even where they are not. */
#include "eval/fit.h"

typedef struct search {
    const quiz *quiz;
    const quiz_case *at;
    fit_count_fn *count;
    void *user;
    prompt *p;
    int64_t fits, fits_tokens;   /* units that fit, and their tokens */
    int64_t fails, fails_tokens; /* more that do not; tokens 0: not counted yet */
} search;

static msa_status weigh(search *s, int64_t n_units, int64_t *n_tokens, msa_error *err) {
    prompt_clear(s->p);
    s->quiz->make(s->quiz, s->at, n_units, s->p);
    msa_status status = prompt_finish(s->p, err);
    return status == MSA_OK ? s->count(s->user, s->p, n_tokens, err) : status;
}

/* Strictly between fits and fails. */
static int64_t guess(const search *s, int64_t limit, int64_t least, int64_t least_tokens,
                     int step) {
    int64_t room = s->fails - s->fits, at;
    if (s->fails_tokens && step % 3 == 2) {
        at = s->fits + room / 2;
    } else if (s->fails_tokens) {
        double slope = (double)(s->fails_tokens - s->fits_tokens) / (double)room;
        at = s->fits + (int64_t)((double)(limit - s->fits_tokens) / slope);
    } else if (s->fits > least) {
        double slope = (double)(s->fits_tokens - least_tokens) / (double)(s->fits - least);
        at = s->fits + 1 +
             (int64_t)((double)(limit - s->fits_tokens) / (slope > 0.01 ? slope : 0.01));
    } else {
        at = 2 * s->fits + 1;
    }
    return at <= s->fits ? s->fits + 1 : at >= s->fails ? s->fails - 1 : at;
}

/* *most: units that there are at most; least of them fit. */
static msa_status begin(search *s, int64_t limit, int64_t *most, msa_error *err) {
    const quiz *q = s->quiz;
    int64_t least, n_tokens = 0, n_answer = s->at->length - limit;
    q->range(q, s->at, &least, most);
    msa_status status = weigh(s, least, &n_tokens, err);
    if (status != MSA_OK) return status;
    s->fits = least, s->fits_tokens = n_tokens;
    if (n_tokens <= limit) return MSA_OK;
    return error_set(err, MSA_E_ARG,
                     "task %s: a length of %lld can't hold it: its smallest question takes %lld "
                     "tokens and the answer %lld; expected a length of at least %lld",
                     q->task.name, (long long)s->at->length, (long long)n_tokens,
                     (long long)n_answer, (long long)(n_tokens + n_answer));
}

msa_status fit_smallest(const quiz *q, const quiz_case *c, int64_t limit, fit_count_fn *count,
                        void *user, prompt *p, msa_error *err) {
    search s = {.quiz = q, .at = c, .count = count, .user = user, .p = p};
    int64_t most;
    return begin(&s, limit, &most, err);
}

msa_status fit_prompt(const quiz *q, const quiz_case *c, int64_t limit, fit_count_fn *count,
                      void *user, prompt *p, msa_error *err) {
    search s = {.quiz = q, .at = c, .count = count, .user = user, .p = p};
    int64_t most, n_tokens;
    msa_status status = begin(&s, limit, &most, err);
    if (status != MSA_OK) return status;
    const int64_t least = s.fits, least_tokens = s.fits_tokens;
    int64_t last = least;
    s.fails = most + 1;
    for (int step = 0; s.fails - s.fits > 1; step++) {
        int64_t at = last = guess(&s, limit, least, least_tokens, step);
        status = weigh(&s, at, &n_tokens, err);
        if (status != MSA_OK) return status;
        if (n_tokens <= limit)
            s.fits = at, s.fits_tokens = n_tokens;
        else
            s.fails = at, s.fails_tokens = n_tokens;
    }
    return last == s.fits ? MSA_OK : weigh(&s, s.fits, &n_tokens, err);
}
