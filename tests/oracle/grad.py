"""Gradients of attention and of the index loss by PyTorch's autograd.

Writes golden/grad.golden: one packed batch of documents, everything in double, stored as f32.

    cu_seqlens [documents + 1]   ids [T, Hkv, k] (ascending, -1 unused)
    q, d_out [T, Hq, d]   k, v [T, Hkv, d]   qi [T, Hi, di]   ki [T, di]
    dense_dq, dense_dk, dense_dv             gradients of sum(d_out * out), causal in each document
    sparse_dq, sparse_dk, sparse_dv          the same with the mask of the listed blocks
    S_kl [Hkv], S_dqi, S_dki                 for S in visible, selected, far: sum over queries of
                                             KL(teacher || student), gradients of loss_scale times
                                             its sum over groups

Written with masks and torch.softmax alone; KL is torch.nn.functional.kl_div.
"""

import torch
import torch.nn.functional as F

import golden
from sdpa_lists import random_lists, visible_by

DOCUMENTS = [37, 50]
HEADS, GROUPS, DIM, INDEX_DIM, BLOCK, TOPK = 6, 2, 16, 8, 16, 3
LOCAL, INIT, LOSS_SCALE = 1, 1, 0.25


def mask_of(ids):
    """[Hkv, T, T]: what each row sees; ids None: all before it in its document."""
    total, at = sum(DOCUMENTS), 0
    mask = torch.zeros(GROUPS, total, total, dtype=torch.bool)
    for n in DOCUMENTS:
        part = None if ids is None else ids[at : at + n]
        mask[:, at : at + n, at : at + n] = visible_by(part, n, n, GROUPS, BLOCK)
        at += n
    return mask


def far_of(mask):
    """Without the forced blocks, counted from the start of each document."""
    block = torch.cat([torch.arange(n) // BLOCK for n in DOCUMENTS])
    own = block[:, None]
    return mask & (block[None, :] >= INIT) & (block[None, :] <= own - LOCAL)


def teacher_scores(q, k):
    keys = k.repeat_interleave(HEADS // GROUPS, 1)
    return torch.einsum("thc,jhc->htj", q, keys) / DIM**0.5


def attention_gradients(q, k, v, d_out, mask):
    q, k, v = (x.clone().requires_grad_() for x in (q, k, v))
    scores = teacher_scores(q, k).masked_fill(
        ~mask.repeat_interleave(HEADS // GROUPS, 0), -torch.inf
    )
    out = torch.einsum("htj,jhc->thc", scores.softmax(-1), v.repeat_interleave(HEADS // GROUPS, 1))
    return torch.autograd.grad((out * d_out).sum(), (q, k, v))


def index_loss(q, k, qi, ki, mask):
    qi, ki = (x.clone().requires_grad_() for x in (qi, ki))
    kl = [torch.zeros((), dtype=torch.float64) for _ in range(GROUPS)]
    main = teacher_scores(q, k)
    for g in range(GROUPS):
        for t in range(len(q)):
            seen = mask[g, t]
            if not seen.any():
                continue
            heads = main[g * (HEADS // GROUPS) : (g + 1) * (HEADS // GROUPS), t, seen]
            student = ((ki[seen] @ qi[t, g]) / INDEX_DIM**0.5).log_softmax(-1)
            kl[g] = kl[g] + F.kl_div(student, heads.softmax(-1).mean(0), reduction="sum")
    kl = torch.stack(kl)
    return kl.detach(), *torch.autograd.grad(LOSS_SCALE * kl.sum(), (qi, ki))


generator = torch.Generator().manual_seed(6)
total = sum(DOCUMENTS)
arrays = {
    "q": torch.randn(total, HEADS, DIM, generator=generator),
    "k": torch.randn(total, GROUPS, DIM, generator=generator),
    "v": torch.randn(total, GROUPS, DIM, generator=generator),
    "d_out": torch.randn(total, HEADS, DIM, generator=generator),
    "qi": torch.randn(total, GROUPS, INDEX_DIM, generator=generator),
    "ki": torch.randn(total, INDEX_DIM, generator=generator),
}
q, k, v, d_out, qi, ki = (x.double() for x in arrays.values())
ids = torch.cat([random_lists(n, n, GROUPS, BLOCK, TOPK, generator) for n in DOCUMENTS])
arrays["ids"] = ids
arrays["cu_seqlens"] = torch.tensor([0, *torch.tensor(DOCUMENTS).cumsum(0)], dtype=torch.int32)
masks = {"visible": mask_of(None), "selected": mask_of(ids)}
masks["far"] = far_of(masks["visible"])
for name, support in (("dense", "visible"), ("sparse", "selected")):
    gradients = attention_gradients(q, k, v, d_out, masks[support])
    arrays |= {f"{name}_d{x}": y.float() for x, y in zip("qkv", gradients, strict=True)}
for name, mask in masks.items():
    kl, dqi, dki = index_loss(q, k, qi, ki, mask)
    arrays |= {f"{name}_kl": kl.float(), f"{name}_dqi": dqi.float(), f"{name}_dki": dki.float()}
golden.write(
    "grad",
    "torch 2.13 autograd; see grad.py",
    dict(
        documents=len(DOCUMENTS),
        q_heads=HEADS,
        kv_heads=GROUPS,
        dim=DIM,
        index_dim=INDEX_DIM,
        block=BLOCK,
        topk=TOPK,
        local=LOCAL,
        init=INIT,
        loss_scale=LOSS_SCALE,
    ),
    arrays,
)
