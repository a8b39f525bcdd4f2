/* checkpoint.h: everything a run needs to go on bit for bit, in one file.
 *
 *   header    magic "MSACKPT1", version, sizes of what follows, its own checksum (128 bytes)
 *   state     train_state
 *   config    canonical JSON, padded with blanks to a multiple of 64
 *   arch      lines of arch_text.h, padded likewise
 *   w, m, v   f32 [n_floats] each: weights and AdamW's moments
 *   bias      f32 [n_bias] of the routers
 *   checksum  of all before it
 *
 * Little-endian. It is written under another name, flushed and renamed, so a file called
 * checkpoint-STEP.msac was once whole; it is checked anyway when it is read. The newest `keep`
 * stay. */
#ifndef MSA_TRAIN_CHECKPOINT_H
#define MSA_TRAIN_CHECKPOINT_H

#include "base/file.h"
#include "train/config.h"

/* What a step has to remember besides arrays; only numbers, all 64 bits wide. */
typedef struct train_average {
    double mean;
    int64_t n;
} train_average;

typedef struct train_state {
    int64_t step;                       /* done so far */
    int64_t tokens;                     /* learnt from so far */
    int64_t main_steps, index_steps;    /* of AdamW, for its bias correction */
    double seconds;                     /* spent so far */
    train_average grad, index_grad, kl; /* what a spike is measured against */
    uint64_t data;                      /* fingerprint of the texts */
} train_state;

typedef struct checkpoint {
    train_state state;
    const char *config, *arch; /* [n_config], [n_arch]; no arch in files of earlier releases */
    size_t n_config, n_arch;
    int64_t n_floats, n_bias;
    const float *w, *m, *v, *bias;
    file_map map; /* of what was opened; zeros otherwise */
} checkpoint;

/* Writes FOLDER/checkpoint-STEP.msac, then removes all but the newest `keep`. After MSA_E_IO (a
 * full disk, ...) what was there before is there still. `path` gets the name. */
msa_status checkpoint_write(const char *folder, const checkpoint *c, int64_t keep, char *path,
                            size_t path_size, msa_error *err);

/* The bytes of a file, at a multiple of 64; all of them are checked. MSA_E_FORMAT says what is
 * wrong. The pointers lead into them. */
msa_status checkpoint_check(checkpoint *c, const uint8_t *data, size_t n_bytes, const char *name,
                            msa_error *err);

/* The step of the newest file of such a name, whole or not; -1: none. */
int64_t checkpoint_newest_step(const char *folder);

/* Called for each file that is passed over, with the reason. */
typedef void checkpoint_note(void *user, const char *text);
/* Maps the newest that is whole. *found is false where there is none. Damaged ones are named to
 * `note` and renamed to *.damaged; one that can't be read at all is MSA_E_IO, one whose name says
 * another step MSA_E_ARG. A step in a name may lack the zeros in front. */
msa_status checkpoint_open_newest(checkpoint *c, const char *folder, bool *found,
                                  checkpoint_note *note, void *user, msa_error *err);
void checkpoint_close(checkpoint *c);

#endif
