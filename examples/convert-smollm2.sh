#!/bin/sh
# An index branch for SmolLM2-135M-Instruct, trained beside the frozen model on the manuals that Debian packages hold
# (vim-runtime, perl-doc, python3-doc, base-files; those that are not installed are passed over) and examined on Vim's
# user manual, which is not among them. About 40 minutes on two cores.
#
#     examples/convert-smollm2.sh [DIR [FLAGS of msa convert]]      into DIR (default: smollm2-index); --resume goes on
#
# MSA is the program (build/msa), MODEL the model, DOCS a folder into which packages were unpacked instead of installed.
set -eu
dir=${1:-smollm2-index}
[ $# -eq 0 ] || shift
texts=$dir/texts
model=${MODEL:-models/SmolLM2-135M-Instruct.Q4_1.gguf}
mkdir -p "$texts"

gather() { # PREFIX FILES...
    prefix=$1
    shift
    for file; do
        case $file in
        */usr_*.txt | */todo.txt | */version*.txt | *delta.pod) ;; # the test, a list of bugs, lists of changes
        */perlapi.pod | */perluniprops.pod | */perl[cjkt][nopw].pod) ;; # tables, other languages
        *) [ ! -f "$file" ] || cp "$file" "$texts/$prefix-$(basename "$file")" ;;
        esac
    done
}

: >"$dir/test.txt"
for root in "" ${DOCS:+"$DOCS"}; do
    gather vim "$root"/usr/share/vim/vim[0-9]*/doc/*.txt
    gather perl "$root"/usr/share/perl/5*/pod/*.pod
    for part in tutorial howto faq reference; do
        gather python-$part "$root"/usr/share/doc/python3*/html/_sources/$part/*.rst.txt
    done
    gather licence "$root"/usr/share/common-licenses/*
    [ -s "$dir/test.txt" ] || cat "$root"/usr/share/vim/vim[0-9]*/doc/usr_*.txt >"$dir/test.txt" 2>/dev/null || true
done
[ -s "$dir/test.txt" ] || { echo "$0: expected Vim's user manual (vim-runtime) installed or in DOCS, found none" >&2; exit 1; }

"${MSA:-build/msa}" convert -m "$model" -f "$texts" --valid "$dir/test.txt" -o "$dir/index.gguf" \
    --kl far-mass --steps 1200 --repeats 8 --rows 384 "$@"
