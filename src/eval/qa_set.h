/* qa_set.h: questions about documents, read from the JSON of SQuAD (1.1 and 2.0) or HotpotQA as
 * these sets are published. */
#ifndef MSA_EVAL_QA_SET_H
#define MSA_EVAL_QA_SET_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"

typedef struct qa_question {
    const char *text;
    json_t *answers;   /* strings; at least one */
    int64_t own, more; /* in the set's pool: n_own documents it is asked about, and n_more of the
                          same article, those among them */
    int64_t n_own, n_more;
} qa_question;

typedef struct qa_set {
    json_t *root, *numbers; /* hold the strings; number of each document */
    const char **documents; /* [n_documents] distinct */
    qa_question *questions; /* [n_questions] that have an answer */
    int64_t *pool;          /* [n_pool] numbers of documents */
    int64_t n_documents, n_questions, n_pool;
    size_t document_capacity, question_capacity, pool_capacity;
    uint64_t fingerprint;
} qa_set;

/* hotpotqa: in that set's format. MSA_E_FORMAT says what is missing and where. On failure *s is
 * empty. */
msa_status qa_set_open(qa_set *s, const char *path, bool hotpotqa, msa_error *err);
/* The same of bytes at hand; `name` is for messages. */
msa_status qa_set_parse(qa_set *s, const void *data, size_t n_bytes, const char *name,
                        bool hotpotqa, msa_error *err);
void qa_set_free(qa_set *s);

#endif
