#!/bin/bash
# Builds the release: build/msa, build/libmsa.a, build/libmsa.so.
set -euo pipefail
cd "$(dirname "$0")/.."
tools/setup.sh build
[ -f build/build.ninja ] || cmake --preset release
cmake --build build
