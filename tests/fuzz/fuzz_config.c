/* fuzz_config.c: any bytes as a configuration, or as an assignment of one key; the first byte says
 * which. What is accepted must survive writing and reading again. */
#include <stdlib.h>
#include <string.h>

#include "fuzz.h"
#include "train/schedule.h"

static void demand(int truth) {
    if (!truth) abort();
}

static void there_and_back(const train_config *c) {
    train_config again;
    bytes one = {0}, two = {0};
    msa_error err;
    config_write(c, &one);
    demand(config_init(&again, &err) == MSA_OK);
    demand(config_read(&again, one.data, one.n, "again", &err) == MSA_OK);
    config_write(&again, &two);
    demand(one.n == two.n && memcmp(one.data, two.data, one.n) == 0);
    demand(config_same_outcome(c, &again, &err) == MSA_OK);
    bytes_free(&one);
    bytes_free(&two);
    config_free(&again);
}

static void use(train_config *c) {
    msa_error err;
    arch a;
    if (config_settle(c, &err) != MSA_OK) return;
    config_arch(c, 257, &a, &err);
    recipe r = recipe_of(c);
    demand(r.n > 0 && r.phases[0].from == 0 && r.phases[r.n - 1].to == c->run.steps);
    for (int i = 0; i < 3; i++) {
        int64_t step = (c->run.steps - 1) / 2 * i;
        double share = schedule_share(&c->schedule.main, step, c->run.steps);
        demand(share >= 0 && share <= 1);
        schedule_index_lr(c, recipe_at(&r, step), step);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n_bytes) {
    train_config c;
    msa_error err;
    if (n_bytes < 1) return 0;
    demand(config_init(&c, &err) == MSA_OK);
    const char *text = (const char *)data + 1;
    size_t n = n_bytes - 1;
    if (data[0] == 's') {
        char *line = malloc(n + 1);
        if (line) memcpy(line, text, n), line[n] = 0, config_set(&c, line, &err);
        free(line);
    } else {
        config_read(&c, text, n, "fuzz", &err);
    }
    there_and_back(&c);
    use(&c);
    config_free(&c);
    return 0;
}
