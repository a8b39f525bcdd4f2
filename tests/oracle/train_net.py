"""Losses, gradients and loss curves of small models of both families, as PyTorch's autograd has
them in float64 (train_model.py is the model).

Writes golden/train_grad.golden: for every case (a model, a mode) the losses and, of each tensor's
gradient in the order of the parameters, its norm and its products with eight vectors of +1 and -1
(bit i of number j of stream(SIGNS, tensor) is element j of vector i). Facts say what the models and
the modes are. Seeds are those where no selection and no routing is nearly tied.

    arrays  CASE.losses [2]               lm, kl
            CASE.kl [n_layers, Hkv]       of each layer and group
            CASE.gradients [n_tensors, 9] norm, eight products
            CASE.load [n_layers, n_experts]

Writes golden/train_curves.golden: RECIPE.lm and RECIPE.kl [steps] while AdamW trains a small M3 on
sixteen batches in turn.
"""

import math
import sys

import numpy as np
import torch

import golden
from train_model import F64, Net, make_batch, make_weights, numbers, sample_rows, stream, tensors

SIGNS = 77
LENGTHS = [200, 1, 33, 64, 17]

M3 = dict(
    family="minimax_m3",
    n_layers=3,
    n_embd=32,
    n_q_heads=4,
    n_kv_heads=2,
    head_dim=16,
    n_vocab=61,
    n_ff=40,
    n_rot=8,
    rope_base=10000.0,
    norm_eps=1e-6,
    tied=False,
    qk_norm=True,
    qkv_bias=False,
    swiglu_alpha=1.702,
    swiglu_limit=2.0,
    n_dense_layers=1,
    index_dim=16,
    index_value=False,
    block=16,
    topk=3,
    local=1,
    init=0,
    n_experts=5,
    n_used=2,
    n_ff_expert=24,
    n_ff_shared=16,
    moe_scale=2.0,
)
LLAMA = dict(
    M3,
    family="llama",
    n_layers=2,
    n_rot=16,
    tied=True,
    qk_norm=False,
    n_dense_layers=0,
    index_dim=24,
    topk=4,
    local=2,
    init=1,
    n_experts=0,
)
MODE = {
    "sparse": False,
    "lm": True,
    "kl": "off",
    "selection": "index",
    "lambda": 0.5,
    "detach": True,
    "index_value": False,
    "lm_index": False,
    "kl_rows": 0,
    "fp8_p": False,
    "seed": 5,
}
QWEN2, QWEN3 = dict(LLAMA, qkv_bias=True), dict(LLAMA, qk_norm=True)
VALUE = dict(M3, index_value=True)
SPARSE = {"sparse": True}
CASES = {
    "m3_dense": (M3, {}),
    "m3_warm": (M3, {"kl": "visible"}),
    "m3_sparse": (M3, {**SPARSE, "kl": "selected"}),
    "m3_sparse_visible": (M3, {**SPARSE, "kl": "visible"}),
    "m3_far": (M3, {**SPARSE, "kl": "far", "lambda": 2.0}),
    "m3_warm_far_rows": (M3, {"kl": "far", "kl_rows": 20}),
    "m3_rows": (M3, {**SPARSE, "kl": "selected", "kl_rows": 15}),
    "m3_no_detach": (M3, {**SPARSE, "kl": "selected", "detach": False}),
    "m3_no_detach_kl": (M3, {"kl": "visible", "detach": False, "lm": False}),
    "m3_index_only": (M3, {"kl": "far", "lm": False}),
    "m3_window": (M3, {**SPARSE, "selection": "sink_window"}),
    "m3_random": (M3, {**SPARSE, "selection": "random", "kl": "selected"}),
    "m3_value_warm": (VALUE, {"kl": "visible", "index_value": True}),
    "m3_value": (VALUE, {**SPARSE, "kl": "selected", "index_value": True, "detach": False}),
    "m3_lm_index_dense": (M3, {"lm_index": True}),
    "m3_lm_index": (M3, {**SPARSE, "lm_index": True}),
    "m3_fp8_warm": (M3, {"kl": "visible", "fp8_p": True}),
    "m3_fp8": (M3, {**SPARSE, "kl": "selected", "fp8_p": True}),
    "llama_dense": (LLAMA, {}),
    "llama_warm": (LLAMA, {"kl": "visible"}),
    "llama_sparse": (LLAMA, {**SPARSE, "kl": "selected"}),
    "llama_far": (LLAMA, {**SPARSE, "kl": "far", "kl_rows": 25}),
    "qwen2_sparse": (QWEN2, {**SPARSE, "kl": "selected"}),
    "qwen3_sparse": (QWEN3, {**SPARSE, "kl": "selected"}),
}


def rows_of(mode, lengths):
    return sample_rows(lengths, mode["kl_rows"], mode["seed"]) if mode["kl_rows"] else None


def run_case(config, mode, seed):
    mode = {**MODE, **mode}
    mode["rows"] = rows_of(mode, LENGTHS)
    weights = make_weights(config, seed)
    names = [t[0] for t in tensors(config)]
    for name in names:
        weights[name].requires_grad_(True)
    net = Net(config, weights, LENGTHS)
    ids, targets = make_batch(config, LENGTHS, seed)
    lm, kl, total = net.forward(ids, targets, mode)
    total.backward()
    gradients = np.zeros((len(names), 9))
    for i, name in enumerate(names):
        g = weights[name].grad
        if g is None:
            continue
        g = g.flatten().numpy()
        bits = numbers(stream(SIGNS, i), len(g))
        gradients[i, 0] = np.linalg.norm(g)
        for j in range(8):
            sign = 1 - 2 * ((bits >> np.uint64(j)) & np.uint64(1)).astype(np.float64)
            gradients[i, 1 + j] = (sign * g).sum()
    per_group = torch.zeros(config["n_layers"], config["n_kv_heads"], dtype=F64)
    for layer, value in net.kl.items():
        per_group[layer] = value.detach()
    load = torch.zeros(config["n_layers"], max(config["n_experts"], 1), dtype=torch.int32)
    for layer, count in net.load.items():
        load[layer] = count
    return net, lm, kl, gradients, per_group, load


def gradients():
    facts, arrays = {}, {}
    for name, (config, mode) in CASES.items():
        for seed in range(100):
            net, lm, kl, grad, per_group, load = run_case(config, mode, seed)
            if net.smallest_gap > 2e-5:
                break
        else:
            sys.exit(f"{name}: no seed without a near tie")
        print(name, seed, net.smallest_gap, lm.item(), kl.item())
        facts[f"{name}.seed"] = seed
        arrays[f"{name}.losses"] = np.float32([lm.item(), kl.item()])
        arrays[f"{name}.kl"] = per_group.float()
        arrays[f"{name}.gradients"] = grad.astype(np.float32)
        arrays[f"{name}.load"] = load
    golden.write("train_grad", "PyTorch float64 autograd; see train_net.py", facts, arrays)


# ---- curves

STEPS = 200
CURVE_LENGTHS = [130, 70, 40]
CURVE, CURVE_SEED = dict(M3, n_layers=2), 2
ADAM = dict(lr=1e-3, betas=(0.9, 0.95), eps=1e-8)
DECAY = 0.1
BIAS = 16  # of the routers: far apart, so that few tokens are nearly tied between two experts
WARM, SPARSE_KL = {"kl": "visible"}, {"sparse": True, "kl": "selected"}
RECIPES = {  # (steps, mode) phases; the backbone is frozen in index_only
    "full": [(STEPS, {})],
    "pt": [(40, WARM), (STEPS - 40, SPARSE_KL)],
    "cpt": [(100, {}), (40, WARM), (STEPS - 140, SPARSE_KL)],
    "index_only": [(STEPS, {"kl": "far", "lm": False})],
}


def curve(phases, dtype=F64):
    weights = make_weights(CURVE, CURVE_SEED)
    weights["router_bias"] *= BIAS
    kinds = tensors(CURVE)
    frozen = not phases[0][1].get("lm", True)
    for name, _, _, index in kinds:
        weights[name] = weights[name].to(dtype).requires_grad_(index or not frozen)
    groups = [
        {
            "params": [weights[n] for n, _, norm, index in kinds
                       if norm == is_norm and (index or not frozen)],
            "weight_decay": 0.0 if is_norm else DECAY,
        }
        for is_norm in (False, True)
    ]
    optimiser = torch.optim.AdamW(groups, **ADAM)
    net = Net(CURVE, weights, CURVE_LENGTHS, dtype)
    batches = [make_batch(CURVE, CURVE_LENGTHS, 100 + i) for i in range(16)]
    lm_curve, kl_curve, step = [], [], 0
    for steps, phase in phases:
        mode = {**MODE, **phase, "rows": None}
        for _ in range(steps):
            ids, targets = batches[step % len(batches)]
            lm, kl, total = net.forward(ids, targets, mode)
            optimiser.zero_grad(set_to_none=False)
            total.backward()
            # A tensor that no loss reaches still decays, as it does in the trainer.
            for name, _, _, index in kinds:
                if weights[name].requires_grad and weights[name].grad is None:
                    weights[name].grad = torch.zeros_like(weights[name])
            optimiser.step()
            lm_curve.append(lm.item() if mode["lm"] else 0.0)
            kl_curve.append(kl.item())
            step += 1
    return np.float32(lm_curve), np.float32(kl_curve)


def curves():
    arrays = {}
    for name, phases in RECIPES.items():
        lm, kl = curve(phases)
        print(name, "lm", lm[0], lm[STEPS // 2], lm[-1], "kl", kl[0], kl[-1])
        arrays[f"{name}.lm"], arrays[f"{name}.kl"] = lm, kl
    facts = {"seed": CURVE_SEED}
    golden.write("train_curves", "AdamW in PyTorch, float64; see train_net.py", facts, arrays)


if __name__ == "__main__":
    torch.set_num_threads(1)
    {"gradients": gradients, "curves": curves}[sys.argv[1]]()
