/* fuzz_questions.c: any bytes as a set of questions, SQuAD's or HotpotQA's by the first byte ('h').
 * What is accepted can be asked. */
#include <stdlib.h>

#include "eval/quiz.h"
#include "fuzz.h"

static void demand(int truth) {
    if (!truth) abort();
}

static void ask(const qa_set *s, int64_t sample, int64_t more) {
    prompt p = {0};
    msa_error err;
    int64_t least, most;
    quiz_case c = {.draw = draw_begin(1, DRAW_EXAM, 0, sample), .sample = sample, .questions = s};
    qa_range(NULL, &c, &least, &most);
    demand(least >= 1);
    qa_make(NULL, &c, least + more, &p);
    demand(prompt_finish(&p, &err) == MSA_OK);
    demand(p.n_expected > 0 && p.input.n > 0);
    prompt_free(&p);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n_bytes) {
    qa_set s;
    msa_error err;
    if (n_bytes == 0) return 0;
    if (qa_set_parse(&s, data + 1, n_bytes - 1, "questions", data[0] == 'h', &err) != MSA_OK)
        return 0;
    for (int64_t i = 0; i < s.n_questions && i < 8; i++) ask(&s, i, i % 3);
    qa_set_free(&s);
    return 0;
}
