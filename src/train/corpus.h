/* corpus.h: the pieces of a text and how they are packed into micro-batches: functions of the seed
 * and the number of the micro-batch alone.
 *
 * Documents are cut into pieces of at most `context` tokens. A fixed choice of them is held out.
 * Every epoch takes the others in an order of its own and fills micro-batches one after another: a
 * piece that no longer fits opens the next, so no piece is cut again and none sees another. What is
 * kept between calls is the packing of the last epoch asked for: a cache, not a state. */
#ifndef MSA_TRAIN_CORPUS_H
#define MSA_TRAIN_CORPUS_H

#include "train/batch.h"
#include "train/tokens.h"

typedef struct corpus corpus;

/* One text, of which `valid_share` is held out (at least a piece of it is, at least one is not), or
 * with `valid` another text to validate on. The texts must outlive it. `max_tokens` is of a
 * micro-batch, at least `context`. MSA_E_ARG where the text is too short to hold anything out. */
msa_status corpus_create(corpus **out, const tokens *text, const tokens *valid, double valid_share,
                         int64_t context, int64_t max_tokens, uint64_t seed, msa_error *err);
/* The same without the pieces of `text` that have fewer than `shortest` tokens. */
msa_status corpus_create_long(corpus **out, const tokens *text, const tokens *valid,
                              double valid_share, int64_t context, int64_t shortest,
                              int64_t max_tokens, uint64_t seed, msa_error *err);
void corpus_free(corpus *c); /* NULL is fine */

int64_t corpus_pieces(const corpus *c, bool held_out);
int64_t corpus_tokens(const corpus *c, bool held_out);

/* Micro-batch `number` (0, 1, ...) to learn from. Fills a batch with room for max_tokens; the
 * target of a piece's last token is the token that follows in the document. *epoch: from 0. */
msa_status corpus_batch(corpus *c, int64_t number, train_batch *batch, int64_t *epoch,
                        msa_error *err);
/* Micro-batch `number` of what is held out, in order; false beyond the last. */
bool corpus_valid_batch(const corpus *c, int64_t number, train_batch *batch);

/* Up to n consecutive tokens to learn from, the beginning of a piece chosen by `at`, any number; at
 * least one, fewer than n where the piece is shorter: what lies behind it may be held out. */
int64_t corpus_stretch(const corpus *c, uint64_t at, int64_t n, const int32_t **ids);

#endif
