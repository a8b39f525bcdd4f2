/* tokenizer_folder.c: the tokenizer's files of a folder, read. See tokenizer_json.h. */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "base/mem.h"
#include "model/json_file.h"
#include "model/tokenizer_json.h"

/* folder/name; NULL where there is no memory. */
static char *path_of(const char *folder, const char *name) {
    size_t n = strlen(folder) + strlen(name) + 2;
    char *path = mem_alloc(n, 1);
    if (path) snprintf(path, n, "%s/%s", folder, name);
    return path;
}

/* NULL, and MSA_OK, where there is no such file and it may be missing. */
static msa_status read_json(json_t **out, const char *folder, const char *name, bool required,
                            size_t flags, msa_error *err) {
    char *path = path_of(folder, name);
    *out = NULL;
    if (!path) return error_set(err, MSA_E_NOMEM, "no memory to open %s", name);
    msa_status status =
        required || access(path, F_OK) == 0 ? json_file_read(out, path, flags, err) : MSA_OK;
    mem_free(path);
    return status;
}

/* "chat_template" is a text, or a list of named ones. */
static const json_t *find_template(const json_t *settings) {
    const json_t *value = json_object_get(settings, "chat_template"), *entry;
    size_t i;
    if (json_is_string(value)) return value;
    json_array_foreach((json_t *)value, i, entry) {
        const char *name = json_string_value(json_object_get(entry, "name"));
        const json_t *text = json_object_get(entry, "template");
        if (name && strcmp(name, "default") == 0 && json_is_string(text)) return text;
    }
    return NULL;
}

static msa_status read_chat(bytes *chat, const json_t *settings, const char *folder,
                            msa_error *err) {
    const json_t *text = find_template(settings);
    msa_status status = MSA_OK;
    char *path = path_of(folder, "chat_template.jinja");
    if (!path) return error_set(err, MSA_E_NOMEM, "no memory for the chat template");
    if (access(path, F_OK) == 0) {
        file_map map;
        status = file_map_open(&map, path, err);
        if (status == MSA_OK) {
            bytes_append(chat, map.data, map.n_bytes);
            file_map_close(&map);
        }
    } else if (text) {
        bytes_append(chat, json_string_value(text), json_string_length(text));
    }
    mem_free(path);
    if (chat->failed) return error_set(err, MSA_E_NOMEM, "no memory for the chat template");
    return status;
}

msa_status tokenizer_from_json(tokenizer **t, bytes *chat, const char *folder, int32_t n_vocab,
                               msa_error *err) {
    json_t *root = NULL, *settings = NULL, *config = NULL, *generation = NULL;
    *t = NULL;
    *chat = (bytes){0};
    msa_status status = read_json(&root, folder, "tokenizer.json", true, 0, err);
    if (!status) /* where no number is read, and model_max_length is often 10^30 */
        status = read_json(&settings, folder, "tokenizer_config.json", false,
                           JSON_DECODE_INT_AS_REAL, err);
    if (!status) status = read_json(&config, folder, "config.json", false, 0, err);
    if (!status) status = read_json(&generation, folder, "generation_config.json", false, 0, err);
    if (!status) status = read_chat(chat, settings, folder, err);
    if (!status) {
        tokenizer_jsons from = {root, settings, config, generation};
        status = tokenizer_parse_json(t, &from, n_vocab, err);
        if (status != MSA_OK) error_prefix(err, status, "'%s/tokenizer.json': ", folder);
    }
    json_decref(root);
    json_decref(settings);
    json_decref(config);
    json_decref(generation);
    if (status != MSA_OK) bytes_free(chat);
    return status;
}
