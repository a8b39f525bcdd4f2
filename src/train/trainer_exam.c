/* trainer_exam.c: what the model can do with text and samples that no step learns from, with dense
 * attention and, where it has an index branch, with its own selection; on the text also how far the
 * branch is from the attention it stands for. */
#include <math.h>
#include <string.h>

#include "train/trainer.h"

enum { SURVEYED_ROWS = 256 }; /* query rows of a document, where the recipe takes all */

typedef struct tally {
    double loss, late;
    int64_t n_targets, n_late, n_pieces;
    exam_score score;
} tally;

/* Sums of the survey, weighed by tokens. */
typedef struct survey_sums {
    double *kl;
    int64_t n_cells, n_tokens;
} survey_sums;

static net_mode exam_mode(const msa_trainer *t, bool sparse) {
    net_mode mode = t->recipe.phases[t->recipe.n - 1].mode;
    mode.sparse = sparse;
    mode.lm = true;
    mode.kl = NET_KL_OFF;
    mode.seed = 1;
    return mode;
}

/* The dense mode with the KL of the warm-up, or over everything visible where there is none. */
static net_mode survey_mode(const msa_trainer *t) {
    net_mode mode = exam_mode(t, false);
    net_kl kl = (net_kl)t->config.recipe.kl_warmup;
    bool is_dense = kl == NET_KL_FAR || kl == NET_KL_FAR_MASS;
    mode.kl = mode.lm_index ? NET_KL_OFF : is_dense ? kl : NET_KL_VISIBLE;
    if (mode.kl_rows == 0) mode.kl_rows = SURVEYED_ROWS;
    return mode;
}

static void add_losses(const msa_trainer *t, const net_losses *l, tally *sum) {
    const train_batch *b = &t->batch;
    int64_t from = t->config.data.context / 2;
    sum->loss += l->lm * (double)l->n_targets;
    sum->n_targets += l->n_targets;
    sum->n_pieces += b->n_docs;
    for (int32_t d = 0; d < b->n_docs; d++)
        for (int64_t i = b->cu_seqlens[d] + from; i < b->cu_seqlens[d + 1]; i++)
            if (b->targets[i] >= 0) sum->late += (double)t->nll[i], sum->n_late++;
}

static msa_status take(msa_trainer *t, bool sparse, survey_sums *survey, tally *sum,
                       msa_error *err) {
    net_mode mode = survey ? survey_mode(t) : exam_mode(t, sparse);
    net_losses losses = {.predicted = t->predicted, .nll = t->nll, .kl_layer = t->kl_layer};
    if (survey) net_watch(t->net, t->diagnose);
    msa_status status = net_evaluate(t->net, &t->batch, &mode, &losses, err);
    net_watch(t->net, NULL);
    if (status != MSA_OK) return status;
    add_losses(t, &losses, sum);
    exam_add(&sum->score, &t->batch, t->predicted);
    if (!survey) return MSA_OK;
    survey->n_tokens += t->batch.n_tokens;
    for (int64_t i = 0; i < survey->n_cells; i++)
        survey->kl[i] += t->kl_layer[i] * (double)t->batch.n_tokens;
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

static void conclude(msa_trainer *t, int source, const tally *dense, const tally *sparse) {
    msa_train_exam *e = &t->exams[t->n_exams++];
    bool text = source == MIXTURE_TEXT, index = t->arch.index.present;
    *e = (msa_train_exam){.source = mixture_source_name(source),
                          .dense = NAN,
                          .sparse = NAN,
                          .dense_late = NAN,
                          .sparse_late = NAN};
    e->n = text ? dense->n_targets : dense->score.n;
    e->n_late = text ? dense->n_late : 0;
    e->n_pieces = dense->n_pieces;
    if (e->n == 0) return;
    double n = (double)e->n, n_late = (double)e->n_late;
    e->dense = text ? dense->loss / n : (double)dense->score.n_right / n;
    if (index) e->sparse = text ? sparse->loss / n : (double)sparse->score.n_right / n;
    if (e->n_late == 0) return;
    e->dense_late = dense->late / n_late;
    if (index) e->sparse_late = sparse->late / n_late;
}

static void conclude_survey(msa_trainer *t, const survey_sums *sums) {
    trainer_survey *s = &t->survey;
    s->has_kl = sums->n_tokens > 0 && survey_mode(t).kl != NET_KL_OFF;
    for (int64_t i = 0; i < sums->n_cells && s->has_kl; i++) s->kl[i] /= (double)sums->n_tokens;
    s->blocks = diagnose_read(t->diagnose);
    s->has_blocks = s->blocks.n_rows > 0;
    diagnose_reset(t->diagnose);
}

static msa_status examine_source(msa_trainer *t, int source, int64_t *n_done, int64_t n_total,
                                 msa_error *err) {
    int64_t rows = t->config.log.eval_rows, taken = 0;
    tally dense = {0}, sparse = {0};
    survey_sums sums = {t->survey.kl, (int64_t)t->arch.n_layers * t->arch.n_kv_heads, 0};
    bool more = true, surveyed = source == MIXTURE_TEXT && t->diagnose;
    msa_status status = MSA_OK;
    if (surveyed) {
        memset(sums.kl, 0, (size_t)sums.n_cells * sizeof *sums.kl);
        diagnose_reset(t->diagnose);
    }
    for (int64_t number = 0; status == MSA_OK && !t->stopping; number++) {
        status = next_batch(t, source, number, rows - taken, &more, err);
        if (status != MSA_OK || !more) break;
        taken += source == MIXTURE_TEXT ? t->config.data.rows : t->batch.n_docs;
        status = take(t, false, surveyed ? &sums : NULL, &dense, err);
        if (status == MSA_OK && t->arch.index.present) status = take(t, true, NULL, &sparse, err);
        trainer_tell(
            t, (msa_train_event){.kind = MSA_TRAIN_EXAM, .n_done = ++*n_done, .n_total = n_total});
    }
    if (status != MSA_OK || t->stopping) return status;
    conclude(t, source, &dense, &sparse);
    if (surveyed) conclude_survey(t, &sums);
    return MSA_OK;
}

static bool is_examined(const msa_trainer *t, int source) {
    return source == MIXTURE_TEXT ? t->corpus != NULL : mixture_share(t->mixture, source) > 0;
}

msa_status trainer_examine(msa_trainer *t, msa_error *err) {
    int64_t n_done = 0, n_total = 0, rows = t->config.log.eval_rows;
    msa_status status = MSA_OK;
    t->n_exams = 0;
    t->kept = -1;
    t->survey.has_kl = t->survey.has_blocks = false;
    for (int s = 0; s < MIXTURE_SOURCES; s++)
        if (is_examined(t, s)) n_total += (rows + t->config.data.rows - 1) / t->config.data.rows;
    for (int s = 0; s < MIXTURE_SOURCES && status == MSA_OK && !t->stopping; s++)
        if (is_examined(t, s)) status = examine_source(t, s, &n_done, n_total, err);
    if (status == MSA_OK && !t->stopping) report_exams(t);
    return status;
}
