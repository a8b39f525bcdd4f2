#!/bin/bash
# Builds the release: build/msa, build/libmsa.a, build/libmsa.so. The tests, which need more
# packages, are added by tools/test.sh.
set -euo pipefail
cd "$(dirname "$0")/.."
tools/setup.sh build
[ -f build/build.ninja ] || cmake --preset release -DMSA_BUILD_TESTS=OFF
cmake --build build
