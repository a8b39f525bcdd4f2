/* fuzz_tokenizer.c: any bytes as a text, as a vocabulary, or as a chat template; the first byte
 * says which. A text must come back as it was, from the whole and from a stream. */
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/utf8.h"
#include "fuzz.h"
#include "model/byte_alphabet.h"
#include "model/chat.h"
#include "model/text_stream.h"

enum { MOST = 512 };

typedef struct list {
    vocab_text items[MOST];
    size_t n;
} list;

static const char *const families[] = {"gpt-2", "smollm", "llama-bpe", "qwen2", "gpt-4o"};
enum { N_FAMILIES = sizeof families / sizeof *families };

static void demand(int truth) {
    if (!truth) abort();
}

static void free_tokens(msa_tokens *tokens) {
    mem_free(tokens->ids);
}

static void stream(const tokenizer *t, const msa_tokens *ids, const char *text, size_t n) {
    msa_text_stream *s;
    msa_error err;
    const char *part;
    size_t n_part, at = 0;
    demand(text_stream_create(&s, t, &err) == MSA_OK);
    for (size_t i = 0; i < ids->n; i++) {
        demand(msa_text_stream_push(s, ids->ids[i], &part, &n_part, &err) == MSA_OK);
        demand(n_part <= n - at && memcmp(text + at, part, n_part) == 0);
        at += n_part;
    }
    msa_text_stream_flush(s, &part, &n_part);
    demand(n_part == n - at && n_part <= 3 && memcmp(text + at, part, n_part) == 0);
    msa_text_stream_free(s);
}

static void there_and_back(const tokenizer *t, const char *text, size_t n, int flags, int exactly) {
    msa_tokens ids = {0};
    msa_error err;
    char *back, *shown;
    size_t n_back, n_shown;
    demand(tokenizer_encode(t, text, n, flags, &ids, &err) == MSA_OK);
    demand(tokenizer_decode_all(t, ids.ids, ids.n, 2, &back, &n_back, &err) == MSA_OK);
    demand(!exactly || (n_back == n && memcmp(back, text, n) == 0));
    demand(tokenizer_decode_all(t, ids.ids, ids.n, 0, &shown, &n_shown, &err) == MSA_OK);
    stream(t, &ids, shown, n_shown);
    mem_free(back);
    mem_free(shown);
    free_tokens(&ids);
}

static tokenizer *create(const list *tokens, const int32_t *types, const list *merges,
                         const char *family) {
    tokenizer_params p = {.tokens = tokens->items,
                          .types = types,
                          .n_tokens = tokens->n,
                          .merges = merges->items,
                          .n_merges = merges->n,
                          .pre = {family, strlen(family)},
                          .bos = 0,
                          .eos = 1,
                          .eot = -1,
                          .unk = -1,
                          .pad = -1,
                          .add_bos = 0,
                          .ignore_merges = -1,
                          .add_eos = 0};
    tokenizer *t;
    msa_error err;
    return tokenizer_create(&t, &p, &err) == MSA_OK ? t : NULL;
}

static void add(list *l, const char *data, size_t n) {
    if (l->n < MOST) l->items[l->n++] = (vocab_text){data, n};
}

static void add_text(list *l, const char *text) {
    add(l, text, strlen(text));
}

/* All bytes, and a few merges and special tokens. */
static tokenizer *create_small(const char *family) {
    list tokens = {0}, merges = {0};
    int32_t types[MOST];
    char spelling[256][4];
    for (int byte = 0; byte < 256; byte++)
        add(&tokens, spelling[byte],
            utf8_encode(byte_alphabet_code((uint8_t)byte), spelling[byte]));
    const char *const more[] = {"ĠĠ", "ĠĠĠĠ", "th",      "the",      "Ġthe", "ĊĊ",
                                "aa", "aaa",  "<|end|>", "<|end|>x", "é!"};
    const char *const joins[] = {"Ġ Ġ", "ĠĠ ĠĠ", "t h", "th e", "Ġ the", "Ċ Ċ", "a a", "a aa"};
    for (size_t i = 0; i < sizeof more / sizeof *more; i++) add_text(&tokens, more[i]);
    for (size_t i = 0; i < sizeof joins / sizeof *joins; i++) add_text(&merges, joins[i]);
    for (size_t i = 0; i < tokens.n; i++) types[i] = VOCAB_NORMAL;
    types[tokens.n - 3] = types[tokens.n - 2] = VOCAB_CONTROL;
    types[tokens.n - 1] = VOCAB_USER_DEFINED;
    return create(&tokens, types, &merges, family);
}

static void run_text(int family, const char *text, size_t n, int flags) {
    static tokenizer *small[N_FAMILIES]; /* kept: making one takes longer than a text */
    if (!small[family]) small[family] = create_small(families[family]);
    demand(small[family] != NULL);
    there_and_back(small[family], text, n, flags & MSA_PARSE_SPECIAL, 1);
}

/* Lines up to an empty one. */
static void take_lines(list *l, const char **text, size_t *n) {
    while (*n) {
        const char *end = memchr(*text, '\n', *n);
        size_t length = end ? (size_t)(end - *text) : *n;
        if (length) add(l, *text, length);
        *n -= length + (end != NULL);
        *text += length + (end != NULL);
        if (length == 0) return;
    }
}

/* Tokens (the first byte of each is its type), an empty line, merges, an empty line, a text. */
static void run_vocabulary(const char *family, const char *text, size_t n, int flags) {
    list tokens = {0}, merges = {0};
    int32_t types[MOST];
    take_lines(&tokens, &text, &n);
    take_lines(&merges, &text, &n);
    for (size_t i = 0; i < tokens.n; i++) {
        types[i] = tokens.items[i].data[0] - '0';
        tokens.items[i].data++;
        tokens.items[i].n--;
    }
    tokenizer *t = create(&tokens, types, &merges, family);
    if (t) there_and_back(t, text, n, flags, 0);
    tokenizer_free(t);
}

static void run_template(const char *text, size_t n, int flags) {
    chat_template c;
    msa_error err;
    char content[65] = "", *formatted = NULL;
    demand(chat_template_create(&c, text, n, &err) == MSA_OK);
    for (size_t i = 0; i < n && i < 64; i++) content[i] = text[n - 1 - i];
    msa_chat_message messages[] = {
        {"system", content}, {"user", text[0] == '{' ? content : "x"}, {"assistant", content}};
    vocab_text token = {"<s>", 3};
    size_t first = flags & 1;
    if (chat_format(&c, messages + first, 3 - first, flags & 2, token, token, &formatted, &err) ==
        MSA_OK)
        demand(formatted != NULL && strlen(formatted) > 0);
    mem_free(formatted);
    chat_template_free(&c);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n_bytes) {
    if (n_bytes < 2) return 0;
    const char *text = (const char *)data + 2, *family = families[data[1] % N_FAMILIES];
    size_t n = n_bytes - 2;
    int flags = data[1] >> 2 & 3;
    if (data[0] == 't') run_text(data[1] % N_FAMILIES, text, n, flags);
    if (data[0] == 'v') run_vocabulary(family, text, n, flags);
    if (data[0] == 'c' && n) run_template(text, n, flags);
    return 0;
}
