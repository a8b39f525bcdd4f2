/* scoring.h: how well each token of a text was predicted, with dense attention and with selectors
 * side by side.
 *
 * The text is read in pieces of the context's length; each is fed from an empty session, for each
 * attention, and every token but a piece's first is scored by -ln of the probability it was given.
 * All see the same tokens at the same positions, so a difference to dense is paired, and far better
 * known than either side. */
#ifndef MSA_CLI_SCORING_H
#define MSA_CLI_SCORING_H

#include "cli/ppl.h"
#include "cli/progress.h"
#include "cli/settings.h"

/* One attention over the text. */
typedef struct scoring_run {
    const char *name; /* "dense", or of a selector */
    msa_session_params params;
    double *nll; /* [n_scored] */
    double keys_per_query;
} scoring_run;

enum { SCORING_RUNS = MSA_SELECTOR_ORACLE + 2 };

typedef struct scoring {            /* start from {0} */
    scoring_run runs[SCORING_RUNS]; /* dense first */
    size_t n_runs;
    const int32_t *ids; /* not owned */
    size_t n_ids, n_scored;
    int64_t n_ctx, n_pieces;
    progress bar;
    int64_t n_done, n_total; /* tokens fed, over all runs */
} scoring;
void scoring_free(scoring *s);

/* The text, in pieces of n_ctx tokens, at most n_pieces of them; MSA_E_ARG speaks of -c. */
msa_status scoring_take_text(scoring *s, const msa_tokens *tokens, int64_t n_ctx, int64_t n_pieces,
                             msa_error *err);
/* Dense, and the selectors of the list "a,b", or of `params` where it is NULL. MSA_E_ARG speaks of
 * --selectors; that one of a list can't run is told here too. */
msa_status scoring_take_selectors(scoring *s, const char *names, const msa_model *model,
                                  const msa_session_params *params, msa_error *err);
msa_status scoring_run_all(scoring *s, const msa_model *model, msa_error *err);

/* Over positions first .. end - 1 of the pieces. */
ppl_mean scoring_mean(const scoring *s, size_t run, int64_t first, int64_t end);

#endif
