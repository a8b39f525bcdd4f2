"""A model that `msa train` made, in Transformers and in llama.cpp.

    python trained.py MSA LLAMA_CPP MODEL TEXT

The first TOKENS tokens of TEXT, several times what a query may read, then a greedy answer, in all
three programs: the file as it is in msa and llama.cpp, `msa export` of it as safetensors in
Transformers. Prints how far logits are apart; greedy tokens and msa's loss must agree. llama.cpp
rounds keys and values of dense layers to f16, and a block or an expert that it turns over moves
what follows, hence the share of positions beside the median.
"""

import json
import math
import sys
import tempfile
from pathlib import Path

import numpy as np
import torch
from files import ANSWER, build_llama, demand, run, run_transformers
from transformers import AutoModelForCausalLM

TOKENS = 384


def main():
    msa, there, gguf, text = map(Path, sys.argv[1:5])
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        run(msa, "export", "-m", gguf, "-o", work / "folder", "--format", "safetensors")
        excerpt = work / "text"
        excerpt.write_text(text.read_text(errors="replace").encode("ascii", "replace").decode())
        rows = json.loads(run(msa, "tokenize", "-m", gguf, "-f", excerpt, "--json"))["rows"]
        ids = [row["id"] for row in rows[:TOKENS]]
        excerpt.write_text("".join(row["text"] for row in rows[:TOKENS]))

        model, report = AutoModelForCausalLM.from_pretrained(
            work / "folder",
            dtype=torch.float32,
            attn_implementation="eager",
            output_loading_info=True,
        )
        demand(not any(report.values()), f"Transformers loads with {report}")
        logits, answer, lead = run_transformers(model, ids)
        targets = torch.tensor(ids[1:])
        nll = torch.nn.functional.cross_entropy(torch.tensor(logits[:-1]), targets).item()
        print(f"Transformers: loss {nll:.5f}, greedy {bytes(i for i in answer if i < 256)}")
        print(f"              least lead of a greedy token {lead:.3f}")

        f32 = ["-f", excerpt, "--kv-format", "f32"]
        table = json.loads(run(msa, "eval", "ppl", "-m", gguf, *f32, "-c", TOKENS, "--json"))
        dense, ours = (row["nll"] for row in table["rows"])
        print(f"msa:          loss {ours:.5f}, dense {dense:.5f}")
        demand(math.isclose(ours, nll, abs_tol=1e-3), "msa's loss")
        words = ["--raw", "--temp", "0", "-n", ANSWER, "--json"]
        said = json.loads(run(msa, "run", "-m", gguf, *f32, *words))["text"]
        demand(said.encode() == bytes(i for i in answer if i < 256), f"msa's answer {said!r}")

        np.array(ids, np.int32).tofile(work / "ids")
        program = build_llama(there, work)
        found = run(program, gguf, work / "ids", work / "logits", ANSWER, 512)
        theirs = np.fromfile(work / "logits", np.float32).reshape(logits.shape)
        worst = np.abs(theirs - logits).max(-1)
        print(
            f"llama.cpp:    logits, of up to {np.abs(logits).max():.0f}, differ by"
            f" {np.median(worst):.1e} in the median, {worst.max():.1e} at most;"
            f" {np.mean(worst < 1e-2):.1%} of positions within 1e-2"
        )
        demand([int(x) for x in found.split()] == answer, "llama.cpp's greedy tokens")
    print("greedy tokens are the same in all three")


if __name__ == "__main__":
    main()
