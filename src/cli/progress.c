/* progress.c: see progress.h. */
#include "cli/progress.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

#include "cli/interrupt.h"

double clock_seconds(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

progress progress_begin(const char *label, const char *unit) {
    const char *terminal = getenv("TERM");
    double now = clock_seconds();
    return (progress){.label = label,
                      .unit = unit,
                      .visible = isatty(STDERR_FILENO) && terminal && strcmp(terminal, "dumb") != 0,
                      .start_s = now,
                      .rate_s = now};
}

static int terminal_columns(void) {
    struct winsize size;
    if (ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0) return size.ws_col;
    return 80;
}

/* Attention slows a prefill down as it goes, so the time left follows the recent rate. */
static void follow_rate(progress *bar, double now, int64_t n_done) {
    double span = now - bar->rate_s;
    if (span < 0.2 || n_done <= bar->rate_done) return;
    double recent = (double)(n_done - bar->rate_done) / span;
    bar->rate = bar->rate > 0 ? 0.7 * bar->rate + 0.3 * recent : recent;
    bar->rate_s = now, bar->rate_done = n_done;
}

static void draw(progress *bar, int64_t n_done, int64_t n_total) {
    enum { CELLS = 24 };
    static const char FULL[] = "████████████████████████"; /* three bytes each */
    char left[32] = "", rate[32] = "", line[256], brief[256];
    double share = n_total > 0 ? (double)n_done / (double)n_total : 0;
    int cells = (int)(share * CELLS);
    if (bar->rate > 0) {
        int64_t seconds = (int64_t)((double)(n_total - n_done) / bar->rate + 0.5);
        snprintf(left, sizeof left, ", %lld:%02lld left", (long long)(seconds / 60),
                 (long long)(seconds % 60));
    }
    if (bar->rate > 0) snprintf(rate, sizeof rate, ", %.*f/s", bar->rate < 10 ? 1 : 0, bar->rate);
    int n = snprintf(line, sizeof line, "%s %3.0f %%  %lld/%lld %s%s%s", bar->label, 100 * share,
                     (long long)n_done, (long long)n_total, bar->unit, rate, left);
    snprintf(brief, sizeof brief, "%s %3.0f %%%s", bar->label, 100 * share, left);
    int columns = terminal_columns();
    if (n + CELLS + 3 < columns)
        fprintf(stderr, "\r\033[K%s |%.*s%*s| %s", bar->label, 3 * cells, FULL, CELLS - cells, "",
                line + strlen(bar->label) + 1);
    else if (n < columns)
        fprintf(stderr, "\r\033[K%s", line);
    else /* what is left matters more than how it is counted */
        fprintf(stderr, "\r\033[K%.*s", columns - 1, brief);
    fflush(stderr);
    bar->drawn = true;
}

void progress_show(progress *bar, int64_t n_total) {
    if (bar->visible) draw(bar, 0, n_total);
}

void progress_update(progress *bar, int64_t n_done, int64_t n_total) {
    if (!bar->visible) return;
    double now = clock_seconds();
    follow_rate(bar, now, n_done);
    if (now - bar->start_s < 0.3 || (now - bar->drawn_s < 0.1 && n_done < n_total)) return;
    bar->drawn_s = now;
    draw(bar, n_done, n_total);
}

void progress_end(progress *bar) {
    if (bar->drawn) fputs("\r\033[K", stderr), fflush(stderr);
    bar->drawn = false;
}

int progress_callback(void *user, int64_t n_done, int64_t n_total) {
    progress *bar = user;
    progress_update(bar, bar->base + n_done, bar->total ? bar->total : n_total);
    return interrupt_seen();
}
