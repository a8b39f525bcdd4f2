/* session_record.c: see session_record.h. */
#include "support/session_record.h"

#include <stdlib.h>
#include <string.h>

#include "support/support.h"

static session_record make_record(const session_case *f, const msa_session_params *p) {
    const tiny_params *t = &f->tiny->params;
    size_t n_ids = (size_t)(t->n_layers * f->n * t->n_kv_heads * p->topk);
    session_record r = {
        .n_tokens = f->n, .n_kv_heads = t->n_kv_heads, .topk = p->topk, .n_ids = n_ids};
    r.logits = calloc((size_t)f->n * (size_t)t->n_vocab, sizeof *r.logits);
    r.selected = malloc(n_ids * sizeof *r.selected);
    memset(r.selected, 0xff, n_ids * sizeof *r.selected);
    return r;
}

void session_record_free(session_record *r) {
    free(r->logits);
    free(r->selected);
}

static int take_row(void *user, int64_t position, const float *logits, int32_t n_vocab) {
    session_record *r = user;
    assert_int_equal(position, r->next);
    r->next++;
    memcpy(r->logits + position * n_vocab, logits, (size_t)n_vocab * sizeof *logits);
    return 0;
}

static void take_selection(void *user, int32_t layer, int64_t first, int64_t n,
                           const msa_shape *shape, const int32_t *ids) {
    session_record *r = user;
    size_t row = (size_t)(shape->n_kv_heads * shape->topk);
    assert_int_equal(shape->topk, r->topk);
    memcpy(r->selected + ((size_t)layer * (size_t)r->n_tokens + (size_t)first) * row, ids,
           (size_t)n * row * sizeof *ids);
}

session_record session_record_run(const session_case *f, const msa_session_params *p, int step) {
    msa_error err;
    session_record r = make_record(f, p);
    msa_session *s = session_case_start(f, p);
    msa_session_watch(s, take_selection, &r);
    for (int at = 0; at < f->n; at += step) {
        size_t n = (size_t)(f->n - at < step ? f->n - at : step);
        assert_ok(msa_session_feed_logits(s, f->ids + at, n, take_row, &r, &err), &err);
    }
    assert_int_equal(r.next, f->n);
    assert_int_equal(msa_session_length(s), f->n);
    assert_memory_equal(msa_session_logits(s), r.logits + (f->n - 1) * f->tiny->params.n_vocab,
                        (size_t)f->tiny->params.n_vocab * 4);
    msa_session_free(s);
    return r;
}

double session_worst(const float *a, const double *b, size_t n) {
    double worst = 0;
    for (size_t i = 0; i < n; i++) worst = larger_error(worst, a[i] - b[i]);
    return worst;
}

/* The selector in force, never AUTO. */
static msa_selector selector_of(const session_case *f, const msa_session_params *p) {
    if (p->selector != MSA_SELECTOR_AUTO) return p->selector;
    return f->tiny->params.index.dim ? MSA_SELECTOR_INDEX : MSA_SELECTOR_PROXY;
}

session_agreement session_compare(const session_case *f, const msa_session_params *p) {
    const tiny_params *t = &f->tiny->params;
    size_t n_logits = (size_t)f->n * (size_t)t->n_vocab;
    size_t n_ids = (size_t)(t->n_layers * f->n * t->n_kv_heads * p->topk);
    double *logits = malloc(n_logits * sizeof *logits);
    int32_t *selected = malloc(n_ids * sizeof *selected);
    msa_shape shape = {.block = p->block, .topk = p->topk, .local = p->local, .init = p->init};
    tiny_choice choice = {&shape, selector_of(f, p)};
    bool msa = p->attn == MSA_ATTN_MSA;
    uint64_t dense_layers = p->dense_layers[0]; /* and those that have no index */
    if (choice.selector == MSA_SELECTOR_INDEX)
        dense_layers |= ((uint64_t)1 << t->n_dense_layers) - 1;
    tiny_forward(f->tiny, f->ids, f->n, msa ? &choice : NULL, dense_layers, logits,
                 msa ? selected : NULL);
    session_record r = session_record_run(f, p, f->n);
    if (msa) assert_memory_equal(r.selected, selected, n_ids * sizeof *selected);
    session_agreement a = {.worst = session_worst(r.logits, logits, n_logits)};
    for (size_t i = 0; i < n_logits; i++) a.largest = larger_error(a.largest, logits[i]);
    session_record_free(&r);
    free(logits);
    free(selected);
    return a;
}

void session_matches_reference(const session_case *f, const msa_session_params *p) {
    session_agreement a = session_compare(f, p);
    if (!(a.worst <= 1e-4)) fail_msg("%s: logits off by %g", f->tiny->params.architecture, a.worst);
}
