/* fixed.h: selections by position and chance alone, the controls that a score must beat.
 *
 *   window   the first max(init, 1) blocks (fewer if topk leaves no room for the own one) and the
 *            trailing ones up to topk
 *   random   the forced blocks of select.h, and others drawn: every set of them equally likely, a
 *            function of the stream alone
 *
 * Both take all blocks of a row that sees at most topk. ids [topk], ascending, -1 behind them. */
#ifndef MSA_ATTN_FIXED_H
#define MSA_ATTN_FIXED_H

#include <stdint.h>

#include "msa/attn.h"

void fixed_window(const msa_shape *shape, int64_t position, int32_t *ids);
void fixed_random(const msa_shape *shape, int64_t position, uint64_t stream, int32_t *ids);

/* The stream of random numbers of one list. */
uint64_t fixed_stream(uint64_t seed, int32_t layer, int64_t position, int32_t group);

#endif
