/* vocab.c: see vocab.h. */
#include "model/vocab.h"

#include <string.h>

#include "base/hash.h"
#include "base/mem.h"
#include "base/utf8.h"
#include "model/byte_alphabet.h"

#define MAX_TOKENS ((size_t)1 << 24)

static msa_status check_sizes(const vocab_text *tokens, const int32_t *types, size_t n,
                              size_t *n_bytes, msa_error *err) {
    if (n == 0 || n > MAX_TOKENS)
        return error_set(err, MSA_E_FORMAT, "a vocabulary has 1 to %zu tokens; this one has %zu",
                         MAX_TOKENS, n);
    for (size_t i = 0; i < n; i++) {
        if (tokens[i].n == 0)
            return error_set(err, MSA_E_FORMAT, "token %zu of the vocabulary is empty", i);
        if (!size_add(*n_bytes, tokens[i].n, n_bytes))
            return error_set(err, MSA_E_FORMAT, "the vocabulary's text does not fit memory");
        if (types && (types[i] < VOCAB_NORMAL || types[i] > VOCAB_BYTE))
            return error_set(err, MSA_E_FORMAT,
                             "token %zu of the vocabulary has type %d; types are 1 to 6", i,
                             types[i]);
    }
    return MSA_OK;
}

/* Slot of the text, or of the empty slot where it belongs. */
static size_t slot_of(const vocab *v, const char *text, size_t n) {
    size_t slot = hash_bytes(text, n) & v->mask;
    while (v->slots[slot] >= 0) {
        vocab_text other = vocab_text_of(v, v->slots[slot]);
        if (other.n == n && memcmp(other.data, text, n) == 0) break;
        slot = (slot + 1) & v->mask;
    }
    return slot;
}

/* Writes the bytes a token's text stands for, never more than the text has. A normal token is spelt
 * in the byte alphabet; one that holds anything else is literal, as are all other types. */
static size_t write_piece(char *out, vocab_text text, int type) {
    size_t used = 0;
    for (size_t i = 0; type == VOCAB_NORMAL && i < text.n;) {
        uint32_t code;
        size_t length = utf8_decode(text.data + i, text.n - i, &code);
        int byte = length ? byte_alphabet_byte(code) : -1;
        if (byte < 0) {
            used = 0;
            break;
        }
        out[used++] = (char)byte;
        i += length;
    }
    if (used == 0) memcpy(out, text.data, used = text.n);
    return used;
}

msa_status vocab_create(vocab *v, const vocab_text *tokens, const int32_t *types, size_t n,
                        msa_error *err) {
    *v = (vocab){0};
    size_t n_bytes = 0, n_slots = hash_table_slots(n <= MAX_TOKENS ? n : 0);
    msa_status status = check_sizes(tokens, types, n, &n_bytes, err);
    if (status != MSA_OK) return status;
    v->types = mem_alloc(n, 1);
    v->text = mem_alloc(n_bytes, 1);
    v->piece = mem_alloc(n_bytes, 1);
    v->text_at = mem_alloc(n + 1, sizeof *v->text_at);
    v->piece_at = mem_alloc(n + 1, sizeof *v->piece_at);
    v->slots = mem_alloc(n_slots, sizeof *v->slots);
    if (!v->types || !v->text || !v->piece || !v->text_at || !v->piece_at || !v->slots) {
        vocab_free(v);
        return error_set(err, MSA_E_NOMEM, "no memory for a vocabulary of %zu tokens", n);
    }
    memset(v->slots, 0xff, n_slots * sizeof *v->slots);
    v->mask = n_slots - 1;
    v->text_at[0] = v->piece_at[0] = 0;
    for (size_t i = 0; i < n; i++) {
        v->types[i] = (uint8_t)(types ? types[i] : VOCAB_NORMAL);
        memcpy(v->text + v->text_at[i], tokens[i].data, tokens[i].n);
        v->text_at[i + 1] = v->text_at[i] + tokens[i].n;
        v->piece_at[i + 1] =
            v->piece_at[i] + write_piece(v->piece + v->piece_at[i], tokens[i], v->types[i]);
        size_t slot = slot_of(v, tokens[i].data, tokens[i].n);
        if (v->slots[slot] >= 0) {
            char quoted[128];
            utf8_quote(quoted, sizeof quoted, tokens[i].data, tokens[i].n);
            int32_t first = v->slots[slot];
            vocab_free(v);
            return error_set(err, MSA_E_FORMAT,
                             "the vocabulary has the token '%s' twice, as %d and as %zu", quoted,
                             first, i);
        }
        v->slots[slot] = (int32_t)i;
    }
    v->n = (int32_t)n;
    return MSA_OK;
}

void vocab_free(vocab *v) {
    mem_free(v->types);
    mem_free(v->text);
    mem_free(v->piece);
    mem_free(v->text_at);
    mem_free(v->piece_at);
    mem_free(v->slots);
    *v = (vocab){0};
}

int32_t vocab_find(const vocab *v, const char *text, size_t n) {
    return v->slots[slot_of(v, text, n)];
}
