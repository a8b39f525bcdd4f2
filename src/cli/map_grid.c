/* map_grid.c: see map_grid.h. */
#include "cli/map_grid.h"

#include <stdlib.h>

msa_status map_grid_create(map_grid *grid, int64_t n_tokens, const msa_shape *shape,
                           int32_t max_rows, int32_t max_columns, msa_error *err) {
    int64_t n_blocks = (n_tokens + shape->block - 1) / shape->block;
    *grid = (map_grid){.n_tokens = n_tokens, .n_blocks = n_blocks, .shape = *shape};
    grid->n_rows = n_tokens < max_rows ? (int32_t)n_tokens : max_rows;
    grid->n_columns = n_blocks < max_columns ? (int32_t)n_blocks : max_columns;
    grid->cells = calloc((size_t)grid->n_rows * (size_t)grid->n_columns, sizeof *grid->cells);
    grid->columns = calloc((size_t)grid->n_columns, sizeof *grid->columns);
    if (grid->cells && grid->columns) return MSA_OK;
    map_grid_free(grid);
    return fail_memory(err, "counting selections");
}

void map_grid_free(map_grid *grid) {
    free(grid->cells);
    free(grid->columns);
    *grid = (map_grid){0};
}

static map_cell *cell_of(map_grid *grid, map_cell *row, int64_t block) {
    return &row[block * grid->n_columns / grid->n_blocks];
}

void map_grid_add(map_grid *grid, int64_t position, const int32_t *ids) {
    int64_t own = position / grid->shape.block;
    int64_t row_index = position * grid->n_rows / grid->n_tokens;
    map_cell *row = grid->cells + row_index * grid->n_columns;
    if (position < 0 || position >= grid->n_tokens) return;
    for (int64_t block = 0; block <= own; block++) {
        cell_of(grid, row, block)->visible++;
        cell_of(grid, grid->columns, block)->visible++;
    }
    for (int32_t slot = 0; slot < grid->shape.topk; slot++) {
        int64_t block = ids[slot];
        if (block < 0 || block > own) continue;
        map_cell *cell = cell_of(grid, row, block), *column = cell_of(grid, grid->columns, block);
        if (block < grid->shape.init || own - block < grid->shape.local)
            cell->forced++, column->forced++;
        else
            cell->scored++, column->scored++;
    }
    grid->n_seen++;
}
