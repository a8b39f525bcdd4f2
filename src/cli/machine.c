/* machine.c: see machine.h. */
#include "cli/machine.h"

#include <omp.h>
#include <stdio.h>
#include <string.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "cli/table.h"
#include "msa/msa.h"

/* The value behind `key` in a file of "key : value" lines. */
static int read_fact(const char *path, const char *key, char *value, size_t size) {
    char line[512];
    FILE *file = fopen(path, "r");
    int found = 0;
    while (file && !found && fgets(line, sizeof line, file)) {
        char *colon = strchr(line, ':');
        if (strncmp(line, key, strlen(key)) != 0 || !colon) continue;
        colon += 1 + strspn(colon + 1, " \t");
        colon[strcspn(colon, "\n")] = 0;
        snprintf(value, size, "%s", colon);
        found = 1;
    }
    if (file) fclose(file);
    return found;
}

void machine_cpu_name(char *name, size_t size) {
    struct utsname system;
    if (read_fact("/proc/cpuinfo", "model name", name, size)) return;
    snprintf(name, size, "%s", uname(&system) == 0 ? system.machine : "unknown");
}

int machine_threads(void) {
    return omp_get_max_threads();
}

int machine_cpus(void) {
    return (int)sysconf(_SC_NPROCESSORS_ONLN);
}

int64_t machine_memory(void) {
    int64_t pages = sysconf(_SC_PHYS_PAGES), page = sysconf(_SC_PAGESIZE);
    return pages > 0 && page > 0 ? pages * page : 0;
}

int64_t machine_available(void) {
    char value[64];
    long long kib;
    if (!read_fact("/proc/meminfo", "MemAvailable", value, sizeof value)) return 0;
    return sscanf(value, "%lld", &kib) == 1 ? kib * 1024 : 0;
}

json_t *machine_json(void) {
    char name[128];
    machine_cpu_name(name, sizeof name);
    return json_pack("{s:o, s:s, s:i}", "cpu", json_text(name, strlen(name)), "isa",
                     msa_isa_name(msa_isa_current()), "threads", machine_threads());
}

void format_bytes(double n_bytes, char *text, size_t size) {
    static const char *const UNITS[] = {"bytes", "KiB", "MiB", "GiB", "TiB", "PiB"};
    int unit = 0;
    while (n_bytes >= 1024 && unit < 5) n_bytes /= 1024, unit++;
    snprintf(text, size, "%.*f %s", unit == 0 || n_bytes >= 100 ? 0 : 1, n_bytes, UNITS[unit]);
}
