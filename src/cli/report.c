/* report.c: see report.h. */
#include "cli/report.h"

#include <stdio.h>

#include "cli/table.h"

typedef struct phase {
    const char *name;
    int64_t n_tokens;
    double seconds, attn_seconds, keys, keys_dense;
} phase;

static phase prefill_of(const msa_session_stats *s) {
    return (phase){"prefill",         s->n_prefill_tokens, s->prefill_s,
                   s->prefill_attn_s, s->prefill_keys,     s->prefill_keys_dense};
}

static phase decode_of(const msa_session_stats *s) {
    return (phase){"decode",         s->n_decode_tokens, s->decode_s,
                   s->decode_attn_s, s->decode_keys,     s->decode_keys_dense};
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

void report_print(const msa_session_stats *stats) {
    print_phase(prefill_of(stats));
    print_phase(decode_of(stats));
}

static json_t *phase_json(phase p) {
    double n = (double)p.n_tokens;
    return json_pack("{s:I, s:o, s:o, s:o, s:o, s:o}", "tokens", (json_int_t)p.n_tokens, "seconds",
                     json_number(p.seconds), "tokens_per_s", json_number(ratio(n, p.seconds)),
                     "attention_share", json_number(ratio(p.attn_seconds, p.seconds)),
                     "keys_per_query", json_number(ratio(p.keys, n)), "keys_per_query_dense",
                     json_number(ratio(p.keys_dense, n)));
}

json_t *report_json(const msa_session_stats *stats) {
    return json_pack("{s:o, s:o}", "prefill", phase_json(prefill_of(stats)), "decode",
                     phase_json(decode_of(stats)));
}
