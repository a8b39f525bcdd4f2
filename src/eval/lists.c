/* lists.c: RULER's lists of words: the ten most common of a numbered list, the three most frequent
 * of a coded text. Both ask for all of the text at once: a budget of blocks must lose here. */
#include <stdio.h>

#include "base/mem.h"
#include "eval/order.h"
#include "eval/quiz.h"
#include "eval/words.h"

/* ---- common words ---------------------------------------------------------------------------- */

enum { N_COMMON = 10 };

typedef struct common_list {
    uint64_t order; /* of the words there are */
    bool pairs;     /* words are "clever-harbor": there are not enough single ones */
    int64_t first, n_words;
    int often, seldom; /* how many times each of the N_COMMON first words stands, and the others */
} common_list;

static void spell_word(const common_list *l, int64_t i, char out[WORDS_MOST]) {
    uint64_t at = (uint64_t)(l->first + i);
    if (l->pairs)
        words_pair(order_at(l->order, words_n_pairs(), at), out);
    else
        words_single(order_at(l->order, words_n_single(), at), out);
}

/* "1. word 2. word ..." in a random order. */
static void put_list(bytes *b, const common_list *l, draw *d) {
    int64_t n = N_COMMON * l->often + (l->n_words - N_COMMON) * l->seldom, at = 0;
    int32_t *words = mem_alloc((size_t)n, sizeof *words);
    if (!words) {
        b->failed = true;
        return;
    }
    for (int64_t i = 0; i < l->n_words; i++)
        for (int k = 0; k < (i < N_COMMON ? l->often : l->seldom); k++) words[at++] = (int32_t)i;
    order_shuffle(words, n, d);
    for (int64_t i = 0; i < n; i++) {
        char word[WORDS_MOST];
        spell_word(l, words[i], word);
        put(b, "%s%lld. %s", i ? " " : "", (long long)i + 1, word);
    }
    mem_free(words);
}

static void put_common(bytes *b, const common_list *l, draw *d) {
    bytes_append_text(b,
                      "Below is a numbered list of words. In these words, some appear more often "
                      "than others. Memorize the ones that appear most often.\n");
    put_list(b, l, d);
    bytes_append_text(b, "\nQuestion: What are the 10 most common words in the above list?");
}

static const char COMMON_OPENING[] =
    " Answer: The top 10 words that appear most often in the list are:";

void common_make(const quiz *q, const quiz_case *c, int64_t n_units, prompt *p) {
    draw d = c->draw;
    (void)q;
    bool brief = c->length < 4096;
    common_list asked = {draw_next(&d), false, 0, n_units, brief ? 6 : 30, brief ? 1 : 3};
    common_list example = {asked.order,     false,          n_units,
                           brief ? 20 : 40, brief ? 3 : 10, brief ? 1 : 3};
    example.pairs = asked.pairs = (uint64_t)(n_units + example.n_words) > words_n_single();
    char word[WORDS_MOST];
    put_common(&p->input, &example, &d);
    bytes_append_text(&p->input, COMMON_OPENING);
    for (int i = 0; i < N_COMMON; i++) {
        spell_word(&example, i, word);
        put(&p->input, " %d. %s", i + 1, word);
    }
    bytes_append_text(&p->input, "\n");
    put_common(&p->input, &asked, &d);
    bytes_append_text(&p->opening, COMMON_OPENING);
    for (int i = 0; i < N_COMMON; i++) {
        spell_word(&asked, i, word);
        prompt_expect(p, word);
    }
}

void common_range(const quiz *q, const quiz_case *c, int64_t *least, int64_t *most) {
    (void)q, (void)c;
    *least = 2 * N_COMMON;
    *most = (int64_t)words_n_pairs() - 40;
}

/* ---- frequent words -------------------------------------------------------------------------- */

enum { CODE = 6, LEAST_CODED = 53 };

/* How often the word of a rank, from 1, stands among n: n / (rank^2 zeta(2)). */
static int64_t rank_count(int64_t n, int64_t rank) {
    const double zeta = 1.6449340668482264;
    return (int64_t)((double)n / ((double)rank * (double)rank) / zeta);
}

static void spell_code(uint64_t order, int64_t rank, char out[CODE + 1]) {
    uint64_t number = order_at(order, 26 * 26 * 26 * 26 * 26 * 26, (uint64_t)rank);
    for (int i = 0; i < CODE; i++, number /= 26) out[i] = (char)('a' + number % 26);
    out[CODE] = 0;
}

static int64_t n_ranks(const quiz_case *c, int64_t n) {
    int64_t vocabulary = c->length / 50 > 5 ? c->length / 50 : 5, ranks = 0;
    while (ranks < vocabulary && rank_count(n, ranks + 1) > 0) ranks++;
    return ranks;
}

static void put_coded(bytes *b, const quiz_case *c, int64_t n, uint64_t order, draw *d) {
    int64_t ranks = n_ranks(c, n), total = 0, at = 0;
    for (int64_t rank = 1; rank <= ranks; rank++) total += rank_count(n, rank);
    int32_t *words = mem_alloc((size_t)total + 1, sizeof *words);
    if (!words) {
        b->failed = true;
        return;
    }
    for (int64_t rank = 1; rank <= ranks; rank++)
        for (int64_t i = rank_count(n, rank); i > 0; i--) words[at++] = (int32_t)rank;
    order_shuffle(words, total, d);
    for (int64_t i = 0; i < total; i++) {
        char word[CODE + 1] = "...";
        if (words[i] > 1) spell_code(order, words[i], word);
        put(b, "%s%s", i ? " " : "", word);
    }
    mem_free(words);
}

void frequent_make(const quiz *q, const quiz_case *c, int64_t n_units, prompt *p) {
    draw d = c->draw;
    uint64_t order = draw_next(&d);
    (void)q;
    bytes_append_text(&p->input,
                      "Read the following coded text and track the frequency of each coded word. "
                      "Find the three most frequently appeared coded words. ");
    put_coded(&p->input, c, n_units, order, &d);
    bytes_append_text(&p->input,
                      "\nQuestion: Do not provide any explanation. Please ignore the dots '....'. "
                      "What are the three most frequently appeared words in the above coded text?");
    bytes_append_text(&p->opening, " Answer: According to the coded text above, the three most "
                                   "frequently appeared words are:");
    for (int64_t rank = 2; rank <= 4; rank++) {
        char word[CODE + 1];
        spell_code(order, rank, word);
        prompt_expect(p, word);
    }
}

/* From 53 words on rank 4 always stands more often than rank 5: there is one answer. */
void frequent_range(const quiz *q, const quiz_case *c, int64_t *least, int64_t *most) {
    (void)q, (void)c;
    *least = LEAST_CODED;
    *most = INT32_MAX;
}
