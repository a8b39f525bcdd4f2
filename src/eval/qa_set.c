/* qa_set.c: see qa_set.h. */
#include "eval/qa_set.h"

#include <string.h>

#include "base/bytes.h"
#include "base/checksum.h"
#include "base/file.h"
#include "base/mem.h"
#include "model/json_file.h"

static msa_status no_memory(msa_error *err) {
    return error_set(err, MSA_E_NOMEM, "no memory for a set of questions");
}

static msa_status lacks(msa_error *err, const char *what, size_t i) {
    return error_set(err, MSA_E_FORMAT, "expected %s in entry %zu, found none; is it that set?",
                     what, i);
}

/* Puts the document's number, a new one where it was not met before, into the pool. */
static msa_status pool_document(qa_set *s, const char *text, msa_error *err) {
    void *pool = s->pool, *documents = s->documents;
    bool room = mem_grow(&pool, &s->pool_capacity, (size_t)s->n_pool + 1, sizeof *s->pool);
    s->pool = pool;
    json_t *number = json_object_get(s->numbers, text);
    if (!room) return no_memory(err);
    if (!number) {
        room = mem_grow(&documents, &s->document_capacity, (size_t)s->n_documents + 1,
                        sizeof *s->documents);
        s->documents = documents;
        number = json_integer(s->n_documents);
        if (!room || json_object_set_new(s->numbers, text, number) != 0) return no_memory(err);
        void *entry = json_object_iter_at(s->numbers, text);
        s->documents[s->n_documents++] = json_object_iter_key(entry);
    }
    s->pool[s->n_pool++] = json_integer_value(number);
    return MSA_OK;
}

static msa_status add_question(qa_set *s, qa_question q, msa_error *err) {
    void *questions = s->questions;
    bool room = mem_grow(&questions, &s->question_capacity, (size_t)s->n_questions + 1,
                         sizeof *s->questions);
    s->questions = questions;
    if (!room) return no_memory(err);
    s->questions[s->n_questions++] = q;
    return MSA_OK;
}

/* ---- SQuAD ----------------------------------------------------------------------------------- */

/* The texts of a question's answers; the caller's. NULL without memory. */
static json_t *answer_texts(json_t *answers) {
    json_t *texts = json_array(), *answer;
    size_t i;
    json_array_foreach(answers, i, answer) {
        json_t *text = json_object_get(answer, "text");
        if (json_string_length(text) && json_array_append(texts, text) != 0)
            return json_decref(texts), NULL;
    }
    return texts;
}

/* The questions of the i-th of an article's n paragraphs, which lie in the pool from `first`. */
static msa_status add_paragraph(qa_set *s, json_t *paragraph, int64_t first, int64_t n, size_t i,
                                msa_error *err) {
    json_t *asked, *list = json_object_get(paragraph, "qas");
    size_t k;
    msa_status status = MSA_OK;
    json_array_foreach(list, k, asked) {
        json_t *text = json_object_get(asked, "question");
        json_t *answers = answer_texts(json_object_get(asked, "answers"));
        if (!answers) return no_memory(err);
        if (status == MSA_OK && json_is_string(text) && json_array_size(answers) &&
            !json_is_true(json_object_get(asked, "is_impossible"))) {
            /* The set's tree keeps the array alive. */
            if (json_object_set(asked, "texts", answers) != 0) status = no_memory(err);
            if (status == MSA_OK)
                status = add_question(s,
                                      (qa_question){.text = json_string_value(text),
                                                    .answers = answers,
                                                    .own = first + (int64_t)i,
                                                    .n_own = 1,
                                                    .more = first,
                                                    .n_more = n},
                                      err);
        }
        json_decref(answers);
    }
    return status;
}

static msa_status read_squad(qa_set *s, msa_error *err) {
    json_t *articles = json_object_get(s->root, "data"), *article, *paragraph;
    size_t i, k;
    msa_status status = MSA_OK;
    if (!json_is_array(articles)) return lacks(err, "a list \"data\"", 0);
    json_array_foreach(articles, i, article) {
        json_t *paragraphs = json_object_get(article, "paragraphs");
        int64_t first = s->n_pool, n = (int64_t)json_array_size(paragraphs);
        if (!json_is_array(paragraphs)) return lacks(err, "a list \"paragraphs\"", i);
        json_array_foreach(paragraphs, k, paragraph) {
            json_t *text = json_object_get(paragraph, "context");
            if (!json_is_string(text)) return lacks(err, "\"context\" in each paragraph", i);
            status = pool_document(s, json_string_value(text), err);
            if (status != MSA_OK) return status;
        }
        json_array_foreach(paragraphs, k, paragraph) {
            status = add_paragraph(s, paragraph, first, n, k, err);
            if (status != MSA_OK) return status;
        }
    }
    return MSA_OK;
}

/* ---- HotpotQA -------------------------------------------------------------------------------- */

/* [title, [sentence, ...]] */
static msa_status pool_hotpot(qa_set *s, json_t *document, size_t i, msa_error *err) {
    json_t *title = json_array_get(document, 0), *sentences = json_array_get(document, 1),
           *sentence;
    bytes text = {0};
    size_t k;
    if (!json_is_string(title) || !json_is_array(sentences))
        return lacks(err, "[title, [sentences]] in \"context\"", i);
    bytes_append_text(&text, json_string_value(title));
    bytes_append_text(&text, "\n");
    json_array_foreach(sentences, k, sentence) {
        if (json_is_string(sentence)) bytes_append_text(&text, json_string_value(sentence));
    }
    bytes_terminate(&text);
    msa_status status = text.failed ? no_memory(err) : pool_document(s, text.data, err);
    bytes_free(&text);
    return status;
}

static msa_status read_hotpot(qa_set *s, msa_error *err) {
    json_t *entries = json_object_get(s->root, "data"), *entry, *document;
    size_t i, k;
    msa_status status = MSA_OK;
    json_array_foreach(entries, i, entry) {
        json_t *text = json_object_get(entry, "question"),
               *answer = json_object_get(entry, "answer");
        json_t *context = json_object_get(entry, "context");
        int64_t first = s->n_pool;
        if (!json_is_string(text)) return lacks(err, "\"question\"", i);
        if (!json_string_length(answer)) return lacks(err, "\"answer\"", i);
        if (!json_array_size(context)) return lacks(err, "a list \"context\"", i);
        json_array_foreach(context, k, document) {
            status = pool_hotpot(s, document, i, err);
            if (status != MSA_OK) return status;
        }
        json_t *answers = json_pack("[O]", answer);
        if (!answers || json_object_set(entry, "texts", answers) != 0) status = no_memory(err);
        if (status == MSA_OK)
            status = add_question(s,
                                  (qa_question){.text = json_string_value(text),
                                                .answers = answers,
                                                .own = first,
                                                .n_own = s->n_pool - first},
                                  err);
        json_decref(answers);
        if (status != MSA_OK) return status;
    }
    return MSA_OK;
}

/* ---- the file -------------------------------------------------------------------------------- */

/* HotpotQA's file is a bare list; both are read as an object with "data". */
static msa_status read_root(qa_set *s, const void *data, size_t n_bytes, const char *name,
                            bool hotpotqa, msa_error *err) {
    bytes whole = {0};
    if (!hotpotqa) return json_file_parse(&s->root, data, n_bytes, 0, name, err);
    bytes_append_text(&whole, "{\"data\":");
    bytes_append(&whole, data, n_bytes);
    bytes_append_text(&whole, "}");
    msa_status status = whole.failed ? no_memory(err)
                                     : json_file_parse(&s->root, whole.data, whole.n, 0, name, err);
    bytes_free(&whole);
    return status;
}

msa_status qa_set_parse(qa_set *s, const void *data, size_t n_bytes, const char *name,
                        bool hotpotqa, msa_error *err) {
    *s = (qa_set){.fingerprint = checksum_of(data, n_bytes)};
    msa_status status = read_root(s, data, n_bytes, name, hotpotqa, err);
    if (status != MSA_OK) return status;
    s->numbers = json_object();
    if (!s->numbers) status = no_memory(err);
    if (status == MSA_OK) {
        status = hotpotqa ? read_hotpot(s, err) : read_squad(s, err);
        if (status == MSA_OK && s->n_questions == 0) status = lacks(err, "a question", 0);
        if (status != MSA_OK) status = error_prefix(err, status, "%s: ", name);
    }
    if (status != MSA_OK) qa_set_free(s);
    return status;
}

msa_status qa_set_open(qa_set *s, const char *path, bool hotpotqa, msa_error *err) {
    file_map map;
    *s = (qa_set){0};
    msa_status status = file_map_open(&map, path, err);
    if (status != MSA_OK) return status;
    status = map.n_bytes ? qa_set_parse(s, map.data, map.n_bytes, path, hotpotqa, err)
                         : error_set(err, MSA_E_FORMAT, "'%s' is empty", path);
    file_map_close(&map);
    return status;
}

void qa_set_free(qa_set *s) {
    json_decref(s->root);
    json_decref(s->numbers);
    mem_free(s->documents);
    mem_free(s->questions);
    mem_free(s->pool);
    *s = (qa_set){0};
}
