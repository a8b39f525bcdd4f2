/* fuzz_safetensors.c: any bytes as a safetensors file. What the reader accepts is read to the last
 * byte, and must be what its shapes say. */
#include <stdlib.h>
#include <string.h>

#include "fuzz.h"
#include "model/safetensors.h"

static volatile unsigned sink;

static void demand(int truth) {
    if (!truth) abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n_bytes) {
    safetensors *s;
    msa_error err;
    if (safetensors_open_memory(&s, data, n_bytes, "fuzz", &err) != MSA_OK) {
        demand(err.text[0] != 0);
        return 0;
    }
    uint64_t n_data = 0;
    for (size_t i = 0; i < safetensors_count(s); i++) {
        const safetensors_tensor *t = safetensors_at(s, i);
        char text[64];
        demand(t->n_bytes <= n_bytes && t->data >= data && t->data + t->n_bytes <= data + n_bytes);
        demand(safetensors_find(s, t->name) == t && strlen(t->dtype) > 0);
        safetensors_shape_text(t, text, sizeof text);
        for (uint64_t j = 0; j < t->n_bytes; j++) sink += t->data[j];
        n_data += t->n_bytes;
    }
    demand(n_data <= n_bytes);
    safetensors_close(s);
    return 0;
}
