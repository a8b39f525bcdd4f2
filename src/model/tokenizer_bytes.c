/* tokenizer_bytes.c: the vocabulary of bytes. See tokenizer.h. */
#include "base/mem.h"
#include "base/utf8.h"
#include "model/byte_alphabet.h"
#include "model/tokenizer.h"

msa_status tokenizer_create_bytes(tokenizer **out, const vocab_text *names, size_t n_names,
                                  msa_error *err) {
    static const vocab_text end = {"<|endoftext|>", 13};
    if (!names) names = &end, n_names = 1;
    *out = NULL;
    size_t n = 256 + n_names;
    char spelling[256][4];
    vocab_text *tokens = mem_alloc(n, sizeof *tokens);
    int32_t *types = mem_alloc(n, sizeof *types);
    msa_status status = MSA_OK;
    if (!tokens || !types) {
        status = error_set(err, MSA_E_NOMEM, "no memory for a vocabulary of %zu tokens", n);
    } else {
        for (size_t i = 0; i < n; i++) {
            types[i] = i < 256 ? VOCAB_NORMAL : VOCAB_CONTROL;
            if (i >= 256)
                tokens[i] = names[i - 256];
            else
                tokens[i] = (vocab_text){spelling[i],
                                         utf8_encode(byte_alphabet_code((uint8_t)i), spelling[i])};
        }
        int32_t end_id = n_names ? 256 : -1;
        tokenizer_params p = {.tokens = tokens,
                              .types = types,
                              .n_tokens = n,
                              .pre = {"gpt-2", 5},
                              .bos = end_id,
                              .eos = end_id,
                              .eot = -1,
                              .unk = -1,
                              .pad = -1};
        status = tokenizer_create(out, &p, err);
    }
    mem_free(tokens);
    mem_free(types);
    return status;
}
