/* params.c: see params.h. */
#include "train/params.h"

#include <math.h>
#include <string.h>

#include "base/hash.h"
#include "base/mem.h"
#include "base/random.h"

typedef struct range {
    const char *name;
    int64_t value, least, most;
} range;

static msa_status check_ranges(const range *ranges, size_t n, msa_error *err) {
    for (size_t i = 0; i < n; i++)
        if (ranges[i].value < ranges[i].least || ranges[i].value > ranges[i].most)
            return error_set(err, MSA_E_ARG, "arch: %s is %lld; expected %lld..%lld",
                             ranges[i].name, (long long)ranges[i].value, (long long)ranges[i].least,
                             (long long)ranges[i].most);
    return MSA_OK;
}

/* Bounds that keep every product below in 64 bits, and the relations the layers rely on. */
static msa_status check_arch(const arch *a, msa_error *err) {
    const int64_t wide = 1 << 20;
    const arch_index *x = &a->index;
    const arch_moe *m = &a->moe;
    int64_t widest_rotation = x->present && x->dim < a->head_dim ? x->dim : a->head_dim;
    bool dense_ff = !m->present || a->n_dense_layers > 0;
    const range all[] = {
        {"n_layers", a->n_layers, 1, 1024},
        {"n_embd", a->n_embd, 1, wide},
        {"n_q_heads", a->n_q_heads, 1, 4096},
        {"n_kv_heads", a->n_kv_heads, 1, a->n_q_heads},
        {"n_q_heads mod n_kv_heads", a->n_kv_heads > 0 ? a->n_q_heads % a->n_kv_heads : 0, 0, 0},
        {"head_dim", a->head_dim, 8, 256},
        {"head_dim mod 8", a->head_dim % 8, 0, 0},
        {"n_vocab", a->n_vocab, 1, 1 << 24},
        {"n_ff", a->n_ff, dense_ff, wide},
        {"n_rot", a->n_rot, 0, widest_rotation},
        {"n_rot mod 2", a->n_rot % 2, 0, 0},
        {"n_dense_layers", a->n_dense_layers, 0, a->n_layers},
    };
    const range index[] = {{"index.dim", x->dim, 8, 256}, {"index.dim mod 8", x->dim % 8, 0, 0}};
    const range moe[] = {
        {"moe.n_experts", m->n_experts, 1, 4096},
        {"moe.n_used", m->n_used, 1, m->n_experts},
        {"moe.n_ff", m->n_ff, 1, wide},
        {"moe.n_ff_shared", m->n_ff_shared, 0, wide},
    };
    msa_status status = check_ranges(all, sizeof all / sizeof *all, err);
    if (!status && x->present) status = check_ranges(index, sizeof index / sizeof *index, err);
    if (!status && m->present) status = check_ranges(moe, sizeof moe / sizeof *moe, err);
    return status;
}

/* The list, without places. */
static void name_all(params *p, const tensor_list *tensors) {
    for (int64_t i = 0; i < tensors->n; i++) {
        const tensor_spec *spec = &tensors->specs[i];
        if (spec->role == TENSOR_ROUTER_BIAS) continue;
        param *t = &p->list[p->n++];
        *t = (param){.role = spec->role,
                     .layer = spec->layer,
                     .expert = spec->expert,
                     .n_out = spec->n_out,
                     .n_in = spec->n_in,
                     .decay = !tensor_is_vector(spec->role),
                     .index = tensor_is_index(spec->role)};
        memcpy(t->name, spec->name, sizeof t->name);
    }
}

static void place(params *p, param *t) {
    t->at = p->n_floats;
    p->n_floats += (t->n_out * t->n_in + PARAMS_ALIGN - 1) / PARAMS_ALIGN * PARAMS_ALIGN;
}

/* One behind another; frozen: those of the index branch behind all others. */
static void place_all(params *p, bool frozen) {
    for (int32_t i = 0; i < p->n; i++)
        if (!frozen || !p->list[i].index) place(p, &p->list[i]);
    if (!frozen) return;
    p->trained = p->n_floats;
    for (int32_t i = 0; i < p->n; i++) {
        p->list[i].frozen = !p->list[i].index;
        if (p->list[i].index) place(p, &p->list[i]);
    }
}

size_t params_bytes(const params *p) {
    return (size_t)(p->n_floats - p->trained) * PARAMS_BYTES + (size_t)p->trained * sizeof(float);
}

static bool allocate(params *p, const tensor_list *tensors, bool frozen) {
    const arch *a = &p->arch;
    p->list = mem_alloc((size_t)tensors->n, sizeof *p->list);
    if (!p->list) return false;
    name_all(p, tensors);
    place_all(p, frozen);
    if ((uint64_t)p->n_floats > SIZE_MAX / PARAMS_BYTES || params_bytes(p) > mem_of_machine())
        return false;
    size_t n_biases = a->moe.present ? (size_t)a->n_layers * (size_t)a->moe.n_experts : 0;
    p->w = mem_calloc((size_t)p->n_floats, sizeof *p->w);
    p->g = mem_calloc((size_t)(p->n_floats - p->trained), sizeof *p->g);
    p->router_bias = mem_calloc(n_biases, sizeof *p->router_bias);
    return p->w && p->g && p->router_bias;
}

static msa_status create(params **out, const arch *a, bool frozen, msa_error *err) {
    *out = NULL;
    tensor_list tensors;
    msa_status status = check_arch(a, err);
    if (status || (status = tensor_list_create(&tensors, a, err))) return status;
    params *p = mem_calloc(1, sizeof *p);
    if (p) p->arch = *a;
    bool enough = p && allocate(p, &tensors, frozen);
    tensor_list_free(&tensors);
    if (!enough) {
        params_free(p);
        return error_set(err, MSA_E_NOMEM,
                         "no memory for the weights of a model, gradients and moments (%d bytes "
                         "for each weight)",
                         PARAMS_BYTES);
    }
    *out = p;
    return MSA_OK;
}

msa_status params_create(params **out, const arch *a, msa_error *err) {
    return create(out, a, false, err);
}

msa_status params_create_frozen(params **out, const arch *a, msa_error *err) {
    return create(out, a, true, err);
}

void params_free(params *p) {
    if (!p) return;
    mem_free(p->list);
    mem_free(p->w);
    mem_free(p->g);
    mem_free(p->router_bias);
    mem_free(p);
}

const param *params_find(const params *p, const char *name) {
    for (int32_t i = 0; i < p->n; i++)
        if (!strcmp(p->list[i].name, name)) return &p->list[i];
    return NULL;
}

const param *params_of(const params *p, tensor_role role, int32_t layer, int32_t expert) {
    for (int32_t i = 0; i < p->n; i++) {
        const param *t = &p->list[i];
        if (t->role == role && t->layer == layer && t->expert == expert) return t;
    }
    return NULL;
}

/* Two normal numbers from two uniform ones (Box and Muller). */
static void fill_normal(float *w, int64_t n, uint64_t stream, double std) {
    const double turn = 6.283185307179586;
    for (int64_t i = 0; i < n; i += 2) {
        double r = std * sqrt(-2 * log(random_uniform(stream, (uint64_t)i)));
        double angle = turn * random_uniform(stream, (uint64_t)i + 1);
        w[i] = (float)(r * cos(angle));
        if (i + 1 < n) w[i + 1] = (float)(r * sin(angle));
    }
}

static bool writes_residual(tensor_role role) {
    return role == TENSOR_O || role == TENSOR_DOWN || role == TENSOR_EXPERT_DOWN ||
           role == TENSOR_SHARED_DOWN || role == TENSOR_INDEX_O;
}

/* What a vector starts from. M3 adds 1 to the weight of a norm. */
static float vector_start(const params *p, const param *t, const params_init *init) {
    if (!tensor_is_norm(t->role)) return 0;
    float gain = 1;
    if (t->role == TENSOR_INDEX_Q_NORM || t->role == TENSOR_INDEX_K_NORM)
        gain = init->index_gain;
    else if (t->role == TENSOR_Q_NORM || t->role == TENSOR_K_NORM)
        gain = init->qk_gain;
    return p->arch.family == ARCH_MINIMAX_M3 ? gain - 1 : gain;
}

static void fill(params *p, const param *t, const params_init *init) {
    float *w = p->w + t->at;
    int64_t n = t->n_out * t->n_in;
    if (t->decay) {
        double std = init->std;
        if (writes_residual(t->role)) std /= sqrt(2.0 * p->arch.n_layers);
        if (t->role == TENSOR_EMBED && init->embed_std > 0) std = init->embed_std;
        fill_normal(w, n, random_stream(init->seed, hash_bytes(t->name, strlen(t->name))), std);
        return;
    }
    float start = vector_start(p, t, init);
    for (int64_t i = 0; i < n; i++) w[i] = start;
}

void params_fill(params *p, const params_init *init) {
    for (int32_t i = 0; i < p->n; i++) fill(p, &p->list[i], init);
}

void params_fill_index(params *p, const params_init *init) {
    for (int32_t i = 0; i < p->n; i++)
        if (p->list[i].index) fill(p, &p->list[i], init);
}

void params_freeze(params *p, bool backbone, bool index) {
    for (int32_t i = 0; i < p->n; i++)
        p->list[i].frozen = p->list[i].index ? index : backbone || p->trained > 0;
}
