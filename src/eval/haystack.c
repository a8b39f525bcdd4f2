/* haystack.c: see haystack.h. */
#include "eval/haystack.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "base/checksum.h"
#include "base/file.h"
#include "base/mem.h"
#include "train/files.h"

static bool is_blank(char c) {
    return c == ' ' || (c >= '\t' && c <= '\r');
}

static bool add_word(haystack *h, const char *word, size_t n) {
    void *starts = h->starts;
    bool room = mem_grow(&starts, &h->capacity, (size_t)h->n_words + 2, sizeof *h->starts);
    h->starts = starts;
    if (!room) return false;
    h->starts[h->n_words] = (int64_t)h->text.n;
    bytes_append(&h->text, word, n);
    bytes_append(&h->text, " ", 1);
    h->starts[++h->n_words] = (int64_t)h->text.n;
    return !h->text.failed;
}

msa_status haystack_add(haystack *h, const char *text, size_t n, msa_error *err) {
    for (size_t at = 0; at < n;) {
        size_t end = at;
        while (end < n && !is_blank(text[end])) end++;
        if (end > at && !add_word(h, text + at, end - at))
            return error_set(err, MSA_E_NOMEM, "no memory for a text of %zu bytes", n);
        at = end + 1;
    }
    return MSA_OK;
}

static msa_status add_file(haystack *h, const char *path, msa_error *err) {
    file_map map;
    msa_status status = file_map_open(&map, path, err);
    if (status != MSA_OK) return status;
    const char *text = (const char *)map.data;
    if (map.n_bytes && !memchr(text, 0, map.n_bytes))
        status = haystack_add(h, text, map.n_bytes, err);
    file_map_close(&map);
    return status;
}

msa_status haystack_open(haystack *h, const char *path, msa_error *err) {
    char *paths[] = {(char *)path};
    config_texts given = {paths, 1}, files;
    if (access(path, R_OK) != 0)
        return error_set(err, MSA_E_IO, "can't read the text '%s': %s", path, strerror(errno));
    msa_status status = files_list(&files, &given, err);
    if (status != MSA_OK) return status;
    for (int64_t i = 0; i < files.n && status == MSA_OK; i++)
        status = add_file(h, files.items[i], err);
    files_free(&files);
    if (status != MSA_OK) return status;
    if (h->n_words == 0)
        return error_set(err, MSA_E_ARG, "'%s' holds no text: expected words to hide needles in",
                         path);
    h->fingerprint = checksum_of(h->text.data, h->text.n);
    return MSA_OK;
}

void haystack_free(haystack *h) {
    bytes_free(&h->text);
    mem_free(h->starts);
    *h = (haystack){0};
}

void haystack_put(const haystack *h, int64_t word, bytes *out) {
    const int64_t *at = h->starts + word % h->n_words;
    bytes_append(out, h->text.data + at[0], (size_t)(at[1] - at[0] - 1));
}

bool haystack_ends(const haystack *h, int64_t word) {
    const int64_t *at = h->starts + word % h->n_words;
    const char *first = h->text.data + at[0], *last = h->text.data + at[1] - 2;
    while (last > first && strchr("\"')]", *last)) last--;
    return strchr(".!?", *last) != NULL;
}

int64_t haystack_beginning(const haystack *h, int64_t word) {
    for (int64_t i = 0; i < h->n_words; i++, word++)
        if (word % h->n_words == 0 || haystack_ends(h, word % h->n_words - 1)) break;
    return word % h->n_words;
}
