/* info.c: msa info: the machine, the kernels, the libraries; with a model file its facts, what its
 * cache takes, and which attention each layer runs. */
#include <omp.h>
#include <stdio.h>
#include <string.h>

#include "cli/commands.h"
#include "cli/machine.h"
#include "cli/options.h"
#include "cli/settings.h"
#include "cli/table.h"

#if defined(MSA_HAVE_CAIRO)
#include <cairo.h>
#endif

typedef struct info_args {
    model_args model;
    settings_args attention;
    bool json;
} info_args;

static const option INFO_OPTIONS[] = {
    {.name = "--json",
     .kind = OPTION_SWITCH,
     .offset = offsetof(info_args, json),
     .help = "print JSON"},
};

static const help_page PAGE = {
    .usage = "msa info [-m MODEL] [--json] [flags]",
    .about =
        "What this build found: the machine, the instruction set in use and why, libraries. With\n"
        "-m also the model's facts, the memory of its cache, and what attention each layer runs\n"
        "under the given flags.\n",
    .examples = "msa info\n"
                "msa info -m models/SmolLM2-135M-Instruct.Q4_1.gguf --layers-dense 0,1",
};

/* ---- the machine ---------------------------------------------------------------------------- */

static const char *cairo_text(void) {
#if defined(MSA_HAVE_CAIRO)
    return cairo_version_string();
#else
    return "not found when this was built: msa map draws nothing";
#endif
}

static json_t *libraries_json(void) {
    char openmp[64];
    snprintf(openmp, sizeof openmp, "%d (%d threads)", _OPENMP, omp_get_max_threads());
    return json_pack("{s:s, s:s, s:s, s:s, s:s}", "OpenMP", openmp, "OpenBLAS",
                     MSA_OPENBLAS_VERSION " (" MSA_OPENBLAS_THREADS ")", "PCRE2", MSA_PCRE2_VERSION,
                     "Jansson", jansson_version_str(), "Cairo", cairo_text());
}

static json_t *machine_facts(void) {
    json_t *machine = machine_json();
    char why[256];
    msa_isa_describe(why, sizeof why);
    if (machine &&
        json_object_update_new(machine, json_pack("{s:s, s:i, s:I, s:I}", "kernels", why, "cpus",
                                                  machine_cpus(), "memory_bytes",
                                                  (json_int_t)machine_memory(), "available_bytes",
                                                  (json_int_t)machine_available())) != 0)
        return json_decref(machine), NULL;
    return machine;
}

static void print_machine(const json_t *machine) {
    char total[32], available[32];
    format_bytes((double)machine_memory(), total, sizeof total);
    format_bytes((double)machine_available(), available, sizeof available);
    printf("machine    %s, %d CPUs, %s of memory (%s available)\n",
           json_string_value(json_object_get(machine, "cpu")), machine_cpus(), total, available);
    printf("kernels    %s\n", json_string_value(json_object_get(machine, "kernels")));
    printf("threads    %d\n", machine_threads());
}

static void print_libraries(const json_t *libraries) {
    const char *name, *lead = "libraries ";
    const json_t *version;
    json_object_foreach((json_t *)libraries, name, version) {
        printf("%s %s %s\n", lead, name, json_string_value(version));
        lead = "          ";
    }
}

/* ---- a model -------------------------------------------------------------------------------- */

static const char *layer_attention(const msa_session_params *params, const msa_model *model,
                                   int32_t layer, char *text, size_t size) {
    if (settings_is_dense(params, layer)) return "dense";
    snprintf(text, size, "MSA, %s selector, B %d, k %d, local %d, init %d",
             settings_selector(params, model), params->block, params->topk, params->local,
             params->init);
    return text;
}

/* [{"first", "last", "attention"}]: runs of layers that attend alike. */
static json_t *layers_json(const msa_session_params *params, const msa_model *model) {
    json_t *rows = json_array();
    char text[128];
    int32_t n = msa_model_get_info(model)->n_layers;
    for (int32_t first = 0, end; first < n; first = end) {
        for (end = first + 1; end < n; end++)
            if (settings_is_dense(params, end) != settings_is_dense(params, first)) break;
        json_array_append_new(
            rows, json_pack("{s:i, s:i, s:s}", "first", first, "last", end - 1, "attention",
                            layer_attention(params, model, first, text, sizeof text)));
    }
    return rows;
}

static json_t *index_json(const msa_model_info *i) {
    return json_pack("{s:i, s:i, s:i, s:i, s:i, s:i, s:I, s:o}", "dim", i->index_dim, "block",
                     i->index_block, "topk", i->index_topk, "local", i->index_local, "init",
                     i->index_init, "first_layer", i->n_dense_layers, "n_parameters",
                     (json_int_t)i->n_index_parameters, "file",
                     json_text(i->index_file, strlen(i->index_file)));
}

static json_t *experts_json(const msa_model_info *i) {
    return json_pack("{s:i, s:i, s:i, s:i, s:i, s:I}", "n", i->n_experts, "n_used",
                     i->n_experts_used, "n_ff", i->n_ff_expert, "n_ff_shared", i->n_ff_shared,
                     "first_layer", i->n_dense_layers, "n_active_parameters",
                     (json_int_t)i->n_active_parameters);
}

/* What the cache takes, as it lies there: bytes a token, those of a page shared out, and of all. */
typedef struct cache_facts {
    double k, v, index, index8, all, capacity;
} cache_facts;

static cache_facts cache_of(const msa_session *session) {
    const msa_kv *kv = msa_session_get_kv(session);
    const msa_kv_params *p = msa_kv_get_params(kv);
    msa_kv_bytes page = msa_kv_page_bytes(kv);
    double n = p->block, all = (double)(page.k + page.v + page.index + page.index8);
    return (cache_facts){(double)page.k / n,
                         (double)page.v / n,
                         (double)page.index / n,
                         (double)page.index8 / n,
                         all / n,
                         all * (double)p->n_pages};
}

static json_t *cache_json(const cache_facts *c) {
    return json_pack("{s:f, s:f, s:f, s:f}", "keys", c->k, "values", c->v, "index_keys", c->index,
                     "int8_copy", c->index8);
}

static json_t *model_json(const msa_session *session, const msa_model *model) {
    const msa_session_params *params = msa_session_get_params(session);
    const msa_model_info *i = msa_model_get_info(model);
    cache_facts cache = cache_of(session);
    json_t *facts = json_pack(
        "{s:o, s:o, s:s, s:I, s:I, s:I, s:i, s:i, s:i, s:i, s:i, s:i}", "name",
        json_text(i->name, strlen(i->name)), "architecture",
        json_text(i->architecture, strlen(i->architecture)), "weights", i->weights, "n_parameters",
        (json_int_t)i->n_parameters, "n_file_bytes", (json_int_t)i->n_file_bytes, "n_weight_bytes",
        (json_int_t)i->n_weight_bytes, "n_layers", i->n_layers, "n_embd", i->n_embd, "n_ff",
        i->n_ff, "n_q_heads", i->n_q_heads, "n_kv_heads", i->n_kv_heads, "head_dim", i->head_dim);
    json_t *rest = json_pack(
        "{s:i, s:i, s:f, s:i, s:b, s:s, s:s, s:I, s:o, s:I, s:o, s:o}", "n_ctx_train",
        i->n_ctx_train, "n_vocab", i->n_vocab, "rope_base", (double)i->rope_base, "n_rot", i->n_rot,
        "has_index", i->has_index, "tokenizer", i->tokenizer, "chat_template", i->chat_template,
        "cache_bytes_per_token", (json_int_t)msa_kv_bytes_per_token(msa_session_get_kv(session)),
        "cache_bytes_per_token_of", cache_json(&cache), "cache_bytes", (json_int_t)cache.capacity,
        "attention", settings_json(params, model), "layers", layers_json(params, model));
    if (facts && json_object_update_new(facts, rest) != 0) return json_decref(facts), NULL;
    if (facts && i->has_index) json_object_set_new(facts, "index", index_json(i));
    if (facts && i->n_experts) json_object_set_new(facts, "experts", experts_json(i));
    return facts;
}

static void print_index(const msa_model_info *i) {
    if (!i->has_index) return;
    printf("index      %d blocks of %d, local %d, init %d; width %d, %.2fM parameters; layers "
           "%d-%d%s%s\n",
           i->index_topk, i->index_block, i->index_local, i->index_init, i->index_dim,
           (double)i->n_index_parameters * 1e-6, i->n_dense_layers, i->n_layers - 1,
           i->index_file[0] ? "; from " : "", i->index_file);
}

static void print_experts(const msa_model_info *i) {
    if (!i->n_experts) return;
    printf("experts    %d of width %d, %d a token", i->n_experts, i->n_ff_expert,
           i->n_experts_used);
    if (i->n_ff_shared) printf(", and a shared one of width %d", i->n_ff_shared);
    printf("; %.1fM parameters active; layers %d-%d\n", (double)i->n_active_parameters * 1e-6,
           i->n_dense_layers, i->n_layers - 1);
}

static void print_cache(const msa_session *session) {
    const msa_session_params *params = msa_session_get_params(session);
    cache_facts c = cache_of(session);
    char token[32], full[32];
    format_bytes(c.all, token, sizeof token);
    format_bytes(c.capacity, full, sizeof full);
    printf("cache      %s a token, %s for %d tokens in pages of %d and one page more\n", token,
           full, params->n_ctx, params->block);
    printf("           of a token in bytes: keys %.10g (%s), values %.10g (%s)", c.k,
           msa_dtype_name(params->k_dtype), c.v, msa_dtype_name(params->v_dtype));
    if (c.index > 0)
        printf(", index keys %.10g (%s)", c.index, msa_dtype_name(params->index_dtype));
    if (c.index8 > 0)
        printf(", int8 copy of %s %.10g", c.index > 0 ? "these" : "the keys", c.index8);
    printf("\n");
}

static void print_model(const json_t *facts, const msa_session *session, const msa_model *model) {
    const msa_session_params *params = msa_session_get_params(session);
    const msa_model_info *i = msa_model_get_info(model);
    char file[32], text[128];
    const json_t *row;
    size_t at;
    format_bytes((double)i->n_file_bytes, file, sizeof file);
    printf("\nmodel      %s (%s), %.1fM parameters, %s\n", i->name, i->architecture,
           (double)i->n_parameters * 1e-6, file);
    printf("weights    %s\n", i->weights);
    printf("shape      %d layers of width %d, feed-forward %d; %d query heads in %d groups of %d, "
           "head width %d\n",
           i->n_layers, i->n_embd, i->n_ff, i->n_q_heads, i->n_kv_heads,
           i->n_q_heads / i->n_kv_heads, i->head_dim);
    printf("context    %d trained, %d in use; RoPE base %g", i->n_ctx_train, params->n_ctx,
           (double)i->rope_base);
    if (i->n_rot < i->head_dim) printf(" on %d of a head's %d elements", i->n_rot, i->head_dim);
    printf("\n");
    printf("text       vocabulary %d, tokenizer %s, chat template %s\n", i->n_vocab, i->tokenizer,
           i->chat_template);
    print_index(i);
    print_experts(i);
    print_cache(session);
    json_array_foreach(json_object_get(facts, "layers"), at, row) {
        int32_t first = (int32_t)json_integer_value(json_object_get(row, "first")),
                last = (int32_t)json_integer_value(json_object_get(row, "last"));
        snprintf(text, sizeof text, first == last ? "layer %d" : "layers %d-%d", first, last);
        printf("%s%-14s %s\n", at == 0 ? "attention  " : "           ", text,
               json_string_value(json_object_get(row, "attention")));
    }
}

/* The session says what the parameters come to, and whether they can be. */
static msa_status add_model(json_t *document, const info_args *args, bool print, msa_error *err) {
    msa_model *model = NULL;
    msa_session *session = NULL;
    msa_session_params params;
    msa_status status = model_open(&args->model, &model, err);
    if (status == MSA_OK) status = settings_params(&args->attention, model, &params, err);
    if (status == MSA_OK) status = msa_session_create(&session, model, &params, err);
    if (status == MSA_OK) {
        json_t *facts = model_json(session, model);
        if (!facts || json_object_set_new(document, "model", facts) != 0)
            status = fail_memory(err, "gathering facts");
        else if (print)
            print_model(facts, session, model);
    }
    msa_session_free(session);
    msa_model_free(model);
    return status;
}

msa_status command_info(int argc, char **argv, msa_error *err) {
    info_args args = {.attention = settings_unset()};
    bool done;
    option_group groups[] = {
        model_group(&args.model, true),
        settings_group(&args.attention, true),
        {"Output", INFO_OPTIONS, 1, &args},
    };
    msa_status status = options_parse(&PAGE, groups, 3, argc, argv, &done, err);
    if (status != MSA_OK || done) return status;
    json_t *document = json_pack("{s:s, s:o, s:o}", "msa", msa_version(), "machine",
                                 machine_facts(), "libraries", libraries_json());
    if (!document) return fail_memory(err, "gathering facts");
    if (!args.json) {
        printf("msa        %s\n", msa_version());
        print_machine(json_object_get(document, "machine"));
        print_libraries(json_object_get(document, "libraries"));
    }
    if (args.model.path) status = add_model(document, &args, !args.json, err);
    if (status == MSA_OK && args.json) return json_print(document, err);
    json_decref(document);
    return status;
}
