/* ledger.h: answers that outlive the process: lines of JSON, the first of which says what the
 * others depend on. A line is written whole; half a line, from a full disk or a power cut, is
 * dropped when the file is opened again. */
#ifndef MSA_EVAL_LEDGER_H
#define MSA_EVAL_LEDGER_H

#include <stdbool.h>

#include "train/log.h"

typedef struct ledger { /* closed: {.log = {.fd = -1}} */
    train_log log;
    const char *path;
} ledger;

/* Called with every record of an opened file; false where it can't be one. */
typedef bool ledger_take_fn(void *user, const json_t *record);

/* Opens the file, or begins it with `header`. One ledger at a time may hold it. MSA_E_FORMAT where
 * it is no such file, a line of it is none, or its header differs: the text says in what. `path`
 * must outlive it. */
msa_status ledger_open(ledger *l, const char *path, const json_t *header, ledger_take_fn *take,
                       void *user, msa_error *err);
/* Takes over the record. MSA_E_IO where it can't be written; the next may be tried all the same. */
msa_status ledger_write(ledger *l, json_t *record, msa_error *err);
void ledger_close(ledger *l);

#endif
