/* waiting.c: see waiting.h.
 *
 * libgomp's threads spin for milliseconds before they sleep. On a machine that does something else
 * too they spin while the thread they wait for has no core, and everything takes many times as
 * long; threads that never spin halve the speed of decoding on a machine that is free
 * (docs/performance.md). A short spin costs nothing there and little here. libgomp reads how long
 * when it is loaded, before any code of ours, and no call changes it: hence the new start. */
#include "cli/waiting.h"

#include <stdlib.h>
#include <unistd.h>

void waiting_set(char **argv) {
    static const char *const SAID[] = {"OMP_WAIT_POLICY", "GOMP_SPINCOUNT"};
    char path[4096];
    for (int i = 0; i < 2; i++)
        if (getenv(SAID[i])) return;
    /* By its name, not the link: under an emulator the link leads to the emulator. */
    ssize_t n = readlink("/proc/self/exe", path, sizeof path - 1);
    if (n <= 0 || n == (ssize_t)sizeof path - 1) return;
    path[n] = 0;
    if (setenv("GOMP_SPINCOUNT", "2000", 1) != 0) return;
    execv(path, argv);
}
