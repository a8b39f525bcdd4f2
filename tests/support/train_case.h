/* train_case.h: the small models and batches that tests/oracle/train_net.py makes, made again. */
#ifndef MSA_TESTS_TRAIN_CASE_H
#define MSA_TESTS_TRAIN_CASE_H

#include "train/net.h"

arch train_arch_m3(void);    /* 3 layers, one of them dense, 5 experts, index branch */
arch train_arch_llama(void); /* 2 layers, tied, index branch without norms */

/* Weights as train_model.py's make_weights; params_free. */
params *train_params(const arch *a, uint64_t seed);

/* As make_batch: free with train_batch_free. */
train_batch train_batch_make(const arch *a, const int32_t *lengths, int32_t n_docs, uint64_t seed);
void train_batch_free(train_batch *b);

/* detach, lm, lambda 0.5, seed 5; the rest off. */
net_mode train_mode(void);

#endif
