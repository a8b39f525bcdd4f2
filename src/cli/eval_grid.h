/* eval_grid.h: scores by length and depth as a picture, a panel for each selector. Needs Cairo;
 * without it grid_draw is MSA_E_UNSUPPORTED. */
#ifndef MSA_CLI_EVAL_GRID_H
#define MSA_CLI_EVAL_GRID_H

#include <stdbool.h>

#include "cli/eval_exam.h"

typedef struct grid {
    const int64_t *lengths; /* [n_lengths] */
    const double *depths;   /* [n_depths], per cent */
    const char *const *selectors;
    size_t n_lengths, n_depths, n_selectors;
    const double *scores; /* [n_lengths][n_depths][n_selectors], 0..100, NaN: none */
    const char *title, *subtitle;
} grid;

/* *data holds the file's bytes; free(). */
msa_status grid_draw(const grid *g, bool svg, unsigned char **data, size_t *n_bytes,
                     msa_error *err);

#endif
