/* test_gguf.c: the GGUF reader on good files, on every truncation of one, and on one file for each
 * class of published parser vulnerability: refused, with a message, in little time and memory. */
#include "support/support.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "model/gguf.h"
#include "nn/quant.h"
#include "support/gguf_writer.h"

static msa_status try_open(const file_bytes *b, msa_error *err) {
    gguf_file *file = NULL;
    msa_status status = gguf_open_memory(&file, b->data, b->n, "test.gguf", err);
    assert_true((status == MSA_OK) == (file != NULL));
    gguf_close(file);
    return status;
}

/* Takes the bytes, which must be refused with `word` in a message that names the file. */
static void refuse(file_bytes b, msa_status expected, const char *word) {
    msa_error err = {0};
    assert_fails(try_open(&b, &err), expected, &err, word);
    assert_fails(expected, expected, &err, "test.gguf");
    free_bytes(&b);
}

static const float NUMBERS[64] = {1, 2, 3, 4, 5};

static file_bytes small_file(void) {
    gguf_writer w = {0};
    const char *words[] = {"one", "", "three"};
    int32_t list[] = {-1, 2, 3};
    gguf_write_string(&w, "general.architecture", "llama");
    gguf_write_u32(&w, "a.u32", 4000000000u);
    gguf_write_f32(&w, "a.f32", 1.5f);
    gguf_write_bool(&w, "a.bool", 1);
    gguf_write_array(&w, "a.list", GGUF_I32, 3, list, sizeof list);
    gguf_write_strings(&w, "a.words", 3, words);
    gguf_write_tensor(&w, "vector", QUANT_F32, 1, (uint64_t[]){5}, NUMBERS, 20);
    gguf_write_tensor(&w, "matrix", QUANT_Q4_1, 2, (uint64_t[]){32, 3}, NUMBERS, 60);
    return gguf_writer_finish(&w);
}

static void what_was_written_is_read_back(void **state) {
    (void)state;
    file_bytes b = small_file();
    msa_error err;
    gguf_file *file;
    assert_ok(gguf_open_memory(&file, b.data, b.n, "small", &err), &err);
    assert_int_equal(gguf_value_count(file), 6);
    assert_int_equal(gguf_tensor_count(file), 2);
    assert_int_equal(gguf_file_bytes(file), b.n);
    assert_string_equal(gguf_name(file), "small");
    uint32_t u;
    float f;
    bool yes;
    gguf_string s;
    gguf_array a;
    assert_ok(gguf_get_string(file, "general.architecture", &s, &err), &err);
    assert_true(gguf_string_is(s, "llama") && !gguf_string_is(s, "llam"));
    assert_ok(gguf_get_u32(file, "a.u32", &u, &err), &err);
    assert_true(u == 4000000000u);
    assert_ok(gguf_get_f32(file, "a.f32", &f, &err), &err);
    assert_true(f == 1.5f);
    assert_ok(gguf_get_bool(file, "a.bool", &yes, &err), &err);
    assert_true(yes);
    assert_ok(gguf_get_array(file, "a.list", GGUF_I32, &a, &err), &err);
    int32_t first;
    memcpy(&first, a.data, 4);
    assert_true(a.n == 3 && first == -1);
    assert_ok(gguf_get_array(file, "a.words", GGUF_STRING, &a, &err), &err);
    const uint8_t *cursor = a.data;
    assert_true(gguf_string_is(gguf_string_next(&cursor), "one"));
    assert_true(gguf_string_is(gguf_string_next(&cursor), ""));
    assert_true(gguf_string_is(gguf_string_next(&cursor), "three"));
    const gguf_tensor *t = gguf_find_tensor(file, "vector");
    assert_true(t && t->n_dims == 1 && t->shape[0] == 5 && t->shape[1] == 1 && t->n_bytes == 20);
    assert_memory_equal(t->data, NUMBERS, 20);
    t = gguf_find_tensor(file, "matrix");
    assert_true(t && t->type == QUANT_Q4_1 && t->shape[1] == 3 && t->n_bytes == 60);
    assert_null(gguf_find_tensor(file, "matri"));
    assert_null(gguf_find(file, "a.u3"));
    gguf_close(file);
    free_bytes(&b);
}

static void a_missing_or_wrong_key_is_named(void **state) {
    (void)state;
    gguf_writer w = {0};
    gguf_write_f32(&w, "k.float", 1);
    gguf_write_f32(&w, "k.nan", NAN);
    gguf_write_string(&w, "k.text", "x");
    gguf_write_array(&w, "k.signed", GGUF_I16, 1, "\0\0", 2);
    gguf_write_bool(&w, "k.bool", 0);
    w.n_values += 3;
    put_string(&w.values, "k.big"), put_u32(&w.values, GGUF_U64);
    put_u64(&w.values, (uint64_t)1 << 32);
    put_string(&w.values, "k.negative"), put_u32(&w.values, GGUF_I64);
    put_u64(&w.values, (uint64_t)-7);
    put_string(&w.values, "k.least"), put_u32(&w.values, GGUF_I8);
    put_bytes(&w.values, "\x80", 1);
    file_bytes b = gguf_writer_finish(&w);
    gguf_file *file;
    msa_error err;
    uint32_t u;
    float f;
    bool yes;
    gguf_string s;
    gguf_array a;
    assert_ok(gguf_open_memory(&file, b.data, b.n, "keys", &err), &err);
    assert_fails(gguf_get_u32(file, "k.none", &u, &err), MSA_E_FORMAT, &err, "k.none");
    assert_fails(gguf_get_u32(file, "k.float", &u, &err), MSA_E_FORMAT, &err, "f32");
    assert_fails(gguf_get_u32(file, "k.big", &u, &err), MSA_E_FORMAT, &err, "4294967296");
    assert_fails(gguf_get_u32(file, "k.negative", &u, &err), MSA_E_FORMAT, &err, "-7");
    assert_fails(gguf_get_u32(file, "k.least", &u, &err), MSA_E_FORMAT, &err, "-128");
    assert_fails(gguf_get_u32_or(file, "k.text", 3, &u, &err), MSA_E_FORMAT, &err, "k.text");
    assert_fails(gguf_get_f32(file, "k.nan", &f, &err), MSA_E_FORMAT, &err, "finite");
    assert_fails(gguf_get_f32_or(file, "k.bool", 1, &f, &err), MSA_E_FORMAT, &err, "bool");
    assert_fails(gguf_get_bool(file, "k.text", &yes, &err), MSA_E_FORMAT, &err, "string");
    assert_fails(gguf_get_string(file, "k.bool", &s, &err), MSA_E_FORMAT, &err, "k.bool");
    assert_fails(gguf_get_array(file, "k.signed", GGUF_I32, &a, &err), MSA_E_FORMAT, &err,
                 "array of i16");
    assert_fails(gguf_get_array(file, "k.bool", GGUF_BOOL, &a, &err), MSA_E_FORMAT, &err,
                 "array of bool");
    assert_ok(gguf_get_u32_or(file, "k.none", 3, &u, &err), &err);
    assert_true(u == 3);
    assert_ok(gguf_get_f32_or(file, "k.none", 2.5f, &f, &err), &err);
    assert_true(f == 2.5f);
    assert_ok(gguf_get_bool_or(file, "k.none", true, &yes, &err), &err);
    assert_true(yes);
    gguf_close(file);
    free_bytes(&b);
}

static void version_2_is_read_and_others_refused(void **state) {
    (void)state;
    file_bytes b = small_file();
    msa_error err;
    b.data[4] = 2;
    assert_ok(try_open(&b, &err), &err);
    b.data[4] = 1;
    assert_fails(try_open(&b, &err), MSA_E_UNSUPPORTED, &err, "version 1");
    b.data[4] = 4;
    assert_fails(try_open(&b, &err), MSA_E_UNSUPPORTED, &err, "version 4");
    memcpy(b.data + 4, "\0\0\0\3", 4);
    assert_fails(try_open(&b, &err), MSA_E_UNSUPPORTED, &err, "big-endian");
    memcpy(b.data, "GGML", 4);
    assert_fails(try_open(&b, &err), MSA_E_FORMAT, &err, "'GGUF'");
    free_bytes(&b);
}

/* The last tensor ends the file, so no prefix of it is whole. */
static void every_truncation_is_refused(void **state) {
    (void)state;
    file_bytes b = small_file();
    for (size_t n = 0; n < b.n; n++) {
        file_bytes cut = {0};
        put_bytes(&cut, b.data, n);
        msa_error err = {0};
        assert_fails(try_open(&cut, &err), MSA_E_FORMAT, &err, "test.gguf");
        free_bytes(&cut);
    }
    free_bytes(&b);
}

/* Any byte may be anything: the reader must survive, and say something when it refuses. */
static void every_damaged_byte_is_survived(void **state) {
    (void)state;
    file_bytes b = small_file();
    const uint8_t values[] = {0x00, 0x01, 0x7f, 0x80, 0xff};
    for (size_t i = 0; i < b.n; i++)
        for (size_t v = 0; v < sizeof values; v++) {
            uint8_t kept = b.data[i];
            b.data[i] = values[v];
            msa_error err = {0};
            assert_true(try_open(&b, &err) == MSA_OK || strlen(err.text) > 20);
            b.data[i] = kept;
        }
    free_bytes(&b);
}

static void a_file_that_is_not_there_or_empty_is_an_error(void **state) {
    (void)state;
    msa_error err;
    gguf_file *file;
    assert_fails(gguf_open(&file, "/nonexistent/x.gguf", &err), MSA_E_IO, &err, "/nonexistent");
    assert_null(file);
    char path[] = "/tmp/test_gguf_XXXXXX";
    close(mkstemp(path));
    assert_fails(gguf_open(&file, path, &err), MSA_E_FORMAT, &err, path);
    gguf_writer w = {0};
    gguf_write_u32(&w, "k", 7);
    gguf_writer_save(&w, path);
    assert_ok(gguf_open(&file, path, &err), &err);
    assert_int_equal(gguf_value_count(file), 1);
    gguf_close(file);
    unlink(path);
}

/* ---- one file per class of published vulnerability ---- */

/* CVE-2024-21802, CVE-2024-23605: counts of keys and tensors that wrap when multiplied. */
static void counts_that_overflow_are_refused(void **state) {
    (void)state;
    const uint64_t counts[] = {UINT64_MAX, (uint64_t)1 << 60, (uint64_t)1 << 58, 1000};
    for (size_t i = 0; i < sizeof counts / sizeof *counts; i++) {
        file_bytes b = {0};
        put_header(&b, 0, counts[i]);
        put_bytes(&b, NUMBERS, sizeof NUMBERS);
        refuse(b, MSA_E_FORMAT, "keys");
        b = (file_bytes){0};
        put_header(&b, counts[i], 0);
        put_bytes(&b, NUMBERS, sizeof NUMBERS);
        refuse(b, MSA_E_FORMAT, "tensors");
    }
}

/* CVE-2024-21836 and siblings: lengths of strings, +1 of which is 0, or that run past the end. */
static void string_lengths_that_lie_are_refused(void **state) {
    (void)state;
    const uint64_t lengths[] = {UINT64_MAX, INT64_MAX, 1000, 65536};
    for (size_t i = 0; i < sizeof lengths / sizeof *lengths; i++) {
        file_bytes b = {0}; /* as a key */
        put_header(&b, 0, 1);
        put_u64(&b, lengths[i]);
        put_bytes(&b, NUMBERS, sizeof NUMBERS);
        refuse(b, MSA_E_FORMAT, "key");
        b = (file_bytes){0}; /* as a value */
        put_header(&b, 0, 1);
        put_string(&b, "k");
        put_u32(&b, GGUF_STRING);
        put_u64(&b, lengths[i]);
        put_bytes(&b, NUMBERS, sizeof NUMBERS);
        refuse(b, MSA_E_FORMAT, "string");
        b = (file_bytes){0}; /* as a tensor's name */
        put_header(&b, 1, 0);
        put_u64(&b, lengths[i]);
        put_bytes(&b, NUMBERS, sizeof NUMBERS);
        refuse(b, MSA_E_FORMAT, "name");
    }
    file_bytes b = {0};
    put_header(&b, 0, 1);
    put_string(&b, "");
    put_u32(&b, GGUF_U8);
    put_padding(&b, 64);
    refuse(b, MSA_E_FORMAT, "empty");
}

static file_bytes array_file(uint32_t element, uint64_t n) {
    file_bytes b = {0};
    put_header(&b, 0, 1);
    put_string(&b, "list");
    put_u32(&b, GGUF_ARRAY);
    put_u32(&b, element);
    put_u64(&b, n);
    put_bytes(&b, NUMBERS, sizeof NUMBERS);
    return b;
}

/* CVE-2024-25664..25668, CVE-2025-53630: arrays whose length times size wraps; types unknown. */
static void arrays_that_overflow_are_refused(void **state) {
    (void)state;
    for (uint32_t element = 0; element < GGUF_TYPE_COUNT; element++) {
        refuse(array_file(element, UINT64_MAX), MSA_E_FORMAT, "'list'");
        refuse(array_file(element, (uint64_t)1 << 61), MSA_E_FORMAT, "'list'");
        refuse(array_file(element, 300), MSA_E_FORMAT, "'list'");
    }
    refuse(array_file(GGUF_TYPE_COUNT, 1), MSA_E_FORMAT, "type 13");
    refuse(array_file(UINT32_MAX, 1), MSA_E_FORMAT, "type");
}

/* Arrays in arrays in arrays: recursion is bounded, long before the stack is. */
static void arrays_nested_without_end_are_refused(void **state) {
    (void)state;
    file_bytes b = {0};
    put_header(&b, 0, 1);
    put_string(&b, "list");
    for (int i = 0; i < 100000; i++) {
        put_u32(&b, GGUF_ARRAY);
        if (i) put_u64(&b, 1);
    }
    refuse(b, MSA_E_FORMAT, "deep");
}

/* A header claims a type for a key that its reader does not expect: the getters check. */
static void a_bool_is_0_or_1(void **state) {
    (void)state;
    file_bytes b = {0};
    put_header(&b, 0, 1);
    put_string(&b, "flag");
    put_u32(&b, GGUF_BOOL);
    put_bytes(&b, "\2", 1);
    refuse(b, MSA_E_FORMAT, "'flag'");
}

static file_bytes tensor_file(uint32_t n_dims, const uint64_t *shape, uint32_t type,
                              uint64_t offset, size_t n_data) {
    file_bytes b = {0};
    put_header(&b, 1, 0);
    put_string(&b, "weights");
    put_u32(&b, n_dims);
    for (uint32_t i = 0; i < n_dims && i < 8; i++) put_u64(&b, shape[i]);
    put_u32(&b, type);
    put_u64(&b, offset);
    put_padding(&b, 32);
    uint8_t *zeros = calloc(n_data + 1, 1);
    put_bytes(&b, zeros, n_data);
    free(zeros);
    return b;
}

/* CVE-2025-53630, CVE-2026-27940, CVE-2026-33298: shapes whose product wraps to something small. */
static void shapes_that_overflow_are_refused(void **state) {
    (void)state;
    const uint64_t shapes[][4] = {
        {(uint64_t)1 << 32, (uint64_t)1 << 32, 1, 1},
        {(uint64_t)1 << 62, 4, 1, 1},
        {(uint64_t)1 << 63, 2, 1, 1},
        {((uint64_t)1 << 62) + 8, 4, 1, 1}, /* 4 * this * 4 bytes wraps to 128 */
        {(uint64_t)1 << 16, (uint64_t)1 << 16, (uint64_t)1 << 16, (uint64_t)1 << 16},
        {UINT64_MAX - 31, 1, 1, 1},
    };
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++) {
        refuse(tensor_file(4, shapes[i], QUANT_F32, 0, 4096), MSA_E_FORMAT, "'weights'");
        refuse(tensor_file(4, shapes[i], QUANT_Q4_1, 0, 4096), MSA_E_FORMAT, "'weights'");
        refuse(tensor_file(4, shapes[i], QUANT_Q6_K, 0, 4096), MSA_E_FORMAT, "'weights'");
    }
}

/* Ranks of 0 and 2^32 - 1 (a table per dimension: gigabytes), dimensions of 0 (division). */
static void ranks_and_empty_dimensions_are_refused(void **state) {
    (void)state;
    const uint64_t shape[8] = {32, 1, 1, 1, 1, 1, 1, 1};
    refuse(tensor_file(0, shape, QUANT_F32, 0, 256), MSA_E_FORMAT, "dimensions");
    refuse(tensor_file(5, shape, QUANT_F32, 0, 256), MSA_E_FORMAT, "dimensions");
    refuse(tensor_file(UINT32_MAX, shape, QUANT_F32, 0, 256), MSA_E_FORMAT, "dimensions");
    refuse(tensor_file(2, (uint64_t[]){0, 32}, QUANT_F32, 0, 256), MSA_E_FORMAT, "size 0");
    refuse(tensor_file(2, (uint64_t[]){32, 0}, QUANT_Q8_0, 0, 256), MSA_E_FORMAT, "size 0");
}

/* CVE-2026-7482 ("Bleeding Llama"): tensor data outside the file would be read and handed on. */
static void tensors_outside_the_file_are_refused(void **state) {
    (void)state;
    const uint64_t shape[1] = {64};
    msa_error err;
    file_bytes fits = tensor_file(1, shape, QUANT_F32, 256, 512);
    assert_ok(try_open(&fits, &err), &err);
    free_bytes(&fits);
    refuse(tensor_file(1, shape, QUANT_F32, 256, 511), MSA_E_FORMAT, "truncated");
    refuse(tensor_file(1, shape, QUANT_F32, 0, 0), MSA_E_FORMAT, "truncated");
    refuse(tensor_file(1, shape, QUANT_F32, 512, 512), MSA_E_FORMAT, "truncated");
    refuse(tensor_file(1, shape, QUANT_F32, UINT64_MAX - 31, 512), MSA_E_FORMAT, "truncated");
    refuse(tensor_file(1, shape, QUANT_F32, (uint64_t)1 << 63, 512), MSA_E_FORMAT, "truncated");
    refuse(tensor_file(1, shape, QUANT_F32, 8, 512), MSA_E_FORMAT, "alignment");
}

static void rows_that_split_a_block_and_unknown_types_are_refused(void **state) {
    (void)state;
    refuse(tensor_file(1, (uint64_t[]){33}, QUANT_Q4_1, 0, 4096), MSA_E_FORMAT, "multiple of 32");
    refuse(tensor_file(1, (uint64_t[]){576}, QUANT_Q5_0, 0, 395), MSA_E_FORMAT, "truncated");
    const uint32_t k[] = {QUANT_Q4_K, QUANT_Q5_K, QUANT_Q6_K};
    for (size_t i = 0; i < sizeof k / sizeof *k; i++) {
        refuse(tensor_file(1, (uint64_t[]){576}, k[i], 0, 4096), MSA_E_FORMAT,
               "576 elements; expected a multiple of 256");
        size_t bytes = 3 * quant_row_bytes(k[i], 512);
        refuse(tensor_file(2, (uint64_t[]){512, 3}, k[i], 0, bytes - 1), MSA_E_FORMAT, "truncated");
        file_bytes fits = tensor_file(2, (uint64_t[]){512, 3}, k[i], 0, bytes);
        msa_error err;
        assert_ok(try_open(&fits, &err), &err);
        free_bytes(&fits);
    }
    const uint32_t types[] = {4, 5, 31, 33, 43, 1000, UINT32_MAX};
    for (size_t i = 0; i < sizeof types / sizeof *types; i++)
        refuse(tensor_file(1, (uint64_t[]){256}, types[i], 0, 4096), MSA_E_UNSUPPORTED, "type");
}

static file_bytes alignment_file(uint32_t type, uint64_t alignment, size_t n_bytes) {
    file_bytes b = {0};
    put_header(&b, 1, 1);
    put_string(&b, "general.alignment");
    put_u32(&b, type);
    put_bytes(&b, &alignment, n_bytes);
    put_string(&b, "weights");
    put_u32(&b, 1);
    put_u64(&b, 8);
    put_u32(&b, QUANT_F32);
    put_u64(&b, 0);
    put_padding(&b, 4096);
    put_bytes(&b, NUMBERS, sizeof NUMBERS);
    return b;
}

/* GGML_PAD with an alignment of 0 (division), not a power of two, or so large that it wraps. */
static void alignments_that_break_padding_are_refused(void **state) {
    (void)state;
    const uint32_t bad[] = {0, 1, 4, 24, 33, 131072, (uint32_t)1 << 31, UINT32_MAX};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        refuse(alignment_file(GGUF_U32, bad[i], 4), MSA_E_FORMAT, "general.alignment");
    refuse(alignment_file(GGUF_U64, (uint64_t)1 << 40, 8), MSA_E_FORMAT, "general.alignment");
    refuse(alignment_file(GGUF_F32, 0x42000000, 4), MSA_E_FORMAT, "general.alignment");
    msa_error err;
    file_bytes b = alignment_file(GGUF_U32, 4096, 4);
    assert_ok(try_open(&b, &err), &err);
    free_bytes(&b);
}

/* Two entries of one name: two readers see two files. */
static void duplicates_are_refused(void **state) {
    (void)state;
    gguf_writer w = {0};
    gguf_write_u32(&w, "twin", 1);
    gguf_write_u32(&w, "other", 1);
    gguf_write_string(&w, "twin", "x");
    refuse(gguf_writer_finish(&w), MSA_E_FORMAT, "key 'twin'");
    w = (gguf_writer){0};
    gguf_write_tensor(&w, "same", QUANT_F32, 1, (uint64_t[]){4}, NUMBERS, 16);
    gguf_write_tensor(&w, "same", QUANT_F32, 1, (uint64_t[]){8}, NUMBERS, 32);
    refuse(gguf_writer_finish(&w), MSA_E_FORMAT, "tensor 'same'");
}

/* Names from a file reach a terminal through messages: control characters must not. */
static void messages_hold_printable_characters_only(void **state) {
    (void)state;
    gguf_writer w = {0};
    gguf_write_u32(&w, "\x1b[31m\n\x80 evil", 1);
    gguf_write_u32(&w, "\x1b[31m\n\x80 evil", 1);
    file_bytes b = gguf_writer_finish(&w);
    msa_error err;
    assert_fails(try_open(&b, &err), MSA_E_FORMAT, &err, "evil");
    for (const char *p = err.text; *p; p++) assert_true(*p >= ' ' && *p <= '~');
    free_bytes(&b);
}

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SANITIZED 1
#elif defined(__has_feature)
#define SANITIZED (__has_feature(address_sanitizer) || __has_feature(thread_sanitizer))
#else
#define SANITIZED 0
#endif

/* None of the above may have cost much: this program stayed small, its libraries included. */
static void refusing_took_little_memory(void **state) {
    (void)state;
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    assert_true(SANITIZED || usage.ru_maxrss < 256 * 1024);
}

static void the_demo_model_opens(void **state) {
    (void)state;
    test_need_model();
    gguf_file *file;
    msa_error err;
    gguf_array tokens;
    assert_ok(gguf_open(&file, test_path(TEST_MODEL), &err), &err);
    assert_int_equal(gguf_tensor_count(file), 272);
    assert_int_equal(gguf_value_count(file), 33);
    assert_ok(gguf_get_array(file, "tokenizer.ggml.tokens", GGUF_STRING, &tokens, &err), &err);
    assert_int_equal(tokens.n, 49152);
    const uint8_t *cursor = tokens.data;
    assert_true(gguf_string_is(gguf_string_next(&cursor), "<|endoftext|>"));
    gguf_close(file);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_was_written_is_read_back),
        cmocka_unit_test(a_missing_or_wrong_key_is_named),
        cmocka_unit_test(version_2_is_read_and_others_refused),
        cmocka_unit_test(every_truncation_is_refused),
        cmocka_unit_test(every_damaged_byte_is_survived),
        cmocka_unit_test(a_file_that_is_not_there_or_empty_is_an_error),
        cmocka_unit_test(counts_that_overflow_are_refused),
        cmocka_unit_test(string_lengths_that_lie_are_refused),
        cmocka_unit_test(arrays_that_overflow_are_refused),
        cmocka_unit_test(arrays_nested_without_end_are_refused),
        cmocka_unit_test(a_bool_is_0_or_1),
        cmocka_unit_test(shapes_that_overflow_are_refused),
        cmocka_unit_test(ranks_and_empty_dimensions_are_refused),
        cmocka_unit_test(tensors_outside_the_file_are_refused),
        cmocka_unit_test(rows_that_split_a_block_and_unknown_types_are_refused),
        cmocka_unit_test(alignments_that_break_padding_are_refused),
        cmocka_unit_test(duplicates_are_refused),
        cmocka_unit_test(messages_hold_printable_characters_only),
        cmocka_unit_test(refusing_took_little_memory),
        cmocka_unit_test(the_demo_model_opens),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
