"""Random lists of blocks, and what a query sees by its list: for sdpa.py and grad.py."""

import torch


def random_lists(q_len, kv_len, groups, block, topk, generator):
    """Per query and group: the own block, up to topk - 1 others before it, ascending, -1 behind."""
    ids = torch.full((q_len, groups, topk), -1, dtype=torch.int32)
    for t in range(q_len):
        own = (kv_len - q_len + t) // block
        for g in range(groups):
            others = torch.randperm(own, generator=generator)[: topk - 1]
            row = torch.cat([others, torch.tensor([own])]).sort().values
            ids[t, g, : len(row)] = row
    return ids


def visible_by(ids, q_len, kv_len, groups, block):
    position = torch.arange(kv_len - q_len, kv_len)
    visible = (torch.arange(kv_len)[None, :] <= position[:, None]).expand(groups, -1, -1)
    if ids is None:
        return visible
    chosen = torch.zeros(groups, q_len, kv_len, dtype=torch.bool)
    for t in range(q_len):
        for g in range(groups):
            for b in ids[t, g]:
                if b >= 0:
                    chosen[g, t, b * block : (b + 1) * block] = True
    return visible & chosen
