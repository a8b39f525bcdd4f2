/* export_rows.h: the numbers of one stored tensor on their way from a source to a file. For the
 * files export*.c alone. */
#ifndef MSA_MODEL_EXPORT_ROWS_H
#define MSA_MODEL_EXPORT_ROWS_H

#include "model/export.h"
#include "model/stored.h"

/* Takes the bytes of a tensor, part by part. */
typedef msa_status export_sink_fn(void *user, const void *data, size_t n_bytes, msa_error *err);

/* gguf: in the order of rows and with the offset GGUF has. */
msa_status export_rows(const export_source *source, const stored_tensor *t, bool gguf,
                       export_sink_fn *sink, void *user, msa_error *err);

#endif
