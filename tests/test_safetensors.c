/* test_safetensors.c: what the reader takes and what it refuses, what the writer writes, also where
 * disk or memory run out. */
#include "support/support.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "model/safetensors.h"
#include "model/safetensors_out.h"
#include "nn/quant.h"
#include "support/folder.h"
#include "support/scarce.h"

/* ---- files that are refused ---- */

typedef struct bad_file {
    const char *why;    /* the message must hold it */
    const char *header; /* '|' stands for a quote */
    size_t n_data;
} bad_file;

static const bad_file BAD[] = {
    {"begin with '{'", "[]", 0},
    {"the header", "{|a|: }", 0},
    {"the header", "{|a|:{|dtype|:|F32|,|shape|:[1],|data_offsets|:[0,4]}", 4},
    {"duplicate",
     "{|a|:{|dtype|:|F32|,|shape|:[1],|data_offsets|:[0,4]},"
     "|a|:{|dtype|:|F32|,|shape|:[1],|data_offsets|:[4,8]}}",
     8},
    {"'a' is described by no object", "{|a|: 3}", 0},
    {"'a' has no \"dtype\"", "{|a|:{|shape|:[1],|data_offsets|:[0,4]}}", 4},
    {"'a' has dtype 'F33'", "{|a|:{|dtype|:|F33|,|shape|:[1],|data_offsets|:[0,4]}}", 4},
    {"'a' has a shape", "{|a|:{|dtype|:|F32|,|data_offsets|:[0,4]}}", 4},
    {"'a' has a shape", "{|a|:{|dtype|:|F32|,|shape|:[-1],|data_offsets|:[0,4]}}", 4},
    {"'a' has a shape", "{|a|:{|dtype|:|F32|,|shape|:[1.0],|data_offsets|:[0,4]}}", 4},
    {"'a' has a shape of 9",
     "{|a|:{|dtype|:|F32|,|shape|:[1,1,1,1,1,1,1,1,1],|data_offsets|:[0,4]}}", 4},
    {"more elements than 63 bits",
     "{|a|:{|dtype|:|F32|,|shape|:[4294967296,4294967296],|data_offsets|:[0,0]}}", 0},
    {"no number of bytes",
     "{|a|:{|dtype|:|F32|,|shape|:[4611686018427387904],|data_offsets|:[0,0]}}", 0},
    {"the header", "{|a|:{|dtype|:|F32|,|shape|:[18446744073709551617],|data_offsets|:[0,4]}}", 4},
    {"no number of bytes", "{|a|:{|dtype|:|F4|,|shape|:[3],|data_offsets|:[0,1]}}", 1},
    {"'a' has no \"data_offsets\"", "{|a|:{|dtype|:|F32|,|shape|:[1]}}", 4},
    {"'a' has no \"data_offsets\"", "{|a|:{|dtype|:|F32|,|shape|:[1],|data_offsets|:[4,0]}}", 4},
    {"'a' has no \"data_offsets\"", "{|a|:{|dtype|:|F32|,|shape|:[1],|data_offsets|:[-4,0]}}", 4},
    {"'a' ends at 8", "{|a|:{|dtype|:|F32|,|shape|:[2],|data_offsets|:[0,8]}}", 4},
    {"'a' ends at 9223372036854775807",
     "{|a|:{|dtype|:|F32|,|shape|:[2],|data_offsets|:[0,9223372036854775807]}}", 4},
    {"'a' has 8 bytes between", "{|a|:{|dtype|:|F32|,|shape|:[1],|data_offsets|:[0,8]}}", 8},
    {"'b' begins at 4 of the data, but what precedes it ends at 8: they overlap",
     "{|a|:{|dtype|:|F32|,|shape|:[2],|data_offsets|:[0,8]},"
     "|b|:{|dtype|:|F32|,|shape|:[1],|data_offsets|:[4,8]}}",
     8},
    {"'b' begins at 8 of the data, but what precedes it ends at 4: there is a hole",
     "{|a|:{|dtype|:|F32|,|shape|:[1],|data_offsets|:[0,4]},"
     "|b|:{|dtype|:|F32|,|shape|:[1],|data_offsets|:[8,12]}}",
     12},
    {"'a' begins at 4", "{|a|:{|dtype|:|F32|,|shape|:[1],|data_offsets|:[4,8]}}", 8},
    {"the tensors end at 4", "{|a|:{|dtype|:|F32|,|shape|:[1],|data_offsets|:[0,4]}}", 5},
    {"__metadata__", "{|__metadata__|:{|format|:1}}", 0},
    {"__metadata__", "{|__metadata__|:[]}", 0},
};

static uint8_t *make_file(const char *header, size_t n_data, size_t *n_bytes) {
    size_t n = strlen(header);
    *n_bytes = 8 + n + n_data;
    uint8_t *file = malloc(*n_bytes);
    uint64_t length = n;
    memcpy(file, &length, 8);
    for (size_t i = 0; i < n; i++) file[8 + i] = (uint8_t)(header[i] == '|' ? '"' : header[i]);
    for (size_t i = 0; i < n_data; i++) file[8 + n + i] = (uint8_t)i;
    return file;
}

static void files_that_contradict_themselves_are_refused(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof BAD / sizeof *BAD; i++) {
        size_t n;
        uint8_t *file = make_file(BAD[i].header, BAD[i].n_data, &n);
        safetensors *s;
        msa_error err;
        msa_status status = safetensors_open_memory(&s, file, n, "the test's", &err);
        free(file);
        assert_null(s);
        if (status != MSA_E_FORMAT && status != MSA_E_UNSUPPORTED)
            fail_msg("accepted: %s", BAD[i].header);
        if (!strstr(err.text, BAD[i].why) || !strstr(err.text, "the test's"))
            fail_msg("%s\nsays: %s", BAD[i].header, err.text);
    }
}

static void a_header_beyond_the_file_is_refused(void **state) {
    (void)state;
    static const uint64_t lengths[] = {3,          100,           100000001, (uint64_t)1 << 40,
                                       UINT64_MAX, UINT64_MAX - 7};
    for (size_t i = 0; i < sizeof lengths / sizeof *lengths; i++) {
        uint8_t file[10] = {0};
        memcpy(file, &lengths[i], 8);
        memcpy(file + 8, "{}", 2);
        safetensors *s;
        msa_error err;
        assert_fails(safetensors_open_memory(&s, file, 10, "x", &err), MSA_E_FORMAT, &err, "claim");
    }
    for (size_t n = 0; n < 10; n++) {
        uint8_t file[10] = {2};
        memcpy(file + 8, "{}", 2);
        safetensors *s;
        msa_error err;
        assert_int_equal(safetensors_open_memory(&s, file, n, "x", &err), MSA_E_FORMAT);
    }
}

static void deep_nesting_is_refused(void **state) {
    (void)state;
    enum { DEPTH = 200000 };
    char *header = malloc(DEPTH + 16);
    strcpy(header, "{|a|:");
    memset(header + 5, '[', DEPTH);
    header[5 + DEPTH] = 0;
    size_t n;
    uint8_t *file = make_file(header, 0, &n);
    safetensors *s;
    msa_error err;
    assert_fails(safetensors_open_memory(&s, file, n, "x", &err), MSA_E_FORMAT, &err, "depth");
    free(file);
    free(header);
}

/* ---- files that are taken ---- */

static void every_dtype_is_known_by_size(void **state) {
    (void)state;
    size_t n;
    uint8_t *file = make_file("{|c|:{|dtype|:|BF16|,|shape|:[1,3],|data_offsets|:[0,6]},"
                              "|a|:{|dtype|:|I64|,|shape|:[],|data_offsets|:[6,14]},"
                              "|b|:{|dtype|:|F4|,|shape|:[4],|data_offsets|:[14,16]},"
                              "|nothing|:{|dtype|:|F32|,|shape|:[0,5],|data_offsets|:[6,6]},"
                              "|__metadata__|:{|format|:|pt|}}   ",
                              16, &n);
    safetensors *s;
    msa_error err;
    assert_ok(safetensors_open_memory(&s, file, n, "x", &err), &err);
    assert_int_equal(safetensors_count(s), 4);
    assert_string_equal(safetensors_at(s, 0)->name, "a");
    assert_int_equal(safetensors_at(s, 0)->n_dims, 0);
    const safetensors_tensor *t = safetensors_find(s, "c");
    char text[32];
    assert_int_equal(t->type, QUANT_BF16);
    assert_string_equal(t->dtype, "BF16");
    assert_string_equal(safetensors_shape_text(t, text, sizeof text), "[1, 3]");
    assert_memory_equal(t->data, file + n - 16, 6);
    assert_int_equal(safetensors_find(s, "b")->type, QUANT_TYPE_COUNT);
    assert_int_equal(safetensors_find(s, "nothing")->n_bytes, 0);
    assert_null(safetensors_find(s, "d"));
    safetensors_close(s);
    free(file);
}

/* ---- writing ---- */

enum { N_TENSORS = 5 };
static const uint32_t TYPES[N_TENSORS] = {QUANT_F32, QUANT_F32, QUANT_BF16, QUANT_F16, QUANT_BF16};
static const uint64_t SHAPES[N_TENSORS][3] = {
    {4, 3, 1}, {7, 1, 1}, {3, 5, 2}, {2, 2, 1}, {1, 1, 1}};
static const int DIMS[N_TENSORS] = {2, 1, 3, 2, 1};

static size_t bytes_of(int i) {
    size_t n = TYPES[i] == QUANT_F32 ? 4 : 2;
    for (int d = 0; d < DIMS[i]; d++) n *= SHAPES[i][d];
    return n;
}

static msa_status write_all(const char *folder, uint64_t max_bytes, msa_error *err) {
    file_out_set set = {0};
    safetensors_out *s;
    msa_status status = safetensors_out_create(&s, &set, folder, max_bytes, err);
    for (int i = 0; i < N_TENSORS && !status; i++) {
        char name[16];
        snprintf(name, sizeof name, "t%d", i);
        safetensors_out_tensor(s, name, TYPES[i], DIMS[i], SHAPES[i]);
    }
    if (!status) status = safetensors_out_begin_data(s, err);
    for (int i = 0; i < N_TENSORS && !status; i++) {
        uint8_t data[256];
        memset(data, 'a' + i, sizeof data);
        status = safetensors_out_data(s, data, bytes_of(i), err);
    }
    if (!status) status = safetensors_out_finish(s, err);
    if (!status) status = file_out_set_publish(&set, err);
    if (!status) safetensors_out_clear(s);
    safetensors_out_free(s);
    file_out_set_free(&set);
    return status;
}

static void check_all(const char *path) {
    safetensors *s;
    msa_error err;
    assert_ok(safetensors_open(&s, path, &err), &err);
    assert_int_equal(safetensors_count(s), N_TENSORS);
    for (int i = 0; i < N_TENSORS; i++) {
        const safetensors_tensor *t = safetensors_at(s, (size_t)i);
        assert_int_equal(t->type, TYPES[i]);
        assert_int_equal(t->n_dims, DIMS[i]);
        assert_int_equal(t->n_bytes, bytes_of(i));
        for (int d = 0; d < DIMS[i]; d++) assert_int_equal(t->shape[d], SHAPES[i][d]);
        for (size_t b = 0; b < t->n_bytes; b++) assert_int_equal(t->data[b], 'a' + i);
    }
    safetensors_close(s);
}

static void what_is_written_is_read_in_one_file_and_in_several(void **state) {
    const char *folder = *state;
    static const uint64_t limits[] = {0, 1, 50, 76, 77, 1000};
    static const int shards[] = {1, 5, 4, 2, 2, 1};
    for (size_t i = 0; i < sizeof limits / sizeof *limits; i++) {
        msa_error err;
        assert_ok(write_all(folder, limits[i], &err), &err);
        bool several = shards[i] > 1;
        check_all(
            folder_path(folder, several ? "model.safetensors.index.json" : "model.safetensors"));
        assert_int_equal(access(folder_path(folder, several ? "model.safetensors"
                                                            : "model.safetensors.index.json"),
                                F_OK),
                         -1);
        char last[64];
        snprintf(last, sizeof last, "model-%05d-of-%05d.safetensors", shards[i], shards[i]);
        assert_int_equal(access(folder_path(folder, last), F_OK), several ? 0 : -1);
    }
}

static void an_index_that_lies_is_refused(void **state) {
    const char *folder = *state, *name = folder_path(folder, "model.safetensors.index.json");
    msa_error err;
    safetensors *s;
    assert_ok(write_all(folder, 64, &err), &err); /* t0, t1, t2, t3 and t4 */
    static const struct {
        const char *why, *text;
    } lies[] = {
        {"weight_map", "{}"},
        {"weight_map", "{\"weight_map\": {}}"},
        {"the index", "{\"weight_map\": "},
        {"of its own folder", "{\"weight_map\": {\"t0\": \"../model.safetensors\"}}"},
        {"of its own folder", "{\"weight_map\": {\"t0\": \"/etc/passwd\"}}"},
        {"of its own folder", "{\"weight_map\": {\"t0\": 7}}"},
        {"can't open", "{\"weight_map\": {\"t0\": \"nowhere.safetensors\"}}"},
        {"'t1' into 'model-00001-of-00004.safetensors'; no file has it",
         "{\"weight_map\": {\"t0\": \"model-00001-of-00004.safetensors\", "
         "\"t1\": \"model-00001-of-00004.safetensors\"}}"},
        {"'t3' is in a file but not in the index",
         "{\"weight_map\": {\"t2\": \"model-00003-of-00004.safetensors\", "
         "\"t4\": \"model-00004-of-00004.safetensors\"}}"},
        {"it is in another file", "{\"weight_map\": {\"t1\": \"model-00001-of-00004.safetensors\", "
                                  "\"t0\": \"model-00002-of-00004.safetensors\"}}"},
    };
    for (size_t i = 0; i < sizeof lies / sizeof *lies; i++) {
        write_text(name, lies[i].text);
        msa_status status = safetensors_open(&s, name, &err);
        assert_int_not_equal(status, MSA_OK);
        if (!strstr(err.text, lies[i].why)) fail_msg("%s\nsays: %s", lies[i].text, err.text);
    }
}

static void a_full_disk_leaves_what_was_there(void **state) {
    const char *folder = *state;
    msa_error err;
    assert_ok(write_all(folder, 0, &err), &err);
    disk_fill(100);
    msa_status status = write_all(folder, 0, &err);
    disk_clear();
    assert_fails(status, MSA_E_IO, &err, "model.safetensors");
    check_all(folder_path(folder, "model.safetensors"));
    assert_int_equal(folder_entries(folder), 1);
    assert_fails(write_all("/nowhere/at/all", 0, &err), MSA_E_IO, &err, "/nowhere/at/all");
}

static void memory_that_runs_out_is_a_clean_error(void **state) {
    const char *folder = *state;
    bool failed = true;
    for (long i = 0; failed; i++) {
        msa_error err;
        safetensors *s = NULL;
        long before = scarce_live();
        scarce_begin(i);
        msa_status status = write_all(folder, 50, &err);
        if (!status)
            status =
                safetensors_open(&s, folder_path(folder, "model.safetensors.index.json"), &err);
        safetensors_close(s);
        failed = scarce_end();
        if (failed && status != MSA_E_NOMEM && status != MSA_E_IO)
            fail_msg("allocation %ld: %s", i, msa_status_name(status));
        if (!failed) assert_ok(status, &err);
        assert_int_equal(scarce_live(), before);
    }
    assert_int_equal(folder_entries(folder), 5);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(files_that_contradict_themselves_are_refused),
        cmocka_unit_test(a_header_beyond_the_file_is_refused),
        cmocka_unit_test(deep_nesting_is_refused),
        cmocka_unit_test(every_dtype_is_known_by_size),
        cmocka_unit_test_setup_teardown(what_is_written_is_read_in_one_file_and_in_several,
                                        folder_create, folder_remove),
        cmocka_unit_test_setup_teardown(an_index_that_lies_is_refused, folder_create,
                                        folder_remove),
        cmocka_unit_test_setup_teardown(a_full_disk_leaves_what_was_there, folder_create,
                                        folder_remove),
        cmocka_unit_test_setup_teardown(memory_that_runs_out_is_a_clean_error, folder_create,
                                        folder_remove),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
