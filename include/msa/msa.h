/* msa.h: start here. What every part of libmsa shares: status codes, errors, number formats, the
 * CPU in use.
 *
 * libmsa runs MiniMax Sparse Attention (MSA, arXiv 2606.13392) on ordinary CPUs. The chapters:
 *   - msa.h: this page
 *   - format.h: the formats that keys and values are stored in, there and back
 *   - attn.h: the operators on plain arrays: score, select, sparse, decode, dense, merge
 *   - grad.h: their gradients, and the loss that trains an index branch
 *   - kv.h: the paged cache of keys, values and index keys
 *   - model.h: a model file, its tokenizer, a session that feeds tokens and gives logits, sampling
 *   - train.h: training a model from text
 *   - eval.h: what a model finds in a long text, dense and with selections
 *
 * Caveats first:
 *   - Nothing here is silent. A call does what it says or returns a code and says why in words.
 *   - The library never prints, exits, aborts, or reads the environment.
 *   - Handles are opaque and owned by whoever created them; two threads may use two handles at
 * once, one handle belongs to one thread at a time. Data you pass in stays yours and is not kept
 * unless the function says so.
 *   - Work inside one call is split over OpenMP threads; results do not depend on how many.
 */
#ifndef MSA_MSA_H
#define MSA_MSA_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define MSA_VERSION_MAJOR 0
#define MSA_VERSION_MINOR 1
#define MSA_VERSION_PATCH 0

#if defined(_WIN32)
#define MSA_API
#else
#define MSA_API __attribute__((visibility("default")))
#endif

/* What a call returns. MSA_OK is 0; everything else is a failure that changed nothing it does not
 * mention. */
typedef enum msa_status {
    MSA_OK = 0,
    MSA_E_ARG = 1,   /* an argument is outside its range; the text names it and the range */
    MSA_E_NOMEM = 2, /* memory could not be had */
    MSA_E_IO = 3,    /* a file could not be opened, read, mapped or written */
    MSA_E_FORMAT =
        4, /* a file or text is not what it should be: truncated, contradicting, malformed */
    MSA_E_UNSUPPORTED = 5, /* well-formed, but this build or version cannot do it */
    MSA_E_FULL = 6,        /* a fixed capacity is used up: cache pages, context length */
    MSA_E_CANCELLED = 7    /* a callback asked to stop; what was done before it stands */
} msa_status;

/* Where a failure explains itself. Owned by the caller, may be NULL wherever it is taken. Written
 * only on failure. */
typedef struct msa_error {
    msa_status code;
    char text[512]; /* one English sentence, UTF-8, NUL-terminated: what was expected, what was
                       found, what to do */
} msa_error;

/* Short English name of a code, for logs. Never NULL. */
MSA_API const char *msa_status_name(msa_status code);

/* "0.1.0". The same as the macros, but of the library that was linked. */
MSA_API const char *msa_version(void);

/* Number formats of stored keys and values. Accumulation is always f32. The last three store rows
 * (of one head of a token) with scales: format.h says how. */
typedef enum msa_dtype {
    MSA_F32 = 0,
    MSA_F16 = 1,   /* IEEE binary16 */
    MSA_BF16 = 2,  /* the high half of an f32 */
    MSA_FP8 = 3,   /* E4M3 */
    MSA_INT8 = 4,  /* and an f32 scale a row */
    MSA_NVFP4 = 5, /* E2M1, and an E4M3 scale for each 16 elements of a row */
    MSA_DTYPE_COUNT
} msa_dtype;

/* "f32", "f16", "bf16", "fp8", "int8", "nvfp4"; "?" for anything else. */
MSA_API const char *msa_dtype_name(msa_dtype dtype);
/* Bytes per element, without scales; 0 where that is no whole number (nvfp4: two to the byte) and
 * for anything else. msa_row_bytes (format.h) counts rows of every format. */
MSA_API int msa_dtype_size(msa_dtype dtype);
/* Parses a name as printed by msa_dtype_name. MSA_E_ARG names what was found and what is accepted.
 */
MSA_API msa_status msa_dtype_parse(const char *name, msa_dtype *out, msa_error *err);

/* Instruction sets the kernels are compiled for, worst to best. */
typedef enum msa_isa {
    MSA_ISA_SCALAR = 0,
    MSA_ISA_NEON = 1,
    MSA_ISA_AVX2 = 2,   /* AVX2 + FMA + F16C */
    MSA_ISA_AVX512 = 3, /* AVX-512 F, BW, DQ, VL */
    MSA_ISA_COUNT
} msa_isa;

MSA_API const char *msa_isa_name(msa_isa isa);
/* 1 where this build has kernels for `isa` and this CPU can run them. */
MSA_API int msa_isa_available(msa_isa isa);
/* The instruction set in use: the best available, until msa_isa_use says otherwise. */
MSA_API msa_isa msa_isa_current(void);
/* Uses `isa` from now on, in the whole process; call it before any other work and not beside it.
 * MSA_E_UNSUPPORTED where it is not available. */
MSA_API msa_status msa_isa_use(msa_isa isa, msa_error *err);
/* "AVX-512 on AMD EPYC ...; also available: avx2, scalar": which kernels run and why. Valid until
 * the next call. */
MSA_API void msa_isa_describe(char *text, size_t text_size);
/* The CPU's own name, or the architecture's where it has none. Valid until the next call. */
MSA_API const char *msa_cpu_name(void);

/* The two ceilings of this machine, the best of several short runs: f32 multiply-adds in registers
 * with the instruction set in use (a multiply-add counts 2), and reading n_bytes (512 MiB are well
 * beyond the caches) once. n_threads 0: as many as OpenMP gives. Takes about half a second each. */
MSA_API msa_status msa_measure_fma_gflops(int n_threads, double *gflops, msa_error *err);
MSA_API msa_status msa_measure_read_gbps(int n_threads, size_t n_bytes, double *gbps,
                                         msa_error *err);

#ifdef __cplusplus
}
#endif
#endif
