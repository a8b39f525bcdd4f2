#!/bin/bash
# What `make demo` shows: a language model answers from a long real text, with MiniMax Sparse
# Attention and, beside it, with dense attention: the same prompt, the same tokens.
#
#   tools/demo.sh [FILE QUESTION]
#
# The text is the Mozilla Public License 2.0: real prose of 3,700 tokens that every Debian and
# Ubuntu has in /usr/share/common-licenses, seven times what MSA lets a query read, with a question
# that a model of 135 million parameters can answer: the answer stands in section 10.1.
set -euo pipefail
cd "$(dirname "$0")/.."
tools/setup.sh demo

msa=build/msa
model=models/SmolLM2-135M-Instruct.Q4_1.gguf
text=${1:-/usr/share/common-licenses/MPL-2.0}
question=${2:-Who is the license steward?}
out=build/demo
if [ ! -r "$text" ]; then
    echo "demo: $text is not there. Give a text of your own: tools/demo.sh FILE QUESTION" >&2
    exit 1
fi
mkdir -p $out

title() { printf '\n== %s\n\n' "$*"; }

# value FILE SECTION KEY: a number of the JSON that msa run prints, which sets one key a line.
value() {
    awk -v section="\"$2\":" -v key="\"$3\":" '
        $1 == section { inside = 1 }
        inside && $1 == key { sub(/,$/, "", $2); print $2; exit }' "$1"
}

# The escapes of JSON are those of %b but for \", which becomes a number first.
answer() {
    printf '%b' "$(sed -n '/^  "text": "/ { s///; s/",\{0,1\}$//; s/\\"/\\x22/g; p }' "$1")"
}

row() { # row TITLE FORMAT SECTION KEY
    local dense sparse
    dense=$(value $out/dense.json "$3" "$4")
    sparse=$(value $out/msa.json "$3" "$4")
    printf "| %-28s | %10.${2}f | %10.${2}f |\n" "$1" "$dense" "$sparse"
}

title "This machine and this model"
$msa info -m $model

title "The text: $text, $(wc -w <"$text") words. The question: $question"
for attn in dense msa; do
    $msa run -m $model -f "$text" -p "$question" -n 60 --temp 0 --attn $attn --json >$out/$attn.json
done
echo
echo "Dense: $(answer $out/dense.json)"
echo "MSA:   $(answer $out/msa.json)"
echo
echo "|                              |      dense |        MSA |"
echo "| ---------------------------- | ---------: | ---------: |"
row "prefill, tokens/s" 1 prefill tokens_per_s
row "decode, tokens/s" 1 decode tokens_per_s
row "keys read per decoded token" 0 decode keys_per_query
row "attention's share, prefill" 2 prefill attention_share
row "attention's share, decode" 2 decode attention_share

title "How well both predict the text, by position (lower is better; NLL is nats per token)"
$msa eval ppl -m $model -f "$text" --ranges 4

title "Which blocks each query read: open the picture"
$msa map -m $model -f "$text" -o $out/map.png
