/* waiting.c: see waiting.h.
 *
 * libgomp's threads spin for milliseconds before they sleep. On a machine that does something else
 * too they spin while the thread they wait for has no core, and everything takes many times as
 * long; threads that never spin halve the speed of decoding on a machine that is free
 * (docs/performance.md). A short spin costs nothing there and little here. libgomp reads how long
 * when it is loaded, before any code of ours, and no call changes it: hence the new start. */
#include "cli/waiting.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <unistd.h>

enum { PATH_SIZE = 4096 };

/* Where the link leads; false where that can't be told. */
static bool read_link(const char *link, char path[PATH_SIZE]) {
    ssize_t n = readlink(link, path, PATH_SIZE - 1);
    if (n <= 0 || n == PATH_SIZE - 1) return false;
    path[n] = 0;
    return true;
}

/* The program's file. False where the kernel runs another one: an emulator or a checker of memory,
 * which answers for the first link but not for the second and from which a new start would escape;
 * or the dynamic loader, called with a program's name (no loader was loaded for it), which would
 * take the first argument for the program. */
static bool find_program(char path[PATH_SIZE]) {
    char truly[PATH_SIZE];
    return getauxval(AT_BASE) != 0 && read_link("/proc/self/exe", path) &&
           read_link("/proc/thread-self/exe", truly) && strcmp(path, truly) == 0;
}

void waiting_set(char **argv) {
    static const char *const SAID[] = {"OMP_WAIT_POLICY", "GOMP_SPINCOUNT"};
    char path[PATH_SIZE];
    for (int i = 0; i < 2; i++)
        if (getenv(SAID[i])) return;
    if (!find_program(path) || setenv("GOMP_SPINCOUNT", "2000", 1) != 0) return;
    execv(path, argv);
}
