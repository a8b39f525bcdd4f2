/* options_help.c: see options_help.h. */
#include "cli/options_help.h"

#include <stdio.h>
#include <string.h>

enum { HELP_COLUMN = 28 };

/* Prints lines, each after `indent` spaces; the first is where the cursor stands. */
static void print_lines(const char *text, int indent) {
    for (;;) {
        size_t n = strcspn(text, "\n");
        printf("%.*s\n", (int)n, text);
        text += n;
        if (!*text || !*++text) return;
        printf("%*s", indent, "");
    }
}

static void print_option(const option *o) {
    char spelling[96];
    int n;
    if (o->letter)
        n = snprintf(spelling, sizeof spelling, "  -%c, %s", o->letter, o->name);
    else
        n = snprintf(spelling, sizeof spelling, "      %s", o->name);
    if (o->kind != OPTION_SWITCH)
        n += snprintf(spelling + n, sizeof spelling - (size_t)n, " %s",
                      o->choices && strlen(o->choices) < 14 ? o->choices : o->argument);
    if (n >= HELP_COLUMN)
        printf("%s\n%*s", spelling, HELP_COLUMN, "");
    else
        printf("%-*s", HELP_COLUMN, spelling);
    if (o->choices && strlen(o->choices) >= 14) printf("%s: ", o->choices);
    print_lines(o->help, HELP_COLUMN);
}

void help_print(const help_page *page, const option_group *groups, size_t n_groups) {
    printf("usage: ");
    print_lines(page->usage, 7);
    printf("\n%s", page->about);
    for (size_t g = 0; g < n_groups; g++) {
        printf("\n%s:\n", groups[g].title);
        for (size_t i = 0; i < groups[g].n; i++)
            if (groups[g].options[i].help) print_option(&groups[g].options[i]);
    }
    printf("\nExamples:\n  ");
    print_lines(page->examples, 2);
    printf("\nExit codes: 0 done, 1 failed, 2 bad usage, 130 interrupted.\n");
}
