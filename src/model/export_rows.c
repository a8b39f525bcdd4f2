/* export_rows.c: see export_rows.h. */
#include "model/export_rows.h"

#include <string.h>

#include "base/mem.h"
#include "model/narrow.h"
#include "nn/quant.h"

enum { PART = 1 << 18 }; /* floats at a time, or one row where that is more */

typedef struct stream {
    const export_source *source;
    const stored_tensor *t;
    bool gguf;
    int64_t n_part; /* rows at a time */
    float *wide, *moved;
    void *narrow;
    export_sink_fn *sink;
    void *user;
    msa_error *err;
} stream;

/* n rows of the stored order into s->wide. */
static msa_status fetch(stream *s, const tensor_spec *spec, int64_t row, int64_t n) {
    const export_source *from = s->source;
    int32_t head = s->gguf ? stored_permuted_head(from->arch, spec->role) : 0;
    if (!head) return from->rows(from->user, spec, row, n, s->wide, s->err);
    msa_status status = MSA_OK;
    if (tensor_is_vector(spec->role)) {
        status = from->rows(from->user, spec, 0, 1, s->moved, s->err);
        for (int64_t i = 0; i < spec->n_in && !status; i++)
            s->wide[i] = s->moved[stored_row_from_gguf(from->arch, head, i)];
        return status;
    }
    for (int64_t i = 0; i < n && !status; i++)
        status = from->rows(from->user, spec, stored_row_from_gguf(from->arch, head, row + i), 1,
                            s->wide + i * spec->n_in, s->err);
    return status;
}

static msa_status run_spec(stream *s, const tensor_spec *spec) {
    float offset = s->gguf ? stored_gguf_offset(s->source->arch, spec->role) : 0;
    size_t row_bytes = quant_row_bytes(s->t->type, spec->n_in);
    for (int64_t row = 0; row < spec->n_out; row += s->n_part) {
        int64_t n = spec->n_out - row < s->n_part ? spec->n_out - row : s->n_part;
        msa_status status = fetch(s, spec, row, n);
        if (status != MSA_OK) return status;
        for (int64_t i = 0; offset != 0 && i < n * spec->n_in; i++) s->wide[i] += offset;
        int64_t lost = narrow_find_lost(s->t->type, s->wide, n * spec->n_in);
        if (lost >= 0)
            return error_set(s->err, MSA_E_UNSUPPORTED,
                             "tensor '%s' holds %g, which %s can't; write it as F32", s->t->name,
                             (double)s->wide[lost], quant_format_find(s->t->type)->name);
        for (int64_t i = 0; i < n; i++)
            narrow_row(s->t->type, s->wide + i * spec->n_in, spec->n_in,
                       (uint8_t *)s->narrow + (size_t)i * row_bytes);
        status = s->sink(s->user, s->narrow, (size_t)n * row_bytes, s->err);
        if (status != MSA_OK) return status;
    }
    return MSA_OK;
}

static msa_status run(stream *s) {
    const stored_tensor *t = s->t;
    for (int32_t e = 0; e < (t->n_experts ? t->n_experts : 1); e++)
        for (int r = 0; r < t->n_roles; r++) {
            tensor_spec spec =
                tensor_spec_of(s->source->arch, t->roles[r], t->layer, t->n_experts ? e : -1);
            msa_status status = run_spec(s, &spec);
            if (status != MSA_OK) return status;
        }
    return MSA_OK;
}

msa_status export_rows(const export_source *source, const stored_tensor *t, bool gguf,
                       export_sink_fn *sink, void *user, msa_error *err) {
    int64_t n_in = (int64_t)t->shape[t->n_dims - 1];
    stream s = {.source = source, .t = t, .gguf = gguf, .sink = sink, .user = user, .err = err};
    s.n_part = n_in < PART ? PART / n_in : 1;
    s.wide = mem_alloc((size_t)(s.n_part * n_in), sizeof *s.wide);
    s.moved = mem_alloc((size_t)n_in, sizeof *s.moved);
    s.narrow = mem_alloc((size_t)s.n_part, quant_row_bytes(t->type, n_in));
    msa_status status = s.wide && s.moved && s.narrow
                            ? run(&s)
                            : error_set(err, MSA_E_NOMEM, "no memory to write '%s'", t->name);
    mem_free(s.wide);
    mem_free(s.moved);
    mem_free(s.narrow);
    return status;
}
