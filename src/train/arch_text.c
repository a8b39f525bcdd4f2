/* arch_text.c: see arch_text.h. */
#include "train/arch_text.h"

#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include "base/number_text.h"

typedef enum fact_kind { FACT_INT, FACT_BOOL, FACT_FLOAT, FACT_DOUBLE } fact_kind;

typedef struct fact {
    const char *name;
    fact_kind kind;
    size_t offset; /* in arch */
} fact;

#define FACT(kind, field)                                                                          \
    { #field, kind, offsetof(arch, field) }

static const fact FACTS[] = {
    FACT(FACT_INT, family),          FACT(FACT_INT, n_layers),       FACT(FACT_INT, n_embd),
    FACT(FACT_INT, n_q_heads),       FACT(FACT_INT, n_kv_heads),     FACT(FACT_INT, head_dim),
    FACT(FACT_INT, n_vocab),         FACT(FACT_INT, n_ctx_train),    FACT(FACT_INT, n_ff),
    FACT(FACT_INT, n_rot),           FACT(FACT_DOUBLE, rope_base),   FACT(FACT_FLOAT, norm_eps),
    FACT(FACT_BOOL, tied),           FACT(FACT_BOOL, qk_norm),       FACT(FACT_BOOL, qkv_bias),
    FACT(FACT_BOOL, swiglu_oai),     FACT(FACT_FLOAT, swiglu_alpha), FACT(FACT_FLOAT, swiglu_limit),
    FACT(FACT_INT, n_dense_layers),  FACT(FACT_BOOL, index.present), FACT(FACT_INT, index.dim),
    FACT(FACT_INT, index.block),     FACT(FACT_INT, index.topk),     FACT(FACT_INT, index.local),
    FACT(FACT_INT, index.init),      FACT(FACT_BOOL, index.value),   FACT(FACT_BOOL, moe.present),
    FACT(FACT_INT, moe.n_experts),   FACT(FACT_INT, moe.n_used),     FACT(FACT_INT, moe.n_ff),
    FACT(FACT_INT, moe.n_ff_shared), FACT(FACT_FLOAT, moe.scale),
};
enum { N_FACTS = sizeof FACTS / sizeof *FACTS, VALUE_SIZE = 48 };
_Static_assert(sizeof(arch_family) == sizeof(int32_t), "a family is read as an int32_t");

/* The value's bits and its text determine each other. */
static void value_text(const arch *a, const fact *f, char text[VALUE_SIZE]) {
    const void *at = (const char *)a + f->offset;
    switch (f->kind) {
    case FACT_INT: snprintf(text, VALUE_SIZE, "%d", *(const int32_t *)at); return;
    case FACT_BOOL: snprintf(text, VALUE_SIZE, "%s", *(const bool *)at ? "true" : "false"); return;
    case FACT_FLOAT: number_text(text, VALUE_SIZE, 9, (double)*(const float *)at); return;
    case FACT_DOUBLE: number_text(text, VALUE_SIZE, 17, *(const double *)at); return;
    }
}

void arch_text_write(const arch *a, bytes *out) {
    char value[VALUE_SIZE], line[VALUE_SIZE + 32];
    for (int i = 0; i < N_FACTS; i++) {
        value_text(a, &FACTS[i], value);
        snprintf(line, sizeof line, "%s %s\n", FACTS[i].name, value);
        bytes_append_text(out, line);
    }
}

/* The value in the line that begins with this name; false: there is none. */
static bool find_value(const char *text, size_t n, const char *name, const char **value,
                       size_t *n_value) {
    size_t n_name = strlen(name);
    while (n > 0) {
        const char *end = memchr(text, '\n', n);
        size_t length = end ? (size_t)(end - text) : n, whole = end ? length + 1 : n;
        if (length > n_name && text[n_name] == ' ' && memcmp(text, name, n_name) == 0) {
            *value = text + n_name + 1;
            *n_value = length - n_name - 1;
            return true;
        }
        text += whole, n -= whole;
    }
    return false;
}

msa_status arch_text_same(const arch *now, const char *then, size_t n_then, msa_error *err) {
    for (int i = 0; i < N_FACTS; i++) {
        char value[VALUE_SIZE];
        const char *was;
        size_t n_was;
        if (!find_value(then, n_then, FACTS[i].name, &was, &n_was)) continue;
        value_text(now, &FACTS[i], value);
        if (strlen(value) == n_was && memcmp(value, was, n_was) == 0) continue;
        return error_set(err, MSA_E_ARG,
                         "the model's %s is %s, and was %.*s when the checkpoint was made; "
                         "expected model.from to be the file the run began with",
                         FACTS[i].name, value, (int)(n_was < VALUE_SIZE ? n_was : VALUE_SIZE), was);
    }
    return MSA_OK;
}
