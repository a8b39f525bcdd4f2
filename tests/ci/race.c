// Proof that the ThreadSanitizer set-up sees OpenMP: `race clean` passes, `race racy` is caught.
// Without the annotations of the OpenMP runtime every barrier below would be reported; with too
// many suppressions the race would not be.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { LENGTH = 100000 };

int main(int argc, char **argv) {
    int racy = argc > 1 && strcmp(argv[1], "racy") == 0;
    double *x = calloc(LENGTH, sizeof *x), sum = 0;
    long n = 0;
    if (!x) return 2;
#pragma omp parallel num_threads(4)
    {
#pragma omp for schedule(static)
        for (int i = 0; i < LENGTH; i++) x[i] += i;
            // Ends with a barrier; the next loop gives each element to another thread.
#pragma omp for schedule(static) reduction(+ : sum)
        for (int i = 0; i < LENGTH; i++) sum += x[LENGTH - 1 - i];
#pragma omp critical
        n++;
#pragma omp barrier
#pragma omp single
        n *= 2;
#pragma omp for schedule(dynamic, 16)
        for (int i = 0; i < LENGTH; i++) x[i] = 1;
        if (racy) n++;
    }
    printf("sum %g, n %ld\n", sum, n);
    free(x);
    return 0;
}
