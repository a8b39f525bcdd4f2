/* train_watch.c: see train_watch.h. */
#include "cli/train_watch.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "cli/interrupt.h"

static void label_step(train_watcher *w, const msa_train_event *e) {
    int n = snprintf(w->label, sizeof w->label, "%s", e->phase);
    size_t size = sizeof w->label;
    if (isfinite(e->loss)) n += snprintf(w->label + n, size - (size_t)n, "  loss %.3f", e->loss);
    if (e->kl != 0) n += snprintf(w->label + n, size - (size_t)n, "  KL %.3f", e->kl);
    snprintf(w->label + n, size - (size_t)n, "  %.0f tokens/s  %.0f %% of FMA ", e->tokens_per_s,
             100 * e->fma_share);
}

/* A bar for each kind of work. */
static void show(train_watcher *w, const msa_train_event *e, const char *label, const char *unit) {
    if (w->showing != e->kind) {
        progress_end(&w->bar);
        w->bar = progress_begin(label, unit);
        w->bar.rate_done = e->n_done; /* a resumed run, or one behind an evaluation */
        w->showing = e->kind;
    }
    progress_update(&w->bar, e->n_done, e->n_total);
}

int train_watch(void *user, const msa_train_event *e) {
    train_watcher *w = user;
    msa_train_event step = *e;
    switch (e->kind) {
    case MSA_TRAIN_PREPARE: show(w, e, "text to tokens", "bytes"); break;
    case MSA_TRAIN_EXAM: show(w, e, "evaluation", "batches"); break;
    case MSA_TRAIN_RECORD:
    case MSA_TRAIN_STEP:
        label_step(w, e);
        step.kind = MSA_TRAIN_STEP; /* one bar for both */
        show(w, &step, w->label, "steps");
        break;
    case MSA_TRAIN_NOTE:
        progress_end(&w->bar);
        fprintf(stderr, "msa: %s\n", e->text);
        break;
    }
    return interrupt_seen();
}

void train_announce(const msa_train_info *info) {
    fprintf(stderr, "model      %.2f M parameters, %.2f M of them the index branch\n",
            1e-6 * (double)info->n_parameters, 1e-6 * (double)info->n_index_parameters);
    if (info->n_text_tokens)
        fprintf(stderr, "text       %lld tokens to learn from, %lld held out\n",
                (long long)info->n_text_tokens, (long long)info->n_valid_tokens);
    for (const char *at = info->phases; *at;) {
        int n = (int)strcspn(at, "\n");
        fprintf(stderr, "%-10s %.*s\n", at == info->phases ? "phases" : "", n, at);
        at += n + (at[n] == '\n');
    }
    fprintf(stderr, "machine    %d threads, %.0f GFLOP/s of multiply-adds\n", info->n_threads,
            info->peak_gflops);
    fprintf(stderr, "output     %s\n", info->folder);
    if (info->step)
        fprintf(stderr, "resumed    behind step %lld of %lld\n", (long long)info->step,
                (long long)info->n_steps);
}
