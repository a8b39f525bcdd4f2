/* arch_text.h: an arch as lines of text ("n_layers 4\n"), so that a checkpoint remembers what its
 * weights were trained to compute, and which fact differs can be named. */
#ifndef MSA_TRAIN_ARCH_TEXT_H
#define MSA_TRAIN_ARCH_TEXT_H

#include "base/bytes.h"
#include "model/arch.h"

void arch_text_write(const arch *a, bytes *out);

/* MSA_E_ARG names the first fact that differs from `then`, the n_then bytes of a file. What they
 * don't mention is not compared. */
msa_status arch_text_same(const arch *now, const char *then, size_t n_then, msa_error *err);

#endif
