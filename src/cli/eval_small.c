/* eval_small.c: msa eval passkey, mqar and task: examinations that are one list of tasks. */
#include "cli/commands.h"
#include "cli/eval_exam.h"

/* ---- passkey --------------------------------------------------------------------------------- */

static const help_page PASSKEY_PAGE = {
    .usage = "msa eval passkey -m MODEL [--lengths LIST] [--samples N] [flags]",
    .about = "A number is told once somewhere in noise and asked for at the end (Mohtashami and\n"
             "Jaggi). The first whole number of the answer counts.\n",
    .examples = "msa eval passkey -m models/SmolLM2-135M-Instruct.Q4_1.gguf --lengths 256,384 -n 1 "
                "--out keys.jsonl\n"
                "msa eval passkey -m models/SmolLM2-135M-Instruct.Q4_1.gguf --lengths 384 -n 1 "
                "--selectors random --json",
};

msa_status command_eval_passkey(int argc, char **argv, msa_error *err) {
    exam_args args = exam_unset();
    bool done;
    option_group groups[] = {
        model_group(&args.model, true),
        exam_group(&args),
        settings_group(&args.attention, false),
    };
    msa_status status = options_parse(&PASSKEY_PAGE, groups, 3, argc, argv, &done, err);
    if (status != MSA_OK || done) return status;
    return exam_run(&args, "passkey", "passkey", NULL, err);
}

/* ---- mqar ------------------------------------------------------------------------------------ */

static const help_page MQAR_PAGE = {
    .usage = "msa eval mqar -m MODEL [--items N] [--questions N] [--lengths LIST] [flags]",
    .about = "Keys with values stand in noise, evenly spread; at the end some are repeated and "
             "every\n"
             "value must be the likeliest continuation, token for token: many look-ups in one\n"
             "reading (MQAR, as text). Nothing is generated and no chat template used.\n",
    .examples =
        "msa eval mqar -m models/SmolLM2-135M-Instruct.Q4_1.gguf --lengths 256 --samples 1\n"
        "msa eval mqar -m models/SmolLM2-135M-Instruct.Q4_1.gguf --lengths 256 --items 3 -n 1 "
        "--selectors window --topk 4",
};

msa_status command_eval_mqar(int argc, char **argv, msa_error *err) {
    exam_args args = exam_unset();
    bool done;
    option_group groups[] = {
        model_group(&args.model, true),
        exam_group_pairs(&args),
        exam_group(&args),
        settings_group(&args.attention, false),
    };
    msa_status status = options_parse(&MQAR_PAGE, groups, 4, argc, argv, &done, err);
    if (status != MSA_OK || done) return status;
    return exam_run(&args, "mqar", "mqar", NULL, err);
}

/* ---- the trainer's tasks --------------------------------------------------------------------- */

static const help_page TASK_PAGE = {
    .usage = "msa eval task -m MODEL [--tasks LIST] [--items N] [--lengths LIST] [flags]",
    .about =
        "The tasks that msa train teaches (train_recall, train_copy, train_passkey, "
        "train_needle),\n"
        "at any length: how far past its training a small model holds. An answer is right when\n"
        "every token of it is the likeliest one; nothing is generated. --items and --questions "
        "are\n"
        "best those of the training.\n",
    .examples = "msa eval task -m models/SmolLM2-135M-Instruct.Q4_1.gguf --tasks train_recall "
                "--lengths 256 --items 2 -n 1\n"
                "msa eval task -m models/SmolLM2-135M-Instruct.Q4_1.gguf --tasks train_needle -f "
                "LICENSE --lengths 256 --items 2 -n 1",
};

msa_status command_eval_task(int argc, char **argv, msa_error *err) {
    exam_args args = exam_unset();
    bool done;
    option_group groups[] = {
        model_group(&args.model, true),
        exam_group_trainer(&args),
        exam_group_pairs(&args),
        exam_group(&args),
        settings_group(&args.attention, false),
    };
    msa_status status = options_parse(&TASK_PAGE, groups, 5, argc, argv, &done, err);
    if (status != MSA_OK || done) return status;
    return exam_run(&args, "task",
                    args.text ? "train_recall,train_copy,train_passkey,train_needle"
                              : "train_recall,train_copy,train_passkey",
                    NULL, err);
}
