#!/bin/bash
# The rules of the house that a script can check. Prints each breach as FILE:LINE: what, and fails
# if there was one.
set -euo pipefail
cd "$(dirname "$0")/.."
export LC_ALL=C.UTF-8
found=$(mktemp)
trap 'rm -f "$found"' EXIT
mapfile -t c_files < <(find include src tests -name '*.[ch]' | sort)
mapfile -t code < <(find include src tests tools bench -name '*.[ch]' -o -name '*.sh' \
    -o -name '*.py')

breach() { sed "s|\$|   <- $1|" >>"$found"; }

# Rooms, lowest first: a file includes from its own room or a lower one. attn and nn do not know
# kv, which lies above them.
rooms="base attn nn kv model engine train eval"
check_rooms() {
    local room allowed=""
    for room in $rooms; do
        allowed="$allowed|$room"
        [ -d "src/$room" ] || continue
        { grep -rnE '^ *# *include "' "src/$room" --include='*.[ch]' || true; } |
            { grep -vE "include \"(msa${allowed})/" || true; } |
            breach "$room may include from msa${allowed//|/, } only"
    done
    [ ! -d src/cli ] || { grep -rnE '^ *# *include "' src/cli --include='*.[ch]' || true; } |
        { grep -vE 'include "(msa|cli)/' || true; } | breach "cli sees the public headers only"
}

check_text() {
    grep -nE '.{101,}' "${code[@]}" | cut -c1-120 | breach "longer than 100 columns" || true
    grep -nP '\t' "${code[@]}" | breach "a tab" || true
    grep -nE ' +$' "${code[@]}" | breach "blanks at the end of the line" || true
    local file
    for file in "${c_files[@]}"; do
        head -1 "$file" | grep -qE '^(//|/\*) ?.{10,}' ||
            echo "$file:1:" | breach "must open with a line that says what it is"
        [ -z "$(tail -c1 "$file")" ] || echo "$file:" | breach "no newline at the end"
    done
}

# The library returns errors, prints nothing, does not look at the environment; intrinsics live in
# base/simd*.h.
check_library() {
    local library=()
    mapfile -t library < <(find src -name '*.[ch]' -not -path 'src/cli/*')
    local banned='exit|_exit|abort|assert|getenv|setenv|printf|puts|putchar|perror'
    grep -nE "(^|[^_[:alnum:].>])($banned)\\(" "${library[@]}" | breach "not in the library" || true
    grep -nE 'f(printf|puts|putc|write)\((stdout|stderr)|, *(stdout|stderr)\)' "${library[@]}" |
        breach "the library prints nothing" || true
    grep -nE 'immintrin\.h|arm_neon\.h|_mm[0-9]*_|__builtin_ia32' "${library[@]}" |
        { grep -v '^src/base/simd' || true; } | breach "intrinsics belong in base/simd*.h" || true
}

check_headers() {
    local header flags="-Wall -Wextra -Wpedantic -Werror -Iinclude -fsyntax-only"
    for header in include/msa/*.h; do
        # shellcheck disable=SC2086 # a list of flags
        {
            gcc -std=c17 $flags -x c "$header" 2>&1 | breach "is not C17 by itself" || true
            g++ -std=c++17 $flags -x c++ "$header" 2>&1 | breach "is not C++17 by itself" || true
        }
    done
    { grep -n '#include "' include/msa/*.h || true; } | { grep -v 'include "msa/' || true; } |
        breach "a public header includes public headers only"
}

check_format() {
    clang-format-14 --dry-run "${c_files[@]}" 2>&1 | { grep 'warning:' || true; } |
        breach "run clang-format-14 -i"
}

check_rooms
check_text
check_library
check_headers
check_format
if [ -s "$found" ]; then
    cat "$found"
    echo "lint: $(wc -l <"$found") breaches"
    exit 1
fi
echo "lint: ${#code[@]} files, no breach"
