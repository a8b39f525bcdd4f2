// llama_logits.cpp: llama.cpp on a GGUF file: the logits of every token of a prompt, then greedy tokens, as raw numbers.
//
//     llama_logits MODEL IDS LOGITS N_GREEDY N_BATCH [plain]
//
// IDS: int32 file; LOGITS: f32 file to write; prints the tokens. Keys and values are f32, flash attention is on (without it
// llama.cpp runs MiniMax-M3 densely), except where `plain` stands: it computes in f16 in places.
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <vector>

#include "llama.h"

static std::vector<llama_token> read_ids(const char *path) {
    std::ifstream in(path, std::ios::binary | std::ios::ate);
    std::vector<llama_token> ids(in.tellg() / sizeof(llama_token));
    in.seekg(0);
    in.read(reinterpret_cast<char *>(ids.data()), ids.size() * sizeof(llama_token));
    return ids;
}

// Tokens [from, to) of ids, with logits for each; adds them to out.
static bool feed(llama_context *ctx, const std::vector<llama_token> &ids, int from, int to, int n_vocab,
                 std::vector<float> &out) {
    llama_batch batch = llama_batch_init(to - from, 0, 1);
    for (int i = from; i < to; i++) {
        int j = batch.n_tokens++;
        batch.token[j] = ids[i];
        batch.pos[j] = i;
        batch.n_seq_id[j] = 1;
        batch.seq_id[j][0] = 0;
        batch.logits[j] = 1;
    }
    bool ok = llama_decode(ctx, batch) == 0;
    for (int j = 0; ok && j < to - from; j++) {
        const float *row = llama_get_logits_ith(ctx, j);
        out.insert(out.end(), row, row + n_vocab);
    }
    llama_batch_free(batch);
    return ok;
}

int main(int argc, char **argv) {
    if (argc < 6) return 2;
    llama_backend_init();
    llama_model_params model_params = llama_model_default_params();
    llama_model *model = llama_model_load_from_file(argv[1], model_params);
    if (!model) return 1;
    std::vector<llama_token> ids = read_ids(argv[2]);
    int n_prompt = ids.size(), n_greedy = atoi(argv[4]), n_batch = atoi(argv[5]);
    llama_context_params params = llama_context_default_params();
    params.n_ctx = (n_prompt + n_greedy + 255) / 256 * 256;
    params.n_batch = params.n_ubatch = n_batch;
    params.n_seq_max = 1;
    params.type_k = params.type_v = GGML_TYPE_F32;
    params.flash_attn_type = argc > 6 ? LLAMA_FLASH_ATTN_TYPE_DISABLED : LLAMA_FLASH_ATTN_TYPE_ENABLED;
    params.n_threads = params.n_threads_batch = 2;
    llama_context *ctx = llama_init_from_model(model, params);
    if (!ctx) return 1;
    int n_vocab = llama_vocab_n_tokens(llama_model_get_vocab(model));
    std::vector<float> logits;
    for (int at = 0; at < n_prompt; at += n_batch)
        if (!feed(ctx, ids, at, at + n_batch < n_prompt ? at + n_batch : n_prompt, n_vocab, logits)) return 1;
    std::ofstream(argv[3], std::ios::binary).write(reinterpret_cast<char *>(logits.data()), logits.size() * sizeof(float));
    for (int i = 0; i < n_greedy; i++) {
        const float *row = logits.data() + logits.size() - n_vocab;
        int best = 0;
        for (int v = 1; v < n_vocab; v++)
            if (row[v] > row[best]) best = v;
        printf("%d ", best);
        ids.push_back(best);
        if (!feed(ctx, ids, ids.size() - 1, ids.size(), n_vocab, logits)) return 1;
    }
    printf("\n");
    llama_free(ctx);
    llama_model_free(model);
    return 0;
}
