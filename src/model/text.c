/* text.c: the public calls about text: tokens, streams, chat. */
#include "model/model.h"

#include <string.h>

#include "base/bytes.h"
#include "base/mem.h"
#include "model/text_stream.h"

void msa_tokens_free(msa_tokens *tokens) {
    if (!tokens) return;
    mem_free(tokens->ids);
    *tokens = (msa_tokens){0};
}

void msa_text_free(char *text) {
    mem_free(text);
}

msa_status msa_tokenize(const msa_model *model, const char *text, size_t n_bytes, int flags,
                        msa_tokens *out, msa_error *err) {
    if (!model || !out) return error_set(err, MSA_E_ARG, "model and out must not be NULL");
    return tokenizer_encode(model->tokenizer, text, n_bytes, flags, out, err);
}

msa_status msa_detokenize(const msa_model *model, const int32_t *ids, size_t n, int flags,
                          char **text, size_t *n_bytes, msa_error *err) {
    if (!model || !text || (!ids && n))
        return error_set(err, MSA_E_ARG, "model, ids and text must not be NULL");
    *text = NULL;
    return tokenizer_decode_all(model->tokenizer, ids, n, flags, text, n_bytes, err);
}

int msa_token_is_end(const msa_model *model, int32_t id) {
    return model && tokenizer_is_end(model->tokenizer, id);
}

msa_status msa_text_stream_create(msa_text_stream **s, const msa_model *model, msa_error *err) {
    if (!s || !model) return error_set(err, MSA_E_ARG, "s and model must not be NULL");
    return text_stream_create(s, model->tokenizer, err);
}

/* The text of a token, whole, or "". */
static vocab_text name_of(const tokenizer *t, int32_t id) {
    vocab_text text = {"", 0};
    if (id >= 0) (void)tokenizer_decode(t, id, MSA_PARSE_SPECIAL, &text, NULL);
    return text;
}

msa_status msa_chat_format(const msa_model *model, const msa_chat_message *messages, size_t n,
                           int add_generation_prompt, char **text, msa_error *err) {
    if (!model || !text) return error_set(err, MSA_E_ARG, "model and text must not be NULL");
    *text = NULL;
    const tokenizer *t = model->tokenizer;
    return chat_format(&model->chat, messages, n, add_generation_prompt != 0,
                       name_of(t, tokenizer_bos(t)), name_of(t, tokenizer_eos(t)), text, err);
}

/* `opening` is put behind `text`, and is text of a message too. */
static msa_status add_opening(const char *opening, bytes *text, bytes *ranges, msa_error *err) {
    tokenizer_range range = {text->n, text->n + strlen(opening)};
    bytes_append_text(text, opening);
    bytes_append(ranges, &range, sizeof range);
    if (!text->failed && !ranges->failed) return MSA_OK;
    return error_set(err, MSA_E_NOMEM, "no memory to format a conversation");
}

msa_status msa_chat_tokenize(const msa_model *model, const msa_chat_message *messages, size_t n,
                             const char *opening, msa_tokens *out, msa_error *err) {
    if (!model || !out) return error_set(err, MSA_E_ARG, "model and out must not be NULL");
    const tokenizer *t = model->tokenizer;
    bytes text = {0}, ranges = {0};
    msa_status status =
        chat_format_ranges(&model->chat, messages, n, true, name_of(t, tokenizer_bos(t)),
                           name_of(t, tokenizer_eos(t)), &text, &ranges, err);
    if (status != MSA_OK) return status;
    if (opening) status = add_opening(opening, &text, &ranges, err);
    if (status == MSA_OK)
        status = tokenizer_encode_around(t, text.data, text.n, MSA_PARSE_SPECIAL,
                                         (const tokenizer_range *)(const void *)ranges.data,
                                         ranges.n / sizeof(tokenizer_range), out, err);
    bytes_free(&text);
    bytes_free(&ranges);
    return status;
}
