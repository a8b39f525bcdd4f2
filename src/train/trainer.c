/* trainer.c: a run from its first step to its model, see msa/train.h. */
#include "train/trainer.h"

#include <math.h>
#include <omp.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/bytes.h"
#include "base/mem.h"
#include "base/probe.h"

enum { PEAK_EVERY_S = 30 };

double trainer_clock(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

/* ---- the watcher ---------------------------------------------------------------------------- */

void trainer_tell(msa_trainer *t, msa_train_event event) {
    if (t->watch && t->watch(t->user, &event) != 0) t->stopping = true;
}

void trainer_note(msa_trainer *t, const char *format, ...) {
    char text[1024];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    trainer_tell(t, (msa_train_event){.kind = MSA_TRAIN_NOTE, .text = text});
}

static void tell_step(msa_trainer *t, bool recorded, double loss, double kl) {
    int64_t left = t->config.run.steps - t->state.step;
    const trainer_window *w = &t->window;
    if (w->seconds > 0) {
        t->rate = (double)w->tokens / w->seconds;
        double peak = t->info.peak_gflops * 1e9;
        t->share = peak > 0 ? w->flops / w->seconds / peak : 0;
    }
    double per_step = w->n_steps ? w->seconds / (double)w->n_steps : 0;
    trainer_tell(t, (msa_train_event){.kind = recorded ? MSA_TRAIN_RECORD : MSA_TRAIN_STEP,
                                      .n_done = t->state.step,
                                      .n_total = t->config.run.steps,
                                      .phase = t->phase->name,
                                      .loss = loss,
                                      .kl = kl,
                                      .tokens_per_s = t->rate,
                                      .fma_share = t->share,
                                      .seconds_left = per_step * (double)left});
}

/* ---- a step --------------------------------------------------------------------------------- */

static void enter_phase(msa_trainer *t) {
    const recipe_phase *phase = recipe_at(&t->recipe, t->state.step);
    const net_mode *m = &phase->mode;
    if (phase == t->phase) return;
    bool learns = m->kl != NET_KL_OFF || m->lm_index || m->index_value;
    params_freeze(t->params, !m->lm && m->detach, !learns);
    /* Another loss has another size: no spike, unless the run is resumed inside the phase. */
    if (t->state.step == phase->from)
        t->state.grad = t->state.index_grad = t->state.kl = (train_average){0};
    t->phase = phase;
}

static msa_status no_number(const msa_trainer *t, const char *what, int source, msa_error *err) {
    const param *weight = optimiser_find_bad(t->params, false);
    const param *gradient = optimiser_find_bad(t->params, true);
    const param *first = weight ? weight : gradient;
    int64_t kept = checkpoint_newest_step(t->config.run.out);
    char last[64] = "there is no checkpoint yet";
    if (kept >= 0)
        snprintf(last, sizeof last, "the last checkpoint is of step %lld", (long long)kept);
    return error_set(
        err, MSA_E_FORMAT,
        "step %lld: %s is no number (source %s; first in %s %s); %s. Expected a finite "
        "one: try a lower optim.lr, or a longer schedule.warmup",
        (long long)t->state.step + 1, what, mixture_source_name(source),
        weight     ? "the weights"
        : gradient ? "the gradient of"
                   : "no tensor",
        first ? first->name : "", last);
}

static void add_losses(msa_trainer *t, const net_losses *l, int source) {
    trainer_window *w = &t->window;
    int32_t groups = t->arch.n_layers * t->arch.n_kv_heads;
    if (t->phase->mode.lm && l->n_targets) w->loss[source] += l->lm, w->n[source]++;
    w->kl += l->kl;
    for (int32_t i = 0; i < groups; i++) w->kl_layer[i] += t->kl_layer[i];
    w->n_micro++;
}

/* Forward and backward of one micro-batch. With recipe.kl_repeats several steps share one, and the
 * forward pass of the first serves all of them, or that of the first after it was lost. */
static msa_status run_net(msa_trainer *t, int64_t micro, const net_mode *mode, net_losses *losses,
                          int *source, msa_error *err) {
    int64_t epoch = 0, repeats = t->config.recipe.kl_repeats, number = t->state.step / repeats;
    float scale = 1.0f / (float)t->config.optim.accumulate;
    bool again = repeats > 1 && t->kept == number;
    if (again) {
        *source = t->kept_source;
        t->window.flops += net_flops_again(t->net, &t->batch, mode);
        return net_step_again(t->net, mode, scale, losses, err);
    }
    t->kept = -1;
    msa_status status = mixture_batch(t->mixture, number, micro, &t->batch, source, &epoch, err);
    if (status == MSA_OK) status = net_step(t->net, &t->batch, mode, scale, losses, err);
    if (status != MSA_OK) return status;
    t->window.flops += net_flops(t->net, &t->batch, mode);
    if (repeats > 1) t->kept = number, t->kept_source = *source;
    return MSA_OK;
}

/* *loss and *kl get the micro-batch's part of the step's means. */
static msa_status learn_micro(msa_trainer *t, int64_t micro, double *loss, double *kl, int *source,
                              msa_error *err) {
    int64_t n = t->config.optim.accumulate, step = t->state.step;
    net_mode mode = t->phase->mode;
    net_losses losses = {.kl_layer = t->kl_layer};
    draw d = draw_begin((uint64_t)t->config.run.seed, DRAW_NET, step, micro);
    mode.seed = draw_next(&d);
    msa_status status = run_net(t, micro, &mode, &losses, source, err);
    if (status != MSA_OK) return status;
    if (!isfinite(losses.lm) || !isfinite(losses.kl))
        return no_number(t, isfinite(losses.lm) ? "the KL loss" : "the loss", *source, err);
    *loss += losses.lm / (double)n;
    *kl += losses.kl / (double)n;
    add_losses(t, &losses, *source);
    if (step % t->config.recipe.kl_repeats == 0) {
        t->window.tokens += t->batch.n_tokens;
        t->state.tokens += t->batch.n_tokens;
    }
    return MSA_OK;
}

/* True where the step's gradients are left unused. */
static bool watch_spikes(msa_trainer *t, double norm, double index_norm, double kl) {
    train_state *s = &t->state;
    double times = t->config.optim.spike;
    const struct {
        const char *what;
        train_average *mean;
        double value;
    } WATCHED[] = {{"gradient norm", &s->grad, norm},
                   {"gradient norm of the index branch", &s->index_grad, index_norm},
                   {"KL loss", &s->kl, kl}};
    bool any = false;
    for (size_t i = 0; i < 3; i++) {
        if (!optimiser_spike(WATCHED[i].mean, WATCHED[i].value, times)) continue;
        any = true;
        t->window.n_spikes++;
        report_spike(t, WATCHED[i].what, WATCHED[i].value, WATCHED[i].mean->mean,
                     t->config.optim.skip_spikes);
    }
    return any && t->config.optim.skip_spikes;
}

static msa_status update(msa_trainer *t, double kl, int source, msa_error *err) {
    const train_config *c = &t->config;
    double norm = optimiser_norm(&t->optimiser, false);
    double index_norm = optimiser_norm(&t->optimiser, true);
    if (!isfinite(norm) || !isfinite(index_norm))
        return no_number(t, "the norm of the gradient", source, err);
    t->window.grad += norm;
    t->window.index_grad += index_norm;
    if (!watch_spikes(t, norm, index_norm, kl)) {
        optimiser_step(&t->optimiser, &t->state, schedule_lr(c, t->state.step),
                       schedule_index_lr(c, t->phase, t->state.step), norm, index_norm);
        if (t->arch.moe.present && t->phase->mode.lm)
            optimiser_balance(t->params, net_load(t->net), c->optim.router_bias);
    }
    return MSA_OK;
}

static bool due(int64_t step, int64_t every, int64_t steps) {
    return step == steps || (every > 0 && step % every == 0);
}

static msa_status learn(msa_trainer *t, double *loss, double *kl, msa_error *err) {
    const train_config *c = &t->config;
    int source = 0;
    double start = trainer_clock();
    msa_status status = MSA_OK;
    *loss = *kl = 0;
    memset(t->params->g, 0, (size_t)trainer_floats(t) * sizeof(float));
    if (t->arch.moe.present)
        memset(net_load(t->net), 0,
               (size_t)t->arch.n_layers * (size_t)t->arch.moe.n_experts * sizeof(int64_t));
    for (int64_t i = 0; i < c->optim.accumulate && status == MSA_OK; i++)
        status = learn_micro(t, i, loss, kl, &source, err);
    if (status == MSA_OK) status = update(t, *kl, source, err);
    t->window.n_steps++;
    t->window.seconds += trainer_clock() - start;
    return status;
}

/* ---- between steps -------------------------------------------------------------------------- */

static void reset_window(msa_trainer *t) {
    double *kl_layer = t->window.kl_layer;
    t->window = (trainer_window){.kl_layer = kl_layer};
    memset(kl_layer, 0, (size_t)t->arch.n_layers * (size_t)t->arch.n_kv_heads * sizeof *kl_layer);
}

/* A periodic checkpoint that can't be written is told of, and the run goes on. */
static void save_if_due(msa_trainer *t) {
    msa_error err;
    int64_t step = t->state.step;
    if (step == t->config.run.steps || !due(step, t->config.log.checkpoint, INT64_MAX)) return;
    if (trainer_save(t, &err) == MSA_OK) return;
    trainer_note(t, "%s; training goes on, the last good one stays", err.text);
    report_event(t, "checkpoint_failed", err.text);
}

/* Between steps and briefly: the peak taken at the start is too low where the machine was busy. */
static void measure_peak_again(msa_trainer *t) {
    enum { RUNS = 20 };
    if (trainer_clock() < t->peak_due) return;
    double gflops = probe_fma_gflops(t->info.n_threads, RUNS, 0.04);
    if (gflops > t->info.peak_gflops) t->info.peak_gflops = gflops;
    t->peak_due = trainer_clock() + PEAK_EVERY_S;
}

static msa_status one_step(msa_trainer *t, msa_error *err) {
    const train_config *c = &t->config;
    double loss, kl, start = trainer_clock();
    int64_t next = t->state.step + 1;
    enter_phase(t);
    bool diagnosed = t->diagnose && due(next, c->log.diagnostics, c->run.steps);
    if (diagnosed) net_watch(t->net, t->diagnose), t->kept = -1;
    msa_status status = learn(t, &loss, &kl, err);
    net_watch(t->net, NULL);
    if (status != MSA_OK) return status;
    double lr = schedule_lr(c, t->state.step);
    double index_lr = schedule_index_lr(c, t->phase, t->state.step);
    t->state.step = next;
    t->state.seconds += trainer_clock() - start;
    /* Phases don't share a record: its means would be of neither. */
    bool record = next == 1 || next == t->phase->to || due(next, c->log.every, c->run.steps);
    measure_peak_again(t);
    if (record) report_step(t, lr, index_lr);
    if (diagnosed) report_diagnosis(t);
    tell_step(t, record,
              record              ? report_loss(&t->window)
              : t->phase->mode.lm ? loss
                                  : NAN,
              record ? t->window.kl / (double)t->window.n_micro : kl);
    if (record) reset_window(t);
    if (next < c->run.steps && due(next, c->log.eval, INT64_MAX)) {
        start = trainer_clock();
        status = trainer_examine(t, err);
        t->state.seconds += trainer_clock() - start;
    }
    if (status == MSA_OK) save_if_due(t);
    return status;
}

static msa_status stop(msa_trainer *t, msa_error *err) {
    msa_status status = trainer_save(t, err);
    if (status != MSA_OK) return status;
    return error_set(err, MSA_E_CANCELLED, "stopped behind step %lld; a checkpoint is written",
                     (long long)t->state.step);
}

static msa_status finish(msa_trainer *t, msa_error *err) {
    msa_status status = trainer_save(t, err);
    if (status == MSA_OK) status = trainer_examine(t, err);
    if (status == MSA_OK && t->stopping)
        return error_set(err, MSA_E_CANCELLED,
                         "stopped behind the last step; resume to write the "
                         "model");
    if (status == MSA_OK) status = trainer_export(t, err);
    if (status == MSA_OK) report_event(t, "end", t->model_path);
    return status;
}

/* Not before the run: what is only checked leaves the log of an earlier run as it is. */
static msa_status open_log(msa_trainer *t, msa_error *err) {
    int64_t resumed_from = t->resumed ? t->state.step : -1;
    if (t->log.fd >= 0) return MSA_OK;
    msa_status status = log_open(&t->log, t->log_path, resumed_from, err);
    if (status == MSA_OK) report_start(t, resumed_from);
    return status;
}

msa_status msa_trainer_run(msa_trainer *t, msa_error *err) {
    if (!t) return error_set(err, MSA_E_ARG, "trainer is NULL; expected one");
    msa_status status = open_log(t, err);
    if (status != MSA_OK) return status;
    reset_window(t);
    if (t->config.log.eval_first && t->state.step == 0) status = trainer_examine(t, err);
    while (t->state.step < t->config.run.steps && status == MSA_OK && !t->stopping)
        status = one_step(t, err);
    if (status == MSA_OK) status = t->stopping ? stop(t, err) : finish(t, err);
    if (status != MSA_OK && status != MSA_E_CANCELLED)
        report_event(t, "failed", err ? err->text : "");
    if (t->log.failure)
        trainer_note(t, "the log '%s' lacks records: %s", t->log_path, strerror(t->log.failure));
    t->info.step = t->state.step;
    t->stopping = false; /* the next call goes on */
    return status;
}

/* ---- life ----------------------------------------------------------------------------------- */

void msa_trainer_free(msa_trainer *t) {
    if (!t) return;
    if (t->net) net_watch(t->net, NULL);
    diagnose_free(t->diagnose);
    net_free(t->net);
    optimiser_free(&t->optimiser);
    params_free(t->params);
    mixture_free(t->mixture);
    corpus_free(t->corpus);
    batch_free(&t->batch);
    tokens_close(&t->text);
    tokens_close(&t->valid_text);
    tokenizer_free(t->tokenizer);
    bytes_free(&t->chat);
    log_close(&t->log);
    mem_free(t->window.kl_layer);
    mem_free(t->survey.kl);
    mem_free(t->kl_layer);
    mem_free(t->grad_layer);
    mem_free(t->predicted);
    mem_free(t->nll);
    mem_free(t->phases);
    mem_free(t->model_path);
    mem_free(t->log_path);
    config_free(&t->config);
    mem_free(t);
}

static msa_status read_config(msa_trainer *t, const msa_train_params *p, msa_error *err) {
    const char *name = p->name ? p->name : "configuration";
    msa_status status = config_init(&t->config, err);
    if (status == MSA_OK && p->config)
        status = config_read(&t->config, p->config, p->n_bytes, name, err);
    for (size_t i = 0; i < p->n_assignments && status == MSA_OK; i++)
        status = config_set(&t->config, p->assignments[i], err);
    return status == MSA_OK ? config_settle(&t->config, err) : status;
}

static msa_status open_all(msa_trainer *t, const msa_train_params *p, msa_error *err) {
    msa_status status = read_config(t, p, err);
    if (status == MSA_OK && !p->resume) status = trainer_refuse_used_folder(t, err);
    if (status != MSA_OK) return status;
    int64_t threads = t->config.run.threads;
    t->info.n_threads = threads ? (int32_t)threads : omp_get_max_threads();
    t->recipe = recipe_of(&t->config);
    status = trainer_open_data(t, err);
    if (status == MSA_OK) status = trainer_open_model(t, err);
    if (status == MSA_OK) status = trainer_describe(t, err);
    if (status == MSA_OK && p->resume) status = trainer_resume(t, err);
    if (status == MSA_OK)
        status = msa_measure_fma_gflops(t->info.n_threads, &t->info.peak_gflops, err);
    t->peak_due = trainer_clock() + PEAK_EVERY_S;
    t->resumed = p->resume && t->state.step > 0;
    t->info.step = t->state.step;
    return status;
}

msa_status msa_trainer_create(msa_trainer **out, const msa_train_params *how, msa_error *err) {
    if (!out) return error_set(err, MSA_E_ARG, "trainer is NULL; expected where to put it");
    *out = NULL;
    if (!how || (how->n_assignments && !how->assignments))
        return error_set(err, MSA_E_ARG, "params or its assignments are NULL; expected them");
    msa_trainer *t = mem_calloc(1, sizeof *t);
    if (!t) return error_set(err, MSA_E_NOMEM, "no memory for a trainer");
    t->log.fd = -1;
    t->kept = -1;
    t->watch = how->watch;
    t->user = how->user;
    msa_status status = open_all(t, how, err);
    if (status == MSA_OK)
        *out = t;
    else
        msa_trainer_free(t);
    return status;
}

const msa_train_info *msa_trainer_get_info(const msa_trainer *t) {
    return t ? &t->info : NULL;
}

const msa_train_exam *msa_trainer_get_exams(const msa_trainer *t, size_t *n) {
    if (n) *n = t ? t->n_exams : 0;
    return t ? t->exams : NULL;
}

char *msa_train_help(void) {
    bytes text = {0};
    config_help(&text);
    if (!text.failed) return text.data;
    bytes_free(&text);
    return NULL;
}

void msa_train_text_free(char *text) {
    mem_free(text);
}
