#!/bin/sh
# The model of weights/needle.gguf: MiniMax-M3's architecture with 0.7 million weights, every layer sparse, that finds
# a fact told anywhere in a long text. In three stages: to match one of several keys (examples/paper.json, every layer
# sparse), then facts in 2,048 tokens of real text (examples/needle.json), then in 8,192 (examples/needle-long.json).
# About fifty minutes on two cores; run again, it goes on.
set -eu
msa=${MSA:-build/msa}
text=$(ls -d /usr/share/vim/vim[0-9]*/doc | tail -n 1)
[ -f build/needle-keys/model.gguf ] || "$msa" train examples/paper.json --resume -s 1 -o build/needle-keys \
    --set data.text="$text" --set model.dense_layers=0 --set model.index.local=2 --set model.index.topk=16
[ -f build/needle/model.gguf ] || "$msa" train examples/needle.json --resume -s 1 --set data.text="$text"
"$msa" train examples/needle-long.json --resume -s 1 --set data.text="$text"
