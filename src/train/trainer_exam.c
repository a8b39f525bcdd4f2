/* trainer_exam.c: what the model can do with text and samples that no step learns from, with dense
 * attention and, where it has an index branch, with its own selection. */
#include <math.h>

#include "train/trainer.h"

typedef struct tally {
    double loss;
    int64_t n_targets;
    exam_score score;
} tally;

static net_mode exam_mode(const msa_trainer *t, bool sparse) {
    net_mode mode = t->recipe.phases[t->recipe.n - 1].mode;
    mode.sparse = sparse;
    mode.lm = true;
    mode.kl = NET_KL_OFF;
    mode.seed = 1;
    return mode;
}

static msa_status take(msa_trainer *t, bool sparse, tally *sum, msa_error *err) {
    net_mode mode = exam_mode(t, sparse);
    net_losses losses = {.predicted = t->predicted};
    msa_status status = net_evaluate(t->net, &t->batch, &mode, &losses, err);
    if (status != MSA_OK) return status;
    sum->loss += losses.lm * (double)losses.n_targets;
    sum->n_targets += losses.n_targets;
    exam_add(&sum->score, &t->batch, t->predicted);
    return MSA_OK;
}

/* Micro-batch `number` of a source's exam; false beyond the last. */
static msa_status next_batch(msa_trainer *t, int source, int64_t number, int64_t n_left, bool *more,
                             msa_error *err) {
    *more = n_left > 0;
    if (!*more) return MSA_OK;
    if (source != MIXTURE_TEXT)
        return mixture_exam(t->mixture, (config_task_kind)(source - MIXTURE_TASKS), number, n_left,
                            &t->batch, err);
    *more = corpus_valid_batch(t->corpus, number, &t->batch);
    return MSA_OK;
}

static msa_status examine_source(msa_trainer *t, int source, int64_t *n_done, int64_t n_total,
                                 msa_error *err) {
    int64_t rows = t->config.log.eval_rows, taken = 0;
    tally dense = {0}, sparse = {0};
    bool more = true;
    msa_status status = MSA_OK;
    for (int64_t number = 0; status == MSA_OK && !t->stopping; number++) {
        status = next_batch(t, source, number, rows - taken, &more, err);
        if (status != MSA_OK || !more) break;
        taken += source == MIXTURE_TEXT ? t->config.data.rows : t->batch.n_docs;
        status = take(t, false, &dense, err);
        if (status == MSA_OK && t->arch.index.present) status = take(t, true, &sparse, err);
        trainer_tell(
            t, (msa_train_event){.kind = MSA_TRAIN_EXAM, .n_done = ++*n_done, .n_total = n_total});
    }
    if (status != MSA_OK || t->stopping) return status;
    msa_train_exam *e = &t->exams[t->n_exams++];
    bool text = source == MIXTURE_TEXT;
    *e = (msa_train_exam){.source = mixture_source_name(source), .dense = NAN, .sparse = NAN};
    e->n = text ? dense.n_targets : dense.score.n;
    if (e->n == 0) return MSA_OK;
    double n = (double)e->n;
    e->dense = text ? dense.loss / n : (double)dense.score.n_right / n;
    if (t->arch.index.present)
        e->sparse = text ? sparse.loss / n : (double)sparse.score.n_right / n;
    return MSA_OK;
}

static bool is_examined(const msa_trainer *t, int source) {
    return source == MIXTURE_TEXT ? t->corpus != NULL : mixture_share(t->mixture, source) > 0;
}

msa_status trainer_examine(msa_trainer *t, msa_error *err) {
    int64_t n_done = 0, n_total = 0, rows = t->config.log.eval_rows;
    msa_status status = MSA_OK;
    t->n_exams = 0;
    for (int s = 0; s < MIXTURE_SOURCES; s++)
        if (is_examined(t, s)) n_total += (rows + t->config.data.rows - 1) / t->config.data.rows;
    for (int s = 0; s < MIXTURE_SOURCES && status == MSA_OK && !t->stopping; s++)
        if (is_examined(t, s)) status = examine_source(t, s, &n_done, n_total, err);
    if (status == MSA_OK && !t->stopping) report_exams(t);
    return status;
}
