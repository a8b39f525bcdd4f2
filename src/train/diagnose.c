/* diagnose.c: see diagnose.h. */
#include "train/diagnose.h"

#include <cblas.h>
#include <math.h>
#include <omp.h>
#include <string.h>

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
    finding *found;   /* [n_asked * n_groups] of the layer in progress */
    int64_t *rows;    /* [n_asked] */
    int32_t *docs;    /* [n_asked] */
    int64_t n_blocks; /* of the longest document */
    char *space;      /* of one thread after another */
    size_t space_size;
};

/* What one thread works in. */
typedef struct room {
    float *scores; /* [G, tokens] */
    float *mass, *best;
    int32_t *chosen, *oracle;
} room;

static size_t divide(const net *n, int64_t n_blocks, char *space, room *r) {
    size_t tokens = (size_t)n->max_tokens, blocks = (size_t)n_blocks;
    size_t group = (size_t)(n->shape.n_q_heads / n->shape.n_kv_heads);
    size_t scores = size_round_up(tokens * group * sizeof(float), MEM_ALIGN);
    size_t row = size_round_up(blocks * sizeof(float), MEM_ALIGN);
    size_t ids = size_round_up((size_t)n->shape.topk * sizeof(int32_t), MEM_ALIGN);
    if (space)
        *r = (room){(float *)space, (float *)(space + scores), (float *)(space + scores + row),
                    (int32_t *)(space + scores + 2 * row),
                    (int32_t *)(space + scores + 2 * row + ids)};
    return scores + 2 * row + 2 * ids;
}

msa_status diagnose_create(diagnose **out, const net *n, int32_t n_rows, msa_error *err) {
    *out = NULL;
    if (n_rows < 1 || n_rows > 1 << 20)
        return error_set(err, MSA_E_ARG, "diagnose: n_rows is %d; expected 1..%d", n_rows, 1 << 20);
    diagnose *d = mem_calloc(1, sizeof *d);
    if (!d) return error_set(err, MSA_E_NOMEM, "no memory for diagnostics");
    size_t cells = (size_t)n->arch->n_layers * (size_t)n->arch->n_kv_heads;
    *d = (diagnose){.n_layers = n->arch->n_layers,
                    .n_groups = n->arch->n_kv_heads,
                    .n_asked = n_rows,
                    .n_index_layers = n->n_index_layers};
    d->n_blocks = (n->max_tokens + n->shape.block - 1) / n->shape.block;
    d->space_size = divide(n, d->n_blocks, NULL, NULL);
    d->sum = mem_calloc(cells, sizeof *d->sum);
    d->means = mem_calloc(3 * cells, sizeof *d->means);
    d->found = mem_calloc((size_t)n_rows * (size_t)d->n_groups, sizeof *d->found);
    d->rows = mem_calloc((size_t)n_rows, sizeof *d->rows);
    d->docs = mem_calloc((size_t)n_rows, sizeof *d->docs);
    d->space = mem_alloc((size_t)n->n_threads, d->space_size);
    if (!d->sum || !d->means || !d->found || !d->rows || !d->docs || !d->space) {
        diagnose_free(d);
        return error_set(err, MSA_E_NOMEM, "no memory for diagnostics of %d rows", n_rows);
    }
    *out = d;
    return MSA_OK;
}

void diagnose_free(diagnose *d) {
    if (!d) return;
    mem_free(d->sum);
    mem_free(d->means);
    mem_free(d->found);
    mem_free(d->rows);
    mem_free(d->docs);
    mem_free(d->space);
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

/* Mass of each block: the mean over the heads of a softmax over `visible` scores. */
static void find_mass(const net *n, room *r, int64_t visible) {
    int32_t B = n->shape.block, group = n->shape.n_q_heads / n->shape.n_kv_heads;
    double scale = 1 / sqrt((double)n->shape.head_dim);
    int64_t n_blocks = (visible + B - 1) / B;
    for (int64_t b = 0; b < n_blocks; b++) r->mass[b] = 0;
    for (int32_t h = 0; h < group; h++) {
        float *s = r->scores + h * visible, most = -INFINITY;
        double sum = 0;
        for (int64_t j = 0; j < visible; j++) most = s[j] > most ? s[j] : most;
        for (int64_t j = 0; j < visible; j++) {
            s[j] = expf((float)scale * (s[j] - most));
            sum += (double)s[j];
        }
        for (int64_t j = 0; j < visible; j++) r->mass[j / B] += (float)(s[j] / (sum * group));
    }
}

/* The blocks the index branch takes for this query. */
static msa_status find_chosen(const net *n, const net_attn_acts *a, int64_t t, int64_t first,
                              int32_t g, room *r, msa_error *err) {
    const msa_shape *s = &n->shape;
    int32_t di = s->index_dim, B = s->block;
    int64_t position = t - first, visible = position + 1;
    if (n->mode.sparse) {
        memcpy(r->chosen, a->ids + (t * s->n_kv_heads + g) * s->topk,
               (size_t)s->topk * sizeof *r->chosen);
        return MSA_OK;
    }
    cblas_sgemv(CblasRowMajor, CblasNoTrans, (int)visible, di, 1, a->ki + first * di, di,
                a->qi + (t * s->n_kv_heads + g) * di, 1, 0, r->scores, 1);
    for (int64_t b = 0; b <= position / B; b++) r->best[b] = -INFINITY;
    for (int64_t j = 0; j < visible; j++)
        if (r->scores[j] > r->best[j / B]) r->best[j / B] = r->scores[j];
    return msa_select_run(s, 1, &position, r->best, position / B + 1, MSA_ASCENDING, r->chosen,
                          err);
}

static msa_status measure(const net *n, const net_attn_acts *a, int64_t t, int64_t first, int32_t g,
                          room *r, finding *out, msa_error *err) {
    const msa_shape *s = &n->shape;
    int32_t d = s->head_dim, group = s->n_q_heads / s->n_kv_heads, common = 0;
    int64_t position = t - first, visible = position + 1;
    msa_status status = find_chosen(n, a, t, first, g, r, err);
    if (status) return status;
    cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, group, (int)visible, d, 1,
                a->q + (t * s->n_q_heads + (int64_t)g * group) * d, d,
                a->k + (first * s->n_kv_heads + g) * d, s->n_kv_heads * d, 0, r->scores,
                (int)visible);
    find_mass(n, r, visible);
    msa_shape free = *s;
    free.local = free.init = 0;
    status = msa_select_run(&free, 1, &position, r->mass, position / s->block + 1, MSA_ASCENDING,
                            r->oracle, err);
    if (status) return status;
    *out = (finding){0};
    for (int32_t i = 0; i < s->topk; i++) {
        out->captured += r->chosen[i] >= 0 ? (double)r->mass[r->chosen[i]] : 0;
        out->oracle += (double)r->mass[r->oracle[i]];
        for (int32_t j = 0; j < s->topk; j++) common += r->chosen[i] == r->oracle[j];
    }
    out->recall = (double)common / s->topk;
    return MSA_OK;
}

msa_status diagnose_layer(net *n, int32_t layer, msa_error *err) {
    diagnose *d = n->watch;
    const net_layer *l = &n->layers[layer];
    if (!l->has_index) return MSA_OK;
    int32_t groups = d->n_groups;
    int64_t n_rows = sample(n, d), failed = 0;
#pragma omp parallel num_threads(n->n_threads) reduction(+ : failed)
    {
        omp_set_num_threads(1); /* BLAS keeps to the calling thread; ends with the region */
        room r = {0};
        divide(n, d->n_blocks, d->space + (size_t)omp_get_thread_num() * d->space_size, &r);
#pragma omp for schedule(dynamic)
        for (int64_t i = 0; i < n_rows * groups; i++) {
            int64_t row = i / groups;
            failed += measure(n, &l->acts->attn, d->rows[row], n->batch->cu_seqlens[d->docs[row]],
                              (int32_t)(i % groups), &r, &d->found[i], NULL) != MSA_OK;
        }
    }
    if (failed) return error_set(err, MSA_E_ARG, "diagnose: no selection for %d rows", (int)failed);
    for (int64_t i = 0; i < n_rows * groups; i++) {
        finding *sum = &d->sum[(int64_t)layer * groups + i % groups];
        sum->recall += d->found[i].recall;
        sum->captured += d->found[i].captured;
        sum->oracle += d->found[i].oracle;
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
