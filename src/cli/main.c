/* main.c: the program msa: finds the command, prints its error, chooses the exit code. Nothing
 * else exits. */
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "cli/commands.h"
#include "cli/interrupt.h"
#include "cli/options.h"
#include "cli/output.h"
#include "cli/waiting.h"

static const command COMMANDS[] = {
    {"run", "answers from a long text, or chats", command_run},
    {"eval ppl", "perplexity by position, dense and MSA side by side", command_eval_ppl},
    {"eval ruler", "RULER's tasks at any length, dense and selections", command_eval_ruler},
    {"eval needle", "one number at every depth: a grid and its picture", command_eval_needle},
    {"eval passkey", "a number told once in noise", command_eval_passkey},
    {"eval mqar", "many keys looked up at once", command_eval_mqar},
    {"eval task", "what msa train teaches, at any length", command_eval_task},
    {"map", "a picture of which blocks each query read", command_map},
    {"train", "a model from a configuration: from scratch, or an index for one", command_train},
    {"convert", "a dense model into one with a trained index branch", command_convert},
    {"plot", "curves of training logs", command_plot},
    {"bench attn", "speed of the operators, MSA against dense", command_bench_attn},
    {"bench model", "tokens/s of a model, dense and MSA interleaved", command_bench_model},
    {"tokenize", "the tokens of a text", command_tokenize},
    {"export", "a model into files that other programs run", command_export},
    {"info", "this machine, which kernels were chosen and why, a model file", command_info},
};
enum { N_COMMANDS = sizeof COMMANDS / sizeof *COMMANDS };

static void print_help(FILE *out) {
    fprintf(out,
            "msa %s: MiniMax Sparse Attention on ordinary CPUs\n\n"
            "usage: msa COMMAND [FLAGS]\n\n",
            msa_version());
    for (size_t i = 0; i < N_COMMANDS; i++)
        fprintf(out, "  msa %-12s %s\n", COMMANDS[i].name, COMMANDS[i].summary);
    fprintf(out,
            "\n  msa COMMAND --help    every flag of a command, with examples that work\n"
            "  msa --version         the version\n\n"
            "Results go to standard output, everything else to standard error. --json gives any\n"
            "table to a program. --cpu and --threads may stand in front of the command too.\n\n"
            "Examples:\n"
            "  msa run -m models/SmolLM2-135M-Instruct.Q4_1.gguf -f LICENSE -p \"Who wrote this?\" "
            "-n 40\n"
            "  msa info\n\n"
            "Exit codes: 0 done, 1 failed, 2 bad usage, 130 interrupted.\n");
}

/* How many words of argv name this command: 0 for none. A family's name alone means its first
 * member. */
static int words_matched(const command *c, int argc, char **argv) {
    size_t n = strcspn(c->name, " ");
    if (argc < 1 || strlen(argv[0]) != n || memcmp(argv[0], c->name, n) != 0) return 0;
    if (c->name[n] == 0) return 1;
    if (argc < 2 || argv[1][0] == '-') return 1;
    return strcmp(argv[1], c->name + n + 1) == 0 ? 2 : 0;
}

/* "msa bench --help": the members. */
static bool print_family_help(int argc, char **argv) {
    size_t n = strlen(argv[0]), found = 0;
    if (argc != 2 || (strcmp(argv[1], "--help") != 0 && strcmp(argv[1], "-h") != 0)) return false;
    for (size_t i = 0; i < N_COMMANDS; i++) {
        const char *name = COMMANDS[i].name;
        if (strncmp(name, argv[0], n) != 0 || name[n] != ' ') continue;
        if (found++ == 0)
            printf("usage: msa %s COMMAND [FLAGS]; without COMMAND: msa %s\n\n", argv[0], name);
        printf("  msa %-12s %s\n", name, COMMANDS[i].summary);
    }
    if (found > 0) printf("\n  msa %s COMMAND --help    flags and examples\n", argv[0]);
    return found > 0;
}

static msa_status unknown_command(int argc, char **argv, msa_error *err) {
    char found[256];
    char families[N_COMMANDS][32];
    const char *names[2 * N_COMMANDS]; /* whole names, then their first words */
    for (size_t i = 0; i < N_COMMANDS; i++) {
        const char *name = names[i] = COMMANDS[i].name;
        snprintf(families[i], sizeof families[i], "%.*s", (int)strcspn(name, " "), name);
        names[N_COMMANDS + i] = families[i];
    }
    snprintf(found, sizeof found, "%s", argv[0]);
    const char *near = nearest_name(found, names, 2 * (size_t)N_COMMANDS);
    if (argc > 1 && argv[1][0] != '-') { /* perhaps a member of a family */
        char both[256];
        snprintf(both, sizeof both, "%s %s", argv[0], argv[1]);
        const char *member = nearest_name(both, names, N_COMMANDS);
        if (member) near = member, memcpy(found, both, sizeof found);
    }
    if (near)
        return fail(err, MSA_E_ARG,
                    "there is no command '%s'; did you mean 'msa %s'? See "
                    "msa --help",
                    found, near);
    return fail(err, MSA_E_ARG, "there is no command '%s'; msa --help lists them", argv[0]);
}

static msa_status run(int argc, char **argv, msa_error *err) {
    int used;
    if (argc < 2) {
        print_help(stderr);
        return fail(err, MSA_E_ARG, "expected a command, found none");
    }
    msa_status status = options_parse_leading(argc, argv, &used, err);
    if (status != MSA_OK) return status;
    argc -= 1 + used, argv += 1 + used;
    if (argc < 1) return fail(err, MSA_E_ARG, "expected a command, found none; see msa --help");
    const char *first = argv[0];
    if (!strcmp(first, "--help") || !strcmp(first, "-h") || !strcmp(first, "help"))
        return print_help(stdout), MSA_OK;
    if (!strcmp(first, "--version")) return printf("msa %s\n", msa_version()), MSA_OK;
    if (print_family_help(argc, argv)) return MSA_OK;
    for (size_t i = 0; i < N_COMMANDS; i++) {
        int n = words_matched(&COMMANDS[i], argc, argv);
        if (n > 0) return COMMANDS[i].run(argc - (n - 1), argv + (n - 1), err);
    }
    return unknown_command(argc, argv, err);
}

int main(int argc, char **argv) {
    msa_error err = {MSA_OK, ""}, flush_err;
    waiting_set(argv);
    interrupt_arm();
    msa_status status = run(argc, argv, &err);
    if (output_flush(&flush_err) != MSA_OK && status == MSA_OK)
        status = flush_err.code, err = flush_err;
    if (status == MSA_E_CANCELLED)
        fprintf(stderr, "msa: interrupted\n");
    else if (status != MSA_OK)
        fprintf(stderr, "msa: error: %s\n", err.text);
    switch (status) {
    case MSA_OK: return EXIT_DONE;
    case MSA_E_ARG: return EXIT_USAGE;
    case MSA_E_CANCELLED: return EXIT_INTERRUPTED;
    default: return EXIT_FAILED;
    }
}
