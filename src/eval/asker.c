/* asker.c: see asker.h. */
#include "eval/asker.h"

#include <string.h>

#include "base/mem.h"
#include "eval/fit.h"
#include "model/model.h"

void question_free(question *q) {
    prompt_free(&q->prompt);
    bytes_free(&q->text);
    marked_free(&q->sample);
    *q = (question){0};
}

/* ---- what tasks need ------------------------------------------------------------------------- */

static bool is_trainers(const quiz *q) {
    return strcmp(q->task.suite, "trainer") == 0;
}

static bool asks_squad(const quiz *q) {
    return strcmp(q->task.name, "qa_1") == 0;
}

static msa_status check_files(const msa_eval_params *params, const quiz *q, msa_error *err) {
    bool squad = asks_squad(q);
    if (q->task.uses_text == 2 && !params->text)
        return error_set(err, MSA_E_ARG, "task %s: needs a text to hide facts in: expected `text`",
                         q->task.name);
    if (q->task.uses_questions && !(squad ? params->squad : params->hotpotqa))
        return error_set(err, MSA_E_ARG,
                         "task %s: needs the questions of %s, which are not ours to ship: expected "
                         "its JSON file in `%s`",
                         q->task.name, squad ? "SQuAD" : "HotpotQA", squad ? "squad" : "hotpotqa");
    return MSA_OK;
}

/* All that are given, needed yet or not: the ledger says what they hold, so that a task more does
 * not make another file of it. */
static msa_status open_files(asker *a, const msa_eval_params *params, msa_error *err) {
    msa_status status = MSA_OK;
    a->has_text = params->text != NULL;
    if (params->text) status = haystack_open(&a->text, params->text, err);
    if (status == MSA_OK && params->squad)
        status = qa_set_open(&a->squad, params->squad, false, err);
    if (status == MSA_OK && params->hotpotqa)
        status = qa_set_open(&a->hotpotqa, params->hotpotqa, true, err);
    return status;
}

static msa_status count_line(asker *a, msa_error *err) {
    msa_tokens line = {0};
    msa_status status = tokenizer_encode(a->model->tokenizer, QUIZ_NOISE "\n",
                                         strlen(QUIZ_NOISE) + 1, 0, &line, err);
    a->line_tokens = line.n ? (int64_t)line.n : 1;
    msa_tokens_free(&line);
    return status;
}

/* The text as the trainer's needles take it: one document of pieces, of which one is left out. */
static msa_status open_corpus(asker *a, msa_error *err) {
    enum { PIECE_MOST = 512, TEXT_LEAST = 64 };
    msa_status status =
        tokenizer_encode(a->model->tokenizer, a->text.text.data, a->text.text.n, 0, &a->ids, err);
    if (status != MSA_OK) return status;
    int64_t piece = (int64_t)a->ids.n / 4 < PIECE_MOST ? (int64_t)a->ids.n / 4 : PIECE_MOST;
    if (a->ids.n < TEXT_LEAST)
        return error_set(err, MSA_E_ARG, "a text of %zu tokens is too short to hide facts in",
                         a->ids.n);
    a->tokens = (tokens){.ids = a->ids.ids, .n = (int64_t)a->ids.n, .n_docs = 1};
    int64_t *docs = mem_alloc(2, sizeof *docs);
    if (!docs) return error_set(err, MSA_E_NOMEM, "no memory for a text");
    docs[0] = 0, docs[1] = a->tokens.n;
    a->tokens.docs = docs;
    return corpus_create(&a->corpus, &a->tokens, NULL, 0, piece, piece, a->seed, err);
}

/* The maker of the trainer's tasks has to know the text from its beginning. */
static msa_status open_trainer(asker *a, const quiz *const *quizzes, size_t n, msa_error *err) {
    bool wanted = false, hides = false;
    for (size_t i = 0; i < n; i++)
        wanted |= is_trainers(quizzes[i]), hides |= quizzes[i]->task.uses_text == 2;
    if (!wanted) return MSA_OK;
    msa_status status = hides ? open_corpus(a, err) : MSA_OK;
    if (status != MSA_OK) return status;
    return task_maker_create(&a->marked.trainer, a->model->tokenizer, a->corpus, err);
}

msa_status asker_open(asker *a, const msa_model *model, const msa_eval_params *params,
                      const quiz *const *quizzes, size_t n, msa_error *err) {
    const char *template = msa_model_get_info(model)->chat_template;
    bool known = strcmp(template, "none") != 0 && strcmp(template, "unknown") != 0;
    *a = (asker){.model = model, .chat = known && !params->plain, .seed = params->seed};
    a->marked = (marked_source){.tokenizer = model->tokenizer,
                                .n_items = params->n_items,
                                .n_questions = params->n_questions};
    msa_status status = MSA_OK;
    for (size_t i = 0; i < n && status == MSA_OK; i++)
        status = check_files(params, quizzes[i], err);
    if (status == MSA_OK) status = open_files(a, params, err);
    if (status == MSA_OK) status = count_line(a, err);
    if (status == MSA_OK) status = open_trainer(a, quizzes, n, err);
    if (status != MSA_OK) asker_close(a);
    return status;
}

void asker_close(asker *a) {
    haystack_free(&a->text);
    qa_set_free(&a->squad);
    qa_set_free(&a->hotpotqa);
    task_maker_free(a->marked.trainer);
    corpus_free(a->corpus);
    mem_free((void *)a->tokens.docs);
    msa_tokens_free(&a->ids);
    *a = (asker){0};
}

/* ---- a question ------------------------------------------------------------------------------ */

typedef struct rendering {
    const asker *asker;
    question *out;
} rendering;

/* The prompt as the model gets it. */
static msa_status render(void *user, const prompt *p, int64_t *n_tokens, msa_error *err) {
    rendering *r = user;
    question *q = r->out;
    char *formatted = NULL;
    msa_chat_message message = {"user", p->input.data};
    msa_status status = MSA_OK;
    if (r->asker->chat) status = msa_chat_format(r->asker->model, &message, 1, 1, &formatted, err);
    if (status != MSA_OK) return status;
    q->text.n = 0;
    bytes_append_text(&q->text, formatted ? formatted : p->input.data);
    bytes_append_text(&q->text, p->opening.data);
    bytes_terminate(&q->text);
    msa_text_free(formatted);
    if (q->text.failed) return error_set(err, MSA_E_NOMEM, "no memory for a question");
    q->sample.ids.n = 0;
    status = r->asker->chat ? msa_chat_tokenize(r->asker->model, &message, 1, p->opening.data,
                                                &q->sample.ids, err)
                            : msa_tokenize(r->asker->model, q->text.data, q->text.n,
                                           MSA_ADD_SPECIAL, &q->sample.ids, err);
    *n_tokens = (int64_t)q->sample.ids.n;
    return status;
}

static msa_status write_out(const asker *a, question *q, msa_error *err) {
    char *text = NULL;
    size_t n_bytes = 0;
    msa_status status = msa_detokenize(a->model, q->sample.ids.ids, q->sample.ids.n,
                                       MSA_PARSE_SPECIAL, &text, &n_bytes, err);
    if (status != MSA_OK) return status;
    q->text.n = 0;
    bytes_append(&q->text, text, n_bytes);
    bytes_terminate(&q->text);
    msa_text_free(text);
    return q->text.failed ? error_set(err, MSA_E_NOMEM, "no memory for a question") : MSA_OK;
}

static quiz_case case_of(const asker *a, const quiz *q, int64_t length, double depth,
                         int64_t sample) {
    uint64_t seed = hash_u64(a->seed ^ hash_bytes(q->task.name, strlen(q->task.name)));
    return (quiz_case){.draw = draw_begin(seed, DRAW_EXAM, length, sample),
                       .seed = seed,
                       .length = length,
                       .sample = sample,
                       .depth = depth,
                       .text = a->has_text ? &a->text : NULL,
                       .questions = asks_squad(q) ? &a->squad : &a->hotpotqa,
                       .line_tokens = a->line_tokens};
}

msa_status asker_ask(asker *a, const quiz *q, int64_t length, double depth, int64_t sample,
                     question *out, msa_error *err) {
    rendering r = {a, out};
    out->quiz = q;
    out->at = case_of(a, q, length, depth, sample);
    if (q->marking != QUIZ_TOKENS)
        return fit_prompt(q, &out->at, length - q->task.n_generate, render, &r, &out->prompt, err);
    prompt_clear(&out->prompt);
    msa_status status = marked_make(q, &out->at, &a->marked, &out->sample, err);
    return status == MSA_OK ? write_out(a, out, err) : status;
}

msa_status asker_try(asker *a, const quiz *q, int64_t length, double depth, int64_t sample,
                     question *scratch, msa_error *err) {
    rendering r = {a, scratch};
    scratch->at = case_of(a, q, length, depth, sample);
    if (q->marking == QUIZ_TOKENS)
        return marked_try(q, &scratch->at, &a->marked, &scratch->sample, err);
    return fit_smallest(q, &scratch->at, length - q->task.n_generate, render, &r, &scratch->prompt,
                        err);
}
