"""A whole small MiniMax-M3 with experts, by Transformers and by llama.cpp from the same numbers.

Writes golden/m3_model.golden. The model is the one tests/support/tiny_model.c makes of the same
seed and shape, so that the C test writes its own file: four layers, the first two dense, then two
with an index branch and experts. N tokens are five times what a query may read.

    ids [N]                                 the prompt
    selected [2, N, Hkv, k]                 Transformers' blocks in layers 2 and 3, ascending, -1
    positions [P], logits [P, vocabulary]   Transformers' logits at some positions
    llama_logits [P, vocabulary]            llama.cpp's, flash attention on, f32 keys and values
    answer [A], llama_answer [A]            greedy tokens behind the prompt
    weights [16]                            the last weights of the last layer: are they the same?

The seed is one where no choice of blocks or experts is a near tie (facts `block_gap` and
`expert_gap`: the least lead of what was taken over what was not).

    python m3_model.py [LLAMA_CPP]     a llama.cpp built in LLAMA_CPP/build; without it its arrays
                                       are those of the golden file that is there
"""

import json
import math
import subprocess
import sys
import tempfile
from pathlib import Path

import gguf
import numpy as np
import torch
from transformers.models.minimax_m3_vl import modeling_minimax_m3_vl as m3
from transformers.models.minimax_m3_vl.configuration_minimax_m3_vl import MiniMaxM3VLTextConfig

import golden

LAYERS, DENSE, EMBD, FF, HEADS, KV_HEADS, DIM, ROT, VOCAB = 4, 2, 64, 96, 8, 2, 32, 16, 300
INDEX, BLOCK, TOPK, LOCAL = 32, 16, 4, 1
EXPERTS, USED, EXPERT_FF, SHARED, SCALE = 8, 2, 48, 1, 2.0
EPS, BASE, CONTEXT = 1e-5, 10000.0, 512
TOKENS, ANSWER = 320, 24
POSITIONS = [0, 1, 15, 16, 63, 64, 100, 159, 200, 255, 256, 300, 318, 319]
MASK = (1 << 64) - 1


class Numbers:
    """The generator of tests/support/support.c."""

    def __init__(self, seed):
        self.state = (seed * 0x9E3779B97F4A7C15 + 1) & MASK

    def next(self):
        self.state = (self.state + 0x9E3779B97F4A7C15) & MASK
        z = self.state
        z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9 & MASK
        z = (z ^ z >> 27) * 0x94D049BB133111EB & MASK
        return z ^ z >> 31

    def below(self, n):
        return self.next() * n >> 64

    def normal(self):
        u = ((self.next() >> 11) + 1) * 2.0**-53
        v = (self.next() >> 11) * 2.0**-53
        return math.sqrt(-2 * math.log(u)) * math.cos(6.283185307179586 * v)

    def floats(self, n, mean, sigma):
        x = np.array([self.normal() for _ in range(n)], np.float64).astype(np.float32)
        return np.float32(sigma) * x + np.float32(mean)

    def matrix(self, n_out, n_in, gain):
        sigma = np.float32(gain) / np.sqrt(np.float32(n_in))
        return self.floats(n_out * n_in, 0, sigma).reshape(n_out, n_in)


def tensors_of(seed):
    """By their names in GGUF, in the order tiny_model.c makes them."""
    r, t = Numbers(seed), {}
    t["token_embd.weight"] = r.floats(VOCAB * EMBD, 0, 1).reshape(VOCAB, EMBD)
    t["output_norm.weight"] = r.floats(EMBD, 1, 0.1)
    t["output.weight"] = r.matrix(VOCAB, EMBD, 1)
    for i in range(LAYERS):
        moe = i >= DENSE
        n_ff, end = (EXPERT_FF * SHARED, "_shexp") if moe else (FF, "")
        layer = {
            "attn_norm": r.floats(EMBD, 1, 0.1),
            "attn_q": r.matrix(HEADS * DIM, EMBD, 2),
            "attn_k": r.matrix(KV_HEADS * DIM, EMBD, 2),
            "attn_v": r.matrix(KV_HEADS * DIM, EMBD, 1),
            "attn_output": r.matrix(EMBD, HEADS * DIM, 1),
            "attn_q_norm": r.floats(DIM, 1.5, 0.2),
            "attn_k_norm": r.floats(DIM, 1.5, 0.2),
            "ffn_norm": r.floats(EMBD, 1, 0.1),
            f"ffn_gate{end}": r.matrix(n_ff, EMBD, 1),
            f"ffn_up{end}": r.matrix(n_ff, EMBD, 1),
            f"ffn_down{end}": r.matrix(EMBD, n_ff, 1),
        }
        if moe:
            layer |= {
                "indexer.q_proj": r.matrix(KV_HEADS * INDEX, EMBD, 2),
                "indexer.k_proj": r.matrix(INDEX, EMBD, 2),
                "indexer.q_norm": r.floats(INDEX, 1.5, 0.2),
                "indexer.k_norm": r.floats(INDEX, 1.5, 0.2),
                "ffn_gate_inp": r.matrix(EXPERTS, EMBD, 2),
                "exp_probs_b": r.floats(EXPERTS, 0, 0.2),
                "ffn_gate_exps": r.matrix(EXPERTS * EXPERT_FF, EMBD, 2).reshape(
                    EXPERTS, EXPERT_FF, EMBD
                ),
                "ffn_up_exps": r.matrix(EXPERTS * EXPERT_FF, EMBD, 2).reshape(
                    EXPERTS, EXPERT_FF, EMBD
                ),
                "ffn_down_exps": r.matrix(EXPERTS * EMBD, EXPERT_FF, 0.5).reshape(
                    EXPERTS, EMBD, EXPERT_FF
                ),
            }
        for name, value in layer.items():
            t[f"blk.{i}.{name}" + (".bias" if name == "exp_probs_b" else ".weight")] = value
    return t


def write_gguf(path, t):
    w = gguf.GGUFWriter(path, "minimax-m3")
    w.add_name("tiny")
    w.add_block_count(LAYERS)
    w.add_context_length(CONTEXT)
    w.add_embedding_length(EMBD)
    w.add_feed_forward_length(FF)
    w.add_head_count(HEADS)
    w.add_head_count_kv(KV_HEADS)
    w.add_key_length(DIM)
    w.add_value_length(DIM)
    w.add_layer_norm_rms_eps(EPS)
    w.add_rope_freq_base(BASE)
    w.add_rope_dimension_count(ROT)
    w.add_leading_dense_block_count(DENSE)
    w.add_expert_count(EXPERTS)
    w.add_expert_used_count(USED)
    w.add_expert_feed_forward_length(EXPERT_FF)
    w.add_expert_shared_count(SHARED)
    w.add_expert_weights_scale(SCALE)
    w.add_expert_weights_norm(True)
    w.add_expert_gating_func(gguf.ExpertGatingFuncType.SIGMOID)
    w.add_indexer_head_count(KV_HEADS)
    w.add_indexer_key_length(INDEX)
    w.add_indexer_top_k(TOPK)
    w.add_uint32("minimax-m3.attention.indexer.block_size", BLOCK)
    w.add_uint32("minimax-m3.attention.indexer.local_blocks", LOCAL)
    w.add_tokenizer_model("gpt2")
    w.add_tokenizer_pre("minimax-m2")
    w.add_token_list([f"<{i}>" for i in range(VOCAB)])
    w.add_token_types([gguf.TokenType.NORMAL] * VOCAB)
    w.add_token_merges(["< >"])
    w.add_eos_token_id(VOCAB - 1)
    for name, value in t.items():
        w.add_tensor(name, np.ascontiguousarray(value))
    w.write_header_to_file()
    w.write_kv_data_to_file()
    w.write_tensors_to_file()
    w.close()


def transformers_model(t):
    config = MiniMaxM3VLTextConfig(
        vocab_size=VOCAB,
        hidden_size=EMBD,
        intermediate_size=EXPERT_FF,
        dense_intermediate_size=FF,
        shared_intermediate_size=EXPERT_FF * SHARED,
        num_hidden_layers=LAYERS,
        num_attention_heads=HEADS,
        num_key_value_heads=KV_HEADS,
        head_dim=DIM,
        rotary_dim=ROT,
        max_position_embeddings=CONTEXT,
        rms_norm_eps=EPS,
        num_local_experts=EXPERTS,
        num_experts_per_tok=USED,
        routed_scaling_factor=SCALE,
        bos_token_id=None,
        eos_token_id=None,
        index_n_heads=KV_HEADS,
        index_head_dim=INDEX,
        index_block_size=BLOCK,
        index_topk_blocks=TOPK,
        index_local_blocks=LOCAL,
        layer_types=["full_attention"] * DENSE + ["minimax_m3_sparse"] * (LAYERS - DENSE),
        mlp_layer_types=["dense"] * DENSE + ["sparse"] * (LAYERS - DENSE),
        rope_parameters={
            "rope_type": "default",
            "rope_theta": BASE,
            "partial_rotary_factor": ROT / DIM,
        },
    )
    config._attn_implementation = "eager"
    model = m3.MiniMaxM3VLForCausalLM(config).eval()
    state = {
        "model.embed_tokens.weight": t["token_embd.weight"],
        "model.norm.weight": t["output_norm.weight"] - 1,
        "lm_head.weight": t["output.weight"],
    }
    for i in range(LAYERS):
        to, g = f"model.layers.{i}.", lambda name: t[f"blk.{i}.{name}"]
        state[to + "input_layernorm.weight"] = g("attn_norm.weight") - 1
        state[to + "post_attention_layernorm.weight"] = g("ffn_norm.weight") - 1
        for mine, theirs in ("q", "q"), ("k", "k"), ("v", "v"), ("output", "o"):
            state[to + f"self_attn.{theirs}_proj.weight"] = g(f"attn_{mine}.weight")
        for head in "qk":
            state[to + f"self_attn.{head}_norm.weight"] = g(f"attn_{head}_norm.weight") - 1
        mlp, end = (to + "mlp.", "") if i < DENSE else (to + "mlp.shared_experts.", "_shexp")
        both = [g(f"ffn_gate{end}.weight"), g(f"ffn_up{end}.weight")]
        state[mlp + "gate_up_proj.weight"] = np.concatenate(both)
        state[mlp + "down_proj.weight"] = g(f"ffn_down{end}.weight")
        if i < DENSE:
            continue
        for head in "qk":
            state[to + f"self_attn.indexer.{head}_proj.weight"] = g(f"indexer.{head}_proj.weight")
            norm = g(f"indexer.{head}_norm.weight") - 1
            state[to + f"self_attn.indexer.{head}_norm.weight"] = norm
        state[to + "mlp.gate.weight"] = g("ffn_gate_inp.weight")
        state[to + "mlp.gate.e_score_correction_bias"] = g("exp_probs_b.bias")
        both = [g("ffn_gate_exps.weight"), g("ffn_up_exps.weight")]
        state[to + "mlp.experts.gate_up_proj"] = np.concatenate(both, axis=1)
        state[to + "mlp.experts.down_proj"] = g("ffn_down_exps.weight")
    model.load_state_dict({k: torch.from_numpy(v.copy()) for k, v in state.items()}, strict=True)
    return model


class Watch:
    """Records the blocks each sparse layer chooses, and how near a tie it and the router came."""

    def __init__(self, model):
        self.selected, self.block_gap, self.expert_gap = [], math.inf, math.inf
        for layer in model.model.layers[DENSE:]:
            layer.self_attn.indexer.forward = self.wrap(layer.self_attn.indexer)
            layer.mlp.gate.register_forward_hook(self.see_router)

    def wrap(self, indexer):
        forward = indexer.forward

        def recording(*arguments):
            scores, topk = [], torch.Tensor.topk

            def seeing(x, k, **rest):
                scores.append(x)
                return topk(x, k, **rest)

            torch.Tensor.topk = seeing
            try:
                ids = forward(*arguments)
            finally:
                torch.Tensor.topk = topk
            self.selected.append(ids[0].transpose(0, 1).to(torch.int32))
            order = scores[0][0].sort(-1, descending=True).values
            if order.shape[-1] > TOPK:
                lead = (order[..., TOPK - 1] - order[..., TOPK])[order[..., TOPK] > -math.inf]
                self.block_gap = min([self.block_gap, *lead.flatten().tolist()])
            return ids

        return recording

    def see_router(self, module, _, out):
        choice = out[0].float().sigmoid() + module.e_score_correction_bias
        order = choice.sort(-1, descending=True).values
        self.expert_gap = min(self.expert_gap, (order[:, USED - 1] - order[:, USED]).min().item())


def ascending(ids):
    """Ids ascending, then -1: [..., k], rows of fewer columns filled up."""
    ids = torch.nn.functional.pad(ids, (0, TOPK - ids.shape[-1]), value=-1)
    big = torch.where(ids < 0, torch.iinfo(torch.int32).max, ids).sort(-1).values
    return torch.where(big == torch.iinfo(torch.int32).max, -1, big)


@torch.no_grad()
def run_transformers(t, ids):
    model = transformers_model(t)
    watch = Watch(model)
    out = model(torch.tensor([ids]), use_cache=True)
    logits, cache = out.logits[0], out.past_key_values
    selected = torch.stack([ascending(s) for s in watch.selected])
    answer, row, lead = [], logits[-1], math.inf
    for _ in range(ANSWER):
        best = row.topk(2)
        lead = min(lead, (best.values[0] - best.values[1]).item())
        answer.append(best.indices[0].item())
        out = model(torch.tensor([answer[-1:]]), past_key_values=cache, use_cache=True)
        row, cache = out.logits[0, -1], out.past_key_values
    return logits.numpy(), selected.numpy(), answer, lead, watch


def run_llama(folder, model, ids, n_batch):
    """Logits of every token, and the greedy answer, by llama.cpp."""
    work = model.parent
    program, there = work / "llama_logits", Path(folder)
    if not program.exists():
        libraries = ["src/libllama.a", "ggml/src/libggml.a", "ggml/src/libggml-cpu.a"]
        libraries += ["ggml/src/libggml-base.a"]
        subprocess.run(
            ["g++", "-O1", "-std=c++17", f"-I{there}/include", f"-I{there}/ggml/include"]
            + [str(Path(__file__).parent / "llama_logits.cpp"), "-o", str(program)]
            + [str(there / "build" / name) for name in libraries]
            + ["-fopenmp", "-lpthread", "-ldl", "-lm"],
            check=True,
        )
    np.array(ids, np.int32).tofile(work / "ids")
    run = [program, model, work / "ids", work / "logits", str(ANSWER), str(n_batch)]
    done = subprocess.run(list(map(str, run)), check=True, capture_output=True, text=True)
    (work / "log").write_text(done.stderr)
    if "DENSE" in done.stderr:
        sys.exit("llama.cpp ran densely: " + done.stderr)
    logits = np.fromfile(work / "logits", np.float32).reshape(len(ids), VOCAB)
    return logits, [int(x) for x in done.stdout.split()]


def prompt_of(seed):
    r = Numbers(seed + 1)
    return [r.below(VOCAB) for _ in range(TOKENS)]


def find_seed():
    for seed in range(1, 40):
        t, ids = tensors_of(seed), prompt_of(seed)
        logits, selected, answer, lead, watch = run_transformers(t, ids)
        print(f"seed {seed}: gaps {watch.block_gap:.2e} {watch.expert_gap:.2e}, lead {lead:.2e}")
        if watch.block_gap > 5e-4 and watch.expert_gap > 5e-5 and lead > 0.02:
            return seed, t, ids, logits, selected, answer, lead, watch
    sys.exit("no seed without a near tie")


def kept(name, shape):
    """An array of the golden file that is there."""
    blob = (golden.FOLDER / "m3_model.golden").read_bytes()
    line = blob.index(b"\n") + 1
    at = json.loads(blob[:line])["arrays"][name]["offset"] + line
    dtype = np.float32 if "logits" in name else np.int32
    return np.frombuffer(blob, dtype, math.prod(shape), at).reshape(shape)


def main():
    seed, t, ids, logits, selected, answer, lead, watch = find_seed()
    if len(sys.argv) > 1:
        with tempfile.TemporaryDirectory() as folder:
            model = Path(folder) / "m3.gguf"
            write_gguf(model, t)
            for n_batch in (512, 64):
                llama_logits, llama_answer = run_llama(sys.argv[1], model, ids, n_batch)
                worst = np.abs(llama_logits - logits).max(-1)
                print(
                    f"llama.cpp in batches of {n_batch}: logits differ by {worst.max():.2e} at most"
                    f" (position {worst.argmax()}), median {np.median(worst):.2e}; greedy"
                    f" {'equal' if llama_answer == answer else 'DIFFERS'}"
                )
        llama_logits = llama_logits[POSITIONS]
    else:
        llama_logits = kept("llama_logits", (len(POSITIONS), VOCAB))
        llama_answer = kept("llama_answer", (ANSWER,))
    golden.write(
        "m3_model",
        "transformers 5.23 MiniMaxM3VLForCausalLM and llama.cpp minimax-m3; see m3_model.py",
        {
            "seed": seed,
            "n_layers": LAYERS,
            "n_dense_layers": DENSE,
            "n_embd": EMBD,
            "n_ff": FF,
            "n_q_heads": HEADS,
            "n_kv_heads": KV_HEADS,
            "head_dim": DIM,
            "n_rot": ROT,
            "n_vocab": VOCAB,
            "n_ctx": CONTEXT,
            "index_dim": INDEX,
            "block": BLOCK,
            "topk": TOPK,
            "local": LOCAL,
            "n_experts": EXPERTS,
            "n_used": USED,
            "n_ff_expert": EXPERT_FF,
            "n_shared": SHARED,
            "block_gap": watch.block_gap,
            "expert_gap": watch.expert_gap,
            "lead": lead,
        },
        {
            "ids": np.array(ids, np.int32),
            "selected": selected,
            "positions": np.array(POSITIONS, np.int32),
            "logits": logits[POSITIONS],
            "llama_logits": llama_logits,
            "answer": np.array(answer, np.int32),
            "llama_answer": np.array(llama_answer, np.int32),
            "weights": t[f"blk.{LAYERS - 1}.ffn_down_exps.weight"].reshape(-1)[-16:],
        },
    )


main()
