/* ledger.c: see ledger.h. */
#include "eval/ledger.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#include "base/file.h"

/* Ends with the process, however that ends. It is flock's and not fcntl's, which any other close of
 * the file, that of a mapping too, would end. */
static msa_status lock(ledger *l, msa_error *err) {
    if (flock(l->log.fd, LOCK_EX | LOCK_NB) == 0) return MSA_OK;
    if (errno != EWOULDBLOCK) return MSA_OK; /* a file system without locks */
    return error_set(err, MSA_E_IO, "another evaluation is writing '%s'", l->path);
}

/* ---- reading --------------------------------------------------------------------------------- */

static void describe(const json_t *value, char out[80]) {
    size_t n = value ? json_dumpb(value, out, 79, JSON_ENCODE_ANY) : 0;
    if (n > 0 && n <= 79)
        out[n] = 0;
    else
        strcpy(out, value ? "something longer" : "nothing");
}

static msa_status compare(const ledger *l, json_t *found, const json_t *expected, msa_error *err) {
    const char *key;
    json_t *value;
    if (!json_is_object(found) || !json_object_get(found, "msa_eval"))
        return error_set(err, MSA_E_FORMAT,
                         "'%s' is no file of answers: its first line has no \"msa_eval\"", l->path);
    json_object_foreach((json_t *)expected, key, value) {
        char was[80], is[80];
        json_t *other = json_object_get(found, key);
        if (json_equal(value, other)) continue;
        describe(other, was), describe(value, is);
        return error_set(err, MSA_E_FORMAT,
                         "'%s' holds answers with %s %s, this run has %s: the two can't be mixed; "
                         "take another file or the same settings",
                         l->path, key, was, is);
    }
    return MSA_OK;
}

static msa_status read_line(const ledger *l, const char *line, size_t n, size_t number,
                            const json_t *header, ledger_take_fn *take, void *user,
                            msa_error *err) {
    msa_status status = MSA_OK;
    json_error_t why;
    json_t *record = json_loadb(line, n, JSON_REJECT_DUPLICATES, &why);
    if (!json_is_object(record))
        status = error_set(err, MSA_E_FORMAT, "'%s' is damaged: line %zu is no JSON object: %s",
                           l->path, number, record ? "it is another value" : why.text);
    else if (number == 1)
        status = compare(l, record, header, err);
    else if (!take(user, record))
        status = error_set(err, MSA_E_FORMAT,
                           "'%s' is damaged: line %zu is no answer: expected a sample and a score "
                           "from 0 to 1",
                           l->path, number);
    json_decref(record);
    return status;
}

/* *n_whole: bytes of the whole lines. */
static msa_status read_lines(const ledger *l, const file_map *map, const json_t *header,
                             ledger_take_fn *take, void *user, size_t *n_whole, msa_error *err) {
    const char *at = (const char *)map->data, *end = at + map->n_bytes;
    msa_status status = MSA_OK;
    *n_whole = 0;
    for (size_t number = 1; at < end && status == MSA_OK; number++) {
        const char *line_end = memchr(at, '\n', (size_t)(end - at));
        if (!line_end) break;
        status = read_line(l, at, (size_t)(line_end - at), number, header, take, user, err);
        at = line_end + 1;
        *n_whole = (size_t)(at - (const char *)map->data);
    }
    return status;
}

static msa_status read_file(ledger *l, const json_t *header, ledger_take_fn *take, void *user,
                            size_t *n_whole, msa_error *err) {
    file_map map;
    msa_status status = file_map_open(&map, l->path, err);
    if (status != MSA_OK) return status;
    status = read_lines(l, &map, header, take, user, n_whole, err);
    size_t n_bytes = map.n_bytes;
    static const char BEGINNING[] = "{\"msa_eval\"";
    size_t n = n_bytes < sizeof BEGINNING - 1 ? n_bytes : sizeof BEGINNING - 1;
    if (status == MSA_OK && n && memcmp(map.data, BEGINNING, n) != 0) /* keep what is not ours */
        status =
            error_set(err, MSA_E_FORMAT, "'%s' is no file of answers; it stays as it is", l->path);
    file_map_close(&map);
    if (status != MSA_OK || *n_whole == n_bytes) return status;
    if (ftruncate(l->log.fd, (off_t)*n_whole) == 0) return MSA_OK;
    return error_set(err, MSA_E_IO, "can't drop the unfinished last line of '%s': %s", l->path,
                     strerror(errno));
}

/* ---- the file -------------------------------------------------------------------------------- */

msa_status ledger_open(ledger *l, const char *path, const json_t *header, ledger_take_fn *take,
                       void *user, msa_error *err) {
    size_t n_whole = 0;
    *l = (ledger){.log = {.fd = open(path, O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC, 0666)},
                  .path = path};
    if (l->log.fd < 0)
        return error_set(err, MSA_E_IO, "can't write '%s': %s", path, strerror(errno));
    msa_status status = lock(l, err);
    if (status == MSA_OK) status = read_file(l, header, take, user, &n_whole, err);
    if (status == MSA_OK && n_whole == 0) status = ledger_write(l, json_deep_copy(header), err);
    if (status != MSA_OK) ledger_close(l);
    return status;
}

msa_status ledger_write(ledger *l, json_t *record, msa_error *err) {
    l->log.failure = 0; /* there may be room again */
    log_write(&l->log, record);
    if (!l->log.failure) return MSA_OK;
    return error_set(err, MSA_E_IO, "can't write '%s': %s", l->path, strerror(l->log.failure));
}

void ledger_close(ledger *l) {
    log_close(&l->log);
}
