/* trainer_report.c: the records of the log. docs/training.md lists them. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "train/trainer.h"

static json_t *record_of(const msa_trainer *t, const char *event) {
    return json_pack("{s:s, s:I}", "event", event, "step", (json_int_t)t->state.step);
}

static void set(json_t *record, const char *key, json_t *value) {
    json_object_set_new(record, key, value);
}

static json_t *whole(int64_t x) {
    return json_integer((json_int_t)x);
}

/* ---- the beginning -------------------------------------------------------------------------- */

static json_t *config_json(const msa_trainer *t) {
    bytes text = {0};
    config_write(&t->config, &text);
    json_t *parsed = text.failed ? NULL : json_loadb(text.data, text.n, 0, NULL);
    bytes_free(&text);
    return parsed ? parsed : json_null();
}

static json_t *phases_json(const msa_trainer *t) {
    json_t *list = json_array();
    for (int32_t i = 0; i < t->recipe.n; i++) {
        const recipe_phase *p = &t->recipe.phases[i];
        json_array_append_new(list, json_pack("{s:s, s:I, s:I}", "name", p->name, "from",
                                              (json_int_t)p->from, "to", (json_int_t)p->to));
    }
    return list;
}

void report_start(msa_trainer *t, int64_t resumed_from) {
    const msa_train_info *info = &t->info;
    json_t *r = record_of(t, resumed_from < 0 ? "start" : "resume");
    set(r, "version", json_string(msa_version()));
    set(r, "isa", json_string(msa_isa_name(msa_isa_current())));
    set(r, "threads", whole(info->n_threads));
    set(r, "peak_gflops", log_number(info->peak_gflops));
    set(r, "parameters", whole(info->n_parameters));
    set(r, "index_parameters", whole(info->n_index_parameters));
    set(r, "text_tokens", whole(info->n_text_tokens));
    set(r, "valid_tokens", whole(info->n_valid_tokens));
    set(r, "network_bytes", whole((int64_t)net_bytes(t->net)));
    set(r, "phases", phases_json(t));
    set(r, "config", config_json(t));
    log_write(&t->log, r);
}

/* ---- steps ---------------------------------------------------------------------------------- */

static json_t *losses_json(const trainer_window *w) {
    json_t *losses = json_object();
    for (int s = 0; s < MIXTURE_SOURCES; s++)
        if (w->n[s]) set(losses, mixture_source_name(s), log_number(w->loss[s] / (double)w->n[s]));
    return losses;
}

double report_loss(const trainer_window *w) {
    double sum = 0;
    int64_t n = 0;
    for (int s = 0; s < MIXTURE_SOURCES; s++) sum += w->loss[s], n += w->n[s];
    return n ? sum / (double)n : NAN;
}

/* A list for each layer with an index, of its groups. */
static json_t *groups_json(const msa_trainer *t, const double *of, double scale) {
    json_t *layers = json_object();
    int32_t groups = t->arch.n_kv_heads;
    for (int32_t l = 0; l < t->arch.n_layers; l++) {
        char name[16];
        if (!tensor_layer_has_index(&t->arch, l)) continue;
        json_t *list = json_array();
        for (int32_t g = 0; g < groups; g++)
            json_array_append_new(list, log_number(scale * of[l * groups + g]));
        snprintf(name, sizeof name, "%d", l);
        set(layers, name, list);
    }
    return layers;
}

void report_step(msa_trainer *t, double lr, double index_lr) {
    const trainer_window *w = &t->window;
    double micro = (double)w->n_micro, steps = (double)w->n_steps;
    bool kl = t->phase->mode.kl != NET_KL_OFF;
    json_t *r = record_of(t, "step");
    set(r, "phase", json_string(t->phase->name));
    set(r, "loss", log_number(report_loss(w)));
    set(r, "losses", losses_json(w));
    if (kl) set(r, "kl", log_number(w->kl / micro));
    if (kl) set(r, "kl_layers", groups_json(t, w->kl_layer, 1 / micro));
    set(r, "lr", log_number(lr));
    if (t->arch.index.present) set(r, "index_lr", log_number(index_lr));
    set(r, "grad_norm", log_number(w->grad / steps));
    if (t->arch.index.present) set(r, "index_grad_norm", log_number(w->index_grad / steps));
    set(r, "tokens", whole(t->state.tokens));
    set(r, "tokens_per_s", log_number((double)w->tokens / w->seconds));
    set(r, "fma_share", log_number(w->flops / w->seconds / (t->info.peak_gflops * 1e9)));
    set(r, "peak_gflops", log_number(t->info.peak_gflops));
    set(r, "seconds", log_number(t->state.seconds));
    if (w->n_spikes) set(r, "spikes", whole(w->n_spikes));
    log_write(&t->log, r);
}

void report_spike(msa_trainer *t, const char *what, double value, double usual, bool skipped) {
    json_t *r = record_of(t, "spike");
    set(r, "step", whole(t->state.step + 1)); /* the one in hand; a resumed run makes it again */
    set(r, "what", json_string(what));
    set(r, "value", log_number(value));
    set(r, "usual", log_number(usual));
    set(r, "skipped", json_boolean(skipped));
    log_write(&t->log, r);
}

/* ---- diagnosis and exams -------------------------------------------------------------------- */

static json_t *gradients_json(const double *of, int64_t n) {
    json_t *list = json_array();
    for (int64_t i = 0; i < n; i++) json_array_append_new(list, log_number(of[i]));
    return list;
}

void report_diagnosis(msa_trainer *t) {
    diagnose_means m = diagnose_read(t->diagnose);
    int64_t n = t->arch.n_layers + 1;
    json_t *r = record_of(t, "diagnosis");
    diagnose_gradients(t->params, t->grad_layer, t->grad_layer + n, t->info.n_threads);
    set(r, "phase", json_string(t->phase->name));
    set(r, "rows", whole(m.n_rows));
    if (m.n_rows > 0) { /* where every document fits the budget there is nothing to tell */
        set(r, "recall", log_number(m.recall));
        set(r, "captured", log_number(m.captured));
        set(r, "oracle", log_number(m.oracle));
        set(r, "recall_layers", groups_json(t, m.recall_of, 1));
        set(r, "captured_layers", groups_json(t, m.captured_of, 1));
        set(r, "oracle_layers", groups_json(t, m.oracle_of, 1));
    }
    set(r, "index_grad_layers", gradients_json(t->grad_layer, n - 1));
    set(r, "grad_layers", gradients_json(t->grad_layer + n, n));
    log_write(&t->log, r);
    diagnose_reset(t->diagnose);
}

/* Of the held-out text. */
static json_t *survey_json(const msa_trainer *t) {
    const trainer_survey *s = &t->survey;
    json_t *r = json_object();
    if (s->has_kl) set(r, "kl_layers", groups_json(t, s->kl, 1));
    if (!s->has_blocks) return r;
    set(r, "rows", whole(s->blocks.n_rows));
    set(r, "recall", log_number(s->blocks.recall));
    set(r, "captured", log_number(s->blocks.captured));
    set(r, "oracle", log_number(s->blocks.oracle));
    set(r, "recall_layers", groups_json(t, s->blocks.recall_of, 1));
    set(r, "captured_layers", groups_json(t, s->blocks.captured_of, 1));
    set(r, "oracle_layers", groups_json(t, s->blocks.oracle_of, 1));
    return r;
}

void report_exams(msa_trainer *t) {
    json_t *r = record_of(t, "exam"), *sources = json_object();
    for (size_t i = 0; i < t->n_exams; i++) {
        const msa_train_exam *e = &t->exams[i];
        json_t *one = json_object();
        set(one, "dense", log_number(e->dense));
        set(one, "sparse", log_number(e->sparse));
        set(one, "n", whole(e->n));
        set(one, "pieces", whole(e->n_pieces));
        if (e->n_late) {
            set(one, "dense_late", log_number(e->dense_late));
            set(one, "sparse_late", log_number(e->sparse_late));
            set(one, "n_late", whole(e->n_late));
        }
        set(sources, e->source, one);
    }
    set(r, "sources", sources);
    if (t->survey.has_kl || t->survey.has_blocks) set(r, "index", survey_json(t));
    log_write(&t->log, r);
}

void report_event(msa_trainer *t, const char *event, const char *text) {
    json_t *r = record_of(t, event);
    set(r, "text", json_string(text));
    log_write(&t->log, r);
}
