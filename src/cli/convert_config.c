/* convert_config.c: the runs of msa convert as configurations of the trainer, see convert.h. */
#include <string.h>

#include "cli/convert.h"
#include "cli/table.h"

/* Of held-out text, or as many as there are. An examination also takes as many pieces with facts,
 * answered with dense attention and with the branch: then fewer do. */
static json_int_t eval_pieces(const convert_args *a) {
    return a->facts > 0 ? 3 : 8;
}

static const char *const KL[] = {"far", "far-mass", "visible"};
static const char *const TYPES[] = {"f16", "bf16", "f32"};

static json_t *texts_of(const option_texts *paths) {
    json_t *list = json_array();
    for (size_t i = 0; i < paths->n; i++)
        json_array_append_new(list, json_text(paths->values[i], strlen(paths->values[i])));
    return list;
}

/* Pieces that hardly leave the key budget teach little: those are left out. */
static json_t *data_of(const convert_args *a) {
    return json_pack("{s:o, s:o, s:s, s:I, s:i, s:I}", "text", texts_of(&a->text), "valid",
                     texts_of(&a->valid), "tokenizer", a->model.path, "context",
                     (json_int_t)a->context, "rows", 1, "shortest", (json_int_t)(a->context / 2));
}

/* Facts in real text, some of which are asked for: so many that a good part of the queries asks. */
static json_t *tasks_of(const convert_args *a) {
    enum { MOST = 16, ROOM = 256 }; /* facts of a piece, tokens for each of them */
    json_int_t facts = a->context / ROOM;
    facts = facts < 1 ? 1 : facts > MOST ? MOST : facts;
    json_t *needle = json_pack(
        "{s:f, s:I, s:I, s:I, s:I, s:I, s:b, s:i}", "weight", a->facts / (1 - a->facts), "items",
        facts, "start_items", (facts + 3) / 4, "questions", facts, "length", (json_int_t)a->context,
        "start_length", (json_int_t)(a->context / 2), "mixed", 1, "grow_steps", 1);
    return json_pack("{s:o}", "needle", needle);
}

static int64_t warmup_of(int64_t steps) {
    enum { USUAL = 20 };
    return steps / 10 < USUAL ? steps / 10 : USUAL;
}

static json_t *index_of(const convert_args *a, const char *start) {
    json_t *index = json_pack("{s:b, s:I, s:I, s:I, s:I, s:s}", "on", 1, "block",
                              (json_int_t)a->block, "topk", (json_int_t)a->topk, "local",
                              (json_int_t)a->local, "init", (json_int_t)a->init, "start", start);
    if (a->dim) json_object_set_new(index, "dim", json_integer((json_int_t)a->dim));
    return index;
}

/* Takes over the sections. */
static json_t *config_of(const convert_args *a, json_t *model, json_t *data, json_t *optim,
                         json_t *schedule, json_t *recipe, json_t *log, json_t *run) {
    json_t *config =
        json_pack("{s:o, s:o, s:o, s:o, s:o, s:o, s:o}", "model", model, "data", data, "optim",
                  optim, "schedule", schedule, "recipe", recipe, "log", log, "run", run);
    if (a->facts > 0) json_object_set_new(config, "tasks", tasks_of(a));
    return config;
}

json_t *convert_index_config(const convert_args *a, const char *folder) {
    json_t *index = index_of(a, a->start ? "random" : "heads");
    const char *file = a->model.index;
    if (file) json_object_set_new(index, "from", json_text(file, strlen(file)));
    json_t *model =
        json_pack("{s:s, s:i, s:o}", "from", a->model.path, "dense_layers", 0, "index", index);
    json_t *optim = json_pack("{s:f, s:i}", "index_lr", a->lr, "weight_decay", 0);
    json_t *schedule =
        json_pack("{s:I, s:f}", "warmup", (json_int_t)warmup_of(a->steps), "final", 0.02);
    json_t *recipe =
        json_pack("{s:s, s:s, s:I, s:I}", "kind", "index-only", "kl_warmup", KL[a->kl], "kl_rows",
                  (json_int_t)a->rows, "kl_repeats", (json_int_t)a->repeats);
    json_t *log = json_pack("{s:I, s:i, s:i, s:b, s:I, s:I}", "every", (json_int_t)a->repeats,
                            "diagnostics", 0, "eval", 0, "eval_first", 1, "eval_rows",
                            eval_pieces(a), "checkpoint", (json_int_t)(5 * a->repeats));
    json_t *run = json_pack("{s:s, s:I, s:I, s:s, s:s}", "out", folder, "steps",
                            (json_int_t)a->steps, "seed", (json_int_t)a->seed, "format",
                            a->cpt ? "gguf" : "index", "type", a->cpt ? "f32" : TYPES[a->type]);
    return config_of(a, model, data_of(a), optim, schedule, recipe, log, run);
}

json_t *convert_cpt_config(const convert_args *a, const char *folder, const char *from,
                           const char *branch, const char *tokens) {
    json_t *index = index_of(a, "random");
    if (branch) json_object_set_new(index, "from", json_text(branch, strlen(branch)));
    json_t *model = json_pack("{s:s, s:i, s:o}", "from", from, "dense_layers", 0, "index", index);
    json_t *data = data_of(a);
    json_t *optim =
        json_pack("{s:f, s:f, s:f}", "lr", a->cpt_lr, "index_lr", a->lr / 10, "weight_decay", 0.01);
    json_t *schedule = json_pack("{s:I}", "warmup", (json_int_t)warmup_of(a->cpt));
    json_t *recipe = json_pack("{s:s, s:i, s:i, s:s, s:I}", "kind", "cpt", "dense", 0, "warmup", 0,
                               "kl_sparse", "selected", "kl_rows", (json_int_t)a->rows);
    json_t *log = json_pack("{s:i, s:i, s:i, s:I, s:i}", "every", 1, "diagnostics", 0, "eval", 0,
                            "eval_rows", eval_pieces(a), "checkpoint", 20);
    json_t *run = json_pack("{s:s, s:I, s:I, s:s, s:s}", "out", folder, "steps", (json_int_t)a->cpt,
                            "seed", (json_int_t)a->seed, "format", "gguf", "type", TYPES[a->type]);
    json_object_set_new(data, "cache", json_text(tokens, strlen(tokens)));
    return config_of(a, model, data, optim, schedule, recipe, log, run);
}
