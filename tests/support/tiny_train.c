/* tiny_train.c: see tiny_train.h. */
#include "support/tiny_train.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "support/support.h"

char *tiny_train_config(const char *text) {
    char *json = malloc(2048);
    assert_non_null(json);
    snprintf(json, 2048,
             "{\"model\": {\"layers\": 2, \"width\": 32, \"heads\": 2, \"kv_heads\": 1,"
             " \"head_dim\": 16, \"ffn\": 32, \"dense_layers\": 1,"
             " \"index\": {\"block\": 16, \"topk\": 2},"
             " \"moe\": {\"experts\": 4, \"used\": 2, \"ffn\": 16, \"shared_ffn\": 16}},"
             " \"data\": {\"text\": \"%s\", \"context\": 64, \"rows\": 2},"
             " \"tasks\": {\"recall\": {\"weight\": 1, \"items\": 4, \"questions\": 2}},"
             " \"optim\": {\"lr\": 3e-3, \"accumulate\": 2}, \"schedule\": {\"warmup\": 3},"
             " \"recipe\": {\"warmup\": 4},"
             " \"log\": {\"every\": 2, \"eval\": 5, \"eval_rows\": 4, \"diagnostics\": 6,"
             " \"checkpoint\": 3},"
             " \"run\": {\"steps\": 12, \"threads\": 2}}",
             text);
    return json;
}

msa_status tiny_train_create(msa_trainer **t, const char *out, const char *settings, int resume,
                             msa_train_watch_fn *watch, void *user, msa_error *err) {
    char copy[1024], where[256], *json = tiny_train_config(test_path("LICENSE"));
    const char *list[32] = {where};
    size_t n = 1;
    snprintf(where, sizeof where, "run.out=%s", out);
    snprintf(copy, sizeof copy, "%s", settings);
    for (char *at = strtok(copy, " "); at && n < 32; at = strtok(NULL, " ")) list[n++] = at;
    msa_train_params params = {.config = json,
                               .n_bytes = strlen(json),
                               .name = "tiny.json",
                               .assignments = list,
                               .n_assignments = n,
                               .resume = resume,
                               .watch = watch,
                               .user = user};
    msa_status status = msa_trainer_create(t, &params, err);
    free(json);
    return status;
}
