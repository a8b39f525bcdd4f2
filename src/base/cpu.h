/* cpu.h: which instruction set the kernels use. Detected once; msa_isa_use (msa.h) forces a lower
 * rung. */
#ifndef MSA_BASE_CPU_H
#define MSA_BASE_CPU_H

#include "msa/msa.h"

/* The CPU's own name, or the architecture's where it has none. Static storage. */
const char *cpu_model_name(void);

#endif
