"""MiniMax-M3's attention layer as Transformers computes it: selections and outputs.

Writes golden/m3_exact.golden and golden/m3_real.golden. In both, a layer of the class
MiniMaxM3VLAttention runs on random input, and what enters and leaves its parts is recorded:

    index_q [T, Hi, di], index_k [T, di]    after norm and RoPE, what the scores are made of
    ids [T, Hi, k]                          as the indexer returns them: score descending, the own
                                            block first, -1 unused
    q [T, Hq, d], k, v [T, Hkv, d]          after norm and RoPE (m3_real only, as all below)
    out [T, Hq, d]                          before the output projection
    hidden [T, width] and the weights

m3_exact: the index branch has integer weights and input, no norm and no rotation. Its scores are
whole numbers, exact in any order of summation, and no row has a tie across the cut: ids are equal
as sets. m3_real: the layer as it is. The seed is one where the scores on the two sides of the cut
differ by more than rounding in every row.
"""

import sys

import torch
from transformers.models.minimax_m3_vl import modeling_minimax_m3_vl as m3
from transformers.models.minimax_m3_vl.configuration_minimax_m3_vl import MiniMaxM3VLTextConfig

import golden

TOKENS = 325  # 20 blocks and a ragged one
BLOCK, TOPK = 16, 4
WIDTH, HEADS, KV_HEADS, DIM, INDEX_HEADS, INDEX_DIM = 32, 4, 2, 16, 2, 16


def layer_of(seed):
    config = MiniMaxM3VLTextConfig(
        hidden_size=WIDTH,
        num_hidden_layers=1,
        num_attention_heads=HEADS,
        num_key_value_heads=KV_HEADS,
        head_dim=DIM,
        index_n_heads=INDEX_HEADS,
        index_head_dim=INDEX_DIM,
        index_block_size=BLOCK,
        index_topk_blocks=TOPK,
        index_local_blocks=1,
        layer_types=["minimax_m3_sparse"],
        mlp_layer_types=["dense"],
        vocab_size=64,
        rope_parameters={"rope_type": "default", "rope_theta": 5e6, "partial_rotary_factor": 0.5},
    )
    config._attn_implementation = "eager"
    torch.manual_seed(seed)
    layer = m3.MiniMaxM3VLAttention(config, 0).eval()
    for name, weight in layer.named_parameters():
        weight.data = torch.randn(weight.shape) * (0.3 if "norm" in name else WIDTH**-0.5)
    return config, layer


def run(layer, hidden, position_embeddings):
    """The layer's output parts, recorded on their way through the module's own functions."""
    seen = {}
    rotate, attend, select = (
        m3.apply_rotary_pos_emb,
        m3.eager_attention_forward,
        layer.indexer.forward,
    )

    def recording_rotate(q, k, cos, sin, **rest):
        q, k = rotate(q, k, cos, sin, **rest)
        kind = "index_" if k.shape[1] == 1 else ""
        seen[kind + "q"], seen[kind + "k"] = q[0].transpose(0, 1), k[0].transpose(0, 1)
        return q, k

    def recording_attend(module, query, key, value, mask, **rest):
        out, weights = attend(module, query, key, value, mask, **rest)
        seen["v"], seen["out"] = value[0].transpose(0, 1), out[0]
        return out, weights

    def recording_select(*arguments):
        ids = select(*arguments)
        seen["ids"] = ids[0].transpose(0, 1).to(torch.int32)
        return ids

    m3.apply_rotary_pos_emb, m3.eager_attention_forward = recording_rotate, recording_attend
    layer.indexer.forward = recording_select
    try:
        with torch.no_grad():
            layer(
                hidden[None],
                position_embeddings,
                None,
                position_ids=torch.arange(len(hidden))[None],
            )
    finally:
        m3.apply_rotary_pos_emb, m3.eager_attention_forward = rotate, attend
        del layer.indexer.forward
    return {name: value.contiguous() for name, value in seen.items()}


def smallest_gap(seen):
    """Over all rows: score of the last block that was taken less that of the first that was not."""
    tokens, heads, _ = seen["index_q"].shape
    scores = torch.einsum(
        "thc,jc->htj", seen["index_q"].double(), seen["index_k"].double().squeeze(1)
    )
    position = torch.arange(tokens)
    scores[:, position[None, :] > position[:, None]] = -torch.inf
    blocks = -(-tokens // BLOCK)
    padded = torch.nn.functional.pad(scores, (0, blocks * BLOCK - tokens), value=-torch.inf)
    best = padded.view(heads, tokens, blocks, BLOCK).amax(-1)
    best.scatter_(2, (position // BLOCK)[None, :, None].expand(heads, -1, 1), torch.inf)
    order = best.sort(-1, descending=True).values
    full = position // BLOCK >= TOPK  # rows that leave a visible block out
    return (order[:, full, TOPK - 1] - order[:, full, TOPK]).min().item()


def exact(seed):
    config, layer = layer_of(seed)
    generator = torch.Generator().manual_seed(seed)
    hidden = torch.randint(-8, 9, (TOKENS, WIDTH), generator=generator).float()
    for projection in (layer.indexer.q_proj, layer.indexer.k_proj):
        projection.weight.data = torch.randint(
            -3, 4, projection.weight.shape, generator=generator
        ).float()
    layer.indexer.q_norm = layer.indexer.k_norm = torch.nn.Identity()
    still = (torch.ones(1, TOKENS, DIM // 2), torch.zeros(1, TOKENS, DIM // 2))
    seen = run(layer, hidden, still)
    return {name: seen[name] for name in ("index_q", "index_k", "ids")}, {}


def real(seed):
    config, layer = layer_of(seed)
    hidden = torch.randn(TOKENS, WIDTH)
    rotary = m3.MiniMaxM3VLRotaryEmbedding(config)
    position_embeddings = rotary(hidden[None], torch.arange(TOKENS)[None])
    weights = {name: value.data for name, value in layer.named_parameters()}
    return run(layer, hidden, position_embeddings), {"hidden": hidden, **weights}


def main():
    facts = dict(
        block=BLOCK,
        topk=TOPK,
        local=1,
        init=0,
        n_q_heads=HEADS,
        n_kv_heads=KV_HEADS,
        head_dim=DIM,
        n_index_heads=INDEX_HEADS,
        index_dim=INDEX_DIM,
        tokens=TOKENS,
        rotary_dim=DIM // 2,
        rope_theta=5e6,
        rms_eps=1e-6,
    )
    for name, make, enough in (("m3_exact", exact, 1), ("m3_real", real, 2e-4)):
        for seed in range(1000):
            seen, more = make(seed)
            gap = smallest_gap(seen)
            if gap >= enough:
                break
        else:
            sys.exit(f"{name}: no seed without a near tie")
        if name == "m3_exact":
            q, k = seen["index_q"], seen["index_k"]
            assert (q == q.round()).all() and (k == k.round()).all()
            assert (
                INDEX_DIM * q.abs().max() * k.abs().max() < 2**24
            )  # every partial sum is exact in f32
        selected = seen["ids"][-1]
        assert (selected >= 0).all() and len(set(selected[0].tolist())) == TOPK
        print(name, "seed", seed, "gap", gap, "last row", selected.tolist())
        seen["index_k"] = seen["index_k"].squeeze(1)
        golden.write(
            name,
            "transformers 5.23 MiniMaxM3VLAttention, sparse layer; see m3_attention.py",
            {**facts, "seed": seed, "gap": gap},
            {**seen, **more},
        )


main()
