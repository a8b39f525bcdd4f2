/* schedule.h: learning rates, and which phase of a recipe a step is in: pure functions of a settled
 * configuration and the step. */
#ifndef MSA_TRAIN_SCHEDULE_H
#define MSA_TRAIN_SCHEDULE_H

#include "train/config.h"
#include "train/net.h"

/* Share of the peak at step 0 .. steps - 1: the warm-up climbs linearly and reaches 1 at its last
 * step; the last step of all has `final` (cosine, wsd). */
double schedule_share(const config_schedule *s, int64_t step, int64_t steps);

enum { RECIPE_MAX_PHASES = 3 };
typedef struct recipe_phase {
    const char *name; /* "dense", "warm-up", "sparse", "index" */
    int64_t from, to; /* steps [from, to) */
    net_mode mode;    /* seed: 0, the trainer's to fill in */
} recipe_phase;

typedef struct recipe {
    recipe_phase phases[RECIPE_MAX_PHASES]; /* not one is empty */
    int32_t n;
} recipe;

recipe recipe_of(const train_config *c);
const recipe_phase *recipe_at(const recipe *r, int64_t step);

/* The learning rates of a step: of everything, and of the index branch. */
double schedule_lr(const train_config *c, int64_t step);
double schedule_index_lr(const train_config *c, const recipe_phase *phase, int64_t step);

#endif
