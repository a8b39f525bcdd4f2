#!/usr/bin/env python3
"""llama.cpp and msa on the same model file, taking turns: prefill and decode at several depths.

    python3 bench/vs_llama.py [-p 512] [-n 64] [-d 0,7680] [--rounds 3] [-t THREADS]
    python3 bench/vs_llama.py -m MODEL [--index BRANCH]

llama.cpp comes from the source package of llama-cpp-python 0.3.36 and is built under build/rivals.
Each round runs llama-bench, then `msa bench model`; the table holds medians. The default model is
read with the index branch that was trained for it, another one with that of --index or the proxy.
"""

import argparse
import json
import os
import subprocess
import sys

import rivals


def run_json(command):
    done = subprocess.run([str(word) for word in command], stdout=subprocess.PIPE, check=True)
    return json.loads(done.stdout)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("-m", "--model")
    parser.add_argument("--index")
    parser.add_argument("-p", "--prompt", default="512")
    parser.add_argument("-n", "--generate", default="64")
    parser.add_argument("-d", "--depth", default="0,7680")
    parser.add_argument("-t", "--threads", default=str(os.cpu_count()))
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    _, build = rivals.build_llama("llama-bench")
    llama = build / "bin" / "llama-bench"
    msa = rivals.ROOT / "build" / "msa"
    if not options.model:
        options.model, options.index = rivals.MODEL, options.index or rivals.INDEX
    branch = ["--index", options.index] if options.index else []
    same = ["-m", options.model, "-p", options.prompt, "-n", options.generate]
    same += ["-d", options.depth, "-t", options.threads]

    found = {}  # (test, who) -> tokens per second, one per round
    for turn in range(options.rounds):
        print(f"round {turn + 1} of {options.rounds}", file=sys.stderr)
        found_by = {"llama.cpp": run_json([llama, *same, "-fa", "1", "-r", "1", "-o", "json"])}
        ours = run_json([msa, "bench", "model", *same, *branch, "-r", "1", "-o", "json"])["rows"]
        for attn in ("dense", "msa"):
            found_by[f"msa {attn}"] = [row for row in ours if row["attn"] == attn]
        for who, rows in found_by.items():
            for row in rows:
                test = ("prefill" if row["n_prompt"] else "decode", row["n_depth"])
                found.setdefault((test, who), []).append(row["avg_ts"])

    rate = {key: rivals.median(values) for key, values in found.items()}
    rows = []
    for (kind, depth), who in sorted(rate):
        if who == "llama.cpp":
            ours = [rate.get(((kind, depth), f"msa {attn}")) for attn in ("dense", "msa")]
            theirs = rate[(kind, depth), who]
            cells = [f"{x:.1f} ({x / theirs:.2f}x)" if x else "" for x in ours]
            rows.append([f"{kind} at depth {depth}", f"{theirs:.1f}", *cells])
    print(f"{rivals.machine()}; {options.threads} used; medians of {options.rounds} rounds\n")
    rivals.table(["tokens/s", "llama.cpp", "msa, dense", "msa, sparse"], rows)


main()
