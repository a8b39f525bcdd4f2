/* side.c: one side of a comparison, told on standard input what to do next.
 *
 *     side MODEL THREADS CONTEXT wall|cpu
 *
 *     grow N STEP         have the first N tokens of the text, new ones fed STEP at a time
 *     time N STEP         feed N more, STEP at a time, and drop them again
 *     logits N STEP FILE  the same, and write the logits of each, f32 [N][n_vocab]
 *
 * Each line is answered by one: the seconds that feeding took, gone by or of the process's threads
 * (for one of them on a machine that is busy). The text is random, the same on every side. Before
 * what is timed one token goes, to wake threads and touch what the other side displaced. */
#include "side.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

typedef struct timeline {
    side *side;
    int32_t *ids;
    int n_ctx, length;
    clockid_t clock;
} timeline;

static double now(clockid_t clock) {
    struct timespec t;
    clock_gettime(clock, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static bool refuse(const char *why) {
    fprintf(stderr, "%s\n", why);
    return false;
}

/* n tokens from the timeline's end on, which stays where it is. */
static bool feed(timeline *t, int n, int step, FILE *out, double *seconds) {
    int n_vocab = side_vocab(t->side);
    float *logits = out ? malloc(sizeof *logits * SIDE_BATCH * (size_t)n_vocab) : NULL;
    bool fine = !out || logits;
    double begin = now(t->clock);
    for (int i = 0; i < n && fine; i += step) {
        int some = n - i < step ? n - i : step;
        fine = side_feed(t->side, t->ids + t->length + i, some, logits);
        size_t count = (size_t)some * (size_t)n_vocab;
        if (fine && out) fine = fwrite(logits, sizeof *logits, count, out) == count;
    }
    *seconds = now(t->clock) - begin;
    free(logits);
    return fine || refuse("feeding failed");
}

static bool wake(timeline *t) {
    return side_feed(t->side, t->ids + t->length, 1, NULL) && side_rewind(t->side, t->length);
}

static bool grow(timeline *t, int n, int step, double *seconds) {
    *seconds = 0;
    if (n < t->length) {
        t->length = n;
        return side_rewind(t->side, n);
    }
    if (!feed(t, n - t->length, step, NULL, seconds)) return false;
    t->length = n;
    return true;
}

static bool write_logits(timeline *t, int n, int step, const char *path, double *seconds) {
    FILE *out = fopen(path, "wb");
    if (!out) return refuse("the file of logits can't be opened");
    bool fine = feed(t, n, step, out, seconds) && side_rewind(t->side, t->length);
    return fclose(out) == 0 && fine;
}

static bool obey(timeline *t, const char *line) {
    char verb[16], path[512];
    int n, step;
    int words = sscanf(line, "%15s %d %d %511[^\n]", verb, &n, &step, path);
    bool growing = strcmp(verb, "grow") == 0, timing = strcmp(verb, "time") == 0;
    bool writing = strcmp(verb, "logits") == 0 && words == 4;
    if (words < 3 || n < 0 || step < 1 || step > SIDE_BATCH || !(growing || timing || writing))
        return refuse("no such command");
    if (n >= t->n_ctx - (growing ? 0 : t->length)) return refuse("the context is too short");
    double seconds = 0;
    bool fine = false;
    if (growing)
        fine = grow(t, n, step, &seconds);
    else if (timing)
        fine = wake(t) && feed(t, n, step, NULL, &seconds) && side_rewind(t->side, t->length);
    else
        fine = write_logits(t, n, step, path, &seconds);
    if (fine) printf("%.9f\n", seconds);
    return fine && fflush(stdout) == 0;
}

static bool make_text(timeline *t) {
    t->ids = malloc(sizeof *t->ids * (size_t)t->n_ctx);
    if (!t->ids) return false;
    uint64_t state = 1;
    for (int i = 0; i < t->n_ctx; i++) {
        state = state * 6364136223846793005u + 1442695040888963407u;
        t->ids[i] = (int32_t)((state >> 33) % (uint64_t)side_vocab(t->side));
    }
    return true;
}

int main(int argc, char **argv) {
    char line[600];
    timeline t = {.n_ctx = argc == 5 ? atoi(argv[3]) : 0, .clock = CLOCK_MONOTONIC};
    bool cpu = argc == 5 && strcmp(argv[4], "cpu") == 0;
    if (t.n_ctx < 1 || atoi(argv[2]) < 1 || (!cpu && strcmp(argv[4], "wall") != 0)) {
        fprintf(stderr, "usage: side MODEL THREADS CONTEXT wall|cpu <COMMANDS\n");
        return 2;
    }
    if (cpu) t.clock = CLOCK_PROCESS_CPUTIME_ID;
    t.side = side_open(argv[1], atoi(argv[2]), t.n_ctx);
    bool fine = t.side && make_text(&t);
    while (fine && fgets(line, sizeof line, stdin)) fine = obey(&t, line);
    free(t.ids);
    if (t.side) side_close(t.side);
    return fine ? 0 : 1;
}
