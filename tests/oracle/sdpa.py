"""Attention by PyTorch's scaled_dot_product_attention: dense, and sparse by a given list.

Writes golden/sdpa_*.golden. Queries are f32; keys and values are f32, f16 or bf16 as stored (u16
for the halves), widened before use, as in the library. One request of q_len queries that end a
context of kv_len tokens.

    q [q_len, Hq, d]   k, v [kv_len, Hkv, d]   ids [q_len, Hkv, k] (sparse: ascending, -1 unused)
    out [q_len, Hq, d] f32, by SDPA in double over the widened inputs
    lse [q_len, Hq]    f32, logsumexp in double of the scaled visible scores
    naive_error        fact: largest error of SDPA in f32 against it, the measure of what f32 allows
"""

import torch
import torch.nn.functional as F

import golden
from sdpa_lists import random_lists, visible_by

CASES = [
    # name, dtype, Hq, Hkv, d, q_len, kv_len, B, k
    ("dense_f32", torch.float32, 4, 2, 64, 17, 65, 0, 0),
    ("dense_bf16", torch.bfloat16, 8, 1, 128, 5, 70, 0, 0),
    ("dense_f16", torch.float16, 6, 3, 8, 50, 50, 0, 0),
    ("sparse_f32", torch.float32, 8, 2, 40, 24, 205, 16, 4),
    ("sparse_bf16", torch.bfloat16, 16, 1, 128, 4, 200, 32, 3),
    ("sparse_f16", torch.float16, 9, 3, 24, 60, 130, 16, 2),
]


def case(name, dtype, heads, groups, dim, q_len, kv_len, block, topk):
    generator = torch.Generator().manual_seed(len(name) * 1000 + kv_len)
    q = torch.randn(q_len, heads, dim, generator=generator)
    k = (torch.randn(kv_len, groups, dim, generator=generator)).to(dtype)
    v = (torch.randn(kv_len, groups, dim, generator=generator)).to(dtype)
    ids = random_lists(q_len, kv_len, groups, block, topk, generator) if topk else None
    mask = visible_by(ids, q_len, kv_len, groups, block).repeat_interleave(heads // groups, 0)

    def sdpa(wide):
        qw, kw, vw = (x.to(wide).transpose(0, 1)[None] for x in (q, k, v))
        return F.scaled_dot_product_attention(qw, kw, vw, attn_mask=mask[None], enable_gqa=True)[
            0
        ].transpose(0, 1)

    out = sdpa(torch.float64)
    keys = k.double().repeat_interleave(heads // groups, 1)
    scores = torch.einsum("thc,jhc->htj", q.double(), keys) / dim**0.5
    lse = scores.masked_fill(~mask, -torch.inf).logsumexp(-1).transpose(0, 1)
    naive_error = (sdpa(torch.float32).double() - out).abs().max().item()
    print(name, "naive f32 error", naive_error)

    stored = {torch.float32: "f32", torch.float16: "f16", torch.bfloat16: "bf16"}[dtype]
    bits = (lambda x: x) if dtype == torch.float32 else (lambda x: x.view(torch.uint16))
    arrays = {"q": q, "k": bits(k), "v": bits(v), "out": out.float(), "lse": lse.float()}
    if topk:
        arrays["ids"] = ids
    facts = dict(
        n_q_heads=heads,
        n_kv_heads=groups,
        head_dim=dim,
        q_len=q_len,
        kv_len=kv_len,
        block=block,
        topk=topk,
        dtype=stored,
        naive_error=naive_error,
    )
    golden.write(
        f"sdpa_{name}",
        "torch 2.13 scaled_dot_product_attention; see sdpa.py",
        facts,
        {key: value.contiguous() for key, value in arrays.items()},
    )


for row in CASES:
    case(*row)
