/* net_select.h: what is chosen by position and chance alone: the selections that serve as controls,
 * and the rows a loss is sampled on. */
#ifndef MSA_TRAIN_NET_SELECT_H
#define MSA_TRAIN_NET_SELECT_H

#include "train/net_state.h"

/* ids [T, Hkv, topk], ascending, -1 behind them; a row with at most topk visible blocks takes them
 * all.
 *   SINK_WINDOW  attn/fixed.h's window
 *   RANDOM       its random, drawn by the mode's seed, layer, position in the document and group */
void select_fixed(const net *n, int32_t layer, int32_t *ids);

/* Rows of the batch, ascending: of each document `most`, one from each of as many equal parts of
 * it; all of a document with fewer. Returns how many. */
int64_t select_rows(const train_batch *batch, int32_t most, uint64_t seed, int32_t *rows);

#endif
