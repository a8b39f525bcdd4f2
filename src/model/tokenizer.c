/* tokenizer.c: see tokenizer.h.
 *
 * A text is cut at special tokens, then into words, and each word is merged. Real texts repeat
 * their words, so a call remembers where in its own output the tokens of recent words stand. */
#include "model/tokenizer.h"

#include <string.h>

#include "base/bytes.h"
#include "base/hash.h"
#include "base/mem.h"
#include "base/utf8.h"
#include "model/bpe.h"
#include "model/byte_alphabet.h"
#include "model/pretok.h"
#include "model/specials.h"

#define MAX_ENDS 16

struct tokenizer {
    vocab vocab;
    bpe bpe;
    pretok *pretok;
    specials user, all; /* seen always; seen with MSA_PARSE_SPECIAL */
    int32_t bos, eos, eot, unk, pad, ends[MAX_ENDS];
    int n_ends;
    bool add_bos, add_eos, ignore_merges, nfc;
};

/* How models of the supported families spell the end of a text, a turn or a message. */
static const char *const end_names[] = {"<|endoftext|>",   "<|im_end|>", "<|eot_id|>", "<|eom_id|>",
                                        "<|end_of_text|>", "<|end|>",    "</s>"};

static void add_end(tokenizer *t, int32_t id) {
    if (id < 0 || tokenizer_is_end(t, id)) return;
    if (t->n_ends < MAX_ENDS) t->ends[t->n_ends++] = id;
}

static msa_status set_special_ids(tokenizer *t, const tokenizer_params *p, msa_error *err) {
    const struct {
        const char *name;
        int32_t id;
    } ids[] = {{"begin-of-text", p->bos},
               {"end-of-text", p->eos},
               {"end-of-turn", p->eot},
               {"unknown", p->unk},
               {"padding", p->pad}};
    for (size_t i = 0; i < sizeof ids / sizeof *ids; i++)
        if (ids[i].id < -1 || ids[i].id >= t->vocab.n)
            return error_set(err, MSA_E_FORMAT, "the %s token is %d, but the vocabulary ends at %d",
                             ids[i].name, ids[i].id, t->vocab.n - 1);
    t->bos = p->bos;
    t->eos = p->eos;
    t->eot = p->eot;
    t->unk = p->unk;
    t->pad = p->pad;
    t->add_bos = p->add_bos < 0 ? pretok_adds_bos(t->pretok) : p->add_bos != 0;
    t->add_eos = p->add_eos > 0;
    if ((t->add_bos && p->bos < 0) || (t->add_eos && p->eos < 0))
        return error_set(err, MSA_E_FORMAT,
                         "texts should %s with the %s token, but the vocabulary names none",
                         t->add_bos && p->bos < 0 ? "begin" : "end",
                         t->add_bos && p->bos < 0 ? "begin-of-text" : "end-of-text");
    add_end(t, p->eos);
    add_end(t, p->eot);
    for (size_t i = 0; i < sizeof end_names / sizeof *end_names; i++) {
        int32_t id = vocab_find(&t->vocab, end_names[i], strlen(end_names[i]));
        if (id >= 0 && t->vocab.types[id] != VOCAB_NORMAL) add_end(t, id);
    }
    return MSA_OK;
}

msa_status tokenizer_create(tokenizer **out, const tokenizer_params *p, msa_error *err) {
    *out = NULL;
    tokenizer *t = mem_calloc(1, sizeof *t);
    if (!t) return error_set(err, MSA_E_NOMEM, "no memory for the tokenizer");
    msa_status status = pretok_create(&t->pretok, p->pre.data, p->pre.n, err);
    if (status == MSA_OK) status = vocab_create(&t->vocab, p->tokens, p->types, p->n_tokens, err);
    if (status == MSA_OK) status = bpe_create(&t->bpe, &t->vocab, p->merges, p->n_merges, err);
    if (status == MSA_OK) status = set_special_ids(t, p, err);
    if (status == MSA_OK) status = specials_create(&t->user, &t->vocab, false, err);
    if (status == MSA_OK) status = specials_create(&t->all, &t->vocab, true, err);
    if (status != MSA_OK) {
        tokenizer_free(t);
        return status;
    }
    t->ignore_merges =
        p->ignore_merges < 0 ? pretok_ignores_merges(t->pretok) : p->ignore_merges != 0;
    t->nfc = p->nfc;
    *out = t;
    return MSA_OK;
}

void tokenizer_free(tokenizer *t) {
    if (!t) return;
    specials_free(&t->user);
    specials_free(&t->all);
    pretok_free(t->pretok);
    bpe_free(&t->bpe);
    vocab_free(&t->vocab);
    mem_free(t);
}

/* Where the tokens of a word stand in the output of this call. */
typedef struct word_memo {
    size_t text_at, token_at;
    uint32_t n_text, n_tokens; /* n_text 0: empty */
} word_memo;

typedef struct encoding { /* one call's state */
    const tokenizer *t;
    const char *text;
    msa_tokens *out;
    pretok_walk walk;
    bpe_work work;
    bytes spelling; /* of a word in the byte alphabet */
    word_memo *memo;
    size_t memo_mask;
    const tokenizer_range *plain, *plain_end; /* those not behind us */
} encoding;

/* Id of the token that is the whole word, or -1. */
static int32_t whole_word(encoding *e, const char *word, size_t n) {
    e->spelling.n = 0;
    for (size_t i = 0; i < n; i++) {
        char code[4];
        bytes_append(&e->spelling, code, utf8_encode(byte_alphabet_code((uint8_t)word[i]), code));
    }
    if (e->spelling.failed) return -1;
    int32_t id = vocab_find(&e->t->vocab, e->spelling.data, e->spelling.n);
    return id >= 0 && e->t->vocab.types[id] == VOCAB_NORMAL ? id : -1;
}

static bool encode_word(encoding *e, const char *word, size_t n) {
    word_memo *memo = &e->memo[hash_bytes(word, n) & e->memo_mask];
    if (memo->n_text == n && memcmp(e->text + memo->text_at, word, n) == 0) {
        if (!bpe_reserve(e->out, memo->n_tokens)) return false;
        memcpy(e->out->ids + e->out->n, e->out->ids + memo->token_at,
               memo->n_tokens * sizeof *e->out->ids);
        e->out->n += memo->n_tokens;
        return true;
    }
    size_t first = e->out->n, replaced = e->out->n_replaced;
    int32_t whole = e->t->ignore_merges ? whole_word(e, word, n) : -1;
    if (e->spelling.failed) return false;
    if (whole >= 0) {
        if (!bpe_reserve(e->out, 1)) return false;
        e->out->ids[e->out->n++] = whole;
    } else if (!bpe_encode(&e->t->bpe, &e->work, word, n, e->out)) {
        return false;
    }
    if (n <= 64 && replaced == e->out->n_replaced)
        *memo = (word_memo){(size_t)(word - e->text), first, (uint32_t)n,
                            (uint32_t)(e->out->n - first)};
    return true;
}

static msa_status encode_words(encoding *e, size_t start, size_t end, msa_error *err) {
    pretok_walk_text(&e->walk, e->text + start, end - start);
    for (;;) {
        size_t at, n;
        msa_status status = pretok_walk_next(&e->walk, &at, &n, err);
        if (status != MSA_OK || n == 0) return status;
        if (!encode_word(e, e->text + start + at, n))
            return error_set(err, MSA_E_NOMEM, "no memory to tokenize a word of %zu bytes", n);
    }
}

static bool reaches_plain(encoding *e, specials_match match) {
    while (e->plain < e->plain_end && e->plain->to <= match.start) e->plain++;
    return e->plain < e->plain_end && e->plain->from < match.end;
}

/* The first special token from `at` on. Where a hidden one does not count, a shorter one that is
 * always seen may begin. */
static specials_match next_special(encoding *e, const specials *seen, size_t at, size_t n) {
    for (;; at++) {
        specials_match match = specials_find(seen, e->text, at, n);
        if (match.id < 0 || !vocab_is_hidden(&e->t->vocab, match.id) || !reaches_plain(e, match))
            return match;
        at = match.start;
        match = specials_find(&e->t->user, e->text, at, match.end);
        if (match.id >= 0 && match.start == at) return match;
    }
}

static msa_status encode_text(encoding *e, size_t n, int flags, msa_error *err) {
    const tokenizer *t = e->t;
    const specials *seen = flags & MSA_PARSE_SPECIAL ? &t->all : &t->user;
    bool framed = flags & MSA_ADD_SPECIAL;
    if (!bpe_reserve(e->out, 2)) return error_set(err, MSA_E_NOMEM, "no memory for the tokens");
    if (framed && t->add_bos) e->out->ids[e->out->n++] = t->bos;
    for (size_t at = 0; at < n;) {
        specials_match match = next_special(e, seen, at, n);
        msa_status status = match.start > at ? encode_words(e, at, match.start, err) : MSA_OK;
        if (status != MSA_OK) return status;
        if (!bpe_reserve(e->out, 2)) return error_set(err, MSA_E_NOMEM, "no memory for the tokens");
        if (match.id >= 0) e->out->ids[e->out->n++] = match.id;
        at = match.end;
    }
    if (framed && t->add_eos) e->out->ids[e->out->n++] = t->eos;
    return MSA_OK;
}

static msa_status check_flags(int flags, msa_error *err) {
    if ((flags & ~(MSA_ADD_SPECIAL | MSA_PARSE_SPECIAL)) == 0) return MSA_OK;
    return error_set(err, MSA_E_ARG,
                     "flags are %d; known are MSA_ADD_SPECIAL (%d) and MSA_PARSE_SPECIAL (%d)",
                     flags, MSA_ADD_SPECIAL, MSA_PARSE_SPECIAL);
}

msa_status tokenizer_encode(const tokenizer *t, const char *text, size_t n, int flags,
                            msa_tokens *out, msa_error *err) {
    return tokenizer_encode_around(t, text, n, flags, NULL, 0, out, err);
}

msa_status tokenizer_encode_around(const tokenizer *t, const char *text, size_t n, int flags,
                                   const tokenizer_range *plain, size_t n_plain, msa_tokens *out,
                                   msa_error *err) {
    if (!text && n) return error_set(err, MSA_E_ARG, "text is NULL but has %zu bytes", n);
    msa_status status = check_flags(flags, err);
    if (status != MSA_OK) return status;
    size_t n_before = out->n, replaced_before = out->n_replaced, n_memo = 64;
    while (n_memo < 16384 && n_memo < n / 8) n_memo *= 2;
    encoding e = {.t = t, .text = text, .out = out, .memo_mask = n_memo - 1};
    if (n_plain) e.plain = plain, e.plain_end = plain + n_plain;
    status = pretok_walk_begin(&e.walk, t->pretok, err);
    if (status != MSA_OK) return status;
    e.memo = mem_calloc(n_memo, sizeof *e.memo);
    status = e.memo ? encode_text(&e, n, flags, err)
                    : error_set(err, MSA_E_NOMEM, "no memory to tokenize %zu bytes", n);
    if (status != MSA_OK) out->n = n_before, out->n_replaced = replaced_before;
    pretok_walk_end(&e.walk);
    bpe_work_free(&e.work);
    bytes_free(&e.spelling);
    mem_free(e.memo);
    return status;
}

msa_status tokenizer_decode(const tokenizer *t, int32_t id, int flags, vocab_text *piece,
                            msa_error *err) {
    if (id < 0 || id >= t->vocab.n)
        return error_set(err, MSA_E_ARG, "token %d is outside the vocabulary, 0 to %d", id,
                         t->vocab.n - 1);
    *piece = vocab_piece_of(&t->vocab, id);
    if (vocab_is_hidden(&t->vocab, id) && !(flags & MSA_PARSE_SPECIAL)) piece->n = 0;
    return MSA_OK;
}

msa_status tokenizer_decode_all(const tokenizer *t, const int32_t *ids, size_t n, int flags,
                                char **text, size_t *n_bytes, msa_error *err) {
    bytes joined = {0};
    msa_status status = check_flags(flags, err);
    if (status != MSA_OK) return status;
    for (size_t i = 0; i < n; i++) {
        vocab_text piece = {0};
        status = tokenizer_decode(t, ids[i], flags, &piece, err);
        if (status != MSA_OK) {
            bytes_free(&joined);
            return status;
        }
        bytes_append(&joined, piece.data, piece.n);
    }
    bytes_terminate(&joined);
    if (joined.failed) {
        bytes_free(&joined);
        return error_set(err, MSA_E_NOMEM, "no memory for the text of %zu tokens", n);
    }
    *text = joined.data;
    if (n_bytes) *n_bytes = joined.n;
    return MSA_OK;
}

tokenizer_parts tokenizer_get_parts(const tokenizer *t) {
    return (tokenizer_parts){.vocab = &t->vocab,
                             .bpe = &t->bpe,
                             .pre = pretok_name(t->pretok),
                             .bos = t->bos,
                             .eos = t->eos,
                             .eot = t->eot,
                             .unk = t->unk,
                             .pad = t->pad,
                             .add_bos = t->add_bos,
                             .add_eos = t->add_eos,
                             .ignore_merges = t->ignore_merges,
                             .usual_merges = t->ignore_merges == pretok_ignores_merges(t->pretok),
                             .nfc = t->nfc};
}

int32_t tokenizer_size(const tokenizer *t) {
    return t->vocab.n;
}

int32_t tokenizer_bos(const tokenizer *t) {
    return t->bos;
}

int32_t tokenizer_eos(const tokenizer *t) {
    return t->eos;
}

int32_t tokenizer_find(const tokenizer *t, const char *text, size_t n) {
    return vocab_find(&t->vocab, text, n);
}

bool tokenizer_is_end(const tokenizer *t, int32_t id) {
    for (int i = 0; i < t->n_ends; i++)
        if (t->ends[i] == id) return true;
    return false;
}
