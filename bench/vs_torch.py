#!/usr/bin/env python3
"""PyTorch and msa, one process, same arrays, taking turns: dense attention and top-k.

    python3 bench/vs_torch.py [--keys 8192,32768] [--rounds 5]

Dense attention: one layer of MiniMax-M3's shape (64 query heads on 4, d 128), 512 queries at the
end of the keys, f32. PyTorch runs scaled_dot_product_attention(enable_gqa) without a mask, its
fastest way, and so sees up to 512 keys more than the causal msa; GFLOP/s count what each computed.
Top-k: the 16 best block scores of 128K, 512K and 1M tokens (1,024, 4,096 and 8,192 floats) in each
of 256 rows: normal numbers, then ascending ones, the worst that a running list can meet. Outputs
are compared before any timing.
Needs build/libmsa.so (make); installs PyTorch under build/rivals.
"""

import argparse
import ctypes
import os
import sys
import time

import rivals

rivals.use_packages("torch", "torch==2.13.0", "numpy")
# Two OpenMP runtimes in one process: threads of the one that rests must sleep, not spin.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")
import torch  # noqa: E402

HEADS, KV_HEADS, DIM, QUERIES = 64, 4, 128, 512
ROWS, BLOCKS, TOPK = 256, (1024, 4096, 8192), 16
i32, i64, f32, pointer = ctypes.c_int32, ctypes.c_int64, ctypes.c_float, ctypes.c_void_p


def struct(name, *fields):
    return type(name, (ctypes.Structure,), {"_fields_": list(fields)})


Error = struct("Error", ("code", ctypes.c_int), ("text", ctypes.c_char * 512))
Shape = struct(
    "Shape",
    *((name, i32) for name in "n_q_heads n_kv_heads head_dim n_index_heads n_index_keys".split()),
    *((name, i32) for name in "index_dim block topk local init".split()),
)
Batch = struct(
    "Batch",
    ("n_requests", i32),
    ("cu_seqlens_q", pointer),
    ("kv_len", pointer),
    ("qo_offset", pointer),
    ("page_table", pointer),
    ("page_table_stride", i64),
    ("n_pages", i64),
    ("kv_start", pointer),
)
Lane = struct(
    "Lane",
    ("data", pointer),
    ("dtype", ctypes.c_int),
    ("layout", ctypes.c_int),
    ("stride_page", i64),
    ("stride_token", i64),
    ("stride_head", i64),
    ("scale", f32),
    ("scales", pointer),
    *((name, i64) for name in "scale_stride_page scale_stride_token scale_stride_head".split()),
)
Options = struct("Options", ("n_threads", i32), ("order", ctypes.c_int), ("n_splits", i32))
Attention = struct(
    "Attention",
    ("q", pointer),
    ("k", Lane),
    ("v", Lane),
    ("scale", f32),
    ("selection", pointer),
    ("out", pointer),
    ("lse", pointer),
    ("max_score", pointer),
    ("n_blocks", i64),
)


class Msa:
    """The few calls of libmsa that are compared, on tensors."""

    def __init__(self, threads):
        self.lib = ctypes.CDLL(str(rivals.ROOT / "build" / "libmsa.so"))
        self.lib.msa_shape_m3.restype = Shape
        self.lib.msa_lane_ragged.restype = Lane
        self.lib.msa_lane_ragged.argtypes = [pointer, ctypes.c_int, i32, i32]
        self.shape = self.lib.msa_shape_m3()
        self.options = Options(n_threads=threads)
        self.error = Error()

    def check(self, status):
        if status != 0:
            sys.exit(f"msa: {self.error.text.decode()}")

    def dense(self, q, k, v, out):
        """q [T, Hq, d], k and v [N, Hkv, d]: returns a function that fills out."""
        lengths = (i32 * 2)(0, q.shape[0]), (i64 * 1)(k.shape[0])
        batch = Batch(1, ctypes.addressof(lengths[0]), ctypes.addressof(lengths[1]))
        plan = pointer()
        self.check(
            self.lib.msa_dense_plan(
                ctypes.byref(plan),
                ctypes.byref(self.shape),
                ctypes.byref(batch),
                ctypes.byref(self.options),
                ctypes.byref(self.error),
            )
        )
        lane = lambda x: self.lib.msa_lane_ragged(x.data_ptr(), 0, KV_HEADS, DIM)
        args = Attention(q=q.data_ptr(), k=lane(k), v=lane(v), out=out.data_ptr())
        return lambda: self.check(
            self.lib.msa_dense_run(plan, ctypes.byref(args), ctypes.byref(self.error))
        )

    def topk(self, scores, position, ids):
        """scores [rows, blocks]: returns a function that fills ids, best first."""
        shape = self.lib.msa_shape_m3()
        shape.topk, shape.local, shape.init = TOPK, 0, 0
        call = (
            ctypes.byref(shape),
            i64(ROWS),
            pointer(position.data_ptr()),
            pointer(scores.data_ptr()),
            i64(scores.shape[1]),
            2,
            pointer(ids.data_ptr()),
            ctypes.byref(self.error),
        )
        return lambda: self.check(self.lib.msa_select_run(*call))


def seconds(function, at_least=0.2):
    """Time of one call, repeated until the clock can be trusted."""
    calls, start = 0, time.perf_counter()
    while True:
        function()
        calls += 1
        elapsed = time.perf_counter() - start
        if elapsed >= at_least:
            return elapsed / calls


def turns(first, second, rounds):
    """Median times of two functions that take turns; the pause lets idle threads fall asleep."""
    times = [], []
    for _ in range(rounds):
        for function, found in zip((first, second), times):
            time.sleep(0.02)
            found.append(seconds(function))
    return rivals.median(times[0]), rivals.median(times[1])


def compare_dense(msa, keys, rounds):
    q, out = torch.randn(QUERIES, HEADS, DIM), torch.empty(QUERIES, HEADS, DIM)
    k, v = torch.randn(keys, KV_HEADS, DIM), torch.randn(keys, KV_HEADS, DIM)
    qt, kt, vt = (x.transpose(0, 1)[None].contiguous() for x in (q, k, v))
    sdpa = torch.nn.functional.scaled_dot_product_attention
    ours = msa.dense(q, k, v, out)
    theirs = lambda: sdpa(qt, kt, vt, enable_gqa=True)

    ours()
    position = torch.arange(keys - QUERIES, keys)
    mask = torch.arange(keys)[None, :] <= position[:, None]
    expected = sdpa(qt, kt, vt, attn_mask=mask, enable_gqa=True)[0].transpose(0, 1)
    difference = (out - expected).abs().max().item()
    if not difference < 1e-4:
        sys.exit(f"dense attention over {keys} keys: outputs differ by {difference}")

    torch_time, msa_time = turns(theirs, ours, rounds)
    torch_flop = 4 * HEADS * DIM * QUERIES * keys
    msa_flop = 4 * HEADS * DIM * int((position + 1).sum())
    return [
        [
            f"dense f32, 512 queries x {keys} keys",
            "PyTorch",
            f"{torch_time * 1e3:.1f} ms",
            f"{torch_flop / torch_time / 1e9:.0f} GFLOP/s",
            "",
        ],
        [
            "",
            "msa",
            f"{msa_time * 1e3:.1f} ms",
            f"{msa_flop / msa_time / 1e9:.0f} GFLOP/s",
            f"{torch_time / msa_time:.2f}x",
        ],
    ]


def compare_topk(msa, blocks, ascending, rounds):
    scores = torch.randn(ROWS, blocks)
    if ascending:
        scores = scores.sort().values
    ids = torch.empty(ROWS, TOPK, dtype=torch.int32)
    position = torch.full((ROWS,), blocks * msa.shape.block - 1, dtype=torch.int64)
    ours = msa.topk(scores, position, ids)
    theirs = lambda: torch.topk(scores, TOPK)
    ours()
    if not torch.equal(scores.gather(1, ids.long()), theirs().values):
        sys.exit(f"top-k of {blocks}: the scores chosen differ")
    torch_time, msa_time = turns(theirs, ours, rounds)
    what = f"top-{TOPK} of {blocks} floats" + (", ascending" if ascending else "")
    ours_per_row = f"{msa_time / ROWS * 1e6:.2f} us/row"
    return [
        [what, "PyTorch", f"{torch_time / ROWS * 1e6:.2f} us/row", "", ""],
        ["", "msa", ours_per_row, "", f"{torch_time / msa_time:.2f}x"],
    ]


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--keys", default="8192,32768", help="contexts, comma-separated")
    parser.add_argument("--rounds", type=int, default=5, help="turns per comparison")
    parser.add_argument("-t", "--threads", type=int, default=os.cpu_count())
    options = parser.parse_args()
    torch.manual_seed(1)
    torch.set_num_threads(options.threads)
    msa = Msa(options.threads)
    print(f"{rivals.machine()}; PyTorch {torch.__version__}; medians of {options.rounds} turns\n")
    rows = []
    for keys in map(int, options.keys.split(",")):
        rows += compare_dense(msa, keys, options.rounds)
    for blocks in BLOCKS:
        for ascending in (False, True):
            rows += compare_topk(msa, blocks, ascending, options.rounds)
    rivals.table(["", "by", "time", "rate", "msa faster by"], rows)


main()
