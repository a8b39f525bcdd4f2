/* test_m3_oracle.c: a whole small MiniMax-M3 with experts against Transformers and llama.cpp on the
 * same numbers (tests/oracle/m3_model.py), over five times what a query may read: the blocks
 * chosen, logits, greedy tokens. */
#include "support/support.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "msa/model.h"
#include "support/golden.h"
#include "support/tiny_model.h"

static golden *g;
static tiny_params params;
static msa_model *model;

static tiny_params recorded_params(void) {
    tiny_params p = tiny_defaults("minimax-m3", (uint64_t)golden_int(g, "seed"));
    p.n_layers = golden_int(g, "n_layers"), p.n_dense_layers = golden_int(g, "n_dense_layers");
    p.n_embd = golden_int(g, "n_embd"), p.n_ff = golden_int(g, "n_ff");
    p.n_q_heads = golden_int(g, "n_q_heads"), p.n_kv_heads = golden_int(g, "n_kv_heads");
    p.head_dim = golden_int(g, "head_dim"), p.n_rot = golden_int(g, "n_rot");
    p.n_vocab = golden_int(g, "n_vocab"), p.n_ctx = golden_int(g, "n_ctx");
    p.index.dim = golden_int(g, "index_dim"), p.index.block = golden_int(g, "block");
    p.index.topk = golden_int(g, "topk"), p.index.local = golden_int(g, "local");
    p.experts.n = golden_int(g, "n_experts"), p.experts.n_used = golden_int(g, "n_used");
    p.experts.n_ff = golden_int(g, "n_ff_expert"), p.experts.n_shared = golden_int(g, "n_shared");
    return p;
}

static int make_model(void **state) {
    (void)state;
    char path[] = "/tmp/msa-m3-XXXXXX";
    g = golden_open("m3_model");
    params = recorded_params();
    tiny_model *m = tiny_create(&params);
    int fd = mkstemp(path);
    if (fd < 0) return -1;
    close(fd);
    tiny_write(m, path);
    /* The generator of the script is this one: its last numbers are these, but for the last bit of
     * another library's logarithm. */
    const float *expected = golden_f32(g, "weights", 16);
    int n = params.experts.n * params.n_embd * params.experts.n_ff;
    for (int i = 0; i < 16; i++) {
        double off = (double)m->layers[params.n_layers - 1].e_down[n - 16 + i] - expected[i];
        if (larger_error(0, off) > 1e-6) fail_msg("weight %d is off by %g", i, off);
    }
    tiny_free(m);
    msa_error err;
    msa_status status = msa_model_load(&model, path, &err);
    unlink(path);
    if (status) printf("%s\n", err.text);
    return status ? -1 : 0;
}

static int free_model(void **state) {
    (void)state;
    msa_model_free(model);
    golden_close(g);
    return 0;
}

static msa_session *open_session(int32_t chunk) {
    msa_session_params p = msa_session_defaults(model);
    p.k_dtype = p.v_dtype = p.index_dtype = MSA_F32;
    p.chunk = chunk;
    msa_session *s;
    msa_error err;
    assert_ok(msa_session_create(&s, model, &p, &err), &err);
    assert_int_equal(msa_session_get_params(s)->selector, MSA_SELECTOR_INDEX);
    return s;
}

typedef struct comparison {
    const int32_t *positions, *selected;
    const float *logits[2]; /* Transformers', llama.cpp's */
    double worst[2];
    size_t n_positions, n_tokens, n_seen, n_rows;
} comparison;

static int compare_row(void *user, int64_t position, const float *logits, int32_t n_vocab) {
    comparison *c = user;
    for (size_t i = 0; i < c->n_positions; i++) {
        if (c->positions[i] != position) continue;
        c->n_seen++;
        for (int other = 0; other < 2; other++)
            for (int32_t v = 0; v < n_vocab; v++)
                c->worst[other] =
                    larger_error(c->worst[other],
                                 (double)logits[v] - c->logits[other][(int32_t)i * n_vocab + v]);
    }
    return 0;
}

static void compare_blocks(void *user, int32_t layer, int64_t first, int64_t n,
                           const msa_shape *shape, const int32_t *ids) {
    comparison *c = user;
    size_t row = (size_t)(shape->n_kv_heads * shape->topk);
    const int32_t *expected =
        c->selected + ((size_t)(layer - params.n_dense_layers) * c->n_tokens + (size_t)first) * row;
    for (int64_t t = 0; t < n; t++, c->n_rows++)
        if (memcmp(ids + t * (int64_t)row, expected + t * (int64_t)row, row * sizeof *ids) != 0)
            fail_msg("layer %d, token %d: other blocks", layer, (int)(first + t));
}

static void logits_and_blocks_agree(void **state) {
    (void)state;
    size_t n = golden_count(g, "ids"), n_vocab = (size_t)params.n_vocab;
    size_t n_sparse = (size_t)(params.n_layers - params.n_dense_layers);
    const int32_t *ids = golden_i32(g, "ids", n);
    assert_true(n >= 4 * (size_t)(params.index.block * params.index.topk));
    static const int32_t CHUNKS[] = {512, 48, 1};
    for (size_t i = 0; i < sizeof CHUNKS / sizeof *CHUNKS; i++) {
        comparison c = {.n_positions = golden_count(g, "positions"), .n_tokens = n};
        c.positions = golden_i32(g, "positions", c.n_positions);
        c.logits[0] = golden_f32(g, "logits", c.n_positions * n_vocab);
        c.logits[1] = golden_f32(g, "llama_logits", c.n_positions * n_vocab);
        c.selected = golden_i32(g, "selected",
                                n_sparse * n * (size_t)(params.n_kv_heads * params.index.topk));
        msa_session *s = open_session(CHUNKS[i]);
        msa_error err;
        msa_session_watch(s, compare_blocks, &c);
        assert_ok(msa_session_feed_logits(s, ids, n, compare_row, &c, &err), &err);
        assert_int_equal(c.n_seen, c.n_positions);
        assert_int_equal(c.n_rows, n_sparse * n);
        if (i == 0)
            printf("           logits differ by up to %.1e from Transformers', %.1e from "
                   "llama.cpp's\n",
                   c.worst[0], c.worst[1]);
        assert_true(c.worst[0] <= 1e-4);
        assert_true(c.worst[1] <= 1e-2);
        msa_session_free(s);
    }
}

static void greedy_tokens_agree(void **state) {
    (void)state;
    size_t n = golden_count(g, "ids"), n_answer = golden_count(g, "answer");
    const int32_t *expected[] = {golden_i32(g, "answer", n_answer),
                                 golden_i32(g, "llama_answer", n_answer)};
    msa_session *s = open_session(512);
    msa_error err;
    assert_ok(msa_session_feed(s, golden_i32(g, "ids", n), n, NULL, NULL, &err), &err);
    for (size_t i = 0; i < n_answer; i++) {
        const float *logits = msa_session_logits(s);
        int32_t best = 0;
        for (int32_t v = 1; v < params.n_vocab; v++)
            if (logits[v] > logits[best]) best = v;
        assert_int_equal(best, expected[0][i]);
        assert_int_equal(best, expected[1][i]);
        assert_ok(msa_session_feed(s, &best, 1, NULL, NULL, &err), &err);
    }
    msa_session_free(s);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(logits_and_blocks_agree),
        cmocka_unit_test(greedy_tokens_agree),
    };
    return cmocka_run_group_tests(tests, make_model, free_model);
}
