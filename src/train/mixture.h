/* mixture.h: the micro-batches of a run: real text and tasks mixed by weight. A micro-batch is a
 * function of the configuration and its number; it holds one source, so that the answers of a task
 * count as much as the many tokens of a text.
 *
 * Sources take turns in a fixed pattern of PERIOD micro-batches, each as near to its share at every
 * moment as whole numbers allow. */
#ifndef MSA_TRAIN_MIXTURE_H
#define MSA_TRAIN_MIXTURE_H

#include "train/corpus.h"
#include "train/task.h"

enum { MIXTURE_TEXT = 0, MIXTURE_TASKS = 1, MIXTURE_SOURCES = 1 + TASK_COUNT };
/* "text", "recall", ... */
const char *mixture_source_name(int source);

/* Room for a micro-batch. */
msa_status batch_create(train_batch *b, int64_t max_tokens, msa_error *err);
void batch_free(train_batch *b); /* zeros are fine */

typedef struct mixture mixture;

/* The configuration is settled; corpus is NULL without text. All must outlive it. Samples of every
 * task are tried at their first and final size: what doesn't fit is refused here. */
msa_status mixture_create(mixture **out, const train_config *c, const tokenizer *t, corpus *text,
                          msa_error *err);
void mixture_free(mixture *m); /* NULL is fine */

/* Share of the micro-batches that is this source: 0 to 1. */
double mixture_share(const mixture *m, int source);

/* Micro-batch `micro` (0 .. accumulate - 1) of a step. *source: what it holds. *epoch: of the text,
 * untouched by tasks. */
msa_status mixture_batch(mixture *m, int64_t step, int64_t micro, train_batch *batch, int *source,
                         int64_t *epoch, msa_error *err);

/* Micro-batch `number` of an exam: samples of the final size that no step learns from, targets on
 * the answers alone. At most n_samples of them, and as many as fit. */
msa_status mixture_exam(mixture *m, config_task_kind kind, int64_t number, int64_t n_samples,
                        train_batch *batch, msa_error *err);

/* Answers in a micro-batch of an exam, and those of them that were predicted right: runs of targets
 * of which every token is. */
typedef struct exam_score {
    int64_t n, n_right;
} exam_score;
void exam_add(exam_score *score, const train_batch *batch, const int32_t *predicted);

#endif
