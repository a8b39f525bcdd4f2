/* cpu.c: detecting the instruction sets, choosing one, saying why. */
#include "base/cpu.h"

#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#include "base/error.h"

#if defined(__x86_64__)
#include <cpuid.h>
#endif

static const char *const NAMES[MSA_ISA_COUNT] = {"scalar", "neon", "avx2", "avx512"};

/* The one piece of process-wide state: -1 until first asked. */
static atomic_int current_isa = -1;

const char *msa_isa_name(msa_isa isa) {
    return (int)isa >= 0 && isa < MSA_ISA_COUNT ? NAMES[isa] : "?";
}

#if defined(__x86_64__)
/* By CPUID leaf 1: clang 14 has no name for it. */
static int has_f16c(void) {
    unsigned a, b, c, d;
    return __get_cpuid(1, &a, &b, &c, &d) && (c & bit_F16C);
}
#endif

int msa_isa_available(msa_isa isa) {
    switch (isa) {
    case MSA_ISA_SCALAR: return 1;
#if defined(__x86_64__)
    case MSA_ISA_AVX2:
        return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && has_f16c();
    case MSA_ISA_AVX512:
        return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
               __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl") &&
               msa_isa_available(MSA_ISA_AVX2);
#elif defined(__aarch64__)
    case MSA_ISA_NEON: return 1;
#endif
    default: return 0;
    }
}

msa_isa msa_isa_current(void) {
    int isa = atomic_load_explicit(&current_isa, memory_order_relaxed);
    if (isa < 0) {
        isa = MSA_ISA_COUNT - 1;
        while (!msa_isa_available((msa_isa)isa)) isa--;
        int unset = -1;
        if (!atomic_compare_exchange_strong(&current_isa, &unset, isa)) isa = unset;
    }
    return (msa_isa)isa;
}

msa_status msa_isa_use(msa_isa isa, msa_error *err) {
    if ((int)isa < 0 || isa >= MSA_ISA_COUNT)
        return error_set(err, MSA_E_ARG, "instruction set %d is not known", (int)isa);
    if (!msa_isa_available(isa))
        return error_set(err, MSA_E_UNSUPPORTED,
                         "this CPU (%s) or this build has no %s; the best available is %s",
                         cpu_model_name(), msa_isa_name(isa), msa_isa_name(msa_isa_current()));
    atomic_store(&current_isa, (int)isa);
    return MSA_OK;
}

const char *cpu_model_name(void) {
#if defined(__x86_64__)
    static _Thread_local char name[49];
    unsigned word[12];
    if ((unsigned)__get_cpuid_max(0x80000000u, NULL) < 0x80000004u) return "x86-64";
    for (unsigned i = 0; i < 3; i++)
        __get_cpuid(0x80000002u + i, &word[4 * i], &word[4 * i + 1], &word[4 * i + 2],
                    &word[4 * i + 3]);
    memcpy(name, word, 48);
    char *start = name;
    while (*start == ' ') start++;
    size_t n = strlen(start);
    while (n > 0 && start[n - 1] == ' ') start[--n] = 0;
    return start;
#elif defined(__aarch64__)
    return "AArch64";
#else
    return "unknown CPU";
#endif
}

void msa_isa_describe(char *text, size_t text_size) {
    int n =
        snprintf(text, text_size, "%s on %s", msa_isa_name(msa_isa_current()), cpu_model_name());
    const char *lead = "; also available: ";
    for (int isa = MSA_ISA_COUNT - 1; isa >= 0; isa--) {
        if (isa == (int)msa_isa_current() || !msa_isa_available((msa_isa)isa)) continue;
        if (n < 0 || (size_t)n >= text_size) return;
        n += snprintf(text + n, text_size - (size_t)n, "%s%s", lead, msa_isa_name((msa_isa)isa));
        lead = ", ";
    }
}

const char *msa_cpu_name(void) {
    return cpu_model_name();
}
