/* model_files.h: what a path that is given as a model stands for: a GGUF file, or a folder with
 * config.json and safetensors, named by itself or by one of its files. */
#ifndef MSA_MODEL_MODEL_FILES_H
#define MSA_MODEL_MODEL_FILES_H

#include "base/error.h"

typedef struct model_files { /* all NULL: the path itself, as GGUF */
    char *folder, *config;
    char *tensors; /* a .safetensors file or the index of several */
} model_files;

/* Told apart by content, not by name. Freed with model_files_free on every path. */
msa_status model_files_find(model_files *f, const char *path, msa_error *err);
void model_files_free(model_files *f);

#endif
