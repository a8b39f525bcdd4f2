/* eval_case.c: see eval_case.h. */
#include "support/eval_case.h"

#include "support/folder.h"
#include "support/support.h"
#include "support/tiny_model.h"

msa_model *eval_model, *eval_other;
char *eval_folder;

static msa_error err;

static msa_model *load(uint64_t seed, const char *name) {
    msa_model *loaded;
    tiny_params p = tiny_defaults("llama", seed);
    tiny_model *m = tiny_create(&p);
    tiny_write(m, folder_path(eval_folder, name));
    tiny_free(m);
    assert_ok(msa_model_load(&loaded, folder_path(eval_folder, name), &err), &err);
    return loaded;
}

int eval_case_open(void **state) {
    if (folder_create(state)) return -1;
    eval_folder = *state;
    eval_model = load(5, "tiny.gguf");
    eval_other = load(6, "other.gguf");
    return 0;
}

int eval_case_close(void **state) {
    msa_model_free(eval_model);
    msa_model_free(eval_other);
    return folder_remove(state);
}

msa_eval_params eval_case_params(void) {
    static const char *const TASKS[] = {"passkey", "train_recall"};
    static const char *const SELECTORS[] = {"proxy", "dense", "random"};
    static const int64_t LENGTHS[] = {420, 512};
    msa_eval_params p = msa_eval_defaults(eval_model);
    p.tasks = TASKS, p.n_tasks = 2;
    p.lengths = LENGTHS, p.n_lengths = 2;
    p.selectors = SELECTORS, p.n_selectors = 3;
    p.n_samples = 2;
    p.session.allow_past_context = 1;
    p.session.block = 16, p.session.topk = 3, p.session.local = 1, p.session.init = 1;
    return p;
}

void eval_case_run(msa_eval_params *p, const char *path) {
    msa_eval *e;
    p->out = path;
    assert_ok(msa_eval_create(&e, eval_model, p, &err), &err);
    assert_ok(msa_eval_run(e, &err), &err);
    const msa_eval_info *info = msa_eval_get_info(e);
    assert_int_equal(info->n_answered, info->n_trials);
    msa_eval_free(e);
}

const char *eval_case_whole(void) {
    static char *text;
    if (!text) {
        msa_eval_params p = eval_case_params();
        eval_case_run(&p, folder_path(eval_folder, "whole.jsonl"));
        text = read_whole(folder_path(eval_folder, "whole.jsonl"), NULL);
    }
    return text;
}

msa_status eval_case_try(const msa_model *m, msa_eval_params p, const char *path,
                         msa_error *error) {
    msa_eval *e = NULL;
    p.out = path;
    msa_status status = msa_eval_create(&e, m, &p, error);
    assert_true((e != NULL) == (status == MSA_OK));
    msa_eval_free(e);
    return status;
}
