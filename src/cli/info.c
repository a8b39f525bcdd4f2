/* info.c: msa info: the machine, the kernels, the libraries, a model file. */
#include <omp.h>
#include <stdio.h>

#include "cli/commands.h"
#include "cli/machine.h"
#include "cli/options.h"
#include "cli/table.h"

#if defined(MSA_HAVE_CAIRO)
#include <cairo.h>
#endif

typedef struct info_args {
    bool json;
} info_args;

static const option INFO_OPTIONS[] = {
    {.name = "--json",
     .kind = OPTION_SWITCH,
     .offset = offsetof(info_args, json),
     .help = "print JSON"},
};

static const help_page PAGE = {
    .usage = "msa info [--json]",
    .about = "What this build found: the machine, the instruction set in use and why, libraries.\n",
    .examples = "msa info\n"
                "msa info --json",
};

static const char *cairo_text(void) {
#if defined(MSA_HAVE_CAIRO)
    return cairo_version_string();
#else
    return "not found when this was built: msa map draws nothing";
#endif
}

static json_t *libraries_json(void) {
    char openmp[64];
    snprintf(openmp, sizeof openmp, "%d (%d threads)", _OPENMP, omp_get_max_threads());
    return json_pack("{s:s, s:s, s:s, s:s, s:s}", "OpenMP", openmp, "OpenBLAS",
                     MSA_OPENBLAS_VERSION, "PCRE2", MSA_PCRE2_VERSION, "Jansson",
                     jansson_version_str(), "Cairo", cairo_text());
}

static json_t *machine_facts(void) {
    json_t *machine = machine_json();
    char why[256];
    msa_isa_describe(why, sizeof why);
    if (machine &&
        json_object_update_new(machine, json_pack("{s:s, s:i, s:I, s:I}", "kernels", why, "cpus",
                                                  machine_cpus(), "memory_bytes",
                                                  (json_int_t)machine_memory(), "available_bytes",
                                                  (json_int_t)machine_available())) != 0)
        return json_decref(machine), NULL;
    return machine;
}

static void print_machine(const json_t *machine) {
    char total[32], available[32];
    format_bytes((double)machine_memory(), total, sizeof total);
    format_bytes((double)machine_available(), available, sizeof available);
    printf("machine    %s, %d CPUs, %s of memory (%s available)\n",
           json_string_value(json_object_get(machine, "cpu")), machine_cpus(), total, available);
    printf("kernels    %s\n", json_string_value(json_object_get(machine, "kernels")));
    printf("threads    %d\n", machine_threads());
}

static void print_libraries(const json_t *libraries) {
    const char *name, *lead = "libraries ";
    const json_t *version;
    json_object_foreach((json_t *)libraries, name, version) {
        printf("%s %s %s\n", lead, name, json_string_value(version));
        lead = "          ";
    }
}

msa_status command_info(int argc, char **argv, msa_error *err) {
    info_args args = {false};
    bool done;
    option_group groups[] = {{"Output", INFO_OPTIONS, 1, &args}};
    msa_status status = options_parse(&PAGE, groups, 1, argc, argv, &done, err);
    if (status != MSA_OK || done) return status;
    json_t *document = json_pack("{s:s, s:o, s:o}", "msa", msa_version(), "machine",
                                 machine_facts(), "libraries", libraries_json());
    if (!document) return fail_memory(err, "gathering facts");
    if (args.json) return json_print(document, err);
    printf("msa        %s\n", msa_version());
    print_machine(json_object_get(document, "machine"));
    print_libraries(json_object_get(document, "libraries"));
    json_decref(document);
    return MSA_OK;
}
