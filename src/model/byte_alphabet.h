/* byte_alphabet.h: GPT-2's way to write a byte as one visible character, used by every byte-level
 * vocabulary file. Printable ASCII and Latin-1 stand for themselves; the other 68 bytes, in order,
 * are U+0100 and up: a space is U+0120. */
#ifndef MSA_MODEL_BYTE_ALPHABET_H
#define MSA_MODEL_BYTE_ALPHABET_H

#include <stdint.h>

static inline uint32_t byte_alphabet_code(uint8_t byte) {
    if (byte <= 32) return 256u + byte;
    if (byte >= 127 && byte <= 160) return 289u + byte - 127u;
    return byte == 173 ? 323 : byte;
}

/* The byte a code point stands for, or -1. */
static inline int byte_alphabet_byte(uint32_t code) {
    if (code >= 256) {
        if (code <= 288) return (int)code - 256;
        if (code <= 322) return (int)code - 289 + 127;
        return code == 323 ? 173 : -1;
    }
    return byte_alphabet_code((uint8_t)code) == code ? (int)code : -1;
}

#endif
