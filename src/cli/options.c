/* options.c: see options.h. Parsing only; options_help.c prints. */
#include "cli/options.h"

#include <ctype.h>
#include <errno.h>
#include <math.h>
#include <omp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/options_help.h"

typedef struct common_args {
    bool help;
    int cpu;
    int64_t threads;
} common_args;

/* The choices of --cpu are in the order of msa_isa. */
static const option COMMON[] = {
    {.name = "--threads",
     .letter = 't',
     .kind = OPTION_INT,
     .offset = offsetof(common_args, threads),
     .argument = "N",
     .min = 1,
     .max = 1024,
     .help = "threads (default: all the CPUs this process may use)",
     .remedy = "leave it out to use every CPU"},
    {.name = "--cpu",
     .kind = OPTION_CHOICE,
     .offset = offsetof(common_args, cpu),
     .argument = "SET",
     .choices = "scalar|neon|avx2|avx512",
     .help = "kernels\n(default: the best this CPU has)",
     .remedy = "leave it out to use the best this CPU has"},
    {.name = "--help",
     .letter = 'h',
     .kind = OPTION_SWITCH,
     .offset = offsetof(common_args, help),
     .help = "this page"},
};

static const common_args COMMON_DEFAULTS = {.help = false, .cpu = -1, .threads = 0};

static option_group common_group(common_args *common) {
    return (option_group){"Every command", COMMON, sizeof COMMON / sizeof *COMMON, common};
}

static msa_status use_common(const common_args *common, msa_error *err) {
    if (common->threads > 0) omp_set_num_threads((int)common->threads);
    if (common->cpu < 0) return MSA_OK;
    msa_status status = msa_isa_use((msa_isa)common->cpu, err);
    return status == MSA_OK ? MSA_OK : fail_prefix(err, MSA_E_ARG, "--cpu: ");
}

/* ---- values --------------------------------------------------------------------------------- */

/* "-t/--threads" */
static const char *flag_name(const option *o, char name[64]) {
    if (!o->letter) return o->name;
    snprintf(name, 64, "-%c/%s", o->letter, o->name);
    return name;
}

static msa_status bad_value(const option *o, const char *value, const char *expected,
                            msa_error *err) {
    char name[64];
    return fail(err, MSA_E_ARG, "%s: expected %s, found '%s'; %s", flag_name(o, name), expected,
                value, o->remedy ? o->remedy : "see --help");
}

static msa_status bad_number(const option *o, const char *value, msa_error *err) {
    char expected[128];
    const char *what = o->kind == OPTION_INT    ? "a whole number"
                       : o->kind == OPTION_INTS ? "whole numbers like 0,1,4-6, each"
                                                : "a number";
    if (o->max > 1e15)
        snprintf(expected, sizeof expected, "%s from %.15g up", what, o->min);
    else
        snprintf(expected, sizeof expected, "%s from %.15g to %.15g", what, o->min, o->max);
    return bad_value(o, value, expected, err);
}

/* A whole number at *text, moved behind it. False where there is none or it does not fit. */
static bool read_int(const char **text, int64_t *out) {
    const char *digits = **text == '-' || **text == '+' ? *text + 1 : *text;
    if (!isdigit((unsigned char)*digits)) return false;
    char *end;
    errno = 0;
    long long value = strtoll(*text, &end, 10);
    if (errno == ERANGE) return false;
    int64_t unit = *end == 'K' || *end == 'k' ? 1024 : *end == 'M' ? 1024 * 1024 : 1;
    if (unit > 1) end++;
    if (__builtin_mul_overflow((int64_t)value, unit, out)) return false;
    *text = end;
    return true;
}

static bool in_range(const option *o, double value) {
    return value >= o->min && value <= o->max;
}

static msa_status read_ints(const option *o, const char *value, option_ints *out, msa_error *err) {
    const char *at = value;
    out->n = 0;
    if (strcmp(value, "none") == 0) return MSA_OK;
    for (;;) {
        int64_t first, last;
        if (!read_int(&at, &first)) return bad_number(o, value, err);
        last = first;
        if (*at == '-' && (at++, !read_int(&at, &last))) return bad_number(o, value, err);
        if (!in_range(o, (double)first) || !in_range(o, (double)last) || last < first ||
            last - first >= OPTION_INTS_MAX - out->n)
            return bad_number(o, value, err);
        for (int64_t i = first; i <= last; i++) out->values[out->n++] = i;
        if (*at == 0) return MSA_OK;
        if (*at++ != ',') return bad_number(o, value, err);
    }
}

static msa_status read_choice(const option *o, const char *value, int *out, msa_error *err) {
    int index = 0;
    size_t n = strlen(value);
    for (const char *at = o->choices; *at; index++) {
        size_t length = strcspn(at, "|");
        if (length == n && memcmp(at, value, n) == 0) return *out = index, MSA_OK;
        at += length + (at[length] == '|');
    }
    char expected[192];
    snprintf(expected, sizeof expected, "one of %s", o->choices);
    return bad_value(o, value, expected, err);
}

static msa_status add_text(const option *o, const char *value, option_texts *texts,
                           msa_error *err) {
    if (texts->n == OPTION_TEXTS_MAX)
        return fail(err, MSA_E_ARG, "%s: expected it at most %d times", o->name, OPTION_TEXTS_MAX);
    texts->values[texts->n++] = value;
    return MSA_OK;
}

static msa_status store_value(const option *o, void *values, const char *value, msa_error *err) {
    void *field = (char *)values + o->offset;
    const char *at = value;
    char *end;
    switch (o->kind) {
    case OPTION_SWITCH: *(bool *)field = true; return MSA_OK;
    case OPTION_TEXT: *(const char **)field = value; return MSA_OK;
    case OPTION_CHOICE: return read_choice(o, value, field, err);
    case OPTION_INTS: return read_ints(o, value, field, err);
    case OPTION_TEXTS: return add_text(o, value, field, err);
    case OPTION_INT: {
        int64_t number;
        if (!read_int(&at, &number) || *at || !in_range(o, (double)number))
            return bad_number(o, value, err);
        *(int64_t *)field = number;
        return MSA_OK;
    }
    case OPTION_REAL: {
        double number = strtod(value, &end);
        if (end == value || *end || !isfinite(number) || !in_range(o, number))
            return bad_number(o, value, err);
        *(double *)field = number;
        return MSA_OK;
    }
    }
    return MSA_OK;
}

/* ---- the argument list ---------------------------------------------------------------------- */

static bool is_spelt(const option *o, const char *argument, size_t n) {
    if (n == 2 && argument[0] == '-' && o->letter && argument[1] == o->letter) return true;
    return strlen(o->name) == n && memcmp(o->name, argument, n) == 0;
}

static const option *find_option(const option_group *groups, size_t n_groups, const char *argument,
                                 size_t n, void **values) {
    for (size_t g = 0; g < n_groups; g++)
        for (size_t i = 0; i < groups[g].n; i++)
            if (is_spelt(&groups[g].options[i], argument, n))
                return *values = groups[g].values, &groups[g].options[i];
    return NULL;
}

static size_t edit_distance(const char *a, const char *b) {
    enum { LONGEST = 40 };
    size_t row[LONGEST + 1], n = strlen(b);
    if (n > LONGEST) return LONGEST;
    for (size_t j = 0; j <= n; j++) row[j] = j;
    for (size_t i = 1; a[i - 1]; i++) {
        size_t diagonal = row[0];
        row[0] = i;
        for (size_t j = 1; j <= n; j++) {
            size_t best = diagonal + (a[i - 1] != b[j - 1]);
            diagonal = row[j];
            if (row[j] + 1 < best) best = row[j] + 1;
            if (row[j - 1] + 1 < best) best = row[j - 1] + 1;
            row[j] = best;
        }
    }
    return row[n];
}

const char *nearest_name(const char *found, const char *const *names, size_t n) {
    const char *nearest = NULL;
    size_t best = strlen(found) / 3 + 1; /* further away than this is not a slip of the finger */
    for (size_t i = 0; i < n; i++) {
        size_t distance = edit_distance(found, names[i]);
        if (distance <= best && (!nearest || distance < best)) best = distance, nearest = names[i];
    }
    return nearest;
}

static msa_status unknown_argument(const option_group *groups, size_t n_groups, const char *found,
                                   msa_error *err) {
    if (found[0] != '-')
        return fail(err, MSA_E_ARG,
                    "'%s' was not expected here: every value follows its flag "
                    "(see --help)",
                    found);
    const char *names[128];
    size_t n = 0;
    for (size_t g = 0; g < n_groups; g++)
        for (size_t i = 0; i < groups[g].n && n < 128; i++) names[n++] = groups[g].options[i].name;
    const char *near = nearest_name(found, names, n);
    if (near)
        return fail(err, MSA_E_ARG, "there is no flag '%s'; did you mean %s? --help lists them all",
                    found, near);
    return fail(err, MSA_E_ARG, "there is no flag '%s'; --help lists them all", found);
}

/* Reads the flag at argv[*at] and moves *at behind its value. */
static msa_status read_option(const option_group *groups, size_t n_groups, int argc, char **argv,
                              int *at, msa_error *err) {
    const char *argument = argv[*at];
    size_t n = strncmp(argument, "--", 2) == 0 ? strcspn(argument, "=") : strlen(argument);
    const char *value = argument[n] == '=' ? argument + n + 1 : NULL;
    void *values;
    const option *o = find_option(groups, n_groups, argument, n, &values);
    if (!o) return unknown_argument(groups, n_groups, argument, err);
    ++*at;
    if (o->kind == OPTION_SWITCH) {
        if (value) return fail(err, MSA_E_ARG, "%s takes no value, found '%s'", o->name, value);
    } else if (!value) {
        if (*at >= argc)
            return fail(err, MSA_E_ARG, "%s needs a value: %s %s; see --help", argument, argument,
                        o->argument);
        value = argv[(*at)++];
    }
    return store_value(o, values, value, err);
}

int options_leading_names(int argc, char **argv) {
    int n = 0;
    while (1 + n < argc && (argv[1 + n][0] != '-' || argv[1 + n][1] == 0)) n++;
    return n;
}

enum { GROUPS_MAX = 8 };

msa_status options_parse(const help_page *page, const option_group *groups, size_t n_groups,
                         int argc, char **argv, bool *done, msa_error *err) {
    option_group all[GROUPS_MAX];
    common_args common = COMMON_DEFAULTS;
    *done = false;
    if (n_groups >= GROUPS_MAX) n_groups = GROUPS_MAX - 1;
    for (size_t i = 0; i < n_groups; i++) all[i] = groups[i];
    all[n_groups++] = common_group(&common);
    for (int at = 1; at < argc;) {
        msa_status status = read_option(all, n_groups, argc, argv, &at, err);
        if (status != MSA_OK) return status;
        if (!common.help) continue;
        help_print(page, all, n_groups);
        *done = true;
        return MSA_OK;
    }
    return use_common(&common, err);
}

static bool is_asking_the_program(const char *argument) {
    return !strcmp(argument, "--help") || !strcmp(argument, "-h") || !strcmp(argument, "--version");
}

msa_status options_parse_leading(int argc, char **argv, int *n_used, msa_error *err) {
    common_args common = COMMON_DEFAULTS;
    option_group group = common_group(&common);
    int at = 1;
    group.n--; /* --help in front of a command is the program's own */
    while (at < argc && argv[at][0] == '-' && !is_asking_the_program(argv[at])) {
        msa_status status = read_option(&group, 1, argc, argv, &at, err);
        if (status != MSA_OK) return status;
    }
    *n_used = at - 1;
    return use_common(&common, err);
}
