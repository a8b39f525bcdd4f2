/* convert.h: what the parts of msa convert share: what was asked for, and the configurations and
 * report made from it. */
#ifndef MSA_CLI_CONVERT_H
#define MSA_CLI_CONVERT_H

#include <jansson.h>

#include "cli/options.h"
#include "cli/settings.h"

typedef struct convert_args {
    model_args model;
    option_texts text, valid;
    const char *out, *folder; /* folder NULL: out with ".run" behind it */
    int64_t steps, cpt, rows, repeats, context, block, topk, init, local, dim, seed;
    double lr, cpt_lr, facts; /* facts: share of the pieces */
    int kl, type, start;      /* index of the choice */
    bool resume, check, json;
} convert_args;

/* Reads the command line and checks what can be checked without the model. */
msa_status convert_parse(convert_args *args, int argc, char **argv, bool *done, msa_error *err);

/* Configuration of the run that trains the index branch alone, and of the one that trains the
 * backbone with it, from the model `from`, whose own branch counts where it has one, or `branch`
 * beside it where that is not NULL: as msa train reads them. Both keep the texts as tokens in
 * `tokens`. NULL without memory. */
json_t *convert_index_config(const convert_args *args, const char *folder);
json_t *convert_cpt_config(const convert_args *args, const char *folder, const char *from,
                           const char *branch, const char *tokens);

/* What the logs say of held-out text: {"held_out": its size, "nll": rows, "layers": rows}. cpt_log
 * NULL: no such run. */
json_t *convert_findings(const char *index_log, const char *cpt_log);
/* The same as tables on standard output. */
msa_status convert_print(const json_t *findings, msa_error *err);

#endif
