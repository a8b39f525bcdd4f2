/* A stranger's program, C17 and C++17 alike, that knows the installed headers and nothing else.
 * It calls what it can check the answer of. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include <msa/attn.h>
#include <msa/kv.h>
#include <msa/model.h>
#include <msa/msa.h>

/* Two keys with values 1 and 3, one at a time and merged: the softmax of both. */
static int merges(void) {
    const float a = 1, lse_a = 0, b = 3, lse_b = logf(2);
    float out, lse;
    if (msa_merge(1, 1, &a, &lse_a, &b, &lse_b, &out, &lse, NULL) != MSA_OK) return 0;
    return fabsf(out - 7.0f / 3) < 1e-6f && fabsf(lse - logf(3)) < 1e-6f;
}

int main(void) {
    char text[256];
    msa_error err;
    msa_isa_describe(text, sizeof text);
    printf("libmsa %s, %s\n", msa_version(), text);
    if (strcmp(msa_version(), "0.1.0") != 0) return 1;
    if (msa_isa_use(MSA_ISA_SCALAR, &err) != MSA_OK) return 2;
    if (msa_isa_use((msa_isa)99, &err) == MSA_OK) return 3;
    if (err.code == MSA_OK || err.text[0] == 0) return 4;
    if (!merges()) return 5;
    msa_shape shape = msa_shape_m3();
    if (msa_shape_check(&shape, &err) != MSA_OK) return 6;
    msa_model *model = NULL;
    if (msa_model_load(&model, "/nowhere.gguf", &err) != MSA_E_IO) return 7;
    return 0;
}
