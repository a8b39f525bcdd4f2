/* model.h: what a loaded model is made of. Read-only once loaded; sessions and threads share it. */
#ifndef MSA_MODEL_INSIDE_H
#define MSA_MODEL_INSIDE_H

#include "model/chat.h"
#include "model/gguf.h"
#include "model/tokenizer.h"
#include "model/weights.h"
#include "msa/model.h"

struct msa_model {
    gguf_file *file;       /* stays mapped: the weights point into it */
    gguf_file *index_file; /* NULL, or where the index branch lies */
    weights *weights;
    tokenizer *tokenizer;
    chat_template chat;
    msa_model_info info; /* its strings are below, or static */
    char name[GGUF_PRINTABLE];
    char formats[160];
    char tokenizer_name[2 * GGUF_PRINTABLE];
};

#endif
