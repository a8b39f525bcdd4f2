/* support.c: see support.h. */
#include "support/support.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

rng rng_seed(uint64_t seed) {
    return (rng){seed * 0x9e3779b97f4a7c15u + 1};
}

uint64_t rng_next(rng *r) {
    uint64_t z = r->state += 0x9e3779b97f4a7c15u;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return z ^ z >> 31;
}

uint64_t rng_below(rng *r, uint64_t n) {
    return (uint64_t)((__uint128_t)rng_next(r) * n >> 64);
}

float rng_uniform(rng *r) {
    return (float)(rng_next(r) >> 40) * 0x1p-24f;
}

float rng_normal(rng *r) {
    double u = ((double)(rng_next(r) >> 11) + 1) * 0x1p-53,
           v = (double)(rng_next(r) >> 11) * 0x1p-53;
    return (float)(sqrt(-2 * log(u)) * cos(6.283185307179586 * v));
}

void rng_fill_normal(rng *r, float *out, size_t n, float sigma) {
    for (size_t i = 0; i < n; i++) out[i] = sigma * rng_normal(r);
}

void rng_fill_integers(rng *r, float *out, size_t n, int magnitude) {
    for (size_t i = 0; i < n; i++)
        out[i] = (float)((int)rng_below(r, 2 * (uint64_t)magnitude + 1) - magnitude);
}

int isas_available(msa_isa out[MSA_ISA_COUNT]) {
    int n = 0;
    for (int isa = 0; isa < MSA_ISA_COUNT; isa++)
        if (msa_isa_available((msa_isa)isa)) out[n++] = (msa_isa)isa;
    return n;
}

void assert_ok(msa_status status, const msa_error *err) {
    if (status != MSA_OK)
        fail_msg("unexpected failure: %s: %s", msa_status_name(status), err ? err->text : "");
}

void assert_fails(msa_status status, msa_status expected, const msa_error *err, const char *word) {
    if (status != expected)
        fail_msg("expected '%s', got '%s': %s", msa_status_name(expected), msa_status_name(status),
                 status == MSA_OK ? "" : err->text);
    if (word && !strstr(err->text, word))
        fail_msg("expected '%s' in the message; it says: %s", word, err->text);
}

bool test_brief(void) {
    return getenv("MSA_TEST_BRIEF") != NULL;
}

const char *test_path(const char *relative) {
    static char paths[4][1024];
    static int next;
    char *path = paths[next++ % 4];
    const char *root = getenv("MSA_TEST_ROOT");
    snprintf(path, sizeof paths[0], "%s/%s", root ? root : ".", relative);
    return path;
}

void test_need_model(void) {
    if (access(test_path(TEST_MODEL), R_OK) == 0) return;
    print_message("SKIPPED: " TEST_MODEL " is not there; tools/setup.sh model fetches it\n");
    skip();
}

char *read_whole(const char *path, size_t *n_bytes) {
    FILE *file = fopen(path, "rb");
    if (!file) fail_msg("can't open %s", path);
    assert_int_equal(fseek(file, 0, SEEK_END), 0);
    long size = ftell(file);
    assert_true(size >= 0);
    rewind(file);
    char *text = malloc((size_t)size + 1);
    assert_non_null(text);
    assert_int_equal(fread(text, 1, (size_t)size, file), size);
    text[size] = 0;
    if (n_bytes) *n_bytes = (size_t)size;
    fclose(file);
    return text;
}

char *read_test_file(const char *relative, size_t *n_bytes) {
    return read_whole(test_path(relative), n_bytes);
}

void write_whole(const char *path, const void *data, size_t n_bytes) {
    FILE *file = fopen(path, "wb");
    if (!file || fwrite(data, 1, n_bytes, file) != n_bytes || fclose(file) != 0)
        fail_msg("can't write %s", path);
}

void write_text(const char *path, const char *text) {
    write_whole(path, text, strlen(text));
}

double larger_error(double worst, double error) {
    if (isnan(error)) return INFINITY;
    return fabs(error) > worst ? fabs(error) : worst;
}
