/* index_loss_ref.c: the truth of the index loss: the formula in double, one query and group at a
 * time. */
#include <math.h>
#include <stdbool.h>
#include <stdlib.h>

#include "attn/index_loss.h"
#include "attn/ref.h"

typedef struct ref_row {
    const msa_shape *s;
    const msa_batch *b;
    const msa_index_loss_args *a;
    msa_support support;
    int32_t request, group;
    int64_t t, position;
} ref_row;

static int is_supported(const ref_row *w, msa_support support, int64_t j) {
    int64_t block = j / w->s->block, own = w->position / w->s->block;
    if (support == MSA_SUPPORT_SELECTED)
        return ref_selected(w->s, w->b, w->a->selection, w->t, w->group, block);
    if (support == MSA_SUPPORT_VISIBLE) return 1;
    return block >= w->s->init && block <= own - w->s->local;
}

static double teacher_score(const ref_row *w, int32_t head, int64_t j) {
    int32_t d = w->s->head_dim;
    const float *q = w->a->q + (w->t * w->s->n_q_heads + head) * d;
    ref_vector key = ref_vector_of(w->s, w->b, &w->a->k, d, w->request, j, w->group);
    double dot = 0;
    for (int32_t c = 0; c < d; c++) dot += (double)q[c] * ref_element(key, c);
    return (w->a->scale > 0 ? w->a->scale : 1 / sqrt(d)) * dot;
}

static ref_vector index_key(const ref_row *w, int64_t j) {
    return ref_vector_of(w->s, w->b, &w->a->ki, w->s->index_dim, w->request, j,
                         w->s->n_index_keys == 1 ? 0 : w->group);
}

static double student_score(const ref_row *w, int64_t j) {
    int32_t di = w->s->index_dim;
    const float *q = w->a->qi + (w->t * w->s->n_index_heads + w->group) * di;
    ref_vector key = index_key(w, j);
    double dot = 0;
    for (int32_t c = 0; c < di; c++) dot += (double)q[c] * ref_element(key, c);
    return dot / sqrt(di);
}

/* ln sum exp of a head (-1: the student) over the support. */
static double lse_of(const ref_row *w, int32_t head) {
    double best = -INFINITY, sum = 0;
    bool weighed = head >= 0 && w->support == MSA_SUPPORT_FAR_MASS;
    msa_support support = weighed ? MSA_SUPPORT_VISIBLE : w->support;
    for (int pass = 0; pass < 2; pass++)
        for (int64_t j = 0; j <= w->position; j++) {
            if (!is_supported(w, support, j)) continue;
            double s = head < 0 ? student_score(w, j) : teacher_score(w, head, j);
            if (pass == 0) best = fmax(best, s);
            if (pass == 1) sum += exp(s - best);
        }
    return best + log(sum);
}

/* P of a token; lse of the group's heads. */
static double teacher(const ref_row *w, const double *lse, int64_t j) {
    int32_t group = w->s->n_q_heads / w->s->n_kv_heads;
    double p = 0;
    for (int32_t h = 0; h < group; h++)
        p += exp(teacher_score(w, w->group * group + h, j) - lse[h]) / group;
    return p;
}

static void one_row(const ref_row *w, double *lse, double *kl, double *dqi, double *dki) {
    const msa_shape *s = w->s;
    int32_t di = s->index_dim, group = s->n_q_heads / s->n_kv_heads;
    const float *qi = w->a->qi + (w->t * s->n_index_heads + w->group) * di;
    double student = lse_of(w, -1), mass = w->support == MSA_SUPPORT_FAR_MASS ? 0 : 1;
    for (int32_t h = 0; h < group; h++) lse[h] = lse_of(w, w->group * group + h);
    for (int64_t j = 0; j <= w->position && w->support == MSA_SUPPORT_FAR_MASS; j++)
        if (is_supported(w, w->support, j)) mass += teacher(w, lse, j);
    for (int64_t j = 0; j <= w->position; j++) {
        if (!is_supported(w, w->support, j)) continue;
        double p = teacher(w, lse, j), log_pi = student_score(w, j) - student + log(mass);
        if (p > 0) *kl += p * (log(p) - log_pi);
        double ds = w->a->loss_scale / sqrt(di) * (exp(log_pi) - p);
        int64_t row = (ref_kv_start(w->b, w->request) + j) * s->n_index_keys +
                      (s->n_index_keys == 1 ? 0 : w->group);
        ref_vector key = index_key(w, j);
        for (int32_t c = 0; c < di; c++) {
            dqi[(w->t * s->n_index_heads + w->group) * di + c] += ds * ref_element(key, c);
            dki[row * di + c] += ds * qi[c];
        }
    }
}

static int is_taken(const msa_index_loss_args *a, int64_t t) {
    if (!a->rows) return 1;
    for (int64_t i = 0; i < a->n_rows; i++)
        if (a->rows[i] == t) return 1;
    return 0;
}

void index_loss_ref(const msa_shape *s, const msa_batch *b, msa_support support,
                    const msa_index_loss_args *a, double *kl, double *dqi, double *dki) {
    double lse[65536];
    for (int32_t g = 0; g < s->n_kv_heads; g++) kl[g] = 0;
    for (int32_t r = 0; r < b->n_requests; r++)
        for (int64_t t = b->cu_seqlens_q[r]; t < b->cu_seqlens_q[r + 1]; t++) {
            if (!is_taken(a, t)) continue;
            for (int32_t g = 0; g < s->n_kv_heads; g++) {
                ref_row row = {s, b, a, support,
                               r, g, t, ref_position(b, r) + t - b->cu_seqlens_q[r]};
                one_row(&row, lse, kl + g, dqi, dki);
            }
        }
}
