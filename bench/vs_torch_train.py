#!/usr/bin/env python3
"""A training step of a small MiniMax-M3 in msa and in PyTorch, same shapes, same cores, in turns.

    python3 bench/vs_torch_train.py [--context 4096] [--rows 1] [--steps 3] [--rounds 3]

Three phases: dense (no index at work), warm (dense, KL over everything visible), sparse (selected
blocks, KL over them). msa runs `msa train` and its log says how long each step took, data and AdamW
included; PyTorch runs the same model eagerly in f32: scaled_dot_product_attention, causal in the
dense phases; in the sparse phase, for which it has no operator, scores of the index, top-k and a
boolean mask; the KL from materialised probabilities; experts on gathered rows; fused AdamW. Medians
of the steps behind the first of each turn. The share of FMA peak is msa's log's (docs/training.md
has the formula). Needs build/msa (make); installs PyTorch under build/rivals.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import rivals

rivals.use_packages("torch", "torch==2.13.0", "numpy")
import torch  # noqa: E402
import torch.nn.functional as F  # noqa: E402

MODEL = dict(
    family="minimax-m3",
    layers=4,
    width=256,
    heads=8,
    kv_heads=2,
    head_dim=64,
    ffn=1024,
    rot=32,
    vocab=512,
    dense_layers=1,
    index=dict(on=True, dim=64, block=64, topk=8, local=1, init=0),
    moe=dict(experts=8, used=2, ffn=256, shared_ffn=256, scale=2.0),
)
PHASES = {
    "dense": dict(kind="full"),
    "warm": dict(kind="pt"),  # its warmup: all steps
    "sparse": dict(kind="pt", warmup=0),
}


class Layer(torch.nn.Module):
    def __init__(self, layer):
        super().__init__()
        m = MODEL
        e, d = m["width"], m["head_dim"]
        self.late = layer >= m["dense_layers"]

        def weight(*shape):
            return torch.nn.Parameter(torch.randn(*shape) * 0.02)

        def gain(n):
            return torch.nn.Parameter(torch.zeros(n))

        self.norm1, self.norm2, self.q_norm, self.k_norm = gain(e), gain(e), gain(d), gain(d)
        self.q, self.o = weight(m["heads"] * d, e), weight(e, m["heads"] * d)
        self.k, self.v = weight(m["kv_heads"] * d, e), weight(m["kv_heads"] * d, e)
        self.experts, ff = [], m["ffn"]
        if self.late:
            di, moe = m["index"]["dim"], m["moe"]
            ff = moe["shared_ffn"]
            self.iq, self.ik = weight(m["kv_heads"] * di, e), weight(di, e)
            self.iq_norm, self.ik_norm = gain(di), gain(di)
            self.router = weight(moe["experts"], e)
            self.gate_up = weight(moe["experts"], 2 * moe["ffn"], e)
            self.down = weight(moe["experts"], e, moe["ffn"])
        self.ff_gate_up, self.ff_down = weight(2 * ff, e), weight(e, ff)

    @staticmethod
    def norm(x, w):
        return F.rms_norm(x, w.shape, eps=1e-6) * (1 + w)

    @staticmethod
    def gated(x, gate_up, down):
        gate, up = F.linear(x, gate_up).chunk(2, -1)
        gate, up = gate.clamp(max=7), up.clamp(-7, 7)
        return F.linear((up + 1) * gate * torch.sigmoid(1.702 * gate), down)

    def heads(self, x, w, norm, rope):
        cos, sin = rope
        y = F.linear(x, w).unflatten(-1, (-1, MODEL["head_dim"]))
        y = self.norm(y, norm).transpose(1, 2)
        a, rest = y[..., : cos.shape[-1]], y[..., cos.shape[-1] :]
        half = cos.shape[-1] // 2
        turned = torch.cat([-a[..., half:], a[..., :half]], -1)
        return torch.cat([a * cos + turned * sin, rest], -1)

    def select(self, s):
        """[rows, groups, T, T] mask of the chosen tokens."""
        index, T = MODEL["index"], s.shape[-1]
        B, blocks = index["block"], T // index["block"]
        own = torch.arange(T) // B
        best = s.masked_fill(~self.causal(T), -torch.inf).unflatten(-1, (blocks, B)).amax(-1)
        best.scatter_(-1, own[None, None, :, None].expand(*s.shape[:3], 1), torch.inf)
        ids = best.topk(min(index["topk"], blocks), -1).indices
        taken = torch.zeros_like(best, dtype=torch.bool).scatter_(-1, ids, True)
        return taken.repeat_interleave(B, -1) & self.causal(T)

    @staticmethod
    def causal(T):
        return torch.ones(T, T, dtype=torch.bool).tril()

    def attend(self, x, rope, phase):
        groups = MODEL["kv_heads"]
        q = self.heads(x, self.q, self.q_norm, rope)
        k = self.heads(x, self.k, self.k_norm, rope)
        v = F.linear(x, self.v).unflatten(-1, (groups, -1)).transpose(1, 2)
        mask, kl = None, None
        if self.late and phase != "dense":
            still = x.detach()
            iq = self.heads(still, self.iq, self.iq_norm, rope)
            ik = self.heads(still, self.ik, self.ik_norm, rope)
            s = iq @ ik.transpose(-1, -2)
            seen = self.causal(x.shape[1])
            if phase == "sparse":
                seen = self.select(s.detach())
                mask = seen.repeat_interleave(q.shape[1] // groups, 1)
            kl = self.divergence(q.detach(), k.detach(), s, seen)
        out = F.scaled_dot_product_attention(
            q, k, v, attn_mask=mask, is_causal=mask is None, enable_gqa=True
        )
        return F.linear(out.transpose(1, 2).flatten(2), self.o), kl

    @staticmethod
    def divergence(q, k, s, seen):
        with torch.no_grad():
            groups = k.shape[1]
            logits = q.unflatten(1, (groups, -1)) @ k[:, :, None].transpose(-1, -2)
            logits.mul_(q.shape[-1] ** -0.5)
            logits.masked_fill_(~(seen[:, :, None] if seen.dim() == 4 else seen), -torch.inf)
            p = logits.softmax(-1).mean(2)
            entropy = torch.xlogy(p, p).sum(-1)
        log_pi = (s * s.new_tensor(MODEL["index"]["dim"]) ** -0.5).masked_fill(~seen, -torch.inf)
        log_pi = log_pi.log_softmax(-1).masked_fill(~seen, 0)
        return (entropy - (p * log_pi).sum(-1)).mean()

    def feed(self, x):
        out = self.gated(x, self.ff_gate_up, self.ff_down)
        if not self.late:
            return out
        moe, flat = MODEL["moe"], x.flatten(0, 1)
        p = torch.sigmoid(F.linear(flat, self.router))
        weight, ids = p.topk(moe["used"], -1)
        weight = weight / weight.sum(-1, keepdim=True) * moe["scale"]
        routed = torch.zeros_like(flat)
        for e in range(moe["experts"]):
            token, slot = torch.where(ids == e)
            y = self.gated(flat[token], self.gate_up[e], self.down[e])
            routed = routed.index_add(0, token, y * weight[token, slot, None])
        return out + routed.view_as(x)

    def forward(self, x, rope, phase):
        y, kl = self.attend(self.norm(x, self.norm1), rope, phase)
        x = x + y
        return x + self.feed(self.norm(x, self.norm2)), kl


class Model(torch.nn.Module):
    def __init__(self, context):
        super().__init__()
        m = MODEL
        self.embed = torch.nn.Parameter(torch.randn(m["vocab"], m["width"]) * 0.02)
        self.head = torch.nn.Parameter(torch.randn(m["vocab"], m["width"]) * 0.02)
        self.norm = torch.nn.Parameter(torch.zeros(m["width"]))
        self.layers = torch.nn.ModuleList(Layer(i) for i in range(m["layers"]))
        frequency = 1e4 ** (-2.0 * torch.arange(m["rot"] // 2) / m["rot"])
        angle = torch.arange(context)[:, None] * frequency
        self.rope = [torch.cat([f(angle)] * 2, -1) for f in (torch.cos, torch.sin)]

    def forward(self, ids, phase):
        x, total = self.embed[ids], []
        for layer in self.layers:
            x, kl = layer(x, self.rope, phase)
            if kl is not None:
                total.append(kl)
        logits = F.linear(Layer.norm(x, self.norm), self.head)
        loss = F.cross_entropy(logits[:, :-1].flatten(0, 1), ids[:, 1:].flatten())
        return loss + torch.stack(total).mean() if total else loss


class Torch:
    def __init__(self, context, rows):
        torch.manual_seed(0)
        self.model = Model(context)
        self.ids = torch.randint(MODEL["vocab"], (rows, context))
        self.optimiser = torch.optim.AdamW(self.model.parameters(), lr=1e-3, fused=True)

    def step(self, phase):
        start = time.perf_counter()
        self.optimiser.zero_grad()
        self.model(self.ids, phase).backward()
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        self.optimiser.step()
        return time.perf_counter() - start


def high_water(pid):
    """MB of memory a process had at most; 0 once it is gone. Its rusage would count this one's."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except (FileNotFoundError, ProcessLookupError):
        return 0
    return max((int(x.split()[1]) / 1024 for x in lines if x.startswith("VmHWM")), default=0)


def msa_steps(phase, args, folder):
    """Seconds of each step and shares of FMA peak, the first step left out; peak memory in MB."""
    config = dict(
        model=MODEL,
        data=dict(context=args.context, rows=args.rows, weight=0),
        tasks=dict(copy=dict(weight=1, answers_only=False)),
        recipe={"warmup": 0 if phase == "dense" else args.steps + 1, **PHASES[phase]},
        schedule=dict(warmup=0),
        log=dict(every=1, diagnostics=0, eval=0, checkpoint=0),
        run=dict(steps=args.steps + 1, threads=args.threads, format="none"),
    )
    path, out = Path(folder) / "config.json", Path(folder) / phase
    path.write_text(json.dumps(config))
    command = [rivals.ROOT / "build" / "msa", "train", path, "-o", out, "--sample", "0"]
    with open(Path(folder) / "output", "w+") as output:
        run, peak = subprocess.Popen(command, stdout=output, stderr=output), 0
        while run.poll() is None:
            time.sleep(0.05)
            peak = max(peak, high_water(run.pid))
        output.seek(0)
        if run.returncode:
            sys.exit(output.read())
    steps = []
    for line in (out / "log.jsonl").read_text().splitlines():
        record = json.loads(line)
        if record["event"] == "step":
            tokens = args.context * args.rows
            steps.append((tokens / record["tokens_per_s"], record["fma_share"]))
    subprocess.run(["rm", "-r", out], check=True)
    return steps[1:], peak


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--context", type=int, default=4096)
    parser.add_argument("--rows", type=int, default=1)
    parser.add_argument("--steps", type=int, default=3, help="timed steps of a turn")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    rival = Torch(args.context, args.rows)
    print(f"{args.rows} x {args.context} tokens, {args.threads} threads, f32; seconds a step")
    print(f"{'phase':8} {'msa':>8} {'of peak':>8} {'MB':>6} {'torch':>8} {'torch / msa':>12}")
    with tempfile.TemporaryDirectory() as folder:
        for phase in PHASES:
            ours, shares, theirs = [], [], []
            for _ in range(args.rounds):
                steps, megabytes = msa_steps(phase, args, folder)
                ours += [seconds for seconds, _ in steps]
                shares += [share for _, share in steps]
                rival.step(phase)
                theirs += [rival.step(phase) for _ in range(args.steps)]
            a, b = statistics.median(ours), statistics.median(theirs)
            share = statistics.median(shares)
            print(
                f"{phase:8} {a:8.3f} {share:8.0%} {megabytes:6.0f} {b:8.3f} {b / a:12.1f}",
                flush=True,
            )


main()
