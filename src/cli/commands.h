/* commands.h: the commands of the program. argv[0] is the last word of the command's name. A
 * command returns instead of exiting; main prints err->text once and chooses the exit code by the
 * status (fail.h). */
#ifndef MSA_CLI_COMMANDS_H
#define MSA_CLI_COMMANDS_H

#include "cli/fail.h"

typedef struct command {
    const char *name; /* "run", or a family and a member: "bench attn" */
    const char *summary;
    msa_status (*run)(int argc, char **argv, msa_error *err);
} command;

msa_status command_run(int argc, char **argv, msa_error *err);
msa_status command_eval_ppl(int argc, char **argv, msa_error *err);
msa_status command_eval_ruler(int argc, char **argv, msa_error *err);
msa_status command_eval_needle(int argc, char **argv, msa_error *err);
msa_status command_eval_passkey(int argc, char **argv, msa_error *err);
msa_status command_eval_mqar(int argc, char **argv, msa_error *err);
msa_status command_eval_task(int argc, char **argv, msa_error *err);
msa_status command_map(int argc, char **argv, msa_error *err);
msa_status command_bench_attn(int argc, char **argv, msa_error *err);
msa_status command_bench_model(int argc, char **argv, msa_error *err);
msa_status command_train(int argc, char **argv, msa_error *err);
msa_status command_convert(int argc, char **argv, msa_error *err);
msa_status command_plot(int argc, char **argv, msa_error *err);
msa_status command_tokenize(int argc, char **argv, msa_error *err);
msa_status command_export(int argc, char **argv, msa_error *err);
msa_status command_info(int argc, char **argv, msa_error *err);

#endif
