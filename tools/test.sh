#!/bin/bash
# Every check there is, in one CTest run: the tests as built for use, under sanitizers, with Clang,
# on an old x86 and on Arm by emulation, the lint, the fuzz corpora, and projects that use the
# installed library (tests/ci). What it needs is installed first. Arguments go to CTest:
#
#   tools/test.sh -R '^asan'      tools/test.sh -E '^(asan|tsan|arm64|nehalem)'
set -euo pipefail
cd "$(dirname "$0")/.."
tools/setup.sh test
cmake --preset release -DMSA_TEST_ALL=ON -DMSA_BUILD_TESTS=ON
cmake --build build
exec ctest --test-dir build -j 2 --output-on-failure --timeout 1800 "$@"
