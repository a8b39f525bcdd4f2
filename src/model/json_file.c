/* json_file.c: see json_file.h. */
#include "model/json_file.h"

#include <string.h>

#include "base/file.h"
#include "base/file_out.h"
#include "base/utf8.h"

msa_status json_file_parse(json_t **out, const void *data, size_t n_bytes, size_t flags,
                           const char *name, msa_error *err) {
    json_error_t why;
    *out = json_loadb(data ? data : "", n_bytes, JSON_REJECT_DUPLICATES | flags, &why);
    if (json_is_object(*out)) return MSA_OK;
    char quoted[JSON_ERROR_TEXT_LENGTH + 64];
    if (*out) {
        json_decref(*out);
        *out = NULL;
        return error_set(err, MSA_E_FORMAT, "'%s' holds JSON, but no object {...}", name);
    }
    if (json_error_code(&why) == json_error_out_of_memory)
        return error_set(err, MSA_E_NOMEM, "no memory to read '%s'", name);
    return error_set(err, MSA_E_FORMAT, "'%s', line %d, column %d: %s", name, why.line, why.column,
                     utf8_quote(quoted, sizeof quoted, why.text, strlen(why.text)));
}

msa_status json_file_read(json_t **out, const char *path, size_t flags, msa_error *err) {
    *out = NULL;
    file_map map;
    msa_status status = file_map_open(&map, path, err);
    if (status != MSA_OK) return status;
    if (map.n_bytes > JSON_FILE_MOST)
        status = error_set(err, MSA_E_FORMAT,
                           "'%s' has %zu bytes; JSON that describes a model has at most %d", path,
                           map.n_bytes, JSON_FILE_MOST);
    else
        status = json_file_parse(out, map.data, map.n_bytes, flags, path, err);
    file_map_close(&map);
    return status;
}

static int append(const char *data, size_t n, void *user) {
    bytes *b = user;
    bytes_append(b, data, n);
    return b->failed ? -1 : 0;
}

void json_file_append(bytes *b, const json_t *value, size_t flags) {
    if (!value || json_dump_callback(value, append, b, flags) != 0) b->failed = true;
}

msa_status json_file_save(const json_t *value, const char *path, msa_error *err) {
    bytes text = {0};
    json_file_append(&text, value, JSON_INDENT(2));
    bytes_append_text(&text, "\n");
    msa_status status = text.failed
                            ? error_set(err, MSA_E_NOMEM, "no memory for the text of '%s'", path)
                            : file_out_save(path, text.data, text.n, err);
    bytes_free(&text);
    return status;
}
