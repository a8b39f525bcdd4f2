#!/bin/bash
# What `make bench` runs: our own two tables, then the rivals beside ours, each of which says first
# what it installs under build/rivals. (bench/vs_torch_train.py, a quarter of an hour of training,
# is run by itself.) One that fails (no network, say) does not keep the next away.
set -euo pipefail
cd "$(dirname "$0")/.."
tools/setup.sh bench

failed=""
run() { # run COMMAND...
    printf '\n== %s\n\n' "$*"
    "$@" || failed="$failed${failed:+, }$*"
}

run build/msa bench attn
run build/msa bench model -m models/SmolLM2-135M-Instruct.Q4_1.gguf -d 0,7680
for rival in vs_torch vs_llama vs_llama_m3; do
    run python3 -B bench/$rival.py
done
if [ -n "$failed" ]; then
    echo "bench: failed, see above: $failed" >&2
    exit 1
fi
