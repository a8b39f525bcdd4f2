/* files.h: the files that a list of files and directories stands for. */
#ifndef MSA_TRAIN_FILES_H
#define MSA_TRAIN_FILES_H

#include "train/config.h"

/* Directories give the regular files below them, sorted by name, hidden ones and links to
 * directories left out. Nothing is read. MSA_E_IO names a path that is not there, MSA_E_ARG one
 * that holds no file. On failure *out is empty. */
msa_status files_list(config_texts *out, const config_texts *paths, msa_error *err);
void files_free(config_texts *files);

#endif
