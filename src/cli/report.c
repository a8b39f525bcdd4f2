/* report.c: see report.h. */
#include "cli/report.h"

#include <stdio.h>

#include "cli/settings.h"
#include "cli/table.h"

typedef struct phase {
    const char *name;
    int64_t n_tokens;
    double seconds, attn_seconds, keys, keys_dense;
    msa_index8_stats index8;
} phase;

static phase prefill_of(const msa_session_stats *s) {
    return (phase){"prefill",       s->n_prefill_tokens,   s->prefill_s,     s->prefill_attn_s,
                   s->prefill_keys, s->prefill_keys_dense, s->prefill_index8};
}

static phase decode_of(const msa_session_stats *s) {
    return (phase){"decode",       s->n_decode_tokens,   s->decode_s,     s->decode_attn_s,
                   s->decode_keys, s->decode_keys_dense, s->decode_index8};
}

static double ratio(double a, double b) {
    return b > 0 ? a / b : 0;
}

static void print_phase(phase p) {
    if (p.n_tokens == 0) return;
    double n = (double)p.n_tokens;
    fprintf(stderr,
            "%-10s %lld tokens in %.2f s: %.1f tokens/s; attention %.0f %% of it; "
            "%.0f keys per query, dense %.0f",
            p.name, (long long)p.n_tokens, p.seconds, ratio(n, p.seconds),
            100 * ratio(p.attn_seconds, p.seconds), p.keys / n, p.keys_dense / n);
    if (p.keys < 0.995 * p.keys_dense) fprintf(stderr, " (%.1fx)", ratio(p.keys_dense, p.keys));
    fputc('\n', stderr);
}

/* Bytes of a stored key that has an int8 copy; 0 where none has. */
static double copied_bytes(const msa_session *session) {
    const msa_kv_params *p = msa_kv_get_params(msa_session_get_kv(session));
    if (!p->index8) return 0;
    return p->n_index_keys > 0 ? settings_row_bytes(p->index_dtype, p->index_dim)
                               : settings_row_bytes(p->k_dtype, p->head_dim);
}

static void print_index8(const phase *p, double stored_bytes) {
    const msa_index8_stats *s = &p->index8;
    if (s->bounded == 0) return;
    fprintf(
        stderr,
        "index8     %s: %.4g million scores bounded, %.2f %% of them computed; %.1f bytes read a "
        "key, %.0f without the copy\n",
        p->name, (double)s->bounded * 1e-6, 100 * ratio((double)s->rescored, (double)s->bounded),
        ratio((double)s->bytes, (double)s->keys), stored_bytes);
}

void report_print(const msa_session *session) {
    msa_session_stats stats = msa_session_get_stats(session);
    phase prefill = prefill_of(&stats), decode = decode_of(&stats);
    double stored_bytes = copied_bytes(session);
    print_phase(prefill);
    print_phase(decode);
    if (stored_bytes == 0) return;
    print_index8(&prefill, stored_bytes);
    print_index8(&decode, stored_bytes);
    if (prefill.index8.bounded + decode.index8.bounded == 0)
        fprintf(stderr, "index8     the copy was not read: too few blocks, or many tokens at once "
                        "(prefill)\n");
}

static json_t *index8_json(const phase *p, double stored_bytes) {
    const msa_index8_stats *s = &p->index8;
    if (stored_bytes == 0 || s->bounded == 0) return json_null();
    return json_pack("{s:I, s:I, s:o, s:o, s:o}", "scores", (json_int_t)s->bounded, "rescored",
                     (json_int_t)s->rescored, "rescored_share",
                     json_number(ratio((double)s->rescored, (double)s->bounded)), "bytes_per_key",
                     json_number(ratio((double)s->bytes, (double)s->keys)), "bytes_per_key_without",
                     json_number(stored_bytes));
}

static json_t *phase_json(phase p, double stored_bytes) {
    double n = (double)p.n_tokens;
    return json_pack("{s:I, s:o, s:o, s:o, s:o, s:o, s:o}", "tokens", (json_int_t)p.n_tokens,
                     "seconds", json_number(p.seconds), "tokens_per_s",
                     json_number(ratio(n, p.seconds)), "attention_share",
                     json_number(ratio(p.attn_seconds, p.seconds)), "keys_per_query",
                     json_number(ratio(p.keys, n)), "keys_per_query_dense",
                     json_number(ratio(p.keys_dense, n)), "index8", index8_json(&p, stored_bytes));
}

json_t *report_json(const msa_session *session) {
    msa_session_stats stats = msa_session_get_stats(session);
    double stored_bytes = copied_bytes(session);
    return json_pack("{s:o, s:o}", "prefill", phase_json(prefill_of(&stats), stored_bytes),
                     "decode", phase_json(decode_of(&stats), stored_bytes));
}
