/* sheet_record.c: answers as records of the ledger, see sheet.h. */
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/utf8.h"
#include "eval/sheet.h"
#include "eval/stamp.h"

/* ---- the header ------------------------------------------------------------------------------ */

static json_t *hex(uint64_t x) {
    char text[17];
    snprintf(text, sizeof text, "%016" PRIx64, x);
    return json_string(text);
}

static json_t *layers_hex(const uint64_t layers[4]) {
    char text[65];
    snprintf(text, sizeof text, "%016" PRIx64 "%016" PRIx64 "%016" PRIx64 "%016" PRIx64, layers[3],
             layers[2], layers[1], layers[0]);
    return json_string(text);
}

/* "f16", or "int8/fp8" where values have another format than keys. */
static json_t *formats(const msa_session_params *s) {
    const char *k = msa_dtype_name(s->k_dtype), *v = msa_dtype_name(s->v_dtype);
    return s->k_dtype == s->v_dtype ? json_string(k) : json_sprintf("%s/%s", k, v);
}

/* What an answer depends on besides the names in its own record. Threads and chunks are not in. */
static json_t *make_header(const msa_eval *e, const msa_eval_params *p, const stamp *is) {
    const msa_session_params *s = &e->session;
    const asker *a = &e->asker;
    json_t *text = a->has_text ? hex(a->text.fingerprint) : json_string("noise");
    return json_pack(
        "{s:i, s:s, s:o, s:o, s:o, s:s, s:o, s:o, s:o, s:o, s:o, s:I, s:I, s:i, s:i, s:i, s:i, "
        "s:I, s:o, s:o, s:s}",
        "msa_eval", 1, "architecture", msa_model_get_info(e->model)->architecture, "model",
        hex(is->weights), "numbers", hex(is->numbers), "tokenizer", hex(is->tokenizer), "chat",
        e->info.chat, "chat_template", hex(a->chat ? is->chat : 0), "seed", hex(p->seed), "text",
        text, "squad", hex(a->squad.fingerprint), "hotpotqa", hex(a->hotpotqa.fingerprint), "items",
        (json_int_t)p->n_items, "questions", (json_int_t)p->n_questions, "block", s->block, "topk",
        s->topk, "local", s->local, "init", s->init, "selection_seed", (json_int_t)s->seed,
        "layers_dense", layers_hex(s->dense_layers), "kv_format", formats(s), "index_format",
        msa_dtype_name(s->index_dtype));
}

/* ---- records --------------------------------------------------------------------------------- */

double sheet_kept(double x) {
    char text[32];
    snprintf(text, sizeof text, "%.9g", x); /* the digits of a log */
    return strtod(text, NULL);
}

static bool same_text(const json_t *record, const char *key, const char *text) {
    const char *found = json_string_value(json_object_get(record, key));
    return found && strcmp(found, text) == 0;
}

static bool same_depth(const json_t *record, double depth) {
    const json_t *found = json_object_get(record, "depth");
    return isnan(depth) ? !json_is_number(found) : json_number_value(found) == depth;
}

static double number(const json_t *record, const char *key) {
    return json_number_value(json_object_get(record, key));
}

static bool is_record(const json_t *record) {
    const json_t *score = json_object_get(record, "score");
    return json_is_integer(json_object_get(record, "sample")) && json_is_number(score) &&
           json_number_value(score) >= 0 && json_number_value(score) <= 1;
}

/* Records of what is not asked now are left alone. */
static bool take_record(void *user, const json_t *record) {
    msa_eval *e = user;
    json_int_t length = json_integer_value(json_object_get(record, "length"));
    json_int_t sample = json_integer_value(json_object_get(record, "sample"));
    if (sample < 0 || sample >= e->n_samples) return true;
    for (size_t c = 0; c < e->n_cells; c++) {
        const sheet_cell *cell = &e->cells[c];
        if (cell->length != length || !same_text(record, "task", cell->name) ||
            !same_depth(record, cell->depth))
            continue;
        for (size_t s = 0; s < e->n_selectors; s++) {
            sheet_answer *answer = sheet_at(e, c, sample, s);
            if (!same_text(record, "selector", e->selectors[s])) continue;
            if (!is_record(record)) return false;
            e->info.n_found += !answer->given;
            *answer = (sheet_answer){true, number(record, "score"), number(record, "prompt_tokens"),
                                     number(record, "keys"), number(record, "keys_dense")};
        }
    }
    return true;
}

/* JSON knows UTF-8 only: other bytes become U+FFFD. */
static json_t *text_json(const char *text) {
    bytes clean = {0};
    for (size_t n = strlen(text); n > 0;) {
        size_t valid = utf8_valid_prefix(text, n);
        bytes_append(&clean, text, valid);
        text += valid, n -= valid;
        if (n > 0) bytes_append_text(&clean, "\xef\xbf\xbd"), text++, n--;
    }
    json_t *out = clean.failed ? NULL : json_stringn(clean.n ? clean.data : "", clean.n);
    bytes_free(&clean);
    return out;
}

static json_t *expected_json(const prompt *p) {
    json_t *list = json_array();
    const char *text = NULL;
    for (size_t i = 0; i < p->n_expected; i++) {
        text = prompt_next_expected(p, text);
        if (json_array_append_new(list, text_json(text)) != 0) return json_decref(list), NULL;
    }
    return list;
}

msa_status sheet_record(msa_eval *e, size_t cell, int64_t sample, size_t selector,
                        const char *answer, int64_t n_answer, msa_error *err) {
    if (!e->out) return MSA_OK;
    const sheet_cell *c = &e->cells[cell];
    const sheet_answer *a = sheet_at(e, cell, sample, selector);
    json_t *depth = isnan(c->depth) ? json_null() : json_real(c->depth);
    json_t *record = json_pack(
        "{s:s, s:I, s:o, s:I, s:s, s:f, s:o, s:o, s:I, s:I, s:f, s:f}", "task", c->name, "length",
        (json_int_t)c->length, "depth", depth, "sample", (json_int_t)sample, "selector",
        e->selectors[selector], "score", a->score, "answer", text_json(answer), "expected",
        expected_json(&e->question.prompt), "prompt_tokens", (json_int_t)a->n_prompt,
        "answer_tokens", (json_int_t)n_answer, "keys", a->keys, "keys_dense", a->keys_dense);
    return ledger_write(&e->ledger, record, err);
}

/* ---- opening --------------------------------------------------------------------------------- */

msa_status sheet_open_ledger(msa_eval *e, const msa_eval_params *params, msa_error *err) {
    stamp is;
    if (!params->out) return MSA_OK;
    msa_status status = stamp_model(e->model, &is, err);
    if (status != MSA_OK) return status;
    size_t size = strlen(params->out) + 1;
    e->out = mem_alloc(size, 1);
    json_t *header = make_header(e, params, &is);
    if (e->out && header) {
        memcpy(e->out, params->out, size);
        status = ledger_open(&e->ledger, e->out, header, take_record, e, err);
    } else {
        status = error_set(err, MSA_E_NOMEM, "no memory for an evaluation");
    }
    json_decref(header);
    return status;
}
