"""Files that this program writes, in Transformers and in llama.cpp; and theirs, read here.

    python files.py MSA LLAMA_CPP [KIND ...]   the program msa; a llama.cpp built in LLAMA_CPP/build

For a random MiniMax-M3 with experts and for a random model of each Llama family:

    theirs       Transformers' own folder, its tokenizer 256 bytes and two special tokens
    m.gguf       msa export of it; llama.cpp must give Transformers' logits and greedy tokens
    again        msa export of theirs as safetensors: the same tensors bit for bit
    back         msa export of m.gguf as safetensors, in several files: the same model again

M3 also with the published names and config.json: m.gguf must come out the same byte for byte. The
prompt is 4.5 times as long as what a query may read. llama.cpp rounds to f16 in the attention that
M3 needs there (more so in short batches: the prompt is one), and a choice of blocks or experts that
it turns over moves all that follows: so the model is one of a few with clear choices on which it
turns over none, and on all of these the median must agree. All three tokenizers give the same
tokens. Nothing is written into golden/: a difference is an error.
"""

import json
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedTokenizerFast
from transformers import LlamaConfig, LlamaForCausalLM, Qwen2Config, Qwen2ForCausalLM
from transformers import Qwen3Config, Qwen3ForCausalLM
from transformers.models.minimax_m3_vl import modeling_minimax_m3_vl as m3
from transformers.models.minimax_m3_vl.configuration_minimax_m3_vl import MiniMaxM3VLTextConfig

TOKENS, ANSWER, VOCAB, LAYERS, DENSE, TOPK = 288, 24, 258, 3, 1, 4
SHARED = dict(
    vocab_size=VOCAB,
    hidden_size=64,
    num_hidden_layers=LAYERS,
    num_attention_heads=4,
    num_key_value_heads=2,
    head_dim=32,
    max_position_embeddings=1024,
    rms_norm_eps=1e-5,
    bos_token_id=None,
    eos_token_id=256,
    tie_word_embeddings=False,
)
KINDS = {
    "llama": (LlamaConfig, LlamaForCausalLM, dict(intermediate_size=96)),
    "qwen2": (Qwen2Config, Qwen2ForCausalLM, dict(intermediate_size=96, head_dim=16)),
    "qwen3": (Qwen3Config, Qwen3ForCausalLM, dict(intermediate_size=96)),
    "minimax_m3": (
        MiniMaxM3VLTextConfig,
        m3.MiniMaxM3VLForCausalLM,
        dict(
            intermediate_size=48,
            dense_intermediate_size=96,
            shared_intermediate_size=48,
            rotary_dim=16,
            num_local_experts=8,
            num_experts_per_tok=2,
            index_n_heads=2,
            index_head_dim=32,
            index_block_size=16,
            index_topk_blocks=TOPK,
            layer_types=["full_attention"] * DENSE + ["minimax_m3_sparse"] * (LAYERS - DENSE),
            mlp_layer_types=["dense"] * DENSE + ["sparse"] * (LAYERS - DENSE),
            rope_parameters={
                "rope_type": "default",
                "rope_theta": 10000.0,
                "partial_rotary_factor": 0.5,
            },
        ),
    ),
}
TEXT = "Byte by byte: äöü €, 12 345,\r\n\t<|endoftext|>and <|user|>no more\x01\x7f.  " * 5


def byte_tokenizer():
    """Token i is byte i, in GPT-2's alphabet."""
    visible = [*range(33, 127), *range(161, 173), *range(174, 256)]
    code, vocab = 256, {}
    for byte in range(256):
        if byte in visible:
            vocab[chr(byte)] = byte
        else:
            vocab[chr(code)] = byte
            code += 1
    core = Tokenizer(models.BPE(vocab=vocab, merges=[]))
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    core.decoder = decoders.ByteLevel()
    core.add_special_tokens(["<|endoftext|>", "<|user|>"])
    return PreTrainedTokenizerFast(tokenizer_object=core, eos_token="<|endoftext|>")


@torch.no_grad()
def random_model(kind, seed):
    config, model, more = KINDS[kind]
    torch.manual_seed(seed)
    model = model(config(**(SHARED | more))).eval()
    for name, weight in model.state_dict().items():
        norm = name.endswith("norm.weight")
        if norm:
            weight.normal_(0 if kind == "minimax_m3" else 1, 0.1)
        elif weight.dim() == 1:
            weight.normal_(0, 0.2)
        else:  # queries and keys sharp enough to tell tokens apart
            gain = 2 if "q_proj" in name or "k_proj" in name or "gate." in name else 1
            weight.normal_(0, gain / weight.shape[-1] ** 0.5)
    model.config._attn_implementation = "eager"
    return model


class Leads:
    """By how much choices of blocks and experts were clear: what was taken over what was not."""

    def __init__(self, model):
        self.blocks = self.experts = float("inf")
        self.topk = torch.Tensor.topk
        for layer in model.model.layers[DENSE:]:
            layer.mlp.gate.register_forward_hook(self.see_router)

    def lead(self, scores, k):
        order = scores.sort(-1, descending=True).values
        if order.shape[-1] <= k:
            return float("inf")
        lead = (order[..., k - 1] - order[..., k])[order[..., k] > -float("inf")]
        return min(lead.flatten().tolist(), default=float("inf"))

    def see_router(self, module, _, out):
        choice = out[0].float().sigmoid() + module.e_score_correction_bias
        self.experts = min(self.experts, self.lead(choice, module.top_k))

    def clear(self):
        return self.blocks > 1e-3 and self.experts > 2e-4

    def __enter__(self):
        def seeing(x, k, **rest):
            self.blocks = min(self.blocks, self.lead(x, k))
            return self.topk(x, k, **rest)

        torch.Tensor.topk = seeing
        return self

    def __exit__(self, *_):
        torch.Tensor.topk = self.topk


@torch.no_grad()
def run_transformers(model, ids):
    """Logits of the prompt, greedy tokens behind it, and the least lead of one over the next."""
    out = model(torch.tensor([ids]), use_cache=True)
    logits, row, answer, lead = out.logits[0].numpy(), out.logits[0, -1], [], float("inf")
    for _ in range(ANSWER):
        best = row.sort(descending=True)
        lead = min(lead, (best.values[0] - best.values[1]).item())
        answer.append(best.indices[0].item())
        out = model(torch.tensor([answer[-1:]]), past_key_values=out.past_key_values)
        row = out.logits[0, -1]
    return logits, answer, lead


def candidates(kind):
    """Models whose choices are not near a tie, with what Transformers makes of the prompt."""
    ids = np.random.default_rng(1).integers(0, 256, TOKENS).tolist()
    for seed in range(400):
        model = random_model(kind, seed)
        if kind != "minimax_m3":
            yield model, ids, *run_transformers(model, ids)[:2]
            return
        with Leads(model) as leads, torch.no_grad():
            model(torch.tensor([ids]))
        if not leads.clear():
            continue
        with Leads(model) as leads:
            logits, answer, lead = run_transformers(model, ids)
        if leads.clear() and lead > 0.01:
            print(f"{kind}: seed {seed}, leads of {leads.blocks:.1e}, {leads.experts:.1e}")
            yield model, ids, logits, answer


def demand(truth, what):
    if not truth:
        sys.exit(f"DIFFERS: {what}")


def run(*words):
    done = subprocess.run(list(map(str, words)), capture_output=True, text=True)
    demand(done.returncode == 0, " ".join(map(str, words)) + "\n" + done.stderr)
    return done.stdout


def build_llama(there, work):
    program = work / "llama_logits"
    names = "src/libllama.a ggml/src/libggml.a ggml/src/libggml-cpu.a ggml/src/libggml-base.a"
    run(
        *("g++", "-O1", "-std=c++17", f"-I{there}/include", f"-I{there}/ggml/include"),
        *(Path(__file__).parent / "llama_logits.cpp", "-o", program),
        *(there / "build" / name for name in names.split()),
        *("-fopenmp", "-lpthread", "-ldl", "-lm"),
    )
    return program


def run_llama(program, work, gguf, kind, ids, logits, answer):
    """How far its logits are, and whether the greedy tokens are the same."""
    np.array(ids, np.int32).tofile(work / "ids")
    plain = [] if kind == "minimax_m3" else ["plain"]
    found = run(program, gguf, work / "ids", work / "logits", ANSWER, 512, *plain)
    theirs = np.fromfile(work / "logits", np.float32).reshape(logits.shape)
    worst = np.abs(theirs - logits).max(-1)
    print(
        f"{kind}: llama.cpp's logits, of up to {np.abs(logits).max():.0f}, differ by"
        f" {np.median(worst):.1e}, at most {worst.max():.1e}"
    )
    demand(np.median(worst) < 5e-3, f"{kind}: logits of llama.cpp")
    return worst.max() < 1e-2 and [int(x) for x in found.split()] == answer


def check_same(kind, folder, model, ids, logits, exact):
    """The folder loads without a word, and computes what the model does."""
    again, report = AutoModelForCausalLM.from_pretrained(
        folder, dtype=torch.float32, attn_implementation="eager", output_loading_info=True
    )
    demand(not any(report.values()), f"{kind}: {folder.name} loads with {report}")
    mine, theirs = again.state_dict(), model.state_dict()
    demand(mine.keys() == theirs.keys(), f"{kind}: names of {folder.name}")
    for name, weight in theirs.items():
        same, near = torch.equal, lambda a, b: torch.allclose(a, b, atol=2e-7)
        near = (same if exact else near)(mine[name], weight)
        demand(near, f"{kind}: {name} of {folder.name}")
    worst = np.abs(run_transformers(again, ids)[0] - logits).max()
    demand(worst <= (0 if exact else 1e-3), f"{kind}: logits of {folder.name}, by {worst}")


def check_tokens(msa, there, kind, gguf, folders):
    want = None
    for folder in folders:
        t = AutoTokenizer.from_pretrained(folder)
        ids = t(TEXT, add_special_tokens=False).input_ids
        want = want or ids
        demand(ids == want and t.eos_token_id == 256, f"{kind}: tokens of {folder.name}")
        demand(t.decode(ids) == TEXT, f"{kind}: text of {folder.name}")
    demand(256 in want and 257 in want and len(want) < len(TEXT.encode()), f"{kind}: specials")
    file = gguf.parent / "text"
    file.write_bytes(TEXT.encode())
    for path in [gguf, *folders]:
        rows = json.loads(run(msa, "tokenize", "-m", path, "-f", file, "--special", "--json"))
        demand([row["id"] for row in rows["rows"]] == want, f"{kind}: our tokens of {path.name}")
    program = there / "build/bin/llama-tokenize"
    ids = run(program, "-m", gguf, "-f", file, "--ids", "--no-bos", "--no-escape")
    demand(json.loads(ids) == want, f"{kind}: llama.cpp's tokens")


def publish(folder, to):
    """The same model with the names and keys of the published checkpoint."""
    out, to = {}, Path(to)
    for name, w in load_file(folder / "model.safetensors").items():
        name = name.replace(".self_attn.indexer.", ".self_attn.index_")
        for part in "experts", "gate", "shared_experts":
            name = name.replace(f".mlp.{part}.", f".block_sparse_moe.{part}.")
        name = name.replace("moe.gate.e_score", "moe.e_score")
        if name.endswith("experts.gate_up_proj"):
            for e, both in enumerate(w):
                at = name.replace("gate_up_proj", f"{e}.w")
                out[at + "1.weight"], out[at + "3.weight"] = both.chunk(2)
        elif name.endswith("experts.down_proj"):
            for e, down in enumerate(w):
                out[name.replace("down_proj", f"{e}.w2.weight")] = down
        elif "gate_up_proj" in name:
            for part, half in zip(("gate", "up"), w.chunk(2)):
                out[name.replace("gate_up", part)] = half
        else:
            out[name] = w
    to.mkdir()
    save_file(
        {f"language_model.{k}": v.contiguous() for k, v in out.items()}, to / "model.safetensors"
    )
    text = json.loads((folder / "config.json").read_text())
    marks = [0] * DENSE + [1] * (LAYERS - DENSE)
    text["sparse_attention_config"] = {
        "use_sparse_attention": True,
        "sparse_num_index_heads": text.pop("index_n_heads"),
        "sparse_index_dim": text.pop("index_head_dim"),
        "sparse_block_size": text.pop("index_block_size"),
        "sparse_topk_blocks": text.pop("index_topk_blocks"),
        "sparse_local_block": text.pop("index_local_blocks"),
        "sparse_init_block": 0,
        "sparse_score_type": "max",
        "sparse_attention_freq": marks,
        "sparse_disable_index_value": marks,
    }
    text |= {"moe_layer_freq": marks, "hidden_act": "swigluoai", "n_shared_experts": 1}
    del text["layer_types"], text["mlp_layer_types"]
    config = {"model_type": "minimax_m3_vl", "text_config": text, "eos_token_id": 256}
    (to / "config.json").write_text(json.dumps(config))
    for name in "tokenizer.json", "tokenizer_config.json":
        (to / name).write_bytes((folder / name).read_bytes())


def main():
    msa, there = Path(sys.argv[1]).resolve(), Path(sys.argv[2]).resolve()
    with tempfile.TemporaryDirectory() as folder:
        top = Path(folder)
        program = build_llama(there, top)
        for kind in sys.argv[3:] or KINDS:
            work = top / kind
            theirs, gguf, again, back = (work / n for n in ("theirs", "m.gguf", "again", "back"))
            for model, ids, logits, answer in candidates(kind):
                model.save_pretrained(theirs)
                byte_tokenizer().save_pretrained(theirs)
                run(msa, "export", "-m", theirs, "-o", gguf)
                if run_llama(program, work, gguf, kind, ids, logits, answer):
                    break
            else:
                sys.exit(f"{kind}: no model on which llama.cpp agrees")
            run(msa, "export", "-m", theirs, "-o", again, "--format", "safetensors")
            words = ("--format", "safetensors", "--max-bytes", 100000)
            run(msa, "export", "-m", gguf, "-o", back, *words)
            demand(len(list(back.glob("*.safetensors"))) > 1, f"{kind}: several files")
            check_same(kind, again, model, ids, logits, True)
            check_same(kind, back, model, ids, logits, kind != "minimax_m3")
            check_tokens(msa, there, kind, gguf, [theirs, again, back])
            if kind == "minimax_m3":
                publish(theirs, work / "published")
                run(msa, "export", "-m", work / "published", "-o", work / "p.gguf")
                same = gguf.read_bytes() == (work / "p.gguf").read_bytes()
                demand(same, "GGUF from the published names")
            print(f"{kind}: all equal")


if __name__ == "__main__":
    main()
