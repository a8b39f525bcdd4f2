/* fuzz.h: what every fuzz target defines, and libFuzzer or replay.c calls. */
#ifndef MSA_TESTS_FUZZ_H
#define MSA_TESTS_FUZZ_H

#include <stddef.h>
#include <stdint.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n_bytes);

#endif
