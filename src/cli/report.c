/* report.c: see report.h. */
#include "cli/report.h"

#include <stdio.h>

#include "cli/settings.h"
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

/* Through the int8 copy, prefill and decode together. */
typedef struct copied {
    const char *keys; /* "index keys" */
    double bounded, rescored, bytes_per_key, stored_bytes;
} copied;

static bool copied_of(const msa_session *session, copied *c) {
    const msa_kv *kv = msa_session_get_kv(session);
    const msa_kv_params *p = msa_kv_get_params(kv);
    if (!p->index8) return false;
    const msa_session_stats stats = msa_session_get_stats(session);
    const msa_index8_stats *a = &stats.prefill_index8, *b = &stats.decode_index8;
    bool lane = p->n_index_keys > 0;
    *c =
        (copied){.keys = lane ? "index keys" : "keys",
                 .bounded = (double)(a->bounded + b->bounded),
                 .rescored = (double)(a->rescored + b->rescored),
                 .bytes_per_key = ratio((double)(a->bytes + b->bytes), (double)(a->keys + b->keys)),
                 .stored_bytes = lane ? settings_row_bytes(p->index_dtype, p->index_dim)
                                      : settings_row_bytes(p->k_dtype, p->head_dim)};
    return true;
}

void report_print(const msa_session *session) {
    msa_session_stats stats = msa_session_get_stats(session);
    copied c;
    print_phase(prefill_of(&stats));
    print_phase(decode_of(&stats));
    if (!copied_of(session, &c)) return;
    if (c.bounded == 0)
        fprintf(stderr,
                "index8     the copy was not read: there were too few blocks to choose from\n");
    else
        fprintf(stderr,
                "index8     %.3g million scores bounded, %.2f %% of them computed; %.1f bytes read "
                "of each of the %s, %.0f without the copy\n",
                c.bounded * 1e-6, 100 * ratio(c.rescored, c.bounded), c.bytes_per_key, c.keys,
                c.stored_bytes);
}

static json_t *phase_json(phase p) {
    double n = (double)p.n_tokens;
    return json_pack("{s:I, s:o, s:o, s:o, s:o, s:o}", "tokens", (json_int_t)p.n_tokens, "seconds",
                     json_number(p.seconds), "tokens_per_s", json_number(ratio(n, p.seconds)),
                     "attention_share", json_number(ratio(p.attn_seconds, p.seconds)),
                     "keys_per_query", json_number(ratio(p.keys, n)), "keys_per_query_dense",
                     json_number(ratio(p.keys_dense, n)));
}

static json_t *copied_json(const msa_session *session) {
    copied c;
    if (!copied_of(session, &c)) return json_null();
    return json_pack("{s:o, s:o, s:o, s:o, s:o}", "scores", json_number(c.bounded), "rescored",
                     json_number(c.rescored), "rescored_share",
                     json_number(ratio(c.rescored, c.bounded)), "bytes_per_key",
                     json_number(c.bytes_per_key), "bytes_per_key_without",
                     json_number(c.stored_bytes));
}

json_t *report_json(const msa_session *session) {
    msa_session_stats stats = msa_session_get_stats(session);
    return json_pack("{s:o, s:o, s:o}", "prefill", phase_json(prefill_of(&stats)), "decode",
                     phase_json(decode_of(&stats)), "index8", copied_json(session));
}
