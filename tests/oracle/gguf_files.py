"""Small GGUF files written by the gguf Python package, one per architecture, the formats without K
and without a fifth bit in each, a llama in the others, and an index branch for the model of ones
that the fuzz target has. They are the seeds of the fuzz target and, in tests/test_weights.c, files
of a foreign hand. (The package makes no K formats: their blocks are random bytes.)

Writes tests/fuzz/corpus/gguf/{llama,qwen2,qwen3,minimax-m3,kquants,index}.gguf.
"""

from pathlib import Path

import gguf
import numpy as np
from gguf.quants import quantize

FOLDER = Path(__file__).parent.parent / "fuzz" / "corpus" / "gguf"
FORMATS = ["F32", "F16", "BF16", "Q4_0", "Q4_1", "Q8_0"]
K_FORMATS = ["Q4_K", "Q5_K", "Q6_K", "Q5_0", "Q4_K", "Q5_K", "Q5_1"]
EMBD, FF, HEADS, KV_HEADS, DIM, VOCAB = 32, 32, 2, 1, 16, 16
MASK = (1 << 64) - 1

rng = np.random.default_rng(1)


def add_matrix(w, name, shape, fmt):
    kind = gguf.GGMLQuantizationType[fmt]
    if fmt.endswith("_K"):
        data = random_blocks(shape, fmt, kind)
    else:
        data = quantize(rng.normal(0, 1, shape).astype(np.float32), kind)
    w.add_tensor(name, data, raw_dtype=kind)


def random_blocks(shape, fmt, kind):
    size = gguf.GGML_QUANT_SIZES[kind][1]
    blocks = rng.integers(0, 256, (shape[0], shape[1] // 256, size), dtype=np.uint8)
    for at in [208] if fmt == "Q6_K" else [0, 2]:
        halves = rng.normal(0, 1e-3, blocks.shape[:2]).astype(np.float16)
        blocks[:, :, at : at + 2] = halves[:, :, None].view(np.uint8)
    return blocks.reshape(shape[0], -1)


def finish(w):
    w.write_header_to_file()
    w.write_kv_data_to_file()
    w.write_tensors_to_file()
    w.close()


def add_m3(w):
    """Two layers, the second with an index branch and experts."""
    w.add_rope_dimension_count(DIM // 2)
    w.add_leading_dense_block_count(1)
    w.add_expert_count(4)
    w.add_expert_used_count(2)
    w.add_expert_feed_forward_length(FF)
    w.add_expert_shared_count(1)
    w.add_expert_weights_scale(2.0)
    w.add_expert_weights_norm(True)
    w.add_expert_gating_func(gguf.ExpertGatingFuncType.SIGMOID)
    w.add_indexer_head_count(KV_HEADS)
    w.add_indexer_key_length(DIM)
    w.add_indexer_top_k(4)
    w.add_uint32("minimax-m3.attention.indexer.block_size", 16)
    w.add_uint32("minimax-m3.attention.indexer.local_blocks", 1)
    w.add_tensor("blk.1.ffn_gate_inp.weight", rng.normal(0, 1, (4, EMBD)).astype(np.float32))
    w.add_tensor("blk.1.exp_probs_b.bias", rng.normal(0, 0.1, 4).astype(np.float32))
    for i, name in enumerate(["gate", "up", "down"]):
        add_matrix(w, f"blk.1.ffn_{name}_exps.weight", (4, FF, EMBD), ["Q4_0", "F16", "Q8_0"][i])
        add_matrix(w, f"blk.1.ffn_{name}_shexp.weight", (FF, EMBD), "Q4_1")
    add_index(w, 1, True)


def add_index(w, layer, norms):
    add_matrix(w, f"blk.{layer}.indexer.q_proj.weight", (KV_HEADS * DIM, EMBD), "F32")
    add_matrix(w, f"blk.{layer}.indexer.k_proj.weight", (DIM, EMBD), "BF16")
    for head in "qk" if norms else "":
        norm = rng.normal(1, 0.1, DIM).astype(np.float32)
        w.add_tensor(f"blk.{layer}.indexer.{head}_norm.weight", norm)


def write_model(arch, name=None, embd=EMBD, embedding="Q8_0", formats=FORMATS):
    m3 = arch == "minimax-m3"
    w = gguf.GGUFWriter(FOLDER / f"{name or arch}.gguf", arch)
    w.add_name(f"tiny {arch}")
    w.add_block_count(2 if m3 else 1)
    w.add_context_length(64)
    w.add_embedding_length(embd)
    w.add_feed_forward_length(FF)
    w.add_head_count(HEADS)
    w.add_head_count_kv(KV_HEADS)
    w.add_key_length(DIM)
    w.add_value_length(DIM)
    w.add_layer_norm_rms_eps(1e-5)
    w.add_rope_freq_base(10000.0)
    w.add_vocab_size(VOCAB)
    w.add_tokenizer_model("gpt2")
    w.add_tokenizer_pre("gpt-2")
    w.add_token_list([chr(97 + i) for i in range(VOCAB)])
    w.add_token_types([1] * VOCAB)
    w.add_token_merges(["a b"])
    w.add_add_bos_token(False)
    w.add_custom_alignment(32)

    def matrix(name, n_out, n_in, fmt):
        add_matrix(w, name, (n_out, n_in), fmt)

    def vector(name, n):
        w.add_tensor(name, rng.normal(1, 0.1, n).astype(np.float32))

    matrix("token_embd.weight", VOCAB, embd, embedding)
    vector("output_norm.weight", embd)
    shapes = {
        "attn_q": (HEADS * DIM, embd),
        "attn_k": (KV_HEADS * DIM, embd),
        "attn_v": (KV_HEADS * DIM, embd),
        "attn_output": (embd, HEADS * DIM),
        "ffn_gate": (FF, embd),
        "ffn_up": (FF, embd),
        "ffn_down": (embd, FF),
    }
    for layer in range(2 if m3 else 1):
        for i, (name, (n_out, n_in)) in enumerate(shapes.items()):
            if layer == 0 or name.startswith("attn"):
                matrix(f"blk.{layer}.{name}.weight", n_out, n_in, formats[i % len(formats)])
        vector(f"blk.{layer}.attn_norm.weight", embd)
        vector(f"blk.{layer}.ffn_norm.weight", embd)
        if arch in ("qwen3", "minimax-m3"):
            vector(f"blk.{layer}.attn_q_norm.weight", DIM)
            vector(f"blk.{layer}.attn_k_norm.weight", DIM)
    if arch == "qwen2":
        for name in ["attn_q", "attn_k", "attn_v"]:
            vector(f"blk.0.{name}.bias", shapes[name][0])
    if m3:
        add_m3(w)
    if arch == "llama" and not name:
        vector("rope_freqs.weight", DIM // 2)
        matrix("output.weight", VOCAB, EMBD, "F16")
    finish(w)


def mixed(x):
    for _ in range(2):
        x = (x ^ x >> 32) * 0xD6E8FEB86659FD93 & MASK
    return x ^ x >> 32


def fingerprint_of_ones(n_norms):
    """Of a model whose norms are all 1: model/weights.h, base/hash.h."""
    norm = np.ones(EMBD, np.float32).view(np.uint64)
    fingerprint = 0
    for _ in range(n_norms):
        h = 4 * EMBD * 0x9E3779B97F4A7C15 & MASK
        for word in norm.tolist():
            h = (h ^ word) * 0xFF51AFD7ED558CCD & MASK
            h ^= h >> 29
        fingerprint = mixed(fingerprint ^ mixed(h))
    return fingerprint


def write_index():
    w = gguf.GGUFWriter(FOLDER / "index.gguf", "msa-index")
    w.add_string("msa.base.architecture", "qwen3")
    w.add_string("msa.base.fingerprint", f"{fingerprint_of_ones(5):016x}")
    facts = {"block_count": 2, "embedding_length": EMBD, "key_length": DIM}
    facts |= {"head_count": HEADS, "head_count_kv": KV_HEADS}
    for name, value in facts.items():
        w.add_uint32(f"msa.base.{name}", value)
    facts = {"head_count": KV_HEADS, "key_length": DIM, "top_k": 4, "block_size": 16}
    facts |= {"local_blocks": 2, "init_blocks": 1}
    for name, value in facts.items():
        w.add_uint32(f"msa.indexer.{name}", value)
    w.add_uint32("msa.leading_dense_block_count", 1)
    w.add_custom_alignment(32)
    add_index(w, 1, True)
    finish(w)


FOLDER.mkdir(parents=True, exist_ok=True)
for arch in ["llama", "qwen2", "qwen3", "minimax-m3"]:
    write_model(arch)
write_index()
write_model("llama", "kquants", 256, "Q6_K", K_FORMATS)
