/* fuzz_checkpoint.c: any bytes as a checkpoint or as a token file; the first byte says which. Its
 * checksums are made right first, as an honest writer's would be, so that what lies behind them is
 * reached; 'C' and 'T' leave them. */
#include <stdlib.h>
#include <string.h>

#include "base/checksum.h"
#include "base/mem.h"
#include "fuzz.h"
#include "train/arch_text.h"
#include "train/checkpoint.h"
#include "train/tokens.h"

static volatile float sink;

enum { HEADER = 128 };

static void mend(uint8_t *data, size_t n, int has_header) {
    uint64_t sum;
    if (has_header && n >= HEADER) {
        sum = checksum_of(data, HEADER - sizeof sum);
        memcpy(data + HEADER - sizeof sum, &sum, sizeof sum);
    }
    if (n < sizeof sum) return;
    sum = checksum_of(data, n - sizeof sum);
    memcpy(data + n - sizeof sum, &sum, sizeof sum);
}

static void read_checkpoint(const uint8_t *data, size_t n) {
    checkpoint c;
    train_config config;
    arch none = {0};
    msa_error err;
    if (checkpoint_check(&c, data, n, "fuzz", &err) != MSA_OK) return;
    for (int64_t i = 0; i < c.n_floats; i++) sink += c.w[i] + c.m[i] + c.v[i];
    for (int64_t i = 0; i < c.n_bias; i++) sink += c.bias[i];
    arch_text_same(&none, c.arch, c.n_arch, &err);
    if (config_init(&config, &err) == MSA_OK &&
        config_read(&config, c.config, c.n_config, "fuzz", &err) == MSA_OK)
        config_settle(&config, &err);
    config_free(&config);
}

static void read_tokens(const uint8_t *data, size_t n) {
    tokens t;
    msa_error err;
    if (tokens_check(&t, data, n, 257, "fuzz", &err) != MSA_OK) return;
    for (int64_t d = 0; d < t.n_docs; d++)
        for (int64_t i = t.docs[d]; i < t.docs[d + 1]; i++) sink += (float)t.ids[i];
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n_bytes) {
    if (n_bytes < 1) return 0;
    size_t n = n_bytes - 1;
    uint8_t *copy = mem_alloc(n, 1); /* aligned, as a map is */
    if (!copy) return 0;
    memcpy(copy, data + 1, n);
    int is_checkpoint = data[0] == 'c' || data[0] == 'C';
    if (data[0] == 'c' || data[0] == 't') mend(copy, n, is_checkpoint);
    if (is_checkpoint)
        read_checkpoint(copy, n);
    else
        read_tokens(copy, n);
    mem_free(copy);
    return 0;
}
