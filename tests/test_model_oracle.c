/* test_model_oracle.c: SmolLM2-135M-Instruct against Transformers running the same file in f32
 * (tests/oracle/smollm2.py): logits at recorded positions, 64 greedy tokens; dense, and MSA with
 * every block in reach. */
#include "support/support.h"

#include <math.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "msa/model.h"
#include "support/golden.h"

static msa_model *model; /* NULL: not there, and said so */

static int load_model(void **state) {
    (void)state;
    const char *path = test_path(TEST_MODEL);
    msa_error err;
    if (access(path, R_OK)) {
        printf("SKIPPED: %s is missing; run tools/setup.sh model\n", path);
        return 0;
    }
    if (msa_model_load(&model, path, &err)) {
        printf("%s\n", err.text);
        return -1;
    }
    return 0;
}

static int free_model(void **state) {
    (void)state;
    msa_model_free(model);
    return 0;
}

static msa_session *open_session(msa_attn_mode attn, msa_dtype kv_dtype) {
    msa_session_params params = msa_session_defaults(model);
    params.n_ctx = 1024;
    params.attn = attn;
    params.k_dtype = params.v_dtype = kv_dtype;
    params.block = 64;
    params.topk = 16; /* the whole context */
    msa_session *s;
    msa_error err;
    assert_ok(msa_session_create(&s, model, &params, &err), &err);
    return s;
}

typedef struct recorded {
    const int32_t *positions, *top_ids;
    const float *top_logits;
    int n_positions, n_top, n_seen;
    double worst;
} recorded;

static int compare_row(void *user, int64_t position, const float *logits, int32_t n_vocab) {
    recorded *r = user;
    (void)n_vocab;
    for (int i = 0; i < r->n_positions; i++) {
        if (r->positions[i] != position) continue;
        r->n_seen++;
        for (int j = i * r->n_top; j < (i + 1) * r->n_top; j++)
            r->worst = larger_error(r->worst, (double)logits[r->top_ids[j]] - r->top_logits[j]);
    }
    return 0;
}

static void logits_agree(msa_attn_mode attn) {
    golden *g = golden_open("smollm2");
    size_t n = (size_t)golden_int(g, "prompt_tokens"), n_vocab = golden_count(g, "last_logits");
    const int32_t *ids = golden_i32(g, "ids", golden_count(g, "ids"));
    const float *last = golden_f32(g, "last_logits", n_vocab);
    recorded r = {.n_positions = (int)golden_count(g, "positions")};
    r.positions = golden_i32(g, "positions", (size_t)r.n_positions);
    size_t n_top = golden_count(g, "top_ids");
    r.n_top = (int)n_top / r.n_positions;
    r.top_ids = golden_i32(g, "top_ids", n_top);
    r.top_logits = golden_f32(g, "top_logits", n_top);
    assert_int_equal(msa_model_get_info(model)->n_vocab, n_vocab);

    msa_error err;
    msa_session *s = open_session(attn, MSA_F32);
    assert_ok(msa_session_feed_logits(s, ids, n, compare_row, &r, &err), &err);
    assert_int_equal(r.n_seen, r.n_positions);
    const float *logits = msa_session_logits(s);
    assert_non_null(logits);
    for (size_t i = 0; i < n_vocab; i++)
        r.worst = larger_error(r.worst, (double)logits[i] - last[i]);
    printf("           largest difference of a logit: %.2e\n", r.worst);
    assert_true(r.worst <= 1e-2);
    msa_session_free(s);
    golden_close(g);
}

static int32_t best(const float *logits) {
    int32_t id = 0;
    for (int32_t i = 1; i < msa_model_get_info(model)->n_vocab; i++)
        if (logits[i] > logits[id]) id = i;
    return id;
}

static void answers_agree(const char *prompt, const char *answer, msa_attn_mode attn,
                          msa_dtype kv_dtype) {
    golden *g = golden_open("smollm2");
    size_t n = golden_count(g, prompt), n_answer = golden_count(g, answer);
    const int32_t *expected = golden_i32(g, answer, n_answer);
    msa_error err;
    msa_session *s = open_session(attn, kv_dtype);
    assert_ok(msa_session_feed(s, golden_i32(g, prompt, n), n, NULL, NULL, &err), &err);
    assert_int_equal(n_answer, 64);
    for (size_t i = 0; i < n_answer; i++) {
        int32_t id = best(msa_session_logits(s));
        assert_int_equal(id, expected[i]);
        assert_ok(msa_session_feed(s, &id, 1, NULL, NULL, &err), &err);
    }
    msa_session_free(s);
    golden_close(g);
}

static void dense_logits_are_within_a_hundredth(void **state) {
    (void)state;
    if (!model) skip();
    logits_agree(MSA_ATTN_DENSE);
}

static void msa_logits_are_too_while_all_blocks_are_in_reach(void **state) {
    (void)state;
    if (!model) skip();
    logits_agree(MSA_ATTN_MSA);
}

static void greedy_answers_are_the_same_64_tokens(void **state) {
    (void)state;
    if (!model) skip();
    answers_agree("chat_prompt", "chat_answer", MSA_ATTN_DENSE, MSA_F32);
    answers_agree("plain_prompt", "plain_answer", MSA_ATTN_DENSE, MSA_F32);
    answers_agree("chat_prompt", "chat_answer", MSA_ATTN_MSA, MSA_F32);
    answers_agree("plain_prompt", "plain_answer", MSA_ATTN_MSA, MSA_F16);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(dense_logits_are_within_a_hundredth),
        cmocka_unit_test(msa_logits_are_too_while_all_blocks_are_in_reach),
        cmocka_unit_test(greedy_answers_are_the_same_64_tokens),
    };
    return cmocka_run_group_tests(tests, load_model, free_model);
}
