/* map_grid.h: which blocks the queries of one layer and group selected, counted into the cells of a
 * picture: a row for a few neighbouring queries, a column for a block (or a few). */
#ifndef MSA_CLI_MAP_GRID_H
#define MSA_CLI_MAP_GRID_H

#include "cli/fail.h"
#include "msa/attn.h"

typedef struct map_cell {
    /* Pairs of a query and a block: the query can see the block; it read it because it must; it
     * read it because of its score. */
    uint32_t visible, forced, scored;
} map_cell;

typedef struct map_grid {
    int64_t n_tokens, n_blocks;
    msa_shape shape;
    int32_t layer;
    int32_t n_rows, n_columns;
    map_cell *cells;   /* [n_rows, n_columns] */
    map_cell *columns; /* [n_columns] sums over the rows */
    int64_t n_seen;    /* queries counted so far */
} map_grid;

/* At most max_rows x max_columns cells. */
msa_status map_grid_create(map_grid *grid, int64_t n_tokens, const msa_shape *shape,
                           int32_t max_rows, int32_t max_columns, msa_error *err);
void map_grid_free(map_grid *grid);
/* Counts the selection of the query at `position`: k ids, -1 in unused slots. */
void map_grid_add(map_grid *grid, int64_t position, const int32_t *ids);

#endif
