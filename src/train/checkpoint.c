/* checkpoint.c: see checkpoint.h. */
#include "train/checkpoint.h"

#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/checksum.h"
#include "base/file_out.h"
#include "base/mem.h"

#define MAGIC "MSACKPT1"
enum { VERSION = 1, PATH_SIZE = 4096, ALIGN = 64 };
#define PREFIX "checkpoint-"
#define SUFFIX ".msac"

typedef struct header {
    char magic[8];
    uint64_t version, n_state, n_config;
    int64_t n_floats, n_bias;
    uint64_t n_arch; /* 0 in the first files */
    uint64_t reserved[8];
    uint64_t checksum; /* of the header before it */
} header;
_Static_assert(sizeof(header) == 128, "the header is 128 bytes");

/* ---- writing -------------------------------------------------------------------------------- */

typedef struct writer {
    file_out *out;
    checksum sum;
} writer;

static void put(writer *w, const void *data, size_t n) {
    checksum_add(&w->sum, data, n);
    file_out_write(w->out, data, n);
}

/* Blanks up to a multiple of ALIGN: neither JSON nor lines mind them. */
static void put_padded(writer *w, const void *data, size_t n) {
    static const char BLANKS[ALIGN + 1] =
        "                                                                ";
    put(w, data, n);
    put(w, BLANKS, size_round_up(n, ALIGN) - n);
}

static void put_all(writer *w, const checkpoint *c) {
    size_t floats = (size_t)c->n_floats * sizeof(float);
    header h = {.version = VERSION,
                .n_state = sizeof c->state,
                .n_config = size_round_up(c->n_config, ALIGN),
                .n_floats = c->n_floats,
                .n_bias = c->n_bias,
                .n_arch = size_round_up(c->n_arch, ALIGN)};
    memcpy(h.magic, MAGIC, sizeof h.magic);
    h.checksum = checksum_of(&h, offsetof(header, checksum));
    put(w, &h, sizeof h);
    put_padded(w, &c->state, sizeof c->state);
    put_padded(w, c->config, c->n_config);
    put_padded(w, c->arch, c->n_arch);
    put(w, c->w, floats);
    put(w, c->m, floats);
    put(w, c->v, floats);
    if (c->n_bias) put(w, c->bias, (size_t)c->n_bias * sizeof(float));
    uint64_t sum = checksum_end(&w->sum);
    file_out_write(w->out, &sum, sizeof sum);
}

/* The step in a name, -1 where it is not a checkpoint's. */
static int64_t step_of(const char *name) {
    char *end;
    if (strncmp(name, PREFIX, sizeof PREFIX - 1) != 0) return -1;
    const char *digits = name + sizeof PREFIX - 1;
    errno = 0;
    long long step = strtoll(digits, &end, 10);
    if (end == digits || errno || digits[0] < '0' || digits[0] > '9') return -1;
    return strcmp(end, SUFFIX) == 0 ? step : -1;
}

enum { NAME_SIZE = 256 };

/* The newest step below `below`; -1: none. name: of its file, whose step may be written without
 * zeros in front. */
static int64_t newest_below(const char *folder, int64_t below, char name[NAME_SIZE]) {
    int64_t best = -1;
    DIR *d = opendir(folder);
    if (!d) return -1;
    for (struct dirent *e; (e = readdir(d));) {
        int64_t step = step_of(e->d_name);
        if (step < best || step < 0 || step >= below) continue;
        if (step == best && strcmp(e->d_name, name) > 0) continue;
        best = step;
        snprintf(name, NAME_SIZE, "%s", e->d_name);
    }
    closedir(d);
    return best;
}

int64_t checkpoint_newest_step(const char *folder) {
    char name[NAME_SIZE];
    return newest_below(folder, INT64_MAX, name);
}

static void path_of(char *path, size_t size, const char *folder, int64_t step) {
    snprintf(path, size, "%s/" PREFIX "%09" PRId64 SUFFIX, folder, step);
}

/* All but the newest `keep`. What can't be removed does no harm. */
static void remove_old(const char *folder, int64_t keep) {
    int64_t oldest = INT64_MAX;
    char name[NAME_SIZE];
    for (int64_t i = 0; i < keep && oldest >= 0; i++) oldest = newest_below(folder, oldest, name);
    DIR *d = oldest < 0 ? NULL : opendir(folder);
    if (!d) return;
    for (struct dirent *e; (e = readdir(d));) {
        char path[PATH_SIZE];
        int64_t step = step_of(e->d_name);
        if (step < 0 || step >= oldest) continue;
        if (snprintf(path, sizeof path, "%s/%s", folder, e->d_name) < PATH_SIZE) unlink(path);
    }
    closedir(d);
}

msa_status checkpoint_write(const char *folder, const checkpoint *c, int64_t keep, char *path,
                            size_t path_size, msa_error *err) {
    writer w = {.sum = checksum_begin()};
    path_of(path, path_size, folder, c->state.step);
    msa_status status = file_out_create(&w.out, path, err);
    if (status == MSA_OK) {
        put_all(&w, c);
        status = file_out_finish(w.out, err);
    }
    if (status == MSA_OK) status = file_out_publish(w.out, err);
    file_out_free(w.out);
    if (status == MSA_OK) remove_old(folder, keep);
    return status == MSA_OK ? MSA_OK : error_prefix(err, status, "checkpoint: ");
}

/* ---- reading -------------------------------------------------------------------------------- */

static msa_status damaged(const char *name, const char *what, msa_error *err) {
    return error_set(err, MSA_E_FORMAT, "'%.200s' is no whole checkpoint: %s", name, what);
}

/* Of everything behind the header; false where the counts can't be. */
static bool body_bytes(const header *h, size_t *n) {
    size_t floats, bias;
    uint64_t most = (uint64_t)1 << 48;
    if (h->n_floats < 1 || h->n_bias < 0) return false;
    if (h->n_config > most || h->n_config % ALIGN || h->n_arch > most || h->n_arch % ALIGN)
        return false;
    if ((uint64_t)h->n_floats > most || (uint64_t)h->n_bias > most) return false;
    if (!size_mul((size_t)h->n_floats, 3 * sizeof(float), &floats)) return false;
    if (!size_mul((size_t)h->n_bias, sizeof(float), &bias)) return false;
    *n = size_round_up(sizeof(train_state), ALIGN);
    return size_add(*n, h->n_config, n) && size_add(*n, h->n_arch, n) && size_add(*n, floats, n) &&
           size_add(*n, bias, n) && size_add(*n, sizeof(uint64_t), n);
}

static bool state_is_sane(const train_state *s) {
    return s->step >= 0 && s->tokens >= 0 && s->main_steps >= 0 && s->index_steps >= 0 &&
           s->main_steps <= s->step && s->index_steps <= s->step;
}

msa_status checkpoint_check(checkpoint *c, const uint8_t *data, size_t n_bytes, const char *name,
                            msa_error *err) {
    header h;
    size_t body;
    uint64_t sum;
    *c = (checkpoint){0};
    if (n_bytes < sizeof h) return damaged(name, "it is shorter than its header", err);
    memcpy(&h, data, sizeof h);
    if (memcmp(h.magic, MAGIC, sizeof h.magic) != 0)
        return damaged(name, "it does not begin like one", err);
    if (checksum_of(&h, offsetof(header, checksum)) != h.checksum)
        return damaged(name, "the checksum of its header is another", err);
    if (h.version != VERSION || h.n_state != sizeof c->state)
        return error_set(err, MSA_E_UNSUPPORTED,
                         "'%.200s' is a checkpoint of version %" PRIu64 "; this is version %d: "
                         "resume it with the release that made it",
                         name, h.version, VERSION);
    if (!body_bytes(&h, &body)) return damaged(name, "its counts can't be", err);
    if (body != n_bytes - sizeof h) return damaged(name, "its size contradicts its counts", err);
    memcpy(&sum, data + n_bytes - sizeof sum, sizeof sum);
    if (checksum_of(data, n_bytes - sizeof sum) != sum)
        return damaged(name, "its checksum is another", err);
    const uint8_t *at = data + sizeof h;
    memcpy(&c->state, at, sizeof c->state);
    if (!state_is_sane(&c->state)) return damaged(name, "its counters can't be", err);
    at += size_round_up(sizeof c->state, ALIGN);
    c->config = (const char *)at, c->n_config = (size_t)h.n_config;
    at += h.n_config;
    c->arch = (const char *)at, c->n_arch = (size_t)h.n_arch;
    c->w = (const float *)(const void *)(at + h.n_arch);
    c->m = c->w + h.n_floats;
    c->v = c->m + h.n_floats;
    c->bias = c->v + h.n_floats;
    c->n_floats = h.n_floats, c->n_bias = h.n_bias;
    return MSA_OK;
}

/* So that it is not taken for the newest again, and no good one is removed in its favour. True
 * where it has another name now. */
static bool set_aside(const char *path, checkpoint_note *note, void *user, const msa_error *why) {
    char aside[PATH_SIZE + 16], text[sizeof why->text + 64];
    snprintf(aside, sizeof aside, "%s.damaged", path);
    bool moved = rename(path, aside) == 0;
    snprintf(text, sizeof text, "%s%s", why->text, moved ? "; set aside as *.damaged" : "");
    if (note) note(user, text);
    return moved;
}

/* The newest is found, and old ones are removed, by name. */
static msa_status refuse_name(checkpoint *c, const char *path, msa_error *err) {
    int64_t step = c->state.step;
    checkpoint_close(c);
    return error_set(err, MSA_E_ARG,
                     "checkpoint: '%.200s' is of step %" PRId64 "; expected it to be called " PREFIX
                     "%09" PRId64 SUFFIX,
                     path, step, step);
}

msa_status checkpoint_open_newest(checkpoint *c, const char *folder, bool *found,
                                  checkpoint_note *note, void *user, msa_error *err) {
    *c = (checkpoint){0};
    *found = false;
    int64_t below = INT64_MAX;
    for (;;) {
        char path[PATH_SIZE], name[NAME_SIZE];
        file_map map;
        msa_error why;
        int64_t step = newest_below(folder, below, name);
        if (step < 0) return MSA_OK;
        snprintf(path, sizeof path, "%.3800s/%s", folder, name);
        msa_status status = file_map_open(&map, path, err);
        if (status != MSA_OK) return error_prefix(err, status, "checkpoint: ");
        status = checkpoint_check(c, map.data, map.n_bytes, path, &why);
        c->map = map;
        if (status == MSA_OK) {
            *found = c->state.step == step;
            return *found ? MSA_OK : refuse_name(c, path, err);
        }
        checkpoint_close(c);
        if (status == MSA_E_UNSUPPORTED) return error_set(err, status, "%s", why.text);
        if (!set_aside(path, note, user, &why)) below = step; /* else another of this step may be */
    }
}

void checkpoint_close(checkpoint *c) {
    if (c->map.data) file_map_close(&c->map);
    *c = (checkpoint){0};
}
