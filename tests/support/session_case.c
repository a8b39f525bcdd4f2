/* session_case.c: see session_case.h. */
#include "support/session_case.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "support/support.h"

const char *const SESSION_FAMILIES[N_SESSION_FAMILIES] = {"llama", "qwen2", "qwen3", "minimax-m3"};

/* A name of a new file. */
static void make_path(char path[32]) {
    strcpy(path, "/tmp/msa-session-XXXXXX");
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    close(fd);
}

static void load_index(session_case *f) {
    char path[32];
    msa_error err;
    make_path(path);
    tiny_write_index(f->tiny, path);
    assert_int_equal(msa_model_get_info(f->model)->has_index, 0);
    msa_status status = msa_model_load_index(f->model, path, &err);
    unlink(path);
    assert_ok(status, &err);
    assert_string_equal(msa_model_get_info(f->model)->index_file, path);
}

session_case session_case_open(const tiny_params *params) {
    char path[32];
    make_path(path);
    session_case f = {.tiny = tiny_create(params), .n = test_brief() ? 170 : SESSION_N};
    tiny_write(f.tiny, path);
    msa_error err;
    msa_status status = msa_model_load(&f.model, path, &err);
    unlink(path); /* it stays mapped */
    assert_ok(status, &err);
    if (params->index.beside) load_index(&f);
    assert_int_equal(msa_model_get_info(f.model)->has_index, params->index.dim > 0);
    rng r = rng_seed(params->seed + 1);
    for (int i = 0; i < SESSION_N; i++)
        f.ids[i] = (int32_t)rng_below(&r, (uint64_t)params->n_vocab);
    return f;
}

session_case session_case_family(int family) {
    uint64_t seed = 100 + (uint64_t)family;
    tiny_params p =
        family == SESSION_M3 ? tiny_m3(seed) : tiny_defaults(SESSION_FAMILIES[family], seed);
    p.tied = family == 1;
    return session_case_open(&p);
}

void session_case_close(session_case *f) {
    msa_model_free(f->model);
    tiny_free(f->tiny);
}

msa_session_params session_case_params(const session_case *f, msa_attn_mode attn) {
    msa_session_params p = msa_session_defaults(f->model);
    p.attn = attn;
    p.k_dtype = p.v_dtype = p.index_dtype = MSA_F32;
    p.block = 16, p.topk = 5, p.local = 2, p.init = 1;
    p.chunk = 64;
    return p;
}

msa_session *session_case_start(const session_case *f, const msa_session_params *params) {
    msa_session *s;
    msa_error err;
    assert_ok(msa_session_create(&s, f->model, params, &err), &err);
    return s;
}

void session_case_feed(msa_session *s, const int32_t *ids, int n) {
    msa_error err;
    assert_ok(msa_session_feed(s, ids, (size_t)n, NULL, NULL, &err), &err);
}
