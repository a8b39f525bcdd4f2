#!/bin/bash
# tools/arm64-sysroot.sh DIR: unpacks the 64-bit Arm libraries the tests link into DIR. They come
# as Debian packages, with apt's own settings for mirrors and proxies, into lists of their own:
# nothing is installed, and the architectures of this machine stay as they are.
set -euo pipefail
dir=$1
packages="libcmocka-dev libcmocka0 libjansson-dev libjansson4 libpcre2-dev libpcre2-8-0
    libopenblas-openmp-dev libopenblas0-openmp libgfortran5"
if [ -e "$dir/complete" ]; then exit 0; fi

echo "fetching Arm packages to link the tests with (9 MB, unpacked only):" $packages
rm -rf "$dir"
mkdir -p "$dir/apt/lists/partial" "$dir/apt/cache/archives/partial" "$dir/debs"
dir=$(cd "$dir" && pwd)
# shellcheck source=/dev/null
. /etc/os-release
case $ID in
debian) echo "deb http://deb.debian.org/debian $VERSION_CODENAME main" ;;
ubuntu) echo "deb http://ports.ubuntu.com/ubuntu-ports $VERSION_CODENAME main universe" ;;
*)
    echo "no Arm packages known for '$ID'; leave these tests out with ctest -E arm64" >&2
    exit 1
    ;;
esac >"$dir/apt/sources.list"
: >"$dir/apt/status"
settings=(-q -o APT::Architecture=arm64 -o APT::Architectures::=arm64 -o Dir::State="$dir/apt"
    -o Dir::State::status="$dir/apt/status" -o Dir::State::Lists="$dir/apt/lists"
    -o Dir::Cache="$dir/apt/cache" -o Dir::Etc::SourceList="$dir/apt/sources.list"
    -o Dir::Etc::SourceParts=- -o Acquire::Languages=none -o APT::Sandbox::User=root)
apt-get "${settings[@]}" update
# shellcheck disable=SC2086 # a list of words
(cd "$dir/debs" && apt-get "${settings[@]}" download $packages)
for deb in "$dir"/debs/*.deb; do dpkg-deb -x "$deb" "$dir"; done
rm -rf "$dir/apt" "$dir/debs"
touch "$dir/complete"
