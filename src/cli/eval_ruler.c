/* eval_ruler.c: msa eval ruler: RULER's tasks, dense and selections on the same samples. */
#include <stdio.h>
#include <string.h>

#include "cli/commands.h"
#include "cli/eval_exam.h"

static const help_page PAGE = {
    .usage = "msa eval ruler -m MODEL [--tasks LIST] [--lengths LIST] [--samples N] [flags]",
    .about =
        "RULER's tasks at any length: what the model finds in a long text with dense attention, "
        "and\n"
        "with selections on the same samples. Scores are RULER's, 0 to 100. Tasks:\n\n"
        "  niah_single_1, _2, _3        one number or uuid in noise or a text\n"
        "  niah_multikey_1, _2, _3      among other keys\n"
        "  niah_multivalue, _multiquery four values of one key, four keys at once\n"
        "  vt, cwe, fwe                 variables, common words, frequent words\n"
        "  qa_1, qa_2                   SQuAD and HotpotQA, from files of yours\n\n"
        "Words come from lists of our own and essays from --text, else noise: scores are not to "
        "be\n"
        "compared with published ones. Intervals are of 95 %; a difference to dense is n/a where\n"
        "dense itself fails. docs/evaluation.md has the formulas.\n",
    .examples = "msa eval ruler -m models/SmolLM2-135M-Instruct.Q4_1.gguf --tasks niah_single_1 "
                "--lengths 384 --samples 1\n"
                "msa eval ruler -m models/SmolLM2-135M-Instruct.Q4_1.gguf -f LICENSE --tasks "
                "niah_multivalue --lengths 512 -n 1\n"
                "msa eval ruler -m models/SmolLM2-135M-Instruct.Q4_1.gguf --tasks fwe --show 0",
};

/* All that need nothing more than what was given. Without a text niah_single_2 is niah_single_1. */
static void usual_tasks(const exam_args *args, char *out, size_t size) {
    const msa_eval_task *task;
    size_t n = 0;
    out[0] = 0;
    for (size_t i = 0; (task = msa_eval_get_task(i)) && n < size; i++) {
        if (strcmp(task->suite, "ruler") != 0) continue;
        if (strcmp(task->name, "niah_single_2") == 0 && !args->text) continue;
        if (strcmp(task->name, "qa_1") == 0 && !args->squad) continue;
        if (strcmp(task->name, "qa_2") == 0 && !args->hotpotqa) continue;
        n += (size_t)snprintf(out + n, size - n, "%s%s", n ? "," : "", task->name);
    }
}

msa_status command_eval_ruler(int argc, char **argv, msa_error *err) {
    exam_args args = exam_unset();
    char usual[512];
    bool done;
    option_group groups[] = {
        model_group(&args.model, true),
        exam_group_ruler(&args),
        exam_group(&args),
        settings_group(&args.attention, false),
    };
    msa_status status = options_parse(&PAGE, groups, 4, argc, argv, &done, err);
    if (status != MSA_OK || done) return status;
    usual_tasks(&args, usual, sizeof usual);
    return exam_run(&args, "ruler", usual, NULL, err);
}
