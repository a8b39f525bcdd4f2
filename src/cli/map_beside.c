/* map_beside.c: see map_beside.h. */
#include "cli/map_beside.h"

#include <stdio.h>

#include "cli/table.h"

msa_status beside_add(beside_sums *layer, const msa_shape *shape, int64_t position,
                      const int32_t *ids, const float *mass, int32_t *best, msa_error *err) {
    msa_shape free = *shape;
    free.local = free.init = 0;
    int64_t n_visible = position / shape->block + 1;
    msa_status status =
        msa_select_run(&free, 1, &position, mass, n_visible, MSA_ASCENDING, best, err);
    if (status != MSA_OK || n_visible <= shape->topk) return status;
    int32_t common = 0;
    for (int32_t i = 0; i < shape->topk; i++) {
        if (ids[i] >= 0) layer->captured += (double)mass[ids[i]];
        layer->oracle += (double)mass[best[i]];
        for (int32_t j = 0; j < shape->topk; j++) common += ids[i] == best[j];
    }
    layer->recall += (double)common / shape->topk;
    layer->n++;
    return MSA_OK;
}

static json_t *row_of(const char *name, const beside_sums *s) {
    double n = (double)s->n;
    return json_pack("{s:s, s:o, s:o, s:o, s:o}", "layer", name, "recall",
                     json_number(s->recall / n), "captured", json_number(s->captured / n), "oracle",
                     json_number(s->oracle / n), "ratio", json_number(s->captured / s->oracle));
}

msa_status beside_print(const beside_sums layers[BESIDE_LAYERS], msa_error *err) {
    static const table_column COLUMNS[] = {
        {.key = "layer", .heading = "layer"},
        {.key = "recall", .heading = "recall", .decimals = 3},
        {.key = "captured", .heading = "captured", .decimals = 3},
        {.key = "oracle", .heading = "oracle", .decimals = 3},
        {.key = "ratio", .heading = "captured / oracle", .decimals = 3},
    };
    json_t *rows = json_array();
    beside_sums all = {0};
    for (int i = 0; i < BESIDE_LAYERS; i++) {
        const beside_sums *s = &layers[i];
        char name[16];
        if (s->n == 0) continue;
        snprintf(name, sizeof name, "%d", i);
        json_array_append_new(rows, row_of(name, s));
        all.n += s->n, all.recall += s->recall;
        all.captured += s->captured, all.oracle += s->oracle;
    }
    if (all.n > 0) json_array_append_new(rows, row_of("all", &all));
    msa_status status = table_print(COLUMNS, sizeof COLUMNS / sizeof *COLUMNS, rows, err);
    json_decref(rows);
    return status;
}
