/* specials.c: see specials.h. The sorted list serves as a trie: each further byte of the text
 * narrows the range of candidates by bisection, so a position costs at most (longest token) x
 * log(tokens), whatever the file lists. */
#include "model/specials.h"

#include <string.h>

#include "base/mem.h"

static bool is_special(const vocab *v, int32_t id, bool hidden) {
    return v->types[id] == VOCAB_USER_DEFINED || (hidden && vocab_is_hidden(v, id));
}

static int compare(const vocab *v, int32_t a, int32_t b) {
    vocab_text x = vocab_piece_of(v, a), y = vocab_piece_of(v, b);
    int order = memcmp(x.data, y.data, x.n < y.n ? x.n : y.n);
    return order ? order : (x.n > y.n) - (x.n < y.n);
}

/* Heap sort: qsort has nowhere to pass the vocabulary. */
static void sift(const specials *s, size_t root, size_t n) {
    for (size_t child; (child = 2 * root + 1) < n; root = child) {
        if (child + 1 < n && compare(s->vocab, s->ids[child], s->ids[child + 1]) < 0) child++;
        if (compare(s->vocab, s->ids[root], s->ids[child]) >= 0) return;
        int32_t id = s->ids[root];
        s->ids[root] = s->ids[child];
        s->ids[child] = id;
    }
}

static void sort(specials *s) {
    for (size_t i = s->n / 2; i-- > 0;) sift(s, i, s->n);
    for (size_t end = s->n; end > 1;) {
        int32_t id = s->ids[--end];
        s->ids[end] = s->ids[0];
        s->ids[0] = id;
        sift(s, 0, end);
    }
}

msa_status specials_create(specials *s, const vocab *v, bool hidden, msa_error *err) {
    *s = (specials){.vocab = v};
    size_t n = 0;
    for (int32_t id = 0; id < v->n; id++) n += is_special(v, id, hidden);
    s->ids = mem_alloc(n, sizeof *s->ids);
    if (!s->ids) return error_set(err, MSA_E_NOMEM, "no memory for %zu special tokens", n);
    for (int32_t id = 0; id < v->n; id++) {
        if (!is_special(v, id, hidden)) continue;
        s->ids[s->n++] = id;
        s->starts[(uint8_t)vocab_piece_of(v, id).data[0]] = true;
    }
    sort(s);
    return MSA_OK;
}

void specials_free(specials *s) {
    mem_free(s->ids);
    *s = (specials){0};
}

/* First of ids[low .. high), all alike before `depth`, whose byte there is at least `byte`. One
 * that has ended sorts first. */
static size_t bisect(const specials *s, size_t low, size_t high, size_t depth, int byte) {
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        vocab_text piece = vocab_piece_of(s->vocab, s->ids[middle]);
        int here = depth < piece.n ? (uint8_t)piece.data[depth] : -1;
        if (here < byte)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static specials_match longest_at(const specials *s, const char *text, size_t at, size_t n) {
    specials_match best = {n, n, -1};
    size_t low = 0, high = s->n;
    for (size_t i = at; i < n && low < high; i++) {
        int byte = (uint8_t)text[i];
        low = bisect(s, low, high, i - at, byte);
        high = bisect(s, low, high, i - at, byte + 1);
        if (low < high && vocab_piece_of(s->vocab, s->ids[low]).n == i - at + 1)
            best = (specials_match){at, i + 1, s->ids[low]};
    }
    return best;
}

specials_match specials_find(const specials *s, const char *text, size_t at, size_t n) {
    for (; s->n && at < n; at++) {
        if (!s->starts[(uint8_t)text[at]]) continue;
        specials_match match = longest_at(s, text, at, n);
        if (match.id >= 0) return match;
    }
    return (specials_match){n, n, -1};
}
