/* text_stream.c: see text_stream.h. */
#include "model/text_stream.h"

#include <string.h>

#include "base/mem.h"
#include "base/utf8.h"

msa_status text_stream_create(msa_text_stream **out, const tokenizer *t, msa_error *err) {
    *out = NULL;
    msa_text_stream *s = mem_calloc(1, sizeof *s);
    if (!s) return error_set(err, MSA_E_NOMEM, "no memory for a text stream");
    s->tokenizer = t;
    *out = s;
    return MSA_OK;
}

static void drop_given(msa_text_stream *s) {
    if (s->n_given) memmove(s->text.data, s->text.data + s->n_given, s->text.n - s->n_given);
    s->text.n -= s->n_given;
    s->n_given = 0;
}

static void give(msa_text_stream *s, size_t n, const char **text, size_t *n_bytes) {
    s->n_given = n;
    *text = s->text.data ? s->text.data : "";
    *n_bytes = n;
}

msa_status msa_text_stream_push(msa_text_stream *s, int32_t id, const char **text, size_t *n_bytes,
                                msa_error *err) {
    vocab_text piece = {0};
    *text = "";
    *n_bytes = 0;
    msa_status status = tokenizer_decode(s->tokenizer, id, 0, &piece, err);
    if (status != MSA_OK) return status;
    drop_given(s);
    bytes_append(&s->text, piece.data, piece.n);
    if (s->text.failed) {
        s->text.failed = false; /* what was kept back is still there */
        return error_set(err, MSA_E_NOMEM, "no memory for the text of token %d", id);
    }
    give(s, s->text.n - utf8_unfinished_tail(s->text.data, s->text.n), text, n_bytes);
    return MSA_OK;
}

void msa_text_stream_flush(msa_text_stream *s, const char **text, size_t *n_bytes) {
    drop_given(s);
    give(s, s->text.n, text, n_bytes);
}

void msa_text_stream_free(msa_text_stream *s) {
    if (!s) return;
    bytes_free(&s->text);
    mem_free(s);
}
