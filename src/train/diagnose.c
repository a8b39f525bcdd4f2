/* diagnose.c: see diagnose.h. */
#include "train/diagnose.h"

#include <math.h>
#include <string.h>

#include "attn/mass.h"
#include "attn/select.h"
#include "base/mem.h"
#include "base/random.h"
#include "nn/vector.h"
#include "train/net_state.h"

typedef struct finding {
    double recall, captured, oracle;
} finding;

struct diagnose {
    int32_t n_layers, n_groups, n_asked, n_index_layers;
    int64_t n_rows;   /* measured since the reset */
    finding *sum;     /* [n_layers * n_groups] */
    double *means;    /* [3][n_layers * n_groups] */
    int64_t *rows;    /* [n_asked] */
    int32_t *docs;    /* [n_asked] */
    int64_t n_blocks; /* of the longest document */
    /* The rows as a batch: each a request of one query, with the keys before it. */
    int32_t *cu_seqlens;        /* [n_asked + 1] */
    int64_t *kv_len, *kv_start; /* [n_asked] */
    float *q, *qi;              /* [n_asked, Hq, d], [n_asked, Hkv, di] */
    float *mass;                /* [n_asked, Hkv, n_blocks] */
    int32_t *chosen;            /* [n_asked, Hkv, k] */
    msa_plan *mass_plan, *index_plan;
};

msa_status diagnose_create(diagnose **out, const net *n, int32_t n_rows, msa_error *err) {
    *out = NULL;
    if (n_rows < 1 || n_rows > 1 << 20)
        return error_set(err, MSA_E_ARG, "diagnose: n_rows is %d; expected 1..%d", n_rows, 1 << 20);
    diagnose *d = mem_calloc(1, sizeof *d);
    if (!d) return error_set(err, MSA_E_NOMEM, "no memory for diagnostics");
    const msa_shape *s = &n->shape;
    size_t cells = (size_t)n->arch->n_layers * (size_t)n->arch->n_kv_heads;
    size_t groups = (size_t)s->n_kv_heads;
    if (n_rows > n->max_tokens) n_rows = (int32_t)n->max_tokens;
    *d = (diagnose){.n_layers = n->arch->n_layers,
                    .n_groups = n->arch->n_kv_heads,
                    .n_asked = n_rows,
                    .n_index_layers = n->n_index_layers};
    d->n_blocks = (n->max_tokens + s->block - 1) / s->block;
    struct {
        void *p; /* address of the pointer */
        size_t n, size;
    } const arrays[] = {
        {&d->sum, cells, sizeof *d->sum},
        {&d->means, cells, 3 * sizeof *d->means},
        {&d->rows, (size_t)n_rows, sizeof *d->rows},
        {&d->docs, (size_t)n_rows, sizeof *d->docs},
        {&d->cu_seqlens, (size_t)n_rows + 1, sizeof *d->cu_seqlens},
        {&d->kv_len, (size_t)n_rows, sizeof *d->kv_len},
        {&d->kv_start, (size_t)n_rows, sizeof *d->kv_start},
        {&d->q, (size_t)n_rows, (size_t)s->n_q_heads * (size_t)s->head_dim * sizeof *d->q},
        {&d->qi, (size_t)n_rows, groups * (size_t)s->index_dim * sizeof *d->qi},
        {&d->mass, (size_t)n_rows * groups, (size_t)d->n_blocks * sizeof *d->mass},
        {&d->chosen, (size_t)n_rows * groups, (size_t)s->topk * sizeof *d->chosen},
    };
    for (size_t i = 0; i < sizeof arrays / sizeof *arrays; i++) {
        void *p = mem_calloc(arrays[i].n, arrays[i].size);
        if (!p) {
            diagnose_free(d);
            return error_set(err, MSA_E_NOMEM, "no memory for diagnostics of %d rows", n_rows);
        }
        memcpy(arrays[i].p, &p, sizeof p);
    }
    *out = d;
    return MSA_OK;
}

void diagnose_free(diagnose *d) {
    if (!d) return;
    void *const arrays[] = {d->sum,      d->means, d->rows, d->docs, d->cu_seqlens, d->kv_len,
                            d->kv_start, d->q,     d->qi,   d->mass, d->chosen};
    for (size_t i = 0; i < sizeof arrays / sizeof *arrays; i++) mem_free(arrays[i]);
    msa_plan_free(d->mass_plan);
    msa_plan_free(d->index_plan);
    mem_free(d);
}

void net_watch(net *n, diagnose *d) {
    n->watch = d;
}

void diagnose_reset(diagnose *d) {
    d->n_rows = 0;
    memset(d->sum, 0, (size_t)d->n_layers * (size_t)d->n_groups * sizeof *d->sum);
}

#define ROWS_STREAM ((uint64_t)3 << 56)

/* Rows that see more than k blocks, numbered through; one from each of as many equal parts of them
 * as rows are asked for. Returns how many. */
static int64_t sample(const net *n, diagnose *d) {
    const int32_t *cu = n->batch->cu_seqlens;
    int64_t trivial = (int64_t)n->shape.topk * n->shape.block, total = 0, taken = 0, before = 0;
    for (int32_t i = 0; i < n->batch->n_docs; i++)
        if (cu[i + 1] - cu[i] > trivial) total += cu[i + 1] - cu[i] - trivial;
    int64_t parts = total < d->n_asked ? total : d->n_asked;
    uint64_t stream = random_stream(n->mode.seed, ROWS_STREAM);
    for (int32_t i = 0; i < n->batch->n_docs; i++) {
        int64_t telling = cu[i + 1] - cu[i] - trivial;
        if (telling <= 0) continue;
        for (; taken < parts; taken++) {
            int64_t from = taken * total / parts, to = (taken + 1) * total / parts;
            int64_t pick =
                from + (int64_t)random_below(stream, (uint64_t)taken, (uint64_t)(to - from));
            if (pick >= before + telling) break;
            d->rows[taken] = cu[i] + trivial + pick - before;
            d->docs[taken] = i;
        }
        before += telling;
    }
    return taken;
}

/* The sampled rows as a batch. */
static msa_batch gather(const net *n, const net_attn_acts *a, diagnose *d, int64_t n_rows) {
    const msa_shape *s = &n->shape;
    size_t q = (size_t)s->n_q_heads * (size_t)s->head_dim;
    size_t qi = (size_t)s->n_kv_heads * (size_t)s->index_dim;
    for (int64_t i = 0; i < n_rows; i++) {
        int64_t t = d->rows[i], first = n->batch->cu_seqlens[d->docs[i]];
        d->cu_seqlens[i + 1] = (int32_t)i + 1;
        d->kv_len[i] = t - first + 1;
        d->kv_start[i] = first;
        memcpy(d->q + (size_t)i * q, a->q + (size_t)t * q, q * sizeof *d->q);
        memcpy(d->qi + (size_t)i * qi, a->qi + (size_t)t * qi, qi * sizeof *d->qi);
    }
    return (msa_batch){.n_requests = (int32_t)n_rows,
                       .cu_seqlens_q = d->cu_seqlens,
                       .kv_len = d->kv_len,
                       .kv_start = d->kv_start};
}

/* The blocks the rows read, or, in a dense phase, those the index branch would take. */
static msa_status find_chosen(const net *n, const net_attn_acts *a, diagnose *d,
                              const msa_batch *batch, msa_error *err) {
    const msa_shape *s = &n->shape;
    size_t row = (size_t)s->n_kv_heads * (size_t)s->topk;
    msa_plan_options options = {.n_threads = n->n_threads};
    msa_index_args args = {.qi = d->qi,
                           .ki = msa_lane_ragged(a->ki, MSA_F32, 1, s->index_dim),
                           .out = {d->chosen, MSA_ASCENDING, MSA_TOKEN_MAJOR}};
    if (n->mode.sparse) {
        for (int32_t i = 0; i < batch->n_requests; i++)
            memcpy(d->chosen + (size_t)i * row, a->ids + (size_t)d->rows[i] * row,
                   row * sizeof *d->chosen);
        return MSA_OK;
    }
    msa_status status = msa_index_plan(&d->index_plan, s, batch, &options, err);
    return status ? status : msa_index_run(d->index_plan, &args, err);
}

static msa_status find_masses(const net *n, const net_attn_acts *a, diagnose *d,
                              const msa_batch *batch, msa_error *err) {
    const msa_shape *s = &n->shape;
    msa_plan_options options = {.n_threads = n->n_threads};
    mass_args args = {.q = d->q,
                      .k = msa_lane_ragged(a->k, MSA_F32, s->n_kv_heads, s->head_dim),
                      .mass = d->mass,
                      .n_blocks = d->n_blocks};
    msa_status status = mass_plan(&d->mass_plan, s, batch, &options, err);
    return status ? status : mass_run(d->mass_plan, &args, err);
}

/* Of one row and group, with nothing forced on the oracle. */
static finding compare(const msa_shape *s, int64_t position, const float *mass,
                       const int32_t *chosen) {
    int32_t oracle[SELECT_MAX_K], common = 0;
    msa_shape free = *s;
    finding f = {0};
    free.local = free.init = 0;
    select_row(&free, position, mass, MSA_ASCENDING, oracle);
    for (int32_t i = 0; i < s->topk; i++) {
        f.captured += chosen[i] >= 0 ? (double)mass[chosen[i]] : 0;
        f.oracle += (double)mass[oracle[i]];
        for (int32_t j = 0; j < s->topk; j++) common += chosen[i] == oracle[j];
    }
    f.recall = (double)common / s->topk;
    return f;
}

msa_status diagnose_layer(net *n, int32_t layer, msa_error *err) {
    diagnose *d = n->watch;
    const net_layer *l = &n->layers[layer];
    if (!l->has_index) return MSA_OK;
    int32_t groups = d->n_groups;
    int64_t n_rows = sample(n, d);
    msa_batch batch = gather(n, &l->acts->attn, d, n_rows);
    msa_status status = find_chosen(n, &l->acts->attn, d, &batch, err);
    if (!status) status = find_masses(n, &l->acts->attn, d, &batch, err);
    if (status) return status;
    for (int64_t i = 0; i < n_rows * groups; i++) {
        finding *sum = &d->sum[(int64_t)layer * groups + i % groups];
        finding f = compare(&n->shape, d->kv_len[i / groups] - 1, d->mass + i * d->n_blocks,
                            d->chosen + i * n->shape.topk);
        sum->recall += f.recall;
        sum->captured += f.captured;
        sum->oracle += f.oracle;
    }
    /* Every layer measures the same rows; the first that has an index counts them. */
    if (layer == d->n_layers - d->n_index_layers) d->n_rows += n_rows;
    return MSA_OK;
}

diagnose_means diagnose_read(diagnose *d) {
    int64_t cells = (int64_t)d->n_layers * d->n_groups;
    double *recall = d->means, *captured = recall + cells, *oracle = captured + cells;
    diagnose_means m = {
        .n_rows = d->n_rows, .recall_of = recall, .captured_of = captured, .oracle_of = oracle};
    double share = d->n_rows ? 1 / (double)d->n_rows : 0;
    double index_cells = (double)d->n_index_layers * d->n_groups;
    for (int64_t i = 0; i < cells; i++) {
        recall[i] = d->sum[i].recall * share;
        captured[i] = d->sum[i].captured * share;
        oracle[i] = d->sum[i].oracle * share;
        m.recall += recall[i] / index_cells;
        m.captured += captured[i] / index_cells;
        m.oracle += oracle[i] / index_cells;
    }
    if (d->n_index_layers == 0) m.recall = m.captured = m.oracle = 0;
    return m;
}

void diagnose_gradients(const params *p, double *of_index, double *of_rest, int n_threads) {
    int32_t layers = p->arch.n_layers;
    for (int32_t i = 0; i <= layers; i++) of_index[i] = of_rest[i] = 0;
    for (int32_t i = 0; i < p->n; i++) {
        const param *t = &p->list[i];
        if (t->at < p->trained) continue;
        double *sum = t->index ? of_index : of_rest;
        sum[t->layer < 0 ? layers : t->layer] +=
            vector_sum_squares(p->g + (t->at - p->trained), t->n_out * t->n_in, n_threads);
    }
    for (int32_t i = 0; i <= layers; i++) {
        of_index[i] = sqrt(of_index[i]);
        of_rest[i] = sqrt(of_rest[i]);
    }
}
