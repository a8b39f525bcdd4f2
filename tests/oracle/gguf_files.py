"""Small GGUF files written by the gguf Python package, one per architecture, every weight format in
each. They are the seeds of the fuzz target and, in tests/test_weights.c, files of a foreign hand.

Writes tests/fuzz/corpus/gguf/{llama,qwen2,qwen3}.gguf.
"""

from pathlib import Path

import gguf
import numpy as np
from gguf.quants import quantize

FOLDER = Path(__file__).parent.parent / "fuzz" / "corpus" / "gguf"
FORMATS = ["F32", "F16", "BF16", "Q4_0", "Q4_1", "Q8_0"]
EMBD, FF, HEADS, KV_HEADS, DIM, VOCAB = 32, 32, 2, 1, 16, 16

rng = np.random.default_rng(1)


def write_model(arch):
    w = gguf.GGUFWriter(FOLDER / f"{arch}.gguf", arch)
    w.add_name(f"tiny {arch}")
    w.add_block_count(1)
    w.add_context_length(64)
    w.add_embedding_length(EMBD)
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
        kind = gguf.GGMLQuantizationType[fmt]
        data = quantize(rng.normal(0, 1, (n_out, n_in)).astype(np.float32), kind)
        w.add_tensor(name, data, raw_dtype=kind)

    def vector(name, n):
        w.add_tensor(name, rng.normal(1, 0.1, n).astype(np.float32))

    matrix("token_embd.weight", VOCAB, EMBD, "Q8_0")
    vector("output_norm.weight", EMBD)
    shapes = {
        "attn_q": (HEADS * DIM, EMBD),
        "attn_k": (KV_HEADS * DIM, EMBD),
        "attn_v": (KV_HEADS * DIM, EMBD),
        "attn_output": (EMBD, HEADS * DIM),
        "ffn_gate": (FF, EMBD),
        "ffn_up": (FF, EMBD),
        "ffn_down": (EMBD, FF),
    }
    for i, (name, (n_out, n_in)) in enumerate(shapes.items()):
        matrix(f"blk.0.{name}.weight", n_out, n_in, FORMATS[i % len(FORMATS)])
    vector("blk.0.attn_norm.weight", EMBD)
    vector("blk.0.ffn_norm.weight", EMBD)
    if arch == "qwen2":
        for name in ["attn_q", "attn_k", "attn_v"]:
            vector(f"blk.0.{name}.bias", shapes[name][0])
    if arch == "qwen3":
        vector("blk.0.attn_q_norm.weight", DIM)
        vector("blk.0.attn_k_norm.weight", DIM)
    if arch == "llama":
        vector("rope_freqs.weight", DIM // 2)
        matrix("output.weight", VOCAB, EMBD, "F16")
    w.write_header_to_file()
    w.write_kv_data_to_file()
    w.write_tensors_to_file()
    w.close()


FOLDER.mkdir(parents=True, exist_ok=True)
for arch in ["llama", "qwen2", "qwen3"]:
    write_model(arch)
