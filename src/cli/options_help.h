/* options_help.h: the help page of a command, made from its tables. */
#ifndef MSA_CLI_OPTIONS_HELP_H
#define MSA_CLI_OPTIONS_HELP_H

#include "cli/options.h"

/* To standard output. */
void help_print(const help_page *page, const option_group *groups, size_t n_groups);

#endif
