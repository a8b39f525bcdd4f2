/* utf8.c: see utf8.h. */
#include "base/utf8.h"

#include <stdio.h>
#include <string.h>

/* Second bytes that may follow a first byte: E0, ED, F0 and F4 narrow them (overlong forms,
 * surrogates, beyond U+10FFFF). Length 0: no character starts so. */
static size_t start_of(uint8_t first, uint8_t *low, uint8_t *high) {
    *low = first == 0xe0 ? 0xa0 : first == 0xf0 ? 0x90 : 0x80;
    *high = first == 0xed ? 0x9f : first == 0xf4 ? 0x8f : 0xbf;
    if (first < 0x80) return 1;
    if (first < 0xc2 || first > 0xf4) return 0;
    return first < 0xe0 ? 2 : first < 0xf0 ? 3 : 4;
}

/* How many bytes at `text` begin a valid character: all of them when `*length` is reached. */
static size_t follow(const uint8_t *text, size_t n, size_t *length) {
    uint8_t low, high;
    *length = start_of(text[0], &low, &high);
    if (*length == 0) return 0;
    size_t i = 1;
    while (i < *length && i < n && text[i] >= low && text[i] <= high) {
        low = 0x80, high = 0xbf;
        i++;
    }
    return i;
}

size_t utf8_decode(const char *text, size_t n, uint32_t *code) {
    if (n == 0) return 0;
    const uint8_t *s = (const uint8_t *)text;
    size_t length, have = follow(s, n, &length);
    if (length == 0 || have < length) return 0;
    if (code) {
        static const uint8_t payload[] = {0, 0x7f, 0x1f, 0x0f, 0x07};
        uint32_t c = s[0] & payload[length];
        for (size_t i = 1; i < length; i++) c = c << 6 | (s[i] & 0x3f);
        *code = c;
    }
    return length;
}

size_t utf8_encode(uint32_t code, char out[4]) {
    if (code < 0x80) {
        out[0] = (char)code;
        return 1;
    }
    size_t n = code < 0x800 ? 2 : code < 0x10000 ? 3 : 4;
    static const uint8_t lead[] = {0, 0, 0xc0, 0xe0, 0xf0};
    for (size_t i = n - 1; i > 0; i--) {
        out[i] = (char)(0x80 | (code & 0x3f));
        code >>= 6;
    }
    out[0] = (char)(lead[n] | code);
    return n;
}

size_t utf8_valid_prefix(const char *text, size_t n) {
    size_t i = 0;
    while (i < n) {
        uint64_t eight;
        if (i + 8 <= n && (memcpy(&eight, text + i, 8), (eight & 0x8080808080808080u) == 0)) {
            i += 8;
            continue;
        }
        size_t length = utf8_decode(text + i, n - i, NULL);
        if (length == 0) break;
        i += length;
    }
    return i;
}

size_t utf8_unfinished_tail(const char *text, size_t n) {
    for (size_t back = 1; back <= 3 && back <= n; back++) {
        const uint8_t *s = (const uint8_t *)text + n - back;
        if ((s[0] & 0xc0) == 0x80) continue;
        size_t length, have = follow(s, back, &length);
        return length > back && have == back ? back : 0;
    }
    return 0;
}

bool utf8_is_space(uint32_t c) {
    if (c <= 0x20) return c == 0x20 || (c >= 0x09 && c <= 0x0d) || (c >= 0x1c && c <= 0x1f);
    if (c < 0x1680) return c == 0x85 || c == 0xa0;
    return c == 0x1680 || (c >= 0x2000 && c <= 0x200a) || c == 0x2028 || c == 0x2029 ||
           c == 0x202f || c == 0x205f || c == 0x3000;
}

void utf8_strip(const char **text, size_t *n) {
    uint32_t code;
    size_t length;
    while ((length = utf8_decode(*text, *n, &code)) != 0 && utf8_is_space(code))
        *text += length, *n -= length;
    while (*n) {
        size_t back = 1;
        while (back < 4 && back < *n && ((uint8_t)(*text)[*n - back] & 0xc0) == 0x80) back++;
        if (utf8_decode(*text + *n - back, back, &code) != back || !utf8_is_space(code)) return;
        *n -= back;
    }
}

const char *utf8_quote(char *out, size_t size, const char *text, size_t n) {
    size_t used = 0;
    for (size_t i = 0; i < n;) {
        char piece[8];
        uint32_t code = 0;
        size_t length = utf8_decode(text + i, n - i, &code), m;
        if (length && code >= 0x20 && code != 0x7f && (code < 0x80 || code > 0x9f)) {
            memcpy(piece, text + i, m = length);
        } else if (length && code == '\n') {
            memcpy(piece, "\\n", m = 2);
        } else {
            m = (size_t)snprintf(piece, sizeof piece, "\\x%02x", (uint8_t)text[i]);
            length = 1;
        }
        bool last = i + length >= n;
        if (used + m + (last ? 1 : 4) > size) {
            if (used + 4 <= size) memcpy(out + used, "...", 3), used += 3;
            break;
        }
        memcpy(out + used, piece, m);
        used += m;
        i += length;
    }
    if (size) out[used < size ? used : size - 1] = 0;
    return out;
}
