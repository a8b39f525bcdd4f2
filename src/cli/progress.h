/* progress.h: a bar with rate and time left, on standard error and only where that is a terminal.
 *
 *     progress bar = progress_begin("prefill", "tokens");
 *     msa_session_feed(session, ids, n, progress_callback, &bar, err);
 *     progress_end(&bar); */
#ifndef MSA_CLI_PROGRESS_H
#define MSA_CLI_PROGRESS_H

#include <stdbool.h>
#include <stdint.h>

typedef struct progress {
    const char *label, *unit;
    bool visible; /* standard error is a terminal */
    bool drawn;
    double start_s, drawn_s;
    double rate_s;       /* when `rate` was last brought up to date */
    int64_t rate_done;   /* and how far the work was */
    double rate;         /* units a second, of late */
    int64_t base, total; /* added to what msa_session_feed reports; 0: its own numbers stand */
} progress;

progress progress_begin(const char *label, const char *unit);
/* Draws the empty bar at once: for work whose first step takes long. */
void progress_show(progress *bar, int64_t n_total);
/* Draws when it is time to; cheap to call often. */
void progress_update(progress *bar, int64_t n_done, int64_t n_total);
/* Takes the bar off the screen. */
void progress_end(progress *bar);

/* A msa_progress_fn for a progress: draws, and stops the work after Ctrl-C. For work fed in pieces
 * set bar->total to the whole and bar->base to what is done before the piece. */
int progress_callback(void *bar, int64_t n_done, int64_t n_total);

/* Seconds of a clock that only goes forward. */
double clock_seconds(void);

#endif
