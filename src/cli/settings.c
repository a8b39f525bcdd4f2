/* settings.c: see settings.h. */
#include "cli/settings.h"

#include <stdio.h>
#include <string.h>

static const option MODEL_OPTIONS[] = {
    {.name = "--model",
     .letter = 'm',
     .kind = OPTION_TEXT,
     .offset = offsetof(model_args, path),
     .argument = "FILE",
     .help = "a model of the Llama family or in MiniMax-M3's architecture:\n"
             "a GGUF file, or a folder of safetensors"},
    {.name = "--index",
     .kind = OPTION_TEXT,
     .offset = offsetof(model_args, index),
     .argument = "FILE",
     .help = "GGUF file of an index branch that was trained for this model and lies\n"
             "beside it"},
};

option_group model_group(model_args *args, bool with_index) {
    return (option_group){"Model", MODEL_OPTIONS, with_index ? 2 : 1, args};
}

msa_status model_open(const model_args *args, msa_model **model, msa_error *err) {
    if (!args->path)
        return fail(err, MSA_E_ARG,
                    "-m/--model is missing: expected -m FILE, a GGUF file or a folder of "
                    "safetensors (make demo fetches one to models/)");
    msa_status status = msa_model_load(model, args->path, err);
    if (status != MSA_OK) return fail_prefix(err, status, "-m: ");
    if (args->index) status = msa_model_load_index(*model, args->index, err);
    if (status == MSA_OK) return MSA_OK;
    msa_model_free(*model);
    *model = NULL;
    return fail_prefix(err, status, "--index: ");
}

/* In the order of the enums and, for --block, of the powers of two from 16. */
static const option ATTENTION_OPTIONS[] = {
    {.name = "--attn",
     .kind = OPTION_CHOICE,
     .offset = offsetof(settings_args, attn),
     .argument = "KIND",
     .choices = "dense|msa",
     .help = "attention (default: msa)"},
    {.name = "--selector",
     .kind = OPTION_CHOICE,
     .offset = offsetof(settings_args, selector),
     .argument = "S",
     .choices = "auto|index|proxy|means|shared|window|random|oracle",
     .help = "what chooses blocks:\n"
             "the trained index branch; with nothing trained, queries against keys, block\n"
             "means or one shared key; or a control: sink + window, random, true attention\n"
             "mass (default: auto, the index where there is one, else proxy)"},
    {.name = "--selector-seed",
     .kind = OPTION_INT,
     .offset = offsetof(settings_args, seed),
     .argument = "N",
     .min = 0,
     .max = 9e15,
     .help = "of the random selector (default: 0)"},
    {.name = "--block",
     .kind = OPTION_CHOICE,
     .offset = offsetof(settings_args, block),
     .argument = "B",
     .choices = "16|32|64|128|256",
     .help = "tokens a block (default: fits the model)",
     .remedy = "leave it out for the model's default"},
    {.name = "--topk",
     .kind = OPTION_INT,
     .offset = offsetof(settings_args, topk),
     .argument = "K",
     .min = 1,
     .max = 64,
     .help = "blocks each query reads, forced ones included (default: fits the\n"
             "model); not to be mixed up with --top-k, which is sampling",
     .remedy = "it counts blocks, not tokens; leave it out for the model's default"},
    {.name = "--local",
     .kind = OPTION_INT,
     .offset = offsetof(settings_args, local),
     .argument = "N",
     .min = 0,
     .max = 64,
     .help = "of these always the last N, the query's own first"},
    {.name = "--init",
     .kind = OPTION_INT,
     .offset = offsetof(settings_args, init),
     .argument = "N",
     .min = 0,
     .max = 64,
     .help = "of these always the first N of the text"},
    {.name = "--layers-dense",
     .kind = OPTION_INTS,
     .offset = offsetof(settings_args, layers_dense),
     .argument = "LIST",
     .min = 0,
     .max = 255,
     .help = "layers that attend densely all the same: 0,1,4-6",
     .remedy = "layers count from 0; msa info -m FILE says how many there are"},
    {.name = "--ctx-size",
     .letter = 'c',
     .kind = OPTION_INT,
     .offset = offsetof(settings_args, n_ctx),
     .argument = "N",
     .min = 0,
     .max = INT32_MAX,
     .help = "most tokens of text and answer; 0: what the model was trained for\n(default: 0)",
     .remedy = "0 takes what the model was trained for"},
    {.name = "--allow-past-context",
     .kind = OPTION_SWITCH,
     .offset = offsetof(settings_args, past),
     .help = "more tokens than the model was trained for: positions it never saw"},
    {.name = "--kv-format",
     .kind = OPTION_CHOICE,
     .offset = offsetof(settings_args, kv_format),
     .argument = "F",
     .choices = FORMATS,
     .help = "stored keys and values (default: f16)"},
    {.name = "--k-format",
     .kind = OPTION_CHOICE,
     .offset = offsetof(settings_args, k_format),
     .argument = "F",
     .choices = FORMATS,
     .help = "stored keys (default: as --kv-format)"},
    {.name = "--v-format",
     .kind = OPTION_CHOICE,
     .offset = offsetof(settings_args, v_format),
     .argument = "F",
     .choices = FORMATS,
     .help = "stored values (default: as --kv-format)"},
    {.name = "--index-format",
     .kind = OPTION_CHOICE,
     .offset = offsetof(settings_args, index_format),
     .argument = "F",
     .choices = FORMATS,
     .help = "stored index keys (default: as the keys)"},
    {.name = "--index8",
     .kind = OPTION_CHOICE,
     .offset = offsetof(settings_args, index8),
     .argument = "WHEN",
     .choices = "auto|on|off",
     .help = "an int8 copy of index keys beside them: decoding chooses the same blocks by\n"
             "reading half the bytes (default: auto, from 32768 tokens of context on,\n"
             "where index keys are f32, f16 or bf16)"},
    {.name = "--chunk",
     .kind = OPTION_INT,
     .offset = offsetof(settings_args, chunk),
     .argument = "N",
     .min = 1,
     .max = 65536,
     .help = "tokens a prefill step (default: chosen)",
     .remedy = "leave it out and the size is chosen"},
};

settings_args settings_unset(void) {
    return (settings_args){.attn = -1,
                           .selector = -1,
                           .block = -1,
                           .kv_format = -1,
                           .k_format = -1,
                           .v_format = -1,
                           .index_format = -1,
                           .index8 = -1,
                           .n_ctx = OPTION_UNSET,
                           .topk = OPTION_UNSET,
                           .local = OPTION_UNSET,
                           .init = OPTION_UNSET,
                           .chunk = OPTION_UNSET,
                           .seed = 0,
                           .layers_dense = {.n = -1}};
}

option_group settings_group(settings_args *args, bool with_mode) {
    size_t n = sizeof ATTENTION_OPTIONS / sizeof *ATTENTION_OPTIONS, skip = with_mode ? 0 : 1;
    return (option_group){"Attention", ATTENTION_OPTIONS + skip, n - skip, args};
}

static void take(int64_t given, int32_t *param) {
    if (given != OPTION_UNSET) *param = (int32_t)given;
}

static msa_status take_layers(const option_ints *given, const msa_model *model,
                              msa_session_params *params, msa_error *err) {
    int32_t n_layers = msa_model_get_info(model)->n_layers;
    if (given->n < 0) return MSA_OK;
    bool indexed = strcmp(settings_selector(params, model), "index") == 0;
    if (!indexed) memset(params->dense_layers, 0, sizeof params->dense_layers);
    for (int i = 0; i < given->n; i++) {
        int64_t layer = given->values[i];
        if (layer >= n_layers)
            return fail(err, MSA_E_ARG,
                        "--layers-dense: there is no layer %lld; this model has layers 0 to %d",
                        (long long)layer, n_layers - 1);
        params->dense_layers[layer / 64] |= (uint64_t)1 << layer % 64;
    }
    return MSA_OK;
}

/* Asked for by name, it is not left out in silence. */
static msa_status check_index8(const settings_args *args, const msa_session_params *params,
                               const msa_model *model, msa_error *err) {
    if (params->index8 != MSA_INDEX8_ON || msa_session_wants_index8(params, model)) return MSA_OK;
    bool dense = args->attn == MSA_ATTN_DENSE;
    return fail(err, MSA_E_ARG,
                "--index8 on: %s%s scores no keys one by one, there is nothing to copy; leave "
                "--index8 out, or take the selector index, shared or proxy",
                dense ? "--attn dense" : "--selector ",
                dense ? "" : settings_selector(params, model));
}

msa_status settings_params(const settings_args *args, const msa_model *model,
                           msa_session_params *params, msa_error *err) {
    *params = msa_session_defaults(model);
    if (args->selector > MSA_SELECTOR_INDEX && msa_model_get_info(model)->has_index) {
        params->local = 2; /* untrained, it needs the first block and more of the neighbourhood */
        params->init = 1;
    }
    if (args->attn >= 0) params->attn = (msa_attn_mode)args->attn;
    if (args->selector >= 0) params->selector = (msa_selector)args->selector;
    params->seed = (uint64_t)args->seed;
    if (args->block >= 0) params->block = 16 << args->block;
    if (args->kv_format >= 0) params->k_dtype = params->v_dtype = (msa_dtype)args->kv_format;
    if (args->k_format >= 0) params->k_dtype = (msa_dtype)args->k_format;
    if (args->v_format >= 0) params->v_dtype = (msa_dtype)args->v_format;
    params->index_dtype = args->index_format >= 0 ? (msa_dtype)args->index_format : params->k_dtype;
    if (args->index8 >= 0) params->index8 = (msa_index8)args->index8;
    take(args->n_ctx, &params->n_ctx);
    params->allow_past_context = args->past;
    take(args->topk, &params->topk);
    take(args->local, &params->local);
    take(args->init, &params->init);
    take(args->chunk, &params->chunk);
    if (params->local + params->init > params->topk)
        return fail(err, MSA_E_ARG,
                    "--topk %d: leaves no room for the forced blocks, --local %d and --init %d; "
                    "raise --topk to %d or lower these",
                    params->topk, params->local, params->init, params->local + params->init);
    msa_status status = check_index8(args, params, model, err);
    return status ? status : take_layers(&args->layers_dense, model, params, err);
}

void settings_no_decode(msa_session_params *params) {
    if (params->index8 == MSA_INDEX8_AUTO) params->index8 = MSA_INDEX8_OFF;
}

msa_status settings_check_room(const msa_session_params *params, const msa_model *model,
                               size_t n_tokens, msa_error *err) {
    int32_t n_ctx = params->n_ctx, trained = msa_model_get_info(model)->n_ctx_train;
    bool past = n_tokens > (size_t)trained && !params->allow_past_context;
    if (n_tokens <= (size_t)n_ctx) return MSA_OK;
    return fail(err, MSA_E_FULL,
                "the text has %zu tokens, the context holds %d (-c/--ctx-size; the model was "
                "trained for %d): shorten the text or raise -c%s",
                n_tokens, n_ctx, trained, past ? " with --allow-past-context" : "");
}

/* ---- saying it ------------------------------------------------------------------------------ */

bool settings_is_dense(const msa_session_params *params, int32_t layer) {
    return params->attn == MSA_ATTN_DENSE ||
           (layer < 256 && params->dense_layers[layer / 64] >> layer % 64 & 1);
}

const char *settings_selector(const msa_session_params *params, const msa_model *model) {
    return msa_selector_name(msa_session_selector(params, model));
}

void settings_formats(const msa_session_params *params, char *text, size_t size) {
    const char *k = msa_dtype_name(params->k_dtype), *v = msa_dtype_name(params->v_dtype);
    bool one = params->k_dtype == params->v_dtype;
    snprintf(text, size, "%s%s%s", k, one ? "" : "/", one ? "" : v);
}

static bool has_index_lane(const msa_session_params *params, const msa_model *model) {
    msa_selector kind = msa_session_selector(params, model);
    return params->attn == MSA_ATTN_MSA &&
           (kind == MSA_SELECTOR_INDEX || kind == MSA_SELECTOR_SHARED);
}

/* ", index keys f16 + int8 copy", or what of it there is. */
static void describe_index_keys(const msa_session_params *params, const msa_model *model,
                                char *text, size_t size) {
    bool copy = msa_session_wants_index8(params, model), lane = has_index_lane(params, model);
    snprintf(text, size, "%s%s%s", lane ? ", index keys " : "",
             lane ? msa_dtype_name(params->index_dtype) : "",
             !copy  ? ""
             : lane ? " + int8 copy"
                    : ", int8 copy of the keys");
}

/* "0-2,5": the layers that are dense. */
static void list_dense(const msa_session_params *params, int32_t n_layers, char *text,
                       size_t size) {
    size_t n = 0;
    text[0] = 0;
    for (int32_t first = 0; first < n_layers && n < size;) {
        int32_t end = first;
        while (end < n_layers && settings_is_dense(params, end)) end++;
        const char *lead = n ? "," : "";
        if (end == first + 1)
            n += (size_t)snprintf(text + n, size - n, "%s%d", lead, first);
        else if (end > first)
            n += (size_t)snprintf(text + n, size - n, "%s%d-%d", lead, first, end - 1);
        first = end + 1;
    }
}

void settings_describe(const msa_session_params *params, const msa_model *model, char *text,
                       size_t size) {
    char layers[256], format[32], index[64];
    settings_formats(params, format, sizeof format);
    describe_index_keys(params, model, index, sizeof index);
    if (params->attn == MSA_ATTN_DENSE) {
        snprintf(text, size, "dense; keys and values %s", format);
        return;
    }
    list_dense(params, msa_model_get_info(model)->n_layers, layers, sizeof layers);
    snprintf(text, size,
             "MSA, %s selector, %d blocks of %d (%d keys) per query, local %d, init %d; "
             "keys and values %s%s%s%s",
             settings_selector(params, model), params->topk, params->block,
             params->topk * params->block, params->local, params->init, format, index,
             layers[0] ? "; dense in layers " : "", layers);
}

json_t *settings_json(const msa_session_params *params, const msa_model *model) {
    char layers[256], format[32];
    settings_formats(params, format, sizeof format);
    if (params->attn == MSA_ATTN_DENSE)
        return json_pack("{s:s, s:i, s:s}", "attn", "dense", "n_ctx", params->n_ctx, "kv_format",
                         format);
    list_dense(params, msa_model_get_info(model)->n_layers, layers, sizeof layers);
    json_t *json = json_pack("{s:s, s:s, s:i, s:i, s:i, s:i, s:s, s:i, s:s}", "attn", "msa",
                             "selector", settings_selector(params, model), "block", params->block,
                             "topk", params->topk, "local", params->local, "init", params->init,
                             "layers_dense", layers, "n_ctx", params->n_ctx, "kv_format", format);
    if (json && has_index_lane(params, model))
        json_object_set_new(json, "index_format", json_string(msa_dtype_name(params->index_dtype)));
    if (json)
        json_object_set_new(json, "index8", json_boolean(msa_session_wants_index8(params, model)));
    if (json && params->selector == MSA_SELECTOR_RANDOM)
        json_object_set_new(json, "selector_seed", json_integer((json_int_t)params->seed));
    return json;
}

double settings_row_bytes(msa_dtype dtype, int32_t dim) {
    return (double)(msa_row_bytes(dtype, dim) + msa_row_scale_bytes(dtype, dim));
}

static bool uses_index(const msa_session_params *params, const msa_model *model) {
    return params->attn == MSA_ATTN_MSA && strcmp(settings_selector(params, model), "index") == 0;
}

static void warn_of_numbers(const msa_session_params *p, const msa_model *model) {
    const msa_model_info *info = msa_model_get_info(model);
    if (!uses_index(p, model) || (p->block == info->index_block && p->topk == info->index_topk &&
                                  p->local == info->index_local && p->init == info->index_init))
        return;
    fprintf(stderr,
            "warning    the index branch was trained with %d blocks of %d, local %d, init %d; its "
            "choice may be worse with others\n",
            info->index_topk, info->index_block, info->index_local, info->index_init);
}

void settings_announce(const msa_session_params *params, const msa_model *model) {
    const msa_model_info *info = msa_model_get_info(model);
    char text[512];
    settings_describe(params, model, text, sizeof text);
    fprintf(stderr, "model      %s, %.0fM parameters, %d layers, %d query heads in %d groups\n",
            info->name[0] ? info->name : info->architecture, (double)info->n_parameters * 1e-6,
            info->n_layers, info->n_q_heads, info->n_kv_heads);
    fprintf(stderr, "attention  %s; context %d\n", text, params->n_ctx);
    warn_of_numbers(params, model);
}
