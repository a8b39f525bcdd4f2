/* map_draw.h: a map_grid as a picture. Needs Cairo; without it map_draw is MSA_E_UNSUPPORTED. */
#ifndef MSA_CLI_MAP_DRAW_H
#define MSA_CLI_MAP_DRAW_H

#include <stdbool.h>
#include <stddef.h>

#include "cli/map_grid.h"

/* Pixels the cells of one grid may fill: alone, and as one of two. */
enum { MAP_PLOT_WIDTH = 960, MAP_PLOT_HEIGHT = 720, MAP_HALF_WIDTH = 468 };

/* Pixels of one of n layers' pictures on a page: as many as let all find room. */
typedef struct map_tile {
    int32_t width, height;
    int columns, rows; /* of tiles */
} map_tile;

map_tile map_tile_of(int n);

typedef enum map_format { MAP_PNG, MAP_SVG } map_format;

typedef struct map_labels {
    const char *title, *subtitle; /* UTF-8 */
    /* A few words of the text at a position, for the left edge, into text[size]; may be NULL. */
    void (*words_at)(const void *user, int64_t position, char *text, size_t size);
    const void *user;
    bool beside; /* the second of two grids is the oracle's choice of the first one's layer */
} map_labels;

/* One grid with its axes, two side by side, or n layers of one text as small pictures. *data holds
 * the file's bytes; free(). */
msa_status map_draw(const map_grid *grids, int n, const map_labels *labels, map_format format,
                    unsigned char **data, size_t *n_bytes, msa_error *err);

#endif
