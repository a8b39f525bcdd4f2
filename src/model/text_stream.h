/* text_stream.h: the text of tokens that arrive one by one, in whole UTF-8 characters. */
#ifndef MSA_MODEL_TEXT_STREAM_H
#define MSA_MODEL_TEXT_STREAM_H

#include "base/bytes.h"
#include "model/tokenizer.h"

/* Bytes that can no longer become a character go out as they are; only an unfinished end (at most 3
 * bytes) is kept back. */
struct msa_text_stream {
    const tokenizer *tokenizer; /* borrowed */
    bytes text;                 /* n_given bytes given out last time, then those kept back */
    size_t n_given;
};

msa_status text_stream_create(msa_text_stream **s, const tokenizer *t, msa_error *err);

#endif
