/* schedule.c: see schedule.h. */
#include "train/schedule.h"

#include <math.h>

double schedule_share(const config_schedule *s, int64_t step, int64_t steps) {
    const double PI = 3.14159265358979323846;
    if (step < s->warmup) return (double)(step + 1) / (double)s->warmup;
    int64_t from = s->warmup;
    if (s->kind == SCHEDULE_CONSTANT) return 1;
    if (s->kind == SCHEDULE_WSD) {
        int64_t fall = (int64_t)(s->decay_share * (double)steps + 0.5);
        if (steps - fall > from) from = steps - fall;
        if (step < from) return 1;
    }
    /* From 1 just before `from` to `final` at the last step. */
    double x = (double)(step - from + 1) / (double)(steps - from);
    double left = s->kind == SCHEDULE_WSD ? 1 - x : 0.5 * (1 + cos(PI * x));
    return s->final + (1 - s->final) * left;
}

static void add_phase(recipe *r, const char *name, int64_t n_steps, net_mode mode) {
    int64_t from = r->n ? r->phases[r->n - 1].to : 0;
    if (n_steps > 0) r->phases[r->n++] = (recipe_phase){name, from, from + n_steps, mode};
}

recipe recipe_of(const train_config *c) {
    recipe r = {0};
    int64_t steps = c->run.steps, dense = c->recipe.dense, warmup = c->recipe.warmup;
    net_mode base = {.lm = true,
                     .selection = (net_selection)c->recipe.selection,
                     .lambda = (float)c->recipe.lambda,
                     .detach = c->recipe.detach,
                     .index_value = c->recipe.index_value,
                     .lm_index = c->recipe.lm_index,
                     .fp8_p = c->recipe.fp8_p,
                     .kl_rows = (int32_t)c->recipe.kl_rows};
    net_mode warm = base, sparse = base, index = base;
    warm.kl = index.kl = (net_kl)c->recipe.kl_warmup;
    sparse.kl = (net_kl)c->recipe.kl_sparse;
    if (c->recipe.lm_index) warm.kl = sparse.kl = NET_KL_OFF;
    sparse.sparse = true;
    index.lm = false;
    index.sparse = index.kl == NET_KL_SELECTED;
    switch ((config_recipe_kind)c->recipe.kind) {
    case RECIPE_FULL: add_phase(&r, "dense", steps, base); break;
    case RECIPE_PT:
    case RECIPE_CPT:
        add_phase(&r, "dense", dense, base);
        add_phase(&r, "warm-up", warmup, warm);
        add_phase(&r, "sparse", steps - dense - warmup, sparse);
        break;
    case RECIPE_INDEX_ONLY: add_phase(&r, "index", steps, index); break;
    }
    return r;
}

const recipe_phase *recipe_at(const recipe *r, int64_t step) {
    int32_t i = 0;
    while (i + 1 < r->n && step >= r->phases[i].to) i++;
    return &r->phases[i];
}

double schedule_lr(const train_config *c, int64_t step) {
    return c->optim.lr * schedule_share(&c->schedule.main, step, c->run.steps);
}

double schedule_index_lr(const train_config *c, const recipe_phase *phase, int64_t step) {
    const config_schedule *s = c->schedule.index_own ? &c->schedule.index : &c->schedule.main;
    double lr = c->optim.index_lr * schedule_share(s, step, c->run.steps);
    return phase->mode.sparse ? lr * c->optim.index_sparse : lr;
}
