/* questions.c: see questions.h. */
#include "support/questions.h"

#include <stdio.h>

#include "support/folder.h"
#include "support/support.h"

void questions_write(const char *folder) {
    FILE *squad = fopen(folder_path(folder, "squad.json"), "w");
    FILE *hotpot = fopen(folder_path(folder, "hotpot.json"), "w");
    assert_true(squad && hotpot);
    fputs("{\"version\": \"x\", \"data\": [", squad);
    fputs("[", hotpot);
    for (int i = 0; i < 30; i++) {
        const char *comma = i ? "," : "";
        fprintf(squad,
                "%s{\"title\": \"t\", \"paragraphs\": [{\"context\": \"The capital of Land%02d is "
                "City%02d. It lies by a river.\", \"qas\": [{\"id\": \"%d\", \"question\": \"What "
                "is the capital of Land%02d?\", \"is_impossible\": false, \"answers\": [{\"text\": "
                "\"City%02d\", \"answer_start\": 0}, {\"text\": \"the city\", \"answer_start\": "
                "3}]}, {\"id\": \"n\", \"question\": \"Why?\", \"is_impossible\": true, "
                "\"answers\": []}]}]}",
                comma, i, i, i, i, i);
        fprintf(hotpot,
                "%s{\"question\": \"What is the capital of Land%02d?\", \"answer\": \"City%02d\", "
                "\"context\": [[\"Land%02d\", [\"The capital of Land%02d is City%02d.\", \" It "
                "rains.\"]], [\"Hill%02d\", [\"A hill of no note.\"]]]}",
                comma, i, i, i, i, i, i);
    }
    fputs("]}", squad);
    fputs("]", hotpot);
    fclose(squad);
    fclose(hotpot);
}

prompt questions_make(const char *task, int64_t n_units, double depth, uint64_t seed) {
    const quiz *q;
    msa_error err;
    prompt p = {0};
    assert_ok(quizzes_find(&q, task, &err), &err);
    quiz_case c = {.draw = draw_begin(seed, DRAW_EXAM, 0, 0),
                   .length = 2048,
                   .depth = depth,
                   .line_tokens = 23};
    q->make(q, &c, n_units, &p);
    assert_ok(prompt_finish(&p, &err), &err);
    return p;
}
