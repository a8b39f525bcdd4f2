/* trainer_resume.c: from a trainer to a checkpoint and back. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/bytes.h"
#include "train/arch_text.h"
#include "train/trainer.h"

static int64_t count_bias(const msa_trainer *t) {
    const arch *a = &t->arch;
    return a->moe.present ? (int64_t)a->n_layers * a->moe.n_experts : 0;
}

msa_status trainer_save(msa_trainer *t, msa_error *err) {
    char path[4096];
    bytes config = {0}, arch_lines = {0};
    const param *bad = optimiser_find_bad(t->params, false);
    if (bad)
        return error_set(err, MSA_E_FORMAT,
                         "no checkpoint of step %" PRId64 ": the weights %s hold what is no number",
                         t->state.step, bad->name);
    config_write(&t->config, &config);
    arch_text_write(&t->arch, &arch_lines);
    if (config.failed || arch_lines.failed) {
        bytes_free(&config);
        bytes_free(&arch_lines);
        return error_set(err, MSA_E_NOMEM, "no memory for the configuration in a checkpoint");
    }
    checkpoint c = {.state = t->state,
                    .config = config.data,
                    .n_config = config.n,
                    .arch = arch_lines.data,
                    .n_arch = arch_lines.n,
                    .n_floats = trainer_floats(t),
                    .n_bias = count_bias(t),
                    .w = t->params->w + t->params->trained,
                    .m = t->optimiser.m,
                    .v = t->optimiser.v,
                    .bias = t->params->router_bias};
    msa_status status =
        checkpoint_write(t->config.run.out, &c, t->config.log.keep, path, sizeof path, err);
    bytes_free(&config);
    bytes_free(&arch_lines);
    return status;
}

static msa_status refuse_data(const msa_trainer *t, const checkpoint *c, msa_error *err) {
    bool frozen = t->params->trained > 0;
    if (frozen && c->state.data == (t->state.data ^ t->frozen))
        return error_set(
            err, MSA_E_UNSUPPORTED,
            "the checkpoint of step %" PRId64
            " is of an index branch, by an earlier version, which "
            "did not note the weights of model.from that it was trained beside: they can't be told "
            "from others; expected one of this version: begin anew in another run.out",
            c->state.step);
    return error_set(
        err, MSA_E_ARG,
        "data.text, data.tokenizer%s: the texts are not those the checkpoint was made with, or "
        "the tokenizer%s not; expected them unchanged",
        frozen ? ", model.from" : "", frozen ? " or the model are" : " is");
}

static msa_status check_fits(const msa_trainer *t, const checkpoint *c, msa_error *err) {
    train_config then;
    msa_status status = config_init(&then, err);
    if (status == MSA_OK) status = config_read(&then, c->config, c->n_config, "checkpoint", err);
    if (status == MSA_OK) status = config_same_outcome(&t->config, &then, err);
    config_free(&then);
    if (status != MSA_OK) return status;
    if (c->state.data != t->state.data) return refuse_data(t, c, err);
    status = arch_text_same(&t->arch, c->arch, c->n_arch, err);
    if (status != MSA_OK) return status;
    if (c->n_floats != trainer_floats(t) || c->n_bias != count_bias(t))
        return error_set(err, MSA_E_ARG,
                         "the checkpoint holds %" PRId64 " weights, the model has %" PRId64
                         ": data.tokenizer or model.from is another",
                         c->n_floats, trainer_floats(t));
    if (c->state.step > t->config.run.steps)
        return error_set(err, MSA_E_ARG, "the checkpoint is of step %" PRId64 ", run.steps is %lld",
                         c->state.step, (long long)t->config.run.steps);
    return MSA_OK;
}

static void note_damage(void *user, const char *text) {
    trainer_note(user, "%s", text);
}

msa_status trainer_resume(msa_trainer *t, msa_error *err) {
    checkpoint c;
    bool found;
    msa_status status = checkpoint_open_newest(&c, t->config.run.out, &found, note_damage, t, err);
    if (status != MSA_OK) return status;
    if (!found) {
        trainer_note(t, "'%s' holds no whole checkpoint; the run begins at step 0",
                     t->config.run.out);
        return MSA_OK;
    }
    status = check_fits(t, &c, err);
    if (status == MSA_OK) {
        size_t n = (size_t)c.n_floats * sizeof(float);
        memcpy(t->params->w + t->params->trained, c.w, n);
        memcpy(t->optimiser.m, c.m, n);
        memcpy(t->optimiser.v, c.v, n);
        if (c.n_bias) memcpy(t->params->router_bias, c.bias, (size_t)c.n_bias * sizeof(float));
        t->state = c.state;
    }
    checkpoint_close(&c);
    return status == MSA_OK ? MSA_OK : error_prefix(err, status, "--resume: ");
}

msa_status trainer_refuse_used_folder(const msa_trainer *t, msa_error *err) {
    if (checkpoint_newest_step(t->config.run.out) < 0) return MSA_OK;
    return error_set(
        err, MSA_E_ARG,
        "run.out: '%.200s' holds checkpoints of a run already; go on with it (resume), "
        "or expected another directory",
        t->config.run.out);
}
