/* index_sum.h: the checksum of an index file (model/weights.h): of what its keys say of the branch,
 * and of its tensors in the order of the file. A number that changed on its way would select other
 * blocks, and nobody would see it. Files without the key are taken as they are. */
#ifndef MSA_MODEL_INDEX_SUM_H
#define MSA_MODEL_INDEX_SUM_H

#include "base/checksum.h"
#include "model/arch.h"

#define INDEX_SUM_KEY "msa.indexer.checksum"
enum { INDEX_SUM_TEXT = 17 };

/* Then for each tensor its name and type, and with checksum_add its bytes. */
checksum index_sum_begin(const arch *a);
void index_sum_tensor(checksum *c, const char *name, size_t n_name, uint32_t type);
/* As the key has it: 16 hex digits. */
void index_sum_text(const checksum *c, char text[INDEX_SUM_TEXT]);

#endif
