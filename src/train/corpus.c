/* corpus.c: see corpus.h. */
#include "train/corpus.h"

#include "base/mem.h"
#include "train/draw.h"

typedef struct piece {
    int64_t at; /* of its first token */
    int32_t n;
    bool ends; /* its document ends with it: its last token has no successor */
} piece;

typedef struct pieces {
    const tokens *text;
    piece *list;
    int64_t n, n_tokens;
} pieces;

/* The packing of one epoch. */
typedef struct epoch {
    int64_t number;    /* -1: none yet */
    int64_t first;     /* number of its first micro-batch */
    int64_t n_batches; /* 0 where none yet */
    int32_t *order;    /* [n pieces] */
    int64_t *start;    /* [n_batches + 1] of each micro-batch in `order`; room for n + 1 */
} epoch;

struct corpus {
    pieces learn, valid;
    int64_t max_tokens;
    uint64_t seed;
    epoch epoch;
};

/* ---- pieces --------------------------------------------------------------------------------- */

/* list NULL: counts them. */
static void cut_pieces(const tokens *t, int64_t context, int64_t shortest, pieces *p) {
    p->n = p->n_tokens = 0;
    for (int64_t d = 0; d < t->n_docs; d++)
        for (int64_t at = t->docs[d], end = t->docs[d + 1]; at < end; at += context) {
            int64_t n = end - at < context ? end - at : context;
            if (n < shortest) continue;
            if (p->list) p->list[p->n] = (piece){at, (int32_t)n, at + n == end};
            p->n++;
            p->n_tokens += n;
        }
}

static msa_status all_pieces(pieces *p, const tokens *t, int64_t context, int64_t shortest,
                             msa_error *err) {
    p->text = t;
    cut_pieces(t, context, shortest, p);
    if (p->n == 0 && shortest > 1)
        return error_set(err, MSA_E_ARG,
                         "data.shortest is %lld; no piece of the text has as many tokens: expected "
                         "longer documents, or a smaller data.shortest",
                         (long long)shortest);
    if (p->n > INT32_MAX)
        return error_set(err, MSA_E_ARG, "data: %lld pieces of text are more than %d",
                         (long long)p->n, INT32_MAX);
    p->list = mem_alloc((size_t)p->n, sizeof *p->list);
    if (!p->list) return error_set(err, MSA_E_NOMEM, "no memory for the pieces of the text");
    cut_pieces(t, context, shortest, p);
    return MSA_OK;
}

/* Whether piece i is held out: by a number drawn for it, and surely the one with the smallest. */
static int64_t smallest_draw(const corpus *c, int64_t n) {
    int64_t best = 0;
    double least = 2;
    for (int64_t i = 0; i < n; i++) {
        draw d = draw_begin(c->seed, DRAW_VALID, i, 0);
        double x = draw_unit(&d);
        if (x < least) least = x, best = i;
    }
    return best;
}

static void move_piece(pieces *to, const piece *one) {
    to->list[to->n++] = *one;
    to->n_tokens += one->n;
}

static msa_status hold_out(corpus *c, double share, msa_error *err) {
    pieces all = c->learn;
    int64_t surely = smallest_draw(c, all.n);
    if (all.n < 2)
        return error_set(err, MSA_E_ARG,
                         "data.text: the text is one piece of at most data.context tokens; nothing "
                         "can be held out of it: expected more text, or data.valid");
    c->valid = (pieces){.text = all.text, .list = mem_alloc((size_t)all.n, sizeof(piece))};
    if (!c->valid.list) return error_set(err, MSA_E_NOMEM, "no memory for the pieces of the text");
    c->learn.n = c->learn.n_tokens = 0;
    for (int64_t i = 0; i < all.n; i++) {
        draw d = draw_begin(c->seed, DRAW_VALID, i, 0);
        bool last = i == all.n - 1 && c->learn.n == 0; /* something is left to learn from */
        bool held = !last && (i == surely || draw_unit(&d) < share);
        move_piece(held ? &c->valid : &c->learn, &all.list[i]);
    }
    return MSA_OK;
}

/* ---- epochs --------------------------------------------------------------------------------- */

static void shuffle(const corpus *c, int64_t number, int32_t *order) {
    draw d = draw_begin(c->seed, DRAW_EPOCH, number, 0);
    for (int64_t i = 0; i < c->learn.n; i++) {
        int64_t j = draw_below(&d, i + 1);
        order[i] = order[j];
        order[j] = (int32_t)i;
    }
}

static void pack_epoch(corpus *c, int64_t number, int64_t first) {
    epoch *e = &c->epoch;
    int64_t filled = 0;
    shuffle(c, number, e->order);
    e->number = number, e->first = first;
    e->n_batches = 0;
    for (int64_t i = 0; i < c->learn.n; i++) {
        int64_t n = c->learn.list[e->order[i]].n;
        if (i == 0 || filled + n > c->max_tokens) e->start[e->n_batches++] = i, filled = 0;
        filled += n;
    }
    e->start[e->n_batches] = c->learn.n;
}

/* Epochs differ in how many micro-batches they make: walk from the nearest known one. */
static void find_epoch(corpus *c, int64_t number) {
    epoch *e = &c->epoch;
    if (e->number < 0 || number < e->first) pack_epoch(c, 0, 0);
    while (number >= e->first + e->n_batches) pack_epoch(c, e->number + 1, e->first + e->n_batches);
}

/* ---- batches -------------------------------------------------------------------------------- */

static void begin_batch(train_batch *b) {
    b->n_tokens = b->n_docs = 0;
    b->cu_seqlens[0] = 0;
}

static void add_piece(train_batch *b, const tokens *t, const piece *p) {
    const int32_t *ids = t->ids + p->at;
    int32_t *to = b->ids + b->n_tokens, *targets = b->targets + b->n_tokens;
    for (int32_t i = 0; i < p->n; i++) {
        bool last = i == p->n - 1 && p->ends;
        to[i] = ids[i];
        targets[i] = last ? -1 : ids[i + 1];
    }
    b->n_tokens += p->n;
    b->source[b->n_docs++] = 0;
    b->cu_seqlens[b->n_docs] = (int32_t)b->n_tokens;
}

msa_status corpus_batch(corpus *c, int64_t number, train_batch *batch, int64_t *epoch_number,
                        msa_error *err) {
    if (number < 0)
        return error_set(err, MSA_E_ARG, "micro-batch %lld; expected 0 or more", (long long)number);
    find_epoch(c, number);
    const epoch *e = &c->epoch;
    begin_batch(batch);
    for (int64_t i = e->start[number - e->first]; i < e->start[number - e->first + 1]; i++)
        add_piece(batch, c->learn.text, &c->learn.list[e->order[i]]);
    *epoch_number = e->number;
    return MSA_OK;
}

bool corpus_valid_batch(const corpus *c, int64_t number, train_batch *batch) {
    int64_t i = 0, n = c->valid.n;
    begin_batch(batch);
    for (int64_t b = 0; b < number; b++) /* skip what the batches before hold */
        for (int64_t filled = 0; i < n && filled + c->valid.list[i].n <= c->max_tokens; i++)
            filled += c->valid.list[i].n;
    for (; i < n && batch->n_tokens + c->valid.list[i].n <= c->max_tokens; i++)
        add_piece(batch, c->valid.text, &c->valid.list[i]);
    return batch->n_tokens > 0;
}

int64_t corpus_stretch(const corpus *c, uint64_t at, int64_t n, const int32_t **ids) {
    const pieces *p = &c->learn;
    const piece *one = &p->list[at % (uint64_t)p->n];
    *ids = p->text->ids + one->at;
    return n < one->n ? n : one->n;
}

/* ---- life ----------------------------------------------------------------------------------- */

void corpus_free(corpus *c) {
    if (!c) return;
    mem_free(c->learn.list);
    mem_free(c->valid.list);
    mem_free(c->epoch.order);
    mem_free(c->epoch.start);
    mem_free(c);
}

static msa_status fill(corpus *c, const tokens *text, const tokens *valid, double valid_share,
                       int64_t context, int64_t shortest, msa_error *err) {
    msa_status status = all_pieces(&c->learn, text, context, shortest, err);
    if (status == MSA_OK)
        status =
            valid ? all_pieces(&c->valid, valid, context, 1, err) : hold_out(c, valid_share, err);
    if (status != MSA_OK) return status;
    size_t n = (size_t)c->learn.n;
    c->epoch = (epoch){.number = -1,
                       .order = mem_alloc(n, sizeof *c->epoch.order),
                       .start = mem_alloc(n + 1, sizeof *c->epoch.start)};
    if (!c->epoch.order || !c->epoch.start)
        return error_set(err, MSA_E_NOMEM, "no memory for the order of the text's pieces");
    return MSA_OK;
}

msa_status corpus_create_long(corpus **out, const tokens *text, const tokens *valid,
                              double valid_share, int64_t context, int64_t shortest,
                              int64_t max_tokens, uint64_t seed, msa_error *err) {
    *out = NULL;
    corpus *c = mem_calloc(1, sizeof *c);
    if (!c) return error_set(err, MSA_E_NOMEM, "no memory for the order of the text's pieces");
    c->max_tokens = max_tokens;
    c->seed = seed;
    msa_status status = fill(c, text, valid, valid_share, context, shortest, err);
    if (status == MSA_OK)
        *out = c;
    else
        corpus_free(c);
    return status;
}

msa_status corpus_create(corpus **out, const tokens *text, const tokens *valid, double valid_share,
                         int64_t context, int64_t max_tokens, uint64_t seed, msa_error *err) {
    return corpus_create_long(out, text, valid, valid_share, context, 1, max_tokens, seed, err);
}

int64_t corpus_pieces(const corpus *c, bool held_out) {
    return held_out ? c->valid.n : c->learn.n;
}

int64_t corpus_tokens(const corpus *c, bool held_out) {
    return held_out ? c->valid.n_tokens : c->learn.n_tokens;
}
