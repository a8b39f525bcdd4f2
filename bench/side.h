/* side.h: one side of a comparison of whole models: what side.c asks of ours (side_msa.c) and of
 * llama.cpp (side_llama.c). Each is a program of its own; a script lets them take turns. */
#ifndef SIDE_H
#define SIDE_H

#include <stdbool.h>
#include <stdint.h>

enum { SIDE_BATCH = 512 }; /* most tokens fed at once */

typedef struct side side;

/* What fails says why on standard error and gives NULL or false. f16 keys, values and index keys,
 * sparse attention as the file has it. */
side *side_open(const char *model, int n_threads, int n_ctx);
int side_vocab(const side *s);
/* Appends n <= SIDE_BATCH tokens at once; logits [n][n_vocab], or NULL where nobody wants more than
 * a decoder does, those of the last. */
bool side_feed(side *s, const int32_t *ids, int n, float *logits);
/* Drops everything behind the first n tokens. */
bool side_rewind(side *s, int n);
void side_close(side *s);

#endif
