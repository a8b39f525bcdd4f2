/* fuzz_model_json.c: any bytes as the JSON beside safetensors; the first byte says which file:
 * 'c' config.json, which must come out the same when it is written and read again, and may be asked
 * for weights that no file has; 't' tokenizer.json. */
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "fuzz.h"
#include "model/config_json.h"
#include "model/json_file.h"
#include "model/tensor_list.h"
#include "model/tokenizer_json.h"
#include "model/weights.h"

static void demand(int truth) {
    if (!truth) abort();
}

/* A file without tensors: every architecture must be refused by it, at no cost. */
static void load_nothing(const arch *a) {
    static const uint8_t file[10] = {2, 0, 0, 0, 0, 0, 0, 0, '{', '}'};
    safetensors *s;
    weights *w;
    msa_error err;
    demand(safetensors_open_memory(&s, file, sizeof file, "nothing", &err) == MSA_OK);
    demand(weights_load_safetensors(&w, s, a, &err) != MSA_OK && w == NULL);
    safetensors_close(s);
}

static void run_config(const json_t *root) {
    arch a, back;
    msa_error err;
    if (config_json_parse(&a, root, &err) != MSA_OK) return;
    demand(tensor_list_count(&a) > 0);
    load_nothing(&a);
    if (a.n_layers > 1000) return; /* its lists have an entry a layer */
    json_t *written = config_json_create(&a, &(config_json_facts){"float32", -1, -1, -1});
    demand(written != NULL);
    demand(config_json_parse(&back, written, &err) == MSA_OK);
    json_decref(written);
    demand(back.family == a.family && back.n_layers == a.n_layers && back.n_rot == a.n_rot);
    demand(back.n_dense_layers == a.n_dense_layers && back.norm_eps == a.norm_eps);
    demand(back.index.present == a.index.present && back.moe.present == a.moe.present);
}

static void run_tokenizer(const json_t *root) {
    static const char text[] = "Hello, w\xc3\xb6rld 1234\r\n\t <|endoftext|>\xff";
    tokenizer *t;
    msa_tokens ids = {0};
    msa_error err;
    char *back;
    size_t n;
    if (tokenizer_parse_json(&t, &(tokenizer_jsons){root, root, NULL, root}, 300, &err) != MSA_OK)
        return;
    demand(tokenizer_encode(t, text, sizeof text - 1, MSA_PARSE_SPECIAL, &ids, &err) == MSA_OK);
    demand(tokenizer_decode_all(t, ids.ids, ids.n, MSA_PARSE_SPECIAL, &back, &n, &err) == MSA_OK);
    mem_free(back);
    mem_free(ids.ids);
    tokenizer_free(t);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n_bytes) {
    json_t *root;
    msa_error err;
    if (n_bytes < 1) return 0;
    if (json_file_parse(&root, data + 1, n_bytes - 1, 0, "fuzz", &err) != MSA_OK) return 0;
    if (data[0] == 'c') run_config(root);
    if (data[0] == 't') run_tokenizer(root);
    json_decref(root);
    return 0;
}
