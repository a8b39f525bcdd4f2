/* stamp.c: see stamp.h. */
#include "eval/stamp.h"

#include "base/hash.h"
#include "base/mem.h"
#include "model/model.h"

static msa_status add_row(tensor_source *source, const tensor_spec *spec, uint64_t *stamp,
                          msa_error *err) {
    float *row = mem_alloc((size_t)spec->n_in, sizeof *row);
    if (!row) return error_set(err, MSA_E_NOMEM, "no memory to look at the model");
    msa_status status = tensor_source_rows(source, spec, spec->n_out / 2, 1, row, err);
    if (status == MSA_OK)
        *stamp = hash_u64(*stamp ^ hash_bytes(row, (size_t)spec->n_in * sizeof *row));
    mem_free(row);
    return status;
}

msa_status stamp_model(const msa_model *model, uint64_t *stamp, msa_error *err) {
    tensor_source source = model_tensors(model);
    tensor_list list;
    *stamp = 0;
    msa_status status = tensor_list_create(&list, source.arch, err);
    if (status != MSA_OK) return status;
    for (int64_t i = 0; i < list.n && status == MSA_OK; i++)
        status = add_row(&source, &list.specs[i], stamp, err);
    tensor_list_free(&list);
    return status;
}
