/* options.h: flags as tables.
 *
 * A command lists its flags in groups: a table of options, and the struct their values go into.
 * Groups are shared (the attention flags of run, eval, map and info are one table); the caller sets
 * the defaults in the struct, the parser writes what it finds. Every command has --help, --cpu and
 * --threads besides its own; they are acted on here.
 *
 * Spelling: "--name value", "--name=value", "-x value". Whole numbers take the endings K and M for
 * 1,024 and 1,048,576. A flag given twice counts as given last, but for OPTION_TEXTS. */
#ifndef MSA_CLI_OPTIONS_H
#define MSA_CLI_OPTIONS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "cli/fail.h"

typedef enum option_kind {
    OPTION_SWITCH, /* bool: true where it is given */
    OPTION_INT,    /* int64_t in [min, max] */
    OPTION_REAL,   /* double, finite, in [min, max] */
    OPTION_TEXT,   /* const char *, pointing into argv */
    OPTION_CHOICE, /* int: index into `choices` */
    OPTION_INTS,   /* option_ints, each in [min, max]: "0,1,4-6", "none" for no number */
    OPTION_TEXTS   /* option_texts, pointing into argv: every one that is given, in order */
} option_kind;

enum { OPTION_INTS_MAX = 256 };

typedef struct option_ints {
    int64_t values[OPTION_INTS_MAX];
    int n; /* -1 is a good default for "not given" */
} option_ints;

enum { OPTION_TEXTS_MAX = 128 };

typedef struct option_texts {
    const char *values[OPTION_TEXTS_MAX];
    size_t n;
} option_texts;

/* A good default for an OPTION_INT that was not given. */
#define OPTION_UNSET INT64_MIN

typedef struct option {
    const char *name; /* "--temp" */
    char letter;      /* 'm' for -m, or 0 */
    option_kind kind;
    size_t offset;        /* of the value in the group's struct */
    const char *argument; /* its name in the help: "FILE" */
    double min, max;
    const char *choices; /* "dense|msa" */
    const char *help;   /* lower case, no full stop; "\n" breaks the line; NULL: an alias, hidden */
    const char *remedy; /* what to do about a bad value; NULL: see --help */
} option;

typedef struct option_group {
    const char *title; /* "Sampling" */
    const option *options;
    size_t n;
    void *values;
} option_group;

typedef struct help_page {
    const char *usage;    /* "msa run -m MODEL [-f FILE]" */
    const char *about;    /* paragraphs; lines end in \n and have at most 96 columns */
    const char *examples; /* one command a line, each works as it stands in the repository */
} help_page;

/* Reads argv[1 .. argc-1]. *done: --help was printed, nothing is left to do. MSA_E_ARG names the
 * flag, the value, what is allowed and what to do. */
msa_status options_parse(const help_page *page, const option_group *groups, size_t n_groups,
                         int argc, char **argv, bool *done, msa_error *err);

/* How many of argv[1 ..] stand in front of the first flag: names of files, which the caller
 * takes. A lone "-" counts. */
int options_leading_names(int argc, char **argv);

/* The --cpu and --threads in front of a command: reads argv[1..] up to the command, or to a
 * --help or --version before it; *n_used is how many arguments they took. */
msa_status options_parse_leading(int argc, char **argv, int *n_used, msa_error *err);

/* The names nearest to a mistyped one, for "did you mean": NULL where none is near. */
const char *nearest_name(const char *found, const char *const *names, size_t n);

#endif
