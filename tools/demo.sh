#!/bin/bash
# What `make demo` shows, on two models.
#
#   tools/demo.sh [FILE QUESTION]
#
# SmolLM2-135M-Instruct, which the set-up fetches, answers from a long real text three ways, over
# the same prompt and the same tokens: with dense attention; with MiniMax Sparse Attention and
# nothing trained for it (the proxy compares queries with every key of their group); and with MSA
# and the index branch that was trained for this model, weights/smollm2-135m-index.gguf. The text is
# the Mozilla Public License 2.0: real prose of 3,700 tokens that every Debian and Ubuntu has in
# /usr/share/common-licenses, seven times what MSA lets a query read, with a question that a model
# of 135 million parameters can answer: the answer stands in section 10.1.
#
# weights/needle.gguf, a small model that was trained here with MSA in every layer and needs no
# download, finds one of eight codes told in 32 KB of licences; a token is a byte.
set -euo pipefail
cd "$(dirname "$0")/.."
tools/setup.sh build
tools/setup.sh model || fetched=no

msa=build/msa
model=models/SmolLM2-135M-Instruct.Q4_1.gguf
index=weights/smollm2-135m-index.gguf
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

# late_nll SELECTOR: nats per token over the second half of the text, from the JSON of msa eval ppl.
late_nll() {
    awk -v wanted="\"$1\"," '
        $1 == "\"by_position\":" { inside = 1 }
        inside && $1 == "\"selector\":" { right = $2 == wanted }
        inside && right && $1 == "\"nll\":" { sub(/,$/, "", $2); last = $2 }
        END { print last }' $out/ppl.json
}

# The escapes of JSON are those of %b but for \", which becomes a number first.
answer() {
    printf '%b' "$(sed -n '/^  "text": "/ { s///; s/",\{0,1\}$//; s/\\"/\\x22/g; p }' "$1")"
}

row() { # row TITLE FORMAT VALUES...
    printf "| %-28s |" "$1"
    printf " %10.${2}f |" "${@:3}"
    echo
}

cost() { # cost TITLE FORMAT SECTION KEY NAMES...
    local name values=()
    for name in "${@:5}"; do values+=("$(value "$out/$name.json" "$3" "$4")"); done
    row "$1" "$2" "${values[@]}"
}

ask() { # ask NAME FLAGS...
    local name=$1
    shift
    $msa run -m $model -f "$text" -p "$question" -n 60 --temp 0 --json "$@" >"$out/$name.json"
}

real_model() {
    title "This machine and this model"
    $msa info -m $model

    title "The text: $text, $(wc -w <"$text") words. The question: $question"
    ask dense --attn dense
    ask proxy --selector proxy
    ask trained --index $index
    $msa eval ppl -m $model --index $index -f "$text" --selectors proxy,index --by-position 2 \
        --json >$out/ppl.json
    echo
    echo "Dense:       $(answer $out/dense.json)"
    echo "MSA, proxy:  $(answer $out/proxy.json)"
    echo "MSA, index:  $(answer $out/trained.json)"
    echo
    echo "|                              |      dense | MSA, proxy | MSA, index |"
    echo "| ---------------------------- | ---------: | ---------: | ---------: |"
    cost "prefill, tokens/s" 1 prefill tokens_per_s dense proxy trained
    cost "decode, tokens/s" 1 decode tokens_per_s dense proxy trained
    cost "keys read per decoded token" 0 decode keys_per_query dense proxy trained
    cost "attention's share, prefill" 2 prefill attention_share dense proxy trained
    cost "attention's share, decode" 2 decode attention_share dense proxy trained
    row "NLL of the second half" 3 "$(late_nll dense)" "$(late_nll proxy)" "$(late_nll index)"

    title "What each query read, and what it would if it knew the attention: open the picture"
    $msa map -m $model --index $index -f "$text" --beside oracle -o $out/map.png
}

# Licences with a code told behind every 4,000 characters.
haystack() {
    local codes=("Vivuvi 5838" "Zabole 1997" "Satilo 9209" "Muzomi 1290" "Harino 7892" "Davoro 6392"
        "Zeviku 6011" "Laruko 9673") i
    cat /usr/share/common-licenses/{GPL-3,GFDL-1.3,Apache-2.0} |
        LC_ALL=C tr -cd '\n -~' >$out/licences.txt
    for i in 0 1 2 3 4 5 6 7; do
        head -c $((i * 4000 + 4000)) $out/licences.txt | tail -c 4000
        # shellcheck disable=SC2086 # two words
        printf '\nThe code of %s is %s.\n' ${codes[i]}
    done
}

own_model() {
    local attn
    haystack >$out/haystack.txt
    title "A model of our own, trained with MSA: weights/needle.gguf, one of eight codes in 32 KB"
    for attn in dense msa; do
        $msa run -m weights/needle.gguf -f $out/haystack.txt -p "The code of Muzomi is" --raw -n 5 \
            --temp 0 -c 33000 --allow-past-context --attn $attn --json >"$out/needle-$attn.json"
    done
    echo
    echo "Dense: The code of Muzomi is$(answer $out/needle-dense.json)"
    echo "MSA:   The code of Muzomi is$(answer $out/needle-msa.json)"
    echo
    echo "|                              |      dense |        MSA |"
    echo "| ---------------------------- | ---------: | ---------: |"
    cost "seconds to read the text" 1 prefill seconds needle-dense needle-msa
    cost "decode, tokens/s" 1 decode tokens_per_s needle-dense needle-msa
    cost "keys read per decoded token" 0 decode keys_per_query needle-dense needle-msa
    $msa map -m weights/needle.gguf -f $out/haystack.txt -c 33000 --allow-past-context \
        --all-layers -o $out/needle.png
}

if [ "${fetched:-yes}" = yes ]; then
    real_model
else
    echo "demo: goes on without SmolLM2, with the model that lies here" >&2
fi
own_model
