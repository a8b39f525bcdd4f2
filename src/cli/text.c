/* text.c: see text.h. */
#include "cli/text.h"

#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/interrupt.h"

static const size_t TEXT_MAX = (size_t)1 << 30;

size_t text_character(const char *bytes, size_t n) {
    const uint8_t *b = (const uint8_t *)bytes;
    if (n == 0) return 0;
    if (b[0] < 0x80) return 1;
    size_t length = b[0] < 0xc2 ? 0 : b[0] < 0xe0 ? 2 : b[0] < 0xf0 ? 3 : b[0] < 0xf5 ? 4 : 0;
    if (length == 0 || n < length) return 0;
    for (size_t i = 1; i < length; i++)
        if ((b[i] & 0xc0) != 0x80) return 0;
    bool overlong = (b[0] == 0xe0 && b[1] < 0xa0) || (b[0] == 0xf0 && b[1] < 0x90);
    bool surrogate = b[0] == 0xed && b[1] >= 0xa0, beyond = b[0] == 0xf4 && b[1] >= 0x90;
    return overlong || surrogate || beyond ? 0 : length;
}

size_t text_columns(const char *bytes, size_t n) {
    size_t columns = 0;
    for (size_t i = 0; i < n; columns++) {
        size_t length = text_character(bytes + i, n - i);
        i += length ? length : 1;
    }
    return columns;
}

static msa_status read_stream(FILE *stream, const char *flag, const char *name, char **text,
                              size_t *n_bytes, msa_error *err) {
    size_t n = 0, capacity = 0;
    char *data = NULL;
    for (;;) {
        if (capacity - n < 2) {
            capacity = capacity ? 2 * capacity : 1 << 16;
            char *grown = realloc(data, capacity);
            if (!grown) return free(data), fail_memory(err, "reading the text");
            data = grown;
        }
        size_t got = fread(data + n, 1, capacity - n - 1, stream);
        n += got;
        if (n > TEXT_MAX)
            return free(data),
                   fail(err, MSA_E_ARG, "%s: %s holds more than 1 GiB of text", flag, name);
        if (got == 0) break;
    }
    if (interrupt_seen()) return free(data), fail(err, MSA_E_CANCELLED, "interrupted");
    if (ferror(stream))
        return free(data),
               fail(err, MSA_E_IO, "%s: cannot read %s: %s", flag, name, strerror(errno));
    data[n] = 0;
    *text = data, *n_bytes = n;
    return MSA_OK;
}

msa_status text_check(const char *flag, const char *text, size_t n_bytes, msa_error *err) {
    size_t line = 1;
    if (n_bytes == 0) return fail(err, MSA_E_ARG, "%s: the text is empty", flag);
    for (size_t i = 0; i < n_bytes;) {
        size_t length = text_character(text + i, n_bytes - i);
        if (text[i] == 0)
            return fail(err, MSA_E_FORMAT,
                        "%s: expected text, found a zero byte at byte %zu "
                        "(line %zu): is this a text file?",
                        flag, i, line);
        if (length == 0)
            return fail(err, MSA_E_FORMAT,
                        "%s: expected UTF-8, found byte 0x%02x at byte %zu "
                        "(line %zu); convert the text first, for example with "
                        "iconv -f LATIN1 -t UTF-8",
                        flag, (unsigned)(unsigned char)text[i], i, line);
        line += text[i] == '\n';
        i += length;
    }
    return MSA_OK;
}

msa_status text_read(const char *flag, const char *path, char **text, size_t *n_bytes,
                     msa_error *err) {
    char where[256];
    bool standard = strcmp(path, "-") == 0;
    const char *name = standard ? "standard input" : path;
    FILE *stream = standard ? stdin : fopen(path, "rb");
    *text = NULL, *n_bytes = 0;
    if (!stream)
        return fail(err, MSA_E_IO, "%s: cannot open '%s': %s", flag, path, strerror(errno));
    msa_status status = read_stream(stream, flag, name, text, n_bytes, err);
    if (!standard) fclose(stream);
    if (status != MSA_OK) return status;
    snprintf(where, sizeof where, "%s %s", flag, name);
    status = text_check(where, *text, *n_bytes, err);
    if (status != MSA_OK) free(*text), *text = NULL;
    return status;
}
