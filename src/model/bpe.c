/* bpe.c: see bpe.h.
 *
 * The word is a linked list of symbols; a heap holds the merges that are possible, keyed by
 * (rank, position) in one 64-bit number. A merge that became stale is known when it is popped: its
 * two tokens no longer stand there. So a word of n bytes costs O(n log n) whatever it is, and words
 * need no upper length. */
#include "model/bpe.h"

#include <string.h>

#include "base/bytes.h"
#include "base/hash.h"
#include "base/mem.h"
#include "base/utf8.h"
#include "model/byte_alphabet.h"

#define NO_PAIR UINT64_MAX
#define NONE    UINT32_MAX

struct bpe_symbol {
    int32_t id; /* -1: merged into the one before */
    uint32_t prev, next;
};

static uint64_t pair_of(int32_t left, int32_t right) {
    return (uint64_t)(uint32_t)left << 32 | (uint32_t)right;
}

static size_t slot_of(const bpe *b, uint64_t pair) {
    size_t slot = hash_u64(pair) & b->mask;
    while (b->pairs[slot] != pair && b->pairs[slot] != NO_PAIR) slot = (slot + 1) & b->mask;
    return slot;
}

static msa_status refuse_merge(msa_error *err, size_t i, vocab_text merge, const char *why) {
    char quoted[128];
    return error_set(err, MSA_E_FORMAT, "merge %zu of the tokenizer, '%s', %s", i,
                     utf8_quote(quoted, sizeof quoted, merge.data, merge.n), why);
}

static msa_status add_merge(bpe *b, const vocab *v, size_t i, vocab_text merge, bytes *joined,
                            msa_error *err) {
    /* The first space may belong to the left token; the one that separates cannot come first. */
    const char *space = merge.n > 2 ? memchr(merge.data + 1, ' ', merge.n - 2) : NULL;
    if (!space) return refuse_merge(err, i, merge, "is not two tokens with a space between");
    size_t n_left = (size_t)(space - merge.data), n_right = merge.n - n_left - 1;
    joined->n = 0;
    bytes_append(joined, merge.data, n_left);
    bytes_append(joined, space + 1, n_right);
    if (joined->failed) return error_set(err, MSA_E_NOMEM, "no memory for the tokenizer's merges");
    b->left[i] = vocab_find(v, merge.data, n_left);
    b->right[i] = vocab_find(v, space + 1, n_right);
    b->result[i] = vocab_find(v, joined->data, joined->n);
    if (b->left[i] < 0)
        return refuse_merge(err, i, merge, "joins a left token that does not exist");
    if (b->right[i] < 0)
        return refuse_merge(err, i, merge, "joins a right token that does not exist");
    if (b->result[i] < 0) return refuse_merge(err, i, merge, "makes a token that does not exist");
    uint64_t pair = pair_of(b->left[i], b->right[i]);
    size_t slot = slot_of(b, pair);
    if (b->pairs[slot] == pair) return refuse_merge(err, i, merge, "was there before");
    b->pairs[slot] = pair;
    b->ranks[slot] = (uint32_t)i;
    return MSA_OK;
}

msa_status bpe_create(bpe *b, const vocab *v, const vocab_text *merges, size_t n_merges,
                      msa_error *err) {
    *b = (bpe){.n_merges = n_merges};
    if (n_merges > (size_t)1 << 26)
        return error_set(err, MSA_E_FORMAT, "a tokenizer has at most %zu merges; this one has %zu",
                         (size_t)1 << 26, n_merges);
    for (int byte = 0; byte < 256; byte++) {
        char text[4];
        size_t n = utf8_encode(byte_alphabet_code((uint8_t)byte), text);
        b->byte_token[byte] = vocab_find(v, text, n);
    }
    size_t n_slots = hash_table_slots(n_merges);
    b->mask = n_slots - 1;
    b->left = mem_alloc(n_merges, sizeof *b->left);
    b->right = mem_alloc(n_merges, sizeof *b->right);
    b->result = mem_alloc(n_merges, sizeof *b->result);
    b->pairs = mem_alloc(n_slots, sizeof *b->pairs);
    b->ranks = mem_alloc(n_slots, sizeof *b->ranks);
    msa_status status = MSA_OK;
    if (!b->left || !b->right || !b->result || !b->pairs || !b->ranks) {
        status = error_set(err, MSA_E_NOMEM, "no memory for %zu merges of the tokenizer", n_merges);
    } else {
        memset(b->pairs, 0xff, n_slots * sizeof *b->pairs);
        bytes joined = {0};
        for (size_t i = 0; status == MSA_OK && i < n_merges; i++)
            status = add_merge(b, v, i, merges[i], &joined, err);
        bytes_free(&joined);
    }
    if (status != MSA_OK) bpe_free(b);
    return status;
}

void bpe_free(bpe *b) {
    mem_free(b->left);
    mem_free(b->right);
    mem_free(b->result);
    mem_free(b->pairs);
    mem_free(b->ranks);
    *b = (bpe){0};
}

void bpe_work_free(bpe_work *w) {
    mem_free(w->symbols);
    mem_free(w->heap);
    *w = (bpe_work){0};
}

bool bpe_reserve(msa_tokens *out, size_t more) {
    size_t need;
    return size_add(out->n, more, &need) &&
           mem_grow((void **)&out->ids, &out->capacity, need, sizeof *out->ids);
}

static void heap_push(uint64_t *heap, size_t *n, uint64_t key) {
    size_t i = (*n)++;
    for (; i > 0 && heap[(i - 1) / 2] > key; i = (i - 1) / 2) heap[i] = heap[(i - 1) / 2];
    heap[i] = key;
}

static uint64_t heap_pop(uint64_t *heap, size_t *n) {
    uint64_t top = heap[0], last = heap[--*n];
    size_t i = 0, child;
    while ((child = 2 * i + 1) < *n) {
        if (child + 1 < *n && heap[child + 1] < heap[child]) child++;
        if (heap[child] >= last) break;
        heap[i] = heap[child];
        i = child;
    }
    heap[i] = last;
    return top;
}

/* Puts the merge of the symbol at `at` with the next one on the heap, if there is one. */
static void offer(const bpe *b, bpe_work *w, size_t *n_heap, uint32_t at) {
    const struct bpe_symbol *s = &w->symbols[at];
    if (s->next == NONE) return;
    size_t slot = slot_of(b, pair_of(s->id, w->symbols[s->next].id));
    if (b->pairs[slot] != NO_PAIR) heap_push(w->heap, n_heap, (uint64_t)b->ranks[slot] << 32 | at);
}

/* The word's bytes as symbols; returns how many. Room for 3 n. */
static size_t split_bytes(const bpe *b, bpe_work *w, const char *word, size_t n,
                          size_t *n_replaced) {
    size_t used = 0;
    for (size_t i = 0; i < n; i++) {
        int32_t id = b->byte_token[(uint8_t)word[i]];
        if (id >= 0) {
            w->symbols[used++].id = id;
            continue;
        }
        ++*n_replaced;
        static const uint8_t replacement[3] = {0xef, 0xbf, 0xbd}; /* U+FFFD */
        if (b->byte_token[0xef] < 0 || b->byte_token[0xbf] < 0 || b->byte_token[0xbd] < 0) continue;
        for (int k = 0; k < 3; k++) w->symbols[used++].id = b->byte_token[replacement[k]];
    }
    for (size_t i = 0; i < used; i++) {
        w->symbols[i].prev = i == 0 ? NONE : (uint32_t)i - 1;
        w->symbols[i].next = i + 1 == used ? NONE : (uint32_t)i + 1;
    }
    return used;
}

static void merge_all(const bpe *b, bpe_work *w, size_t n_symbols) {
    size_t n_heap = 0;
    for (size_t i = 0; i < n_symbols; i++) offer(b, w, &n_heap, (uint32_t)i);
    while (n_heap) {
        uint64_t key = heap_pop(w->heap, &n_heap);
        uint32_t rank = (uint32_t)(key >> 32), at = (uint32_t)key;
        struct bpe_symbol *s = &w->symbols[at];
        if (s->id != b->left[rank] || s->next == NONE) continue;
        struct bpe_symbol *next = &w->symbols[s->next];
        if (next->id != b->right[rank]) continue;
        s->id = b->result[rank];
        next->id = -1;
        s->next = next->next;
        if (s->next != NONE) w->symbols[s->next].prev = at;
        if (s->prev != NONE) offer(b, w, &n_heap, s->prev);
        offer(b, w, &n_heap, at);
    }
}

bool bpe_encode(const bpe *b, bpe_work *w, const char *word, size_t n, msa_tokens *out) {
    /* Each byte at most 3 symbols; each symbol at most 3 entries on the heap: one of its own at the
     * start, and two for each merge that ends one. */
    if (n > UINT32_MAX / 4 || !bpe_reserve(out, 3 * n) ||
        !mem_grow((void **)&w->symbols, &w->symbols_capacity, 3 * n, sizeof *w->symbols))
        return false;
    size_t replaced = 0, n_symbols = split_bytes(b, w, word, n, &replaced);
    if (!mem_grow((void **)&w->heap, &w->heap_capacity, 3 * n_symbols, sizeof *w->heap))
        return false;
    merge_all(b, w, n_symbols);
    for (uint32_t i = n_symbols ? 0 : NONE; i != NONE; i = w->symbols[i].next)
        out->ids[out->n++] = w->symbols[i].id;
    out->n_replaced += replaced;
    return true;
}
