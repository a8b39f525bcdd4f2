/* test_train_run.c: whole runs: resumed to the same bits, stopped, damaged, out of disk, out of
 * numbers, out of memory. */
#include "support/support.h"

#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/mem.h"
#include "msa/model.h"
#include "support/scarce.h"
#include "support/tiny_train.h"
#include "train/checkpoint.h"

static msa_error err;
static char folder[64];

static const char *at(const char *name) {
    static char paths[4][256];
    static int next;
    char *path = paths[next = (next + 1) % 4];
    snprintf(path, 256, "%s/%s", folder, name);
    return path;
}

static void remove_run(const char *name) {
    char line[320];
    snprintf(line, sizeof line, "rm -rf '%s'", at(name));
    assert_int_equal(system(line), 0);
}

static int open_folder(void **state) {
    (void)state;
    snprintf(folder, sizeof folder, "/tmp/msa-train-XXXXXX");
    return mkdtemp(folder) ? 0 : -1;
}

static int close_folder(void **state) {
    char line[128];
    (void)state;
    snprintf(line, sizeof line, "rm -rf '%s'", folder);
    return system(line);
}

static char *read_whole(const char *path, size_t *n) {
    FILE *f = fopen(path, "rb");
    if (!f) return NULL;
    fseek(f, 0, SEEK_END);
    *n = (size_t)ftell(f);
    rewind(f);
    char *data = mem_alloc(*n + 1, 1);
    assert_int_equal(fread(data, 1, *n, f), *n);
    data[*n] = 0;
    fclose(f);
    return data;
}

static void write_whole(const char *path, const char *data, size_t n) {
    FILE *f = fopen(path, "wb");
    assert_non_null(f);
    assert_int_equal(fwrite(data, 1, n, f), n);
    fclose(f);
}

/* Runs to the end in at(name). */
static void run(const char *name, const char *settings, int resume) {
    msa_trainer *t;
    assert_ok(tiny_train_create(&t, at(name), settings, resume, NULL, NULL, &err), &err);
    assert_ok(msa_trainer_run(t, &err), &err);
    msa_trainer_free(t);
}

/* The arrays of a checkpoint and all of its counters but the seconds. */
static void assert_same_end(const char *a, const char *b) {
    checkpoint x, y;
    bool found;
    assert_ok(checkpoint_open_newest(&x, at(a), &found, NULL, NULL, &err), &err);
    assert_true(found);
    assert_ok(checkpoint_open_newest(&y, at(b), &found, NULL, NULL, &err), &err);
    assert_true(found);
    size_t n = (size_t)x.n_floats * sizeof(float);
    assert_int_equal(x.n_floats, y.n_floats);
    assert_memory_equal(x.w, y.w, n);
    assert_memory_equal(x.m, y.m, n);
    assert_memory_equal(x.v, y.v, n);
    assert_int_equal(x.n_bias, 8);
    assert_memory_equal(x.bias, y.bias, (size_t)x.n_bias * sizeof(float));
    x.state.seconds = y.state.seconds = 0;
    assert_memory_equal(&x.state, &y.state, sizeof x.state);
    checkpoint_close(&x);
    checkpoint_close(&y);
}

/* ---- whole runs ----------------------------------------------------------------------------- */

typedef struct stopper {
    int64_t after; /* steps */
    int n_steps, n_records, n_notes;
    double loss, first_loss;
    char note[512];
} stopper;

static int watch(void *user, const msa_train_event *e) {
    stopper *s = user;
    if (e->kind == MSA_TRAIN_NOTE) s->n_notes++, snprintf(s->note, sizeof s->note, "%s", e->text);
    if (e->kind != MSA_TRAIN_STEP && e->kind != MSA_TRAIN_RECORD) return 0;
    s->n_steps++;
    s->n_records += e->kind == MSA_TRAIN_RECORD;
    s->loss = e->loss;
    if (s->n_steps == 1) s->first_loss = e->loss;
    return e->n_done == s->after;
}

static void a_run_ends_with_a_model_that_loads(void **state) {
    (void)state;
    stopper s = {.after = -1};
    msa_trainer *t;
    msa_model *model;
    size_t n_exams;
    assert_ok(tiny_train_create(&t, at("whole"), "run.steps=20", 0, watch, &s, &err), &err);
    assert_ok(msa_trainer_run(t, &err), &err);
    const msa_train_info *info = msa_trainer_get_info(t);
    assert_int_equal(info->step, 20);
    assert_int_equal(s.n_steps, 20);
    assert_int_equal(s.n_records, 11); /* the first and every second */
    assert_true(s.loss < s.first_loss);
    assert_int_equal(s.n_notes, 0);
    const msa_train_exam *exams = msa_trainer_get_exams(t, &n_exams);
    assert_int_equal(n_exams, 2);
    assert_string_equal(exams[0].source, "text");
    assert_true(exams[0].dense > 1 && exams[0].dense < 5.6);
    assert_true(fabs(exams[0].sparse - exams[0].dense) < 0.5);
    assert_string_equal(exams[1].source, "recall");
    assert_int_equal(exams[1].n, 8);
    assert_ok(msa_model_load(&model, info->model, &err), &err);
    const msa_model_info *m = msa_model_get_info(model);
    assert_string_equal(m->architecture, "minimax-m3");
    assert_true(m->has_index);
    assert_int_equal(m->n_vocab, 257);
    msa_model_free(model);
    msa_trainer_free(t);
}

/* The log's records of a kind, counted. */
static int count_records(const char *name, const char *event) {
    char path[300], what[64];
    size_t n;
    int found = 0;
    snprintf(path, sizeof path, "%s/log.jsonl", at(name));
    char *text = read_whole(path, &n);
    snprintf(what, sizeof what, "{\"event\":\"%s\"", event);
    for (const char *p = text; (p = strstr(p, what)); p++) found++;
    mem_free(text);
    return found;
}

static void a_stopped_run_goes_on_to_the_same_bits(void **state) {
    (void)state;
    run("straight", "", 0);
    for (int64_t after = 1; after < 12; after += 3) {
        stopper s = {.after = after};
        msa_trainer *t;
        remove_run("stopped");
        assert_ok(tiny_train_create(&t, at("stopped"), "", 0, watch, &s, &err), &err);
        assert_fails(msa_trainer_run(t, &err), MSA_E_CANCELLED, &err, "checkpoint");
        msa_trainer_free(t);
        run("stopped", "run.threads=1 log.every=1", 1); /* how may change, what may not */
        assert_same_end("straight", "stopped");
    }
    /* Records behind the checkpoint are not there twice. */
    assert_int_equal(count_records("stopped", "end"), 1);
    assert_int_equal(count_records("stopped", "resume"), 1);
    assert_int_equal(count_records("stopped", "step"), 6 + 2); /* 1 2 4 6 8 10; then 11 12 */
}

static void threads_and_recomputing_change_no_bit(void **state) {
    (void)state;
    run("one", "run.threads=1", 0);
    run("three", "run.threads=3 run.recompute=true", 0);
    assert_same_end("one", "three");
    run("other", "run.seed=2", 0);
    checkpoint a, b;
    bool found;
    assert_ok(checkpoint_open_newest(&a, at("one"), &found, NULL, NULL, &err), &err);
    assert_ok(checkpoint_open_newest(&b, at("other"), &found, NULL, NULL, &err), &err);
    assert_memory_not_equal(a.w, b.w, (size_t)a.n_floats * sizeof(float));
    checkpoint_close(&a);
    checkpoint_close(&b);
}

static void every_recipe_runs_and_moves_what_it_should(void **state) {
    (void)state;
    static const char *const CASES[] = {
        "recipe.kind=cpt recipe.dense=4 recipe.warmup=4",
        "recipe.kind=index-only",
        "recipe.kind=index-only recipe.kl_warmup=far",
        "recipe.kind=index-only recipe.kl_warmup=selected",
        "recipe.kind=full run.format=none",
        "recipe.detach=false",
        "recipe.lm_index=true",
        "recipe.index_value=true run.format=none",
        "recipe.selection=sink-window model.index.init=1 run.format=none",
        "recipe.selection=random",
        "recipe.fp8_p=true",
        "recipe.kl_rows=8 recipe.kl_sparse=visible",
        "model.index.local=0",
        "run.format=both",
        "model.family=llama model.moe.experts=0",
    };
    size_t n = test_brief() ? 3 : sizeof CASES / sizeof *CASES;
    for (size_t i = 0; i < n; i++) {
        char settings[256];
        remove_run("recipe");
        snprintf(settings, sizeof settings, "run.steps=10 %s", CASES[i]);
        run("recipe", settings, 0);
    }
}

/* Parts of runs that begin where others ended: files that say what can't be done with them. */
static void a_model_to_start_from_is_held_to_what_its_file_can_hold(void **state) {
    (void)state;
    char settings[700];
    msa_trainer *t;
    static const char *const CASES[][3] = {
        {"m3", "recipe.kind=full", "run.format"},
        {"m3", "recipe.kind=index-only run.format=index", "run.format"},
        {"m3", "model.index.topk=1 data.context=32", "data.context"},
        {"llama", "recipe.kind=cpt model.moe.experts=0 model.index.dim=8", "model.index.dim"},
    };
    run("m3", "run.steps=5", 0);
    run("llama", "run.steps=5 recipe.kind=full model.family=llama model.moe.experts=0", 0);
    for (size_t i = 0; i < sizeof CASES / sizeof *CASES; i++) {
        snprintf(settings, sizeof settings, "model.from=%s/model.gguf %s", at(CASES[i][0]),
                 CASES[i][1]);
        msa_status status = tiny_train_create(&t, at("from"), settings, 0, NULL, NULL, &err);
        assert_true(status == MSA_E_ARG || status == MSA_E_UNSUPPORTED);
        assert_non_null(strstr(err.text, CASES[i][2]));
    }
    snprintf(settings, sizeof settings,
             "model.from=%s/model.gguf recipe.kind=index-only run.format=index run.steps=5",
             at("llama"));
    assert_ok(tiny_train_create(&t, at("beside"), settings, 0, NULL, NULL, &err), &err);
    assert_ok(msa_trainer_run(t, &err), &err);
    const msa_train_info *info = msa_trainer_get_info(t);
    msa_model *model;
    assert_ok(msa_model_load(&model, info->base, &err), &err);
    assert_ok(msa_model_load_index(model, info->model, &err), &err);
    msa_model_free(model);
    msa_trainer_free(t);
}

/* Without a text the tokenizer is still part of what a run was made with. */
static void another_tokenizer_of_the_same_name_is_not_resumed_with(void **state) {
    (void)state;
    char settings[700], line[700];
    msa_trainer *t;
    run("first", "run.steps=5", 0);
    run("second", "run.steps=5 run.seed=9", 0);
    snprintf(line, sizeof line, "cp '%s/model.gguf' '%s'", at("first"), at("words.gguf"));
    assert_int_equal(system(line), 0);
    snprintf(settings, sizeof settings, "data.text= data.weight=0 data.tokenizer=%s",
             at("words.gguf"));
    run("words", settings, 0);
    snprintf(line, sizeof line, "cp '%s/model.gguf' '%s'", at("second"), at("words.gguf"));
    assert_int_equal(system(line), 0);
    assert_fails(tiny_train_create(&t, at("words"), settings, 1, NULL, NULL, &err), MSA_E_ARG, &err,
                 "data.tokenizer");
}

static void no_record_is_of_two_phases(void **state) {
    (void)state;
    run("phases", "recipe.kind=cpt recipe.dense=3 recipe.warmup=4 log.every=10", 0);
    assert_int_equal(count_records("phases", "step"), 5); /* 1, 3, 7, 10, 12 */
}

/* Frozen backbone: from the weights of another run, nothing but the index branch changes. */
static void index_only_leaves_the_backbone_as_it_was(void **state) {
    (void)state;
    char settings[512], path[300];
    checkpoint a, b;
    bool found;
    run("base", "", 0);
    snprintf(path, sizeof path, "%s/model.gguf", at("base"));
    snprintf(settings, sizeof settings, "recipe.kind=index-only model.from=%s run.steps=3", path);
    run("index", settings, 0);
    assert_ok(checkpoint_open_newest(&a, at("base"), &found, NULL, NULL, &err), &err);
    assert_ok(checkpoint_open_newest(&b, at("index"), &found, NULL, NULL, &err), &err);
    int64_t n_same = 0, n_other = 0;
    assert_int_equal(a.n_floats, b.n_floats);
    for (int64_t i = 0; i < a.n_floats; i++) {
        bool moved = fabsf(a.w[i] - b.w[i]) > 1e-6f; /* norms lose a bit in their file */
        n_same += !moved, n_other += moved;
    }
    /* Layer 1 has the index: q 16 x 32, k 16 x 32, two norms of 16. */
    assert_in_range(n_other, 900, 16 * 32 + 16 * 32 + 32);
    assert_true(n_same > 10000);
    checkpoint_close(&a);
    checkpoint_close(&b);
}

/* Puts `to` in the place of `from` in a file's text. */
static void replace_in(const char *path, const char *from, const char *to) {
    static char text[1 << 14];
    FILE *f = fopen(path, "r");
    assert_non_null(f);
    size_t n = fread(text, 1, sizeof text - 1, f);
    text[n] = 0;
    fclose(f);
    char *at_ = strstr(text, from), *rest = at_ ? at_ + strlen(from) : NULL;
    assert_non_null(at_);
    f = fopen(path, "w");
    assert_non_null(f);
    fprintf(f, "%.*s%s%s", (int)(at_ - text), text, to, rest);
    assert_int_equal(fclose(f), 0);
}

/* What can't be written at the end, or is not all of the model, is refused at the beginning. */
static void a_base_that_does_not_fit_is_refused_before_the_run(void **state) {
    (void)state;
    char settings[512], config[300];
    msa_trainer *t;
    run("folder", "run.format=safetensors", 0);
    snprintf(config, sizeof config, "%s/model/config.json", at("folder"));
    snprintf(settings, sizeof settings, "model.from=%s/model/model.safetensors", at("folder"));
    remove_run("next");
    assert_ok(tiny_train_create(&t, at("next"), settings, 0, NULL, NULL, &err), &err);
    msa_trainer_free(t);
    replace_in(config, "\"swiglu_limit\": 7.0", "\"swiglu_limit\": 6.0");
    remove_run("next");
    assert_fails(tiny_train_create(&t, at("next"), settings, 0, NULL, NULL, &err),
                 MSA_E_UNSUPPORTED, &err, "run.format: SwiGLU with alpha 1.702 and limit 6");
    replace_in(config, "\"n_shared_experts\": 1", "\"n_shared_experts\": 0");
    remove_run("next");
    assert_fails(tiny_train_create(&t, at("next"), settings, 0, NULL, NULL, &err),
                 MSA_E_UNSUPPORTED, &err, "shared_experts");
}

/* ---- refusals ------------------------------------------------------------------------------- */

static void a_used_folder_is_not_trained_into_unless_resumed(void **state) {
    (void)state;
    msa_trainer *t;
    run("used", "", 0);
    assert_fails(tiny_train_create(&t, at("used"), "", 0, NULL, NULL, &err), MSA_E_ARG, &err,
                 "run.out");
    assert_null(t);
    assert_fails(tiny_train_create(&t, at("used"), "optim.lr=1e-4", 1, NULL, NULL, &err), MSA_E_ARG,
                 &err, "optim.lr");
    assert_fails(tiny_train_create(&t, at("used"), "run.seed=5", 1, NULL, NULL, &err), MSA_E_ARG,
                 &err, "run.seed");
    run("used", "log.every=7", 1); /* nothing left to do but to write the model */
}

static void changed_texts_are_no_texts_to_resume_with(void **state) {
    (void)state;
    char text[300], settings[400], words[2048];
    msa_trainer *t;
    for (size_t i = 0; i < sizeof words; i++) words[i] = (char)('a' + i * i % 26);
    snprintf(text, sizeof text, "%s", at("text.txt"));
    snprintf(settings, sizeof settings, "data.text=%s", text);
    write_whole(text, words, sizeof words);
    run("changed", settings, 0);
    run("changed", settings, 1);
    words[1000] = '!';
    write_whole(text, words, sizeof words);
    assert_fails(tiny_train_create(&t, at("changed"), settings, 1, NULL, NULL, &err), MSA_E_ARG,
                 &err, "the texts are not those");
}

static void bad_configurations_are_refused_before_anything_is_written(void **state) {
    (void)state;
    static const char *const CASES[][2] = {
        {"optim.lrr=1", "optim.lr"},
        {"optim.lr=100", "from 0 to 10"},
        {"tasks.recall.items=40", "tasks.recall"},
        {"data.text=/nowhere", "/nowhere"},
        {"data.tokenizer=/nowhere.gguf", "data.tokenizer"},
        {"model.from=/nowhere.gguf", "model.from"},
        {"model.head_dim=12", "model.head_dim"},
        {"model.layers=256 model.width=65536 model.heads=1024 model.head_dim=256", "model.width"},
        {"data.text= data.weight=0 tasks.recall.length=64 model.width=4096 data.context=1048576 "
         "data.rows=16",
         "data.rows"},
    };
    for (size_t i = 0; i < sizeof CASES / sizeof *CASES; i++) {
        msa_trainer *t;
        msa_status status = tiny_train_create(&t, at("refused"), CASES[i][0], 0, NULL, NULL, &err);
        assert_true(status != MSA_OK);
        assert_non_null(strstr(err.text, CASES[i][1]));
        assert_null(t);
    }
    assert_int_equal(checkpoint_newest_step(at("refused")), -1);
}

static void a_loss_that_is_no_number_stops_and_says_where(void **state) {
    (void)state;
    msa_trainer *t;
    stopper s = {.after = -1};
    /* A rate this large blows the weights up within a few steps. */
    assert_ok(tiny_train_create(&t, at("nan"),
                                "optim.lr=10 optim.weight_decay=10 optim.clip=0 model.init_std=1 "
                                "schedule.warmup=0 run.steps=400 log.checkpoint=1 log.eval=0 "
                                "schedule.kind=constant optim.eps=1e-20",
                                0, watch, &s, &err),
              &err);
    assert_fails(msa_trainer_run(t, &err), MSA_E_FORMAT, &err, "is no number");
    assert_non_null(strstr(err.text, "step "));
    assert_non_null(strstr(err.text, "source "));
    assert_non_null(strstr(err.text, "last checkpoint"));
    msa_trainer_free(t);
    checkpoint c;
    bool found;
    assert_ok(checkpoint_open_newest(&c, at("nan"), &found, NULL, NULL, &err), &err);
    assert_true(found);
    for (int64_t i = 0; i < c.n_floats; i++) assert_true(isfinite(c.w[i]));
    assert_int_equal(c.state.step, s.n_steps);
    checkpoint_close(&c);
    assert_int_equal(count_records("nan", "failed"), 1);
}

/* ---- damage --------------------------------------------------------------------------------- */

static void newest_name(char *path, size_t size, const char *name) {
    snprintf(path, size, "%s/checkpoint-%09lld.msac", at(name),
             (long long)checkpoint_newest_step(at(name)));
}

static void every_damage_to_a_checkpoint_is_seen(void **state) {
    (void)state;
    char path[320];
    size_t n;
    checkpoint c;
    run("damage", "", 0);
    newest_name(path, sizeof path, "damage");
    char *data = read_whole(path, &n);
    assert_ok(checkpoint_check(&c, (uint8_t *)data, n, "x", &err), &err);
    assert_int_equal(c.state.step, 12);
    rng r = rng_seed(3);
    for (size_t i = 0; i < (test_brief() ? 50 : 2000); i++) { /* the beginning, then anywhere */
        size_t at_byte = i < 1000 ? i : rng_below(&r, n);
        char bit = (char)(1 << rng_below(&r, 8));
        data[at_byte] ^= bit;
        msa_status status = checkpoint_check(&c, (uint8_t *)data, n, "x", &err);
        assert_int_equal(status, MSA_E_FORMAT);
        data[at_byte] ^= bit;
        size_t cut = i < 1000 ? i : rng_below(&r, n);
        assert_fails(checkpoint_check(&c, (uint8_t *)data, cut, "x", &err), MSA_E_FORMAT, &err,
                     "no whole checkpoint");
    }
    mem_free(data);
}

static void a_half_written_checkpoint_is_passed_over_and_the_one_before_counts(void **state) {
    (void)state;
    char path[320];
    size_t n;
    stopper s = {.after = 8};
    msa_trainer *t;
    run("whole2", "", 0);
    assert_ok(tiny_train_create(&t, at("half"), "log.checkpoint=3", 0, watch, &s, &err), &err);
    assert_fails(msa_trainer_run(t, &err), MSA_E_CANCELLED, &err, "step 8");
    msa_trainer_free(t);
    newest_name(path, sizeof path, "half");
    char *data = read_whole(path, &n);
    write_whole(path, data, n / 2);
    /* What a killed writer leaves. */
    snprintf(path, sizeof path, "%s/checkpoint-000000009.msac.tmp-1-0", at("half"));
    write_whole(path, data, n / 3);
    mem_free(data);
    s = (stopper){.after = -1};
    assert_ok(tiny_train_create(&t, at("half"), "log.checkpoint=3", 1, watch, &s, &err), &err);
    assert_non_null(strstr(s.note, "checkpoint-000000008.msac"));
    assert_non_null(strstr(s.note, "size contradicts"));
    assert_int_equal(msa_trainer_get_info(t)->step, 6);
    assert_ok(msa_trainer_run(t, &err), &err);
    msa_trainer_free(t);
    assert_same_end("whole2", "half");
    assert_int_equal(access(path, F_OK), -1);
}

static void only_the_last_checkpoints_stay(void **state) {
    (void)state;
    run("keep", "log.checkpoint=1 log.keep=3", 0);
    for (int64_t step = 1; step <= 12; step++) {
        char name[64];
        snprintf(name, sizeof name, "keep/checkpoint-%09lld.msac", (long long)step);
        assert_int_equal(access(at(name), F_OK) == 0, step > 9);
    }
}

/* Files beyond a size can't be written, as on a disk that is full. */
static void limit_files(rlim_t n_bytes) {
    struct rlimit limit;
    getrlimit(RLIMIT_FSIZE, &limit);
    limit.rlim_cur = n_bytes;
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
}

static int fill_disk_after_step_4(void *user, const msa_train_event *e) {
    stopper *s = user;
    if (e->kind == MSA_TRAIN_NOTE) s->n_notes++, snprintf(s->note, sizeof s->note, "%s", e->text);
    if (e->kind == MSA_TRAIN_STEP || e->kind == MSA_TRAIN_RECORD) s->n_steps++;
    if (s->n_steps == 4) limit_files(20000);
    return 0;
}

static void a_full_disk_leaves_the_last_good_checkpoint(void **state) {
    (void)state;
    msa_trainer *t;
    stopper s = {.after = -1};
    signal(SIGXFSZ, SIG_IGN);
    run("roomy", "", 0);
    assert_ok(tiny_train_create(&t, at("full"), "", 0, fill_disk_after_step_4, &s, &err), &err);
    msa_status status = msa_trainer_run(t, &err);
    limit_files(RLIM_INFINITY);
    assert_int_equal(status, MSA_E_IO); /* the last checkpoint can't be written */
    assert_non_null(strstr(err.text, "checkpoint"));
    assert_int_equal(s.n_steps, 12); /* it went on */
    assert_int_equal(s.n_notes, 2);  /* of steps 6 and 9 */
    assert_non_null(strstr(s.note, "goes on"));
    msa_trainer_free(t);
    assert_int_equal(checkpoint_newest_step(at("full")), 3);
    run("full", "", 1);
    assert_same_end("roomy", "full");
}

/* ---- memory --------------------------------------------------------------------------------- */

/* Every allocation of the beginning fails once, then fewer and fewer. */
static void a_run_without_memory_fails_cleanly(void **state) {
    (void)state;
    char *json = tiny_train_config(test_path("LICENSE")), out[300];
    const char *settings[] = {out,
                              "run.steps=2",
                              "run.threads=1",
                              "log.eval_rows=1",
                              "recipe.warmup=1",
                              "schedule.warmup=0"};
    msa_train_params params = {
        .config = json, .n_bytes = strlen(json), .assignments = settings, .n_assignments = 6};
    snprintf(out, sizeof out, "run.out=%s", at("scarce"));
    for (long n = test_brief() ? 500 : 0;; n += n < 500 ? 7 : 1 + n / 25) {
        msa_trainer *t = NULL;
        remove_run("scarce");
        long live = scarce_live();
        scarce_begin(n);
        msa_status status = msa_trainer_create(&t, &params, &err);
        if (status == MSA_OK) status = msa_trainer_run(t, &err);
        bool failed = scarce_end();
        msa_trainer_free(t);
        assert_int_equal(scarce_live(), live);
        if (!failed) {
            assert_ok(status, &err);
            break;
        }
    }
    free(json);
}

static void null_arguments_are_refused(void **state) {
    (void)state;
    msa_trainer *t;
    size_t n = 7;
    assert_fails(msa_trainer_create(NULL, NULL, &err), MSA_E_ARG, &err, "trainer");
    assert_fails(msa_trainer_create(&t, NULL, &err), MSA_E_ARG, &err, "params");
    assert_fails(msa_trainer_run(NULL, &err), MSA_E_ARG, &err, "trainer");
    assert_null(msa_trainer_get_info(NULL));
    assert_null(msa_trainer_get_exams(NULL, &n));
    assert_int_equal(n, 0);
    msa_trainer_free(NULL);
    msa_train_params params = {.config = NULL}; /* all defaults: no text */
    assert_fails(msa_trainer_create(&t, &params, &err), MSA_E_ARG, &err, "data.text");
    char *help = msa_train_help();
    assert_non_null(strstr(help, "optim.lr"));
    msa_train_text_free(help);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_run_ends_with_a_model_that_loads),
        cmocka_unit_test(a_stopped_run_goes_on_to_the_same_bits),
        cmocka_unit_test(threads_and_recomputing_change_no_bit),
        cmocka_unit_test(every_recipe_runs_and_moves_what_it_should),
        cmocka_unit_test(a_model_to_start_from_is_held_to_what_its_file_can_hold),
        cmocka_unit_test(another_tokenizer_of_the_same_name_is_not_resumed_with),
        cmocka_unit_test(no_record_is_of_two_phases),
        cmocka_unit_test(index_only_leaves_the_backbone_as_it_was),
        cmocka_unit_test(a_base_that_does_not_fit_is_refused_before_the_run),
        cmocka_unit_test(a_used_folder_is_not_trained_into_unless_resumed),
        cmocka_unit_test(changed_texts_are_no_texts_to_resume_with),
        cmocka_unit_test(bad_configurations_are_refused_before_anything_is_written),
        cmocka_unit_test(a_loss_that_is_no_number_stops_and_says_where),
        cmocka_unit_test(every_damage_to_a_checkpoint_is_seen),
        cmocka_unit_test(a_half_written_checkpoint_is_passed_over_and_the_one_before_counts),
        cmocka_unit_test(only_the_last_checkpoints_stay),
        cmocka_unit_test(a_full_disk_leaves_the_last_good_checkpoint),
        cmocka_unit_test(a_run_without_memory_fails_cleanly),
        cmocka_unit_test(null_arguments_are_refused),
    };
    return cmocka_run_group_tests(tests, open_folder, close_folder);
}
