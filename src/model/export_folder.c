/* export_folder.c: the folder of export.h, as transformers loads it. */
#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/bytes.h"
#include "model/config_json.h"
#include "model/export_rows.h"
#include "model/json_file.h"
#include "model/safetensors_out.h"
#include "model/tokenizer_json.h"
#include "nn/quant.h"

static msa_status sink(void *user, const void *data, size_t n_bytes, msa_error *err) {
    return safetensors_out_data(user, data, n_bytes, err);
}

static msa_status write_tensors(const export_source *source, safetensors_out *out, uint32_t type,
                                msa_error *err) {
    stored_list list;
    msa_status status = stored_list_create(&list, source->arch, STORED_SAFETENSORS, type, err);
    for (size_t i = 0; !status && i < list.n; i++) {
        const stored_tensor *t = &list.tensors[i];
        safetensors_out_tensor(out, t->name, t->type, t->n_dims, t->shape);
    }
    if (!status) status = safetensors_out_begin_data(out, err);
    for (size_t i = 0; !status && i < list.n; i++)
        status = export_rows(source, &list.tensors[i], false, sink, out, err);
    stored_list_free(&list);
    return status ? status : safetensors_out_finish(out, err);
}

static msa_status write_config(const export_source *source, const char *folder, uint32_t type,
                               file_out_set *set, msa_error *err) {
    tokenizer_parts p = {.bos = -1, .eos = -1, .pad = -1};
    if (source->tokenizer) p = tokenizer_get_parts(source->tokenizer);
    config_json_facts facts = {.dtype = type == QUANT_F16    ? "float16"
                                        : type == QUANT_BF16 ? "bfloat16"
                                                             : "float32",
                               .bos = p.bos,
                               .eos = p.eos,
                               .pad = p.pad};
    json_t *root = config_json_create(source->arch, &facts);
    bytes path = {0}, text = {0};
    file_out *file;
    bytes_append_text(&path, folder);
    bytes_append_text(&path, "/config.json");
    bytes_terminate(&path);
    json_file_append(&text, root, JSON_INDENT(2));
    bytes_append_text(&text, "\n");
    json_decref(root);
    msa_status status = path.failed || text.failed
                            ? error_set(err, MSA_E_NOMEM, "no memory for config.json")
                            : file_out_set_add(set, &file, path.data, err);
    if (status == MSA_OK) {
        file_out_write(file, text.data, text.n);
        status = file_out_finish(file, err);
    }
    bytes_free(&path);
    bytes_free(&text);
    return status;
}

static msa_status write_files(const export_source *source, const char *folder, uint32_t type,
                              uint64_t max_bytes, msa_error *err) {
    file_out_set set = {0};
    safetensors_out *out = NULL;
    bytes template = {0}; /* of before: readers would take it for the new tokenizer's */
    bytes_append_text(&template, folder);
    bytes_append_text(&template, "/chat_template.jinja");
    bytes_terminate(&template);
    msa_status status =
        template.failed ? error_set(err, MSA_E_NOMEM, "no memory for a path") : MSA_OK;
    if (!status) status = safetensors_out_create(&out, &set, folder, max_bytes, err);
    if (!status) status = write_tensors(source, out, type, err);
    if (!status && source->tokenizer)
        status = tokenizer_to_json(source->tokenizer, source->chat.data ? &source->chat : NULL,
                                   source->arch->n_ctx_train, folder, &set, err);
    if (!status) status = write_config(source, folder, type, &set, err);
    if (!status) status = file_out_set_publish(&set, err);
    if (!status) safetensors_out_clear(out);
    if (!status && source->tokenizer) (void)unlink(template.data);
    bytes_free(&template);
    safetensors_out_free(out);
    file_out_set_free(&set);
    return status;
}

msa_status export_folder(const export_source *source, const char *folder, uint32_t type,
                         uint64_t max_bytes, msa_error *err) {
    msa_status status = export_check(source, MSA_FILE_SAFETENSORS, type, err);
    if (status != MSA_OK) return status;
    bool made = mkdir(folder, 0777) == 0;
    if (!made && errno != EEXIST)
        return error_set(err, MSA_E_IO, "can't make the folder '%s': %s", folder, strerror(errno));
    status = write_files(source, folder, type, max_bytes, err);
    if (status != MSA_OK && made) (void)rmdir(folder); /* empty again */
    return status;
}
