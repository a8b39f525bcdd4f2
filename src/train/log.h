/* log.h: the log of a run: a line of JSON for each record, each with "event" and "step". */
#ifndef MSA_TRAIN_LOG_H
#define MSA_TRAIN_LOG_H

#include <jansson.h>

#include "base/error.h"

typedef struct train_log {
    int fd;      /* -1: closed */
    int failure; /* errno of the first record that could not be written; 0: none */
} train_log;

/* Opens PATH to append to. after < 0: a new log, what was there is gone. Otherwise the run goes on
 * behind step `after`: records of later steps and half a last line are dropped first. */
msa_status log_open(train_log *l, const char *path, int64_t after, msa_error *err);
void log_close(train_log *l);

/* Writes a record and takes it over; NULL, what Jansson gives without memory, counts as a failure
 * with ENOMEM. A failure is kept, and later records are tried all the same. */
void log_write(train_log *l, json_t *record);

/* A number; null where it is none. */
json_t *log_number(double x);

#endif
