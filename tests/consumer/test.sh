#!/bin/bash
# tests/consumer/test.sh BUILD WORK: installs BUILD under WORK/prefix and builds a stranger's
# program against it, through find_package and pkg-config, as C and C++, shared and static.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
build=$1 work=$2
rm -rf "$work"
mkdir -p "$work" && work=$(cd "$work" && pwd)
cmake --install "$build" --prefix "$work/prefix" >/dev/null
prefix=$work/prefix

echo "== find_package"
cmake -S "$here" -B "$work/cmake" -G Ninja -DCMAKE_PREFIX_PATH="$prefix" >/dev/null
cmake --build "$work/cmake"
ctest --test-dir "$work/cmake" --output-on-failure

echo "== pkg-config"
libdir=$(dirname "$(find "$prefix" -name msa.pc)")
export PKG_CONFIG_PATH=$libdir:${PKG_CONFIG_PATH:-}
flags="-Wall -Wextra -Wpedantic -Werror"
shared=$(pkg-config --cflags --libs msa)
static=$(pkg-config --static --cflags --libs msa | sed 's/-lmsa/-l:libmsa.a/')
# shellcheck disable=SC2086 # lists of flags
{
    gcc -std=c17 $flags "$here/use_msa.c" -o "$work/c_shared" $shared -lm
    gcc -std=c17 $flags "$here/use_msa.c" -o "$work/c_static" $static
    g++ -std=c++17 $flags -x c++ "$here/use_msa.c" -x none -o "$work/cpp_shared" $shared
}
for program in c_shared c_static cpp_shared; do
    LD_LIBRARY_PATH=$(dirname "$libdir") "$work/$program"
done
! ldd "$work/c_static" | grep -q libmsa || { echo "c_static needs libmsa.so"; exit 1; }
[ ! -x "$build/msa" ] || "$prefix/bin/msa" --help >/dev/null
[ -z "$(find "$prefix" -name '*.h' -path '*base*')" ] || {
    echo "private headers were installed"
    exit 1
}
