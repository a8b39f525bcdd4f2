#!/usr/bin/env python3
"""llama.cpp's minimax-m3 and msa on the same file, taking turns: prefill and decode at depth.

    python3 bench/vs_llama_m3.py [-d 0,4096,8192,32768] [-p 512] [-n 32] [--rounds 3]
                                 [-t THREADS] [--clock wall|cpu]

The file is one random layer of MiniMax-M3's shape (64 query heads on 4, 4 index queries on one key,
all of 128, 16 blocks of 128 tokens, 1 of them local) with hidden width 512, two experts that every
token goes through, and 2,048 tokens. It is written under build/rivals, matrices f16, the index f32.
Each side is a program that holds the model with f16 keys (bench/side.h), the other one waits while
it works; a row of the table is the median of the rounds. llama.cpp must run its sparse attention:
side_llama.c looks for it in the graph. For a machine that is busy with other things,
`-t 1 --clock cpu` counts CPU time instead of time gone by.

First the logits are compared. Up to 16 blocks there is nothing to choose, and they must agree to
0.05 (their standard deviation is about 1). Behind that the sums of two programs, rounded
differently, may order two blocks differently that score almost the same; what is printed is the
share of positions that agree so, and three quarters of them must (dense attention, say, gives 0).
Installs numpy and gguf, and builds llama.cpp, under build/rivals; needs build/libmsa.so (make).
"""

import argparse
import os
import subprocess
import sys

import rivals

rivals.use_packages("m3", "numpy", "gguf==0.19.0")
import gguf  # noqa: E402
import numpy  # noqa: E402

ARCH, MODEL = "minimax-m3", rivals.FOLDER / "m3" / "layer.gguf"
WIDTH, VOCAB, HEADS, GROUPS, DIM, EXPERTS, FF = 512, 2048, 64, 4, 128, 2, 256
BLOCK, TOPK, BATCH = 128, 16, 512
TOLERANCE, FEWEST = 0.05, 0.75
SHARPNESS = 3  # of attention: with fewer, the mean of all values hides which blocks were read


def write_keys(out):
    numbers = {
        "block_count": 1,
        "context_length": 1 << 20,
        "embedding_length": WIDTH,
        "feed_forward_length": FF,
        "vocab_size": VOCAB,
        "attention.head_count": HEADS,
        "attention.head_count_kv": GROUPS,
        "attention.key_length": DIM,
        "attention.value_length": DIM,
        "attention.indexer.head_count": GROUPS,
        "attention.indexer.key_length": DIM,
        "attention.indexer.top_k": TOPK,
        "attention.indexer.block_size": BLOCK,
        "attention.indexer.local_blocks": 1,
        "rope.dimension_count": DIM // 2,
        "leading_dense_block_count": 0,
        "expert_count": EXPERTS,
        "expert_used_count": EXPERTS,
        "expert_feed_forward_length": FF,
        "expert_shared_count": 1,
        "expert_gating_func": 2,  # sigmoid
    }
    for name, value in numbers.items():
        out.add_uint32(f"{ARCH}.{name}", value)
    out.add_float32(f"{ARCH}.attention.layer_norm_rms_epsilon", 1e-6)
    out.add_float32(f"{ARCH}.rope.freq_base", 5e6)
    out.add_float32(f"{ARCH}.expert_weights_scale", 1)
    out.add_bool(f"{ARCH}.expert_weights_norm", True)


def write_vocabulary(out):
    """GPT-2's letters for the 256 bytes, a merge, and names that no text spells."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [b for b in range(256) if b not in printable]
    letters = {b: chr(b) for b in printable} | {b: chr(256 + i) for i, b in enumerate(others)}
    tokens = [letters[b] for b in range(256)] + ["ab"] + [f"<{i}>" for i in range(257, VOCAB - 1)]
    tokens.append("<|endoftext|>")
    out.add_tokenizer_model("gpt2")
    out.add_tokenizer_pre("gpt-2")
    out.add_token_list(tokens)
    out.add_token_types([gguf.TokenType.NORMAL] * (VOCAB - 1) + [gguf.TokenType.CONTROL])
    out.add_token_merges(["a b"])
    out.add_eos_token_id(VOCAB - 1)


def write_tensors(out):
    random = numpy.random.default_rng(1)

    def matrix(name, *shape, scale=1, dtype=numpy.float16):
        x = random.standard_normal(shape, numpy.float32) * (scale / shape[-1] ** 0.5)
        out.add_tensor(f"{name}.weight", x.astype(dtype))

    def vector(name, n, value=1):
        out.add_tensor(name, numpy.full(n, value, numpy.float32))

    matrix("token_embd", VOCAB, WIDTH, scale=WIDTH**0.5)
    matrix("output", VOCAB, WIDTH)
    vector("output_norm.weight", WIDTH)
    layer = "blk.0."
    vector(layer + "attn_norm.weight", WIDTH)
    vector(layer + "ffn_norm.weight", WIDTH)
    vector(layer + "attn_q_norm.weight", DIM, SHARPNESS)
    vector(layer + "attn_k_norm.weight", DIM)
    for name, n_heads in ("q", HEADS), ("k", GROUPS), ("v", GROUPS):
        matrix(layer + f"attn_{name}", n_heads * DIM, WIDTH)
    matrix(layer + "attn_output", WIDTH, HEADS * DIM, scale=2)
    for name, n_heads in ("q", GROUPS), ("k", 1):
        matrix(layer + f"indexer.{name}_proj", n_heads * DIM, WIDTH, dtype=numpy.float32)
        vector(layer + f"indexer.{name}_norm.weight", DIM)
    matrix(layer + "ffn_gate_inp", EXPERTS, WIDTH, dtype=numpy.float32)
    vector(layer + "exp_probs_b.bias", EXPERTS, 0)
    for kind, stack in ("exps", (EXPERTS,)), ("shexp", ()):
        matrix(layer + f"ffn_gate_{kind}", *stack, FF, WIDTH)
        matrix(layer + f"ffn_up_{kind}", *stack, FF, WIDTH)
        matrix(layer + f"ffn_down_{kind}", *stack, WIDTH, FF)


def write_model():
    out = gguf.GGUFWriter(MODEL, ARCH)
    out.add_name("one random layer of MiniMax-M3's shape")
    write_keys(out)
    write_vocabulary(out)
    write_tensors(out)
    out.write_header_to_file()
    out.write_kv_data_to_file()
    out.write_tensors_to_file()
    out.close()


def build_sides():
    """Both programs: {"llama.cpp": path, "msa": path}."""
    source, build = rivals.build_llama("llama")
    ggml = [build / "ggml" / "src" / f"lib{name}.a" for name in ("ggml", "ggml-cpu", "ggml-base")]
    theirs = [f"-I{source / 'include'}", f"-I{source / 'ggml' / 'include'}"]
    theirs += [build / "src" / "libllama.a", *ggml]
    theirs += "-lstdc++ -lgomp -lpthread -ldl -lm".split()
    ours = [f"-I{rivals.ROOT / 'include'}", rivals.ROOT / "build" / "libmsa.so"]
    ours.append(f"-Wl,-rpath,{rivals.ROOT / 'build'}")
    programs = {}
    for who, name, more in ("llama.cpp", "llama", theirs), ("msa", "msa", ours):
        programs[who] = MODEL.with_name(f"side_{name}")
        files = [rivals.ROOT / "bench" / f"{stem}.c" for stem in ("side", f"side_{name}")]
        command = ["cc", "-O2", "-Wall", "-Wextra", *files, *more, "-o", programs[who]]
        subprocess.run(command, check=True)
    return programs


class Side:
    """One of the two programs, at work only while it is asked something."""

    def __init__(self, who, program, threads, context, clock):
        # The program msa waits for so long on a busy machine; for llama.cpp OpenMP's own choice.
        environment = dict(os.environ)
        if who == "msa":
            environment.setdefault("GOMP_SPINCOUNT", "2000")
        command = [program, MODEL, threads, context, clock]
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
        self.who, self.path = who, MODEL.with_name(f"{program.name}.logits")
        self.depth = 0
        self.process = subprocess.Popen(map(str, command), env=environment, **pipes)

    def ask(self, *words):
        try:
            print(*words, file=self.process.stdin, flush=True)
        except BrokenPipeError:
            pass  # it ended, and said why
        answer = self.process.stdout.readline()
        if not answer:
            sys.exit(f"{self.who} ended on '{' '.join(map(str, words))}'")
        return float(answer)

    def grow(self, depth):
        """Has the first `depth` tokens. llama.cpp decodes faster than it prefills far out."""
        near, step = 4096, 1 if self.who == "llama.cpp" else BATCH
        if self.depth < near:
            self.ask("grow", min(depth, near), BATCH)
        self.ask("grow", depth, step)
        self.depth = depth

    def logits(self, n, step):
        self.ask("logits", n, step, self.path)
        return numpy.fromfile(self.path, numpy.float32).reshape(n, VOCAB)


def agree(sides, what, n, step, exact):
    """A row of the table of logits; ends the run where they differ, in any position if `exact`."""
    one, other = (side.logits(n, step) for side in sides)
    error = numpy.abs(one - other).max(axis=1)
    same = (one.argmax(axis=1) == other.argmax(axis=1)).mean()
    if not (numpy.isfinite(error).all() and one.std() > 0.1):
        sys.exit(f"{what}: logits that are no numbers, or all alike")
    if exact and error.max() > TOLERANCE:
        sys.exit(f"{what}: logits differ by {error.max():.3g}, more than {TOLERANCE}")
    share = (error <= TOLERANCE).mean()
    if share < FEWEST:
        sys.exit(f"{what}: logits agree in {share:.1%} of positions only: other blocks were read")
    return [what, n, f"{share:.1%}", f"{same:.1%}", f"{error.max():.2g}"]


def compare_prefill(sides):
    n_exact = TOPK * BLOCK
    rows = [agree(sides, f"prefill, 0 to {n_exact - 1}", n_exact, BATCH, True)]
    for side in sides:
        side.grow(n_exact)
    rows.append(agree(sides, f"prefill, {n_exact} to {2 * n_exact - 1}", n_exact, BATCH, False))
    for side in sides:
        side.grow(0)
    return rows


def measure(sides, depth, options):
    """Two rows of the table of speeds."""
    rows = []
    for kind, n, step in ("prefill", options.prompt, BATCH), ("decode", options.generate, 1):
        rates = {side: [] for side in sides}
        for turn in range(options.rounds):
            print(f"{kind} at {depth}, round {turn + 1} of {options.rounds}", file=sys.stderr)
            for side in sides:
                rates[side].append(n / side.ask("time", n, step))
        theirs, ours = (rivals.median(rates[side]) for side in sides)
        row = [f"{kind} at depth {depth}", f"{theirs:.1f}", f"{ours:.1f}", f"{ours / theirs:.1f}x"]
        rows.append(row)
        print(": ".join(row[:1] + [", ".join(row[1:])]), file=sys.stderr)
    return rows


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("-d", "--depth", default="0,4096,8192,32768")
    parser.add_argument("-p", "--prompt", type=int, default=BATCH)
    parser.add_argument("-n", "--generate", type=int, default=32)
    parser.add_argument("-t", "--threads", type=int, default=os.cpu_count())
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--clock", choices=["wall", "cpu"], default="wall")
    options = parser.parse_args()
    if options.clock == "cpu" and options.threads != 1:
        parser.error("--clock cpu adds up what threads took: use it with -t 1")
    try:
        depths = sorted(int(depth) for depth in options.depth.split(","))
    except ValueError:
        parser.error(f"-d {options.depth}: numbers of tokens with commas between them, please")
    if depths[0] < 0:
        parser.error(f"-d {options.depth}: a depth is 0 or more tokens")
    for name in "prompt", "generate", "threads", "rounds":
        if getattr(options, name) < 1:
            parser.error(f"--{name} {getattr(options, name)}: at least 1")
    programs = build_sides()
    write_model()
    most = max(depths[-1], TOPK * BLOCK) + max(options.prompt, options.generate, TOPK * BLOCK)
    how = options.threads, most + 1, options.clock
    sides = [Side(who, path, *how) for who, path in programs.items()]

    # Depth grows once, and all is measured on the way: the deepest takes llama.cpp minutes.
    agreement, speed = compare_prefill(sides), []
    for depth in depths:
        print(f"going to depth {depth}; llama.cpp takes its time", file=sys.stderr)
        for side in sides:
            side.grow(depth)
        exact = depth + options.generate <= TOPK * BLOCK
        agreement.append(agree(sides, f"decode at {depth}", options.generate, 1, exact))
        speed += measure(sides, depth, options)
    used = f"{options.threads} used, {options.clock} time"
    print(f"{rivals.machine()}; {used}; medians of {options.rounds} rounds\n")
    rivals.table(["logits, positions", "of", "within 0.05", "same best", "most apart"], agreement)
    print()
    rivals.table(["tokens/s", "llama.cpp", "msa", ""], speed)


main()
