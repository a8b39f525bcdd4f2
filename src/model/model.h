/* model.h: what a loaded model is made of. Read-only once loaded; sessions and threads share it. */
#ifndef MSA_MODEL_INSIDE_H
#define MSA_MODEL_INSIDE_H

#include "base/bytes.h"
#include "model/chat.h"
#include "model/gguf.h"
#include "model/tensor_source.h"
#include "model/tokenizer.h"
#include "model/weights.h"
#include "msa/model.h"

struct msa_model {
    gguf_file *file;       /* stays mapped: the weights point into it; NULL with safetensors */
    safetensors *files;    /* the same of safetensors; NULL with GGUF */
    gguf_file *index_file; /* NULL, or where the index branch lies */
    weights *weights;
    tokenizer *tokenizer;
    chat_template chat;
    bytes chat_text;     /* the template, with safetensors; a GGUF file holds it itself */
    msa_model_info info; /* its strings are below, or static */
    char name[GGUF_PRINTABLE];
    char formats[160];
    char tokenizer_name[2 * GGUF_PRINTABLE];
};

/* Its tensors, for tensor_source_rows; the model must outlive it. */
tensor_source model_tensors(const msa_model *m);
/* The text of its chat template; data NULL where it has none. */
vocab_text model_chat_text(const msa_model *m);

#endif
