#!/usr/bin/env python3
"""llama.cpp and msa on the same model file, taking turns: prefill and decode at several depths.

    python3 bench/vs_llama.py [-m MODEL] [-p 512] [-n 64] [-d 0,7680] [--rounds 3] [-t THREADS]

llama.cpp comes from the source package of llama-cpp-python 0.3.36 and is built under build/rivals
with this machine's instructions, OpenMP and flash attention: its own fastest configuration. Each
round runs llama-bench, then `msa bench model`; the table holds medians.
"""

import argparse
import hashlib
import json
import os
import subprocess
import sys
import tarfile

import rivals

NAME, VERSION = "llama-cpp-python", "0.3.36"
SHA256 = "832db0699007f1be95a7e41ef12e88926b02ba836461e36a36372db2760c1a2e"
HOME = rivals.FOLDER / "llama.cpp"


def build_llama():
    program = HOME / "build" / "bin" / "llama-bench"
    if program.exists():
        return program
    print(f"will download {NAME} {VERSION} (70 MB) and build llama.cpp in {HOME}", file=sys.stderr)
    HOME.mkdir(parents=True, exist_ok=True)
    fetch = ["pip", "download", "--quiet", "--no-deps", "--no-binary", ":all:", "--dest", HOME]
    subprocess.run([sys.executable, "-m", *fetch, f"{NAME}=={VERSION}"], check=True)
    (archive,) = HOME.glob("*.tar.gz")
    if hashlib.sha256(archive.read_bytes()).hexdigest() != SHA256:
        sys.exit(f"{archive} is not {NAME} {VERSION} as published")
    with tarfile.open(archive) as tar:
        tar.extractall(HOME)
    (source,) = HOME.glob("llama_cpp_python-*/vendor/llama.cpp")
    build = [
        "cmake",
        "-G",
        "Ninja",
        "-S",
        source,
        "-B",
        HOME / "build",
        "-DCMAKE_BUILD_TYPE=Release",
    ]
    off = "LLAMA_CURL BUILD_SHARED_LIBS LLAMA_BUILD_TESTS LLAMA_BUILD_EXAMPLES LLAMA_BUILD_SERVER"
    quiet = {"stdout": subprocess.DEVNULL, "check": True}
    subprocess.run(build + [f"-D{name}=OFF" for name in off.split()], **quiet)
    subprocess.run(["cmake", "--build", HOME / "build", "--target", "llama-bench"], **quiet)
    return program


def run_json(command):
    done = subprocess.run([str(word) for word in command], stdout=subprocess.PIPE, check=True)
    return json.loads(done.stdout)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("-m", "--model", default=rivals.MODEL)
    parser.add_argument("-p", "--prompt", default="512")
    parser.add_argument("-n", "--generate", default="64")
    parser.add_argument("-d", "--depth", default="0,7680")
    parser.add_argument("-t", "--threads", default=str(os.cpu_count()))
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    llama = build_llama()
    msa = rivals.ROOT / "build" / "msa"
    same = ["-m", options.model, "-p", options.prompt, "-n", options.generate]
    same += ["-d", options.depth, "-t", options.threads]

    found = {}  # (test, who) -> tokens per second, one per round
    for turn in range(options.rounds):
        print(f"round {turn + 1} of {options.rounds}", file=sys.stderr)
        found_by = {"llama.cpp": run_json([llama, *same, "-fa", "1", "-r", "1", "-o", "json"])}
        ours = run_json([msa, "bench", "model", *same, "-r", "1", "-o", "json"])["rows"]
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
