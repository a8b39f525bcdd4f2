"""The parts of a layer and their gradients, as PyTorch's autograd and Transformers have them.

Writes golden/layer_grad.golden and golden/moe_grad.golden: f32, computed in double from inputs
that are exact in f32. In each part the loss is the sum of (output * dy).

layer_grad:
    norm_x, norm_dy [T, N], norm_w [N] -> norm_y, norm_dx, norm_dw: torch.nn.RMSNorm; and with
        1 + w, MiniMaxM3VLRMSNorm: gemma_y, gemma_dx, gemma_dw
    rope_x, rope_dy [T, H, D] -> rope_y, rope_dx: apply_rotary_pos_emb of M3, n_rot of D, positions
        FIRST...
    gate, up, gate_dy [G] -> silu_y, silu_dgate, silu_dup: silu(gate) * up; oai_y, oai_dgate,
        oai_dup: MiniMaxM3VLExperts._apply_gate; some elements lie on the limit
    ce_x [T, N], ce_w [V, N], ce_targets [T] -> ce_losses [T], ce_dx, ce_dw: cross_entropy, summed,
        over x w^T; target -1 is ignored
    embed_ids [T], embed_dy [T, N] -> embed_dw [V, N]
    adam_w, adam_g [S, A] -> adam_out [S, A]: the weights after each of S steps of torch.optim.AdamW
        in f32 with decay

moe_grad, MiniMaxM3VLSparseMoeBlock (biased router, shared expert), n_experts E, n_used K:
    x, dy [T, N], router [E, N], bias [E], gate, up [E, F, N], down [E, N, F], shared_gate,
    shared_up [S, N], shared_down [N, S] -> y, d_x, d_router, d_gate, d_up, d_down; ids [T, K]
    ascending, weights [T, K] to them, before the scale
"""

import torch
import torch.nn.functional as F
from transformers.models.minimax_m3_vl import modeling_minimax_m3_vl as m3
from transformers.models.minimax_m3_vl.configuration_minimax_m3_vl import MiniMaxM3VLTextConfig

import golden

T, N, V = 11, 20, 37
ALPHA, LIMIT, EPS = 1.702, 7.0, 1e-6


def random(*shape, scale=1.0):
    """Doubles that are exact in f32 and ask for a gradient."""
    return (torch.randn(*shape) * scale).double().requires_grad_()


def backward(output, dy):
    (output * dy).sum().backward()


def norms():
    out = {"norm_dy": random(T, N)}
    x, w = random(T, N, scale=2.0), random(N)
    kinds = {"norm": torch.nn.RMSNorm(N, eps=EPS), "gemma": m3.MiniMaxM3VLRMSNorm(N, EPS)}
    for name, module in kinds.items():
        module = module.double()
        module.weight.data = w.data.clone()
        x.grad = None
        if name == "gemma":  # its forward goes through float()
            y = module._norm(x) * (1.0 + module.weight)
        else:
            y = module(x)
        backward(y, out["norm_dy"].detach())
        out |= {f"{name}_y": y, f"{name}_dx": x.grad.clone(), f"{name}_dw": module.weight.grad}
    return out | {"norm_x": x, "norm_w": w}


def ropes(heads, dim, n_rot, first, theta):
    x, dy = random(1, heads, T, dim), random(1, heads, T, dim)
    frequency = theta ** (-torch.arange(0, n_rot, 2).double() / n_rot)
    angle = (first + torch.arange(T).double())[:, None] * frequency
    angle = torch.cat([angle, angle], -1)[None]
    y, _ = m3.apply_rotary_pos_emb(x, x, angle.cos(), angle.sin())
    backward(y, dy.detach())
    named = {"rope_x": x, "rope_dy": dy, "rope_y": y, "rope_dx": x.grad}
    return {key: value[0].transpose(0, 1) for key, value in named.items()}


def gates(n):
    gate, up, dy = random(n, scale=6.0), random(n, scale=6.0), random(n)
    with torch.no_grad():
        gate[::9], up[::7], up[::11] = LIMIT, LIMIT, -LIMIT
    silu = F.silu(gate) * up
    backward(silu, dy.detach())
    out = {"gate": gate, "up": up, "gate_dy": dy, "silu_y": silu}
    out |= {"silu_dgate": gate.grad.clone(), "silu_dup": up.grad.clone()}
    gate.grad = up.grad = None
    module = type("Gate", (), {"swiglu_alpha": ALPHA, "swiglu_limit": LIMIT})
    oai = m3.MiniMaxM3VLExperts._apply_gate(module, torch.cat([gate, up]))
    backward(oai, dy.detach())
    return out | {"oai_y": oai, "oai_dgate": gate.grad, "oai_dup": up.grad}


def losses():
    x, w = random(T, N), random(V, N)
    targets = torch.randint(V, (T,))
    targets[2] = targets[7] = -1
    each = F.cross_entropy(x @ w.T, targets, ignore_index=-1, reduction="none")
    each.sum().backward()
    out = {"ce_x": x, "ce_w": w, "ce_targets": targets.int(), "ce_losses": each}
    out |= {"ce_dx": x.grad, "ce_dw": w.grad}
    ids = torch.randint(V, (T,))
    ids[4] = ids[1]
    table, dy = random(V, N), random(T, N)
    backward(F.embedding(ids, table), dy.detach())
    return out | {"embed_ids": ids.int(), "embed_dy": dy, "embed_dw": table.grad}


def adam(steps, n, facts):
    w = torch.nn.Parameter(torch.randn(n))
    start, gradients, seen = w.data.clone(), torch.randn(steps, n), []
    optimiser = torch.optim.AdamW(
        [w], lr=facts["lr"], betas=(0.9, 0.95), eps=1e-8, weight_decay=0.1, foreach=False
    )
    for gradient in gradients:
        w.grad = gradient.clone()
        optimiser.step()
        seen.append(w.data.clone())
    return {"adam_w": start, "adam_g": gradients, "adam_out": torch.stack(seen)}


def write(name, about, facts, arrays):
    single = {
        key: (value.detach().float() if value.is_floating_point() else value).contiguous()
        for key, value in arrays.items()
    }
    golden.write(name, f"{about}; see layer_grad.py", facts, single)


def layer():
    torch.manual_seed(1)
    facts = dict(tokens=T, n=N, vocab=V, n_gate=100, alpha=ALPHA, limit=LIMIT, eps=EPS)
    facts |= dict(heads=3, head_dim=24, n_rot=12, first=100, theta=10000.0)
    facts |= dict(steps=5, n_adam=50, lr=0.01)
    rope = ropes(3, 24, 12, 100, 10000.0)
    arrays = norms() | rope | gates(100) | losses() | adam(5, 50, facts)
    write("layer_grad", "torch 2.13 autograd", facts, arrays)


def moe():
    torch.manual_seed(2)
    tokens, width, experts, used, ff, shared = 19, 16, 8, 3, 12, 10
    config = MiniMaxM3VLTextConfig(
        hidden_size=width,
        num_local_experts=experts,
        num_experts_per_tok=used,
        intermediate_size=ff,
        shared_intermediate_size=shared,
        swiglu_alpha=ALPHA,
        swiglu_limit=LIMIT,
        routed_scaling_factor=2.0,
    )
    config._experts_implementation = "eager"
    block = m3.MiniMaxM3VLSparseMoeBlock(config)
    for weight in block.parameters():
        weight.data = torch.randn(weight.shape)
    block.gate.e_score_correction_bias.data = torch.randn(experts) * 0.3
    block = block.double()
    x, dy = random(1, tokens, width), random(tokens, width)
    y = block(x)
    backward(y[0], dy.detach())
    _, weights, ids = block.gate(x)
    ids, order = ids.sort(-1)
    two, grad = block.experts.gate_up_proj, block.experts.gate_up_proj.grad
    both = block.shared_experts.gate_up_proj.weight
    facts = dict(tokens=tokens, n=width, experts=experts, used=used, ff=ff, ff_shared=shared)
    facts |= dict(alpha=ALPHA, limit=LIMIT, scale=2.0)
    arrays = {
        "x": x[0],
        "dy": dy,
        "router": block.gate.weight,
        "bias": block.gate.e_score_correction_bias,
        "gate": two[:, :ff],
        "up": two[:, ff:],
        "down": block.experts.down_proj,
        "shared_gate": both[:shared],
        "shared_up": both[shared:],
        "shared_down": block.shared_experts.down_proj.weight,
        "y": y[0],
        "ids": ids.int(),
        "weights": weights.gather(-1, order),
        "d_x": x.grad[0],
        "d_router": block.gate.weight.grad,
        "d_gate": grad[:, :ff],
        "d_up": grad[:, ff:],
        "d_down": block.experts.down_proj.grad,
    }
    write("moe_grad", "Transformers 5.23, MiniMaxM3VLSparseMoeBlock", facts, arrays)


layer()
moe()
