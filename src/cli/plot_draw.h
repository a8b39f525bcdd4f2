/* plot_draw.h: curves as a picture of six panels. */
#ifndef MSA_CLI_PLOT_DRAW_H
#define MSA_CLI_PLOT_DRAW_H

#include "cli/plot_data.h"

msa_status plot_draw(const plot_data *d, bool svg, unsigned char **data, size_t *n_bytes,
                     msa_error *err);

#endif
