/* A stranger's program, C17 and C++17 alike, that knows the installed headers and nothing else.
 * It calls what it can check the answer of. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include <msa/msa.h>

int main(void) {
    char text[256];
    msa_error err;
    msa_isa_describe(text, sizeof text);
    printf("libmsa %s, %s\n", msa_version(), text);
    if (strcmp(msa_version(), "0.1.0") != 0) return 1;
    if (msa_isa_use(MSA_ISA_SCALAR, &err) != MSA_OK) return 2;
    if (msa_isa_use((msa_isa)99, &err) == MSA_OK) return 3;
    if (err.code == MSA_OK || err.text[0] == 0) return 4;
    return 0;
}
