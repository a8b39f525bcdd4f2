"""Both families of trained models in PyTorch, float64, written from the definition: every product
of attention is a masked T x T matrix, every expert sees every token. Shared by train_net.py.

Weights, tokens and sampled rows come from the counter-based generator of base/random.h, so that
the C tests make the same ones."""

import math

import numpy as np
import torch

F64 = torch.float64
MASK = (1 << 64) - 1


def mix(x):
    x = (x + 0x9E3779B97F4A7C15) & MASK
    x = ((x ^ (x >> 30)) * 0xBF58476D1CE4E5B9) & MASK
    x = ((x ^ (x >> 27)) * 0x94D049BB133111EB) & MASK
    return x ^ (x >> 31)


def stream(seed, purpose):
    return mix(mix(seed) ^ purpose)


def numbers(of, n):
    """The first n 64-bit numbers of a stream."""
    x = np.arange(n, dtype=np.uint64) + np.uint64(of)
    x = x + np.uint64(0x9E3779B97F4A7C15)
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))


def below(of, n, limit):
    return (numbers(of, n) >> np.uint64(32)) * np.uint64(limit) >> np.uint64(32)


def draw(of, first, end, m):
    """m different numbers of first .. end - 1, as net_select.c draws them."""
    out = []
    for j in range(end - first - m, end - first):
        pick = first + ((mix((of + len(out)) & MASK) >> 32) * (j + 1) >> 32)
        out.append(first + j if pick in out else pick)
    return out


def sample_rows(lengths, most, seed):
    """Rows a loss is sampled on, as net_select.c takes them: a mask [T]."""
    rows, first = torch.zeros(sum(lengths), dtype=torch.bool), 0
    for doc, n in enumerate(lengths):
        parts, of = min(n, most), stream(seed, (1 << 56) + doc)
        for i in range(parts):
            start, end = i * n // parts, (i + 1) * n // parts
            skip = (mix((of + i) & MASK) >> 32) * (end - start) >> 32
            rows[first + start + skip] = True
        first += n
    return rows


def uniform(of, n, size):
    """n numbers in [-size, size), rounded to f32."""
    x = (numbers(of, n) >> np.uint64(40)).astype(np.float64) * 2.0**-23 - 1
    return (x * size).astype(np.float32).astype(np.float64)


def tensors(c):
    """(name, shape, is a vector, belongs to the index) in the order of params.c."""
    e, d, q, kv = c["n_embd"], c["head_dim"], c["n_q_heads"], c["n_kv_heads"]
    m3, out = c["family"] == "minimax_m3", []

    def add(name, *shape, index=False, norm=False):
        out.append((name, shape, norm, index))

    add("model.embed_tokens.weight", c["n_vocab"], e)
    for layer in range(c["n_layers"]):
        at = f"model.layers.{layer}."
        late = layer >= c["n_dense_layers"]
        add(at + "input_layernorm.weight", e, norm=True)
        for name, rows in (("q", q * d), ("k", kv * d), ("v", kv * d)):
            add(at + f"self_attn.{name}_proj.weight", rows, e)
        add(at + "self_attn.o_proj.weight", e, q * d)
        if c["qkv_bias"]:
            for name, rows in (("q", q * d), ("k", kv * d), ("v", kv * d)):
                add(at + f"self_attn.{name}_proj.bias", rows, norm=True)
        if c["qk_norm"]:
            add(at + "self_attn.q_norm.weight", d, norm=True)
            add(at + "self_attn.k_norm.weight", d, norm=True)
        if c["index_dim"] and late:
            di = c["index_dim"]
            add(at + "self_attn.index_q_proj.weight", kv * di, e, index=True)
            add(at + "self_attn.index_k_proj.weight", di, e, index=True)
            if c["qk_norm"]:
                add(at + "self_attn.index_q_norm.weight", di, index=True, norm=True)
                add(at + "self_attn.index_k_norm.weight", di, index=True, norm=True)
            if c["index_value"]:
                add(at + "self_attn.index_v_proj.weight", di, e, index=True)
                add(at + "self_attn.index_o_proj.weight", e, kv * di, index=True)
        add(at + "post_attention_layernorm.weight", e, norm=True)

        def mlp(where, ff):
            add(at + where + ".gate_proj.weight", ff, e)
            add(at + where + ".up_proj.weight", ff, e)
            add(at + where + ".down_proj.weight", e, ff)

        if m3 and c["n_experts"] and late:
            moe, ff = "block_sparse_moe.", c["n_ff_expert"]
            add(at + moe + "gate.weight", c["n_experts"], e)
            for x in range(c["n_experts"]):
                for kind, shape in (("w1", (ff, e)), ("w3", (ff, e)), ("w2", (e, ff))):
                    add(at + moe + f"experts.{x}.{kind}.weight", *shape)
            mlp(moe + "shared_experts", c["n_ff_shared"])
        else:
            mlp("mlp", c["n_ff"])
    add("model.norm.weight", e, norm=True)
    if not c["tied"]:
        add("lm_head.weight", c["n_vocab"], e)
    return out


def make_weights(c, seed):
    """Matrices uniform with variance 1 / inputs (the embedding 1), norms around their 1."""
    weights = {}
    for i, (name, shape, norm, _) in enumerate(tensors(c)):
        n = math.prod(shape)
        size = 0.3 if norm else math.sqrt(3.0 / (1 if "embed" in name else shape[-1]))
        w = uniform(stream(seed, i), n, size)
        if norm and "norm" in name and c["family"] != "minimax_m3":
            w = (w + 1).astype(np.float32).astype(np.float64)
        weights[name] = torch.tensor(w.reshape(shape), dtype=F64)
    if c["n_experts"]:
        n = c["n_layers"] * c["n_experts"]
        bias = uniform(stream(seed, 1 << 32), n, 0.1).reshape(c["n_layers"], c["n_experts"])
        weights["router_bias"] = torch.tensor(bias, dtype=F64)
    return weights


def make_batch(c, lengths, seed):
    """ids, targets (the next token; none at the end of a document and at every 7th place)."""
    n = sum(lengths)
    ids = torch.tensor(below(stream(seed, 1 << 33), n, c["n_vocab"]).astype(np.int64))
    targets, at = torch.full((n,), -1), 0
    for length in lengths:
        targets[at : at + length - 1] = ids[at + 1 : at + length]
        at += length
    targets[torch.arange(n) % 7 == 3] = -1
    return ids, targets


class Net:
    def __init__(self, c, weights, lengths, dtype=F64):
        self.c, self.w, self.dtype = c, weights, dtype
        doc = torch.repeat_interleave(torch.arange(len(lengths)), torch.tensor(lengths))
        self.position = torch.cat([torch.arange(n) for n in lengths])
        self.lengths, self.doc, self.T = lengths, doc, len(doc)
        causal = self.position[:, None] >= self.position[None, :]
        self.visible = (doc[:, None] == doc[None, :]) & causal
        self.own = self.position // c["block"]
        half = c["n_rot"] // 2
        frequency = c["rope_base"] ** (-2.0 * torch.arange(half, dtype=F64) / c["n_rot"])
        angle = self.position[:, None].to(F64) * frequency
        self.cos = torch.cat([angle.cos()] * 2, -1).to(dtype)
        self.sin = torch.cat([angle.sin()] * 2, -1).to(dtype)
        self.smallest_gap = math.inf

    def norm(self, x, w):
        y = x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + self.c["norm_eps"])
        return y * (1 + w if self.c["family"] == "minimax_m3" else w)

    def rope(self, x):
        n = self.c["n_rot"]
        a, rest = x[..., :n], x[..., n:]
        turned = torch.cat([-a[..., n // 2 :], a[..., : n // 2]], -1)
        return torch.cat([a * self.cos[:, None] + turned * self.sin[:, None], rest], -1)

    def gate(self, g, u):
        if self.c["family"] != "minimax_m3":
            return torch.nn.functional.silu(g) * u
        g = g.clamp(max=self.c["swiglu_limit"])
        u = u.clamp(-self.c["swiglu_limit"], self.c["swiglu_limit"])
        return (u + 1) * g * torch.sigmoid(self.c["swiglu_alpha"] * g)

    def mlp(self, x, at):
        w = self.w
        y = self.gate(x @ w[at + ".gate_proj.weight"].T, x @ w[at + ".up_proj.weight"].T)
        return y @ w[at + ".down_proj.weight"].T

    def moe(self, x, layer):
        c, w, at = self.c, self.w, f"model.layers.{layer}.block_sparse_moe."
        p = torch.sigmoid(x @ w[at + "gate.weight"].T)
        biased = p.detach() + w["router_bias"][layer].to(self.dtype)
        order = biased.sort(-1, descending=True).values
        used = c["n_used"]
        if used < c["n_experts"]:
            gap = (order[:, used - 1] - order[:, used]).min().item()
            self.smallest_gap = min(self.smallest_gap, gap)
        chosen = biased.topk(used, -1).indices
        self.load[layer] = torch.bincount(chosen.flatten(), minlength=c["n_experts"])
        weight = torch.zeros_like(p).scatter(1, chosen, p.gather(1, chosen))
        weight = weight / weight.sum(-1, keepdim=True) * c["moe_scale"]
        out = self.mlp(x, at + "shared_experts")
        for i in range(c["n_experts"]):
            e = at + f"experts.{i}."
            y = self.gate(x @ w[e + "w1.weight"].T, x @ w[e + "w3.weight"].T)
            out = out + weight[:, i : i + 1] * (y @ w[e + "w2.weight"].T)
        return out

    def forced(self):
        """[T, blocks]: trailing and leading blocks that are always taken."""
        c = self.c
        b = torch.arange(-(-max(self.lengths) // c["block"]))
        own = self.own[:, None]
        return ((b > own - c["local"]) | (b < c["init"])) & (b <= own)

    def choose(self, s):
        """Chosen tokens [Hkv, T, T] from token scores [Hkv, T, T]."""
        c, B = self.c, self.c["block"]
        blocks = -(-max(self.lengths) // B)
        score = torch.full((s.shape[0], self.T, blocks), -math.inf, dtype=s.dtype)
        s = s.masked_fill(~self.visible, -math.inf)
        token_block = self.position // B
        for b in range(blocks):
            column = s[:, :, token_block == b]
            score[:, :, b] = column.amax(-1)
        score = score.masked_fill(self.forced(), math.inf)
        k = min(c["topk"], blocks)
        if k < blocks:
            order = score.sort(-1, descending=True).values
            gap = (order[..., k - 1] - order[..., k])[:, self.own >= k]
            if gap.numel():
                self.smallest_gap = min(self.smallest_gap, gap.min().item())
        ids = score.topk(k, -1).indices
        taken = torch.zeros(score.shape, dtype=torch.bool).scatter(2, ids, True)
        return taken[:, :, token_block] & self.visible

    def fixed(self, kind, layer, mode):
        """The controls: chosen tokens [Hkv, T, T] by position alone."""
        c, B = self.c, self.c["block"]
        taken = torch.zeros(c["n_kv_heads"], self.T, -(-max(self.lengths) // B), dtype=torch.bool)
        init = max(c["init"], 1) if kind == "sink_window" else c["init"]
        for t in range(self.T):
            own = int(self.own[t])
            for g in range(c["n_kv_heads"]):
                if own < c["topk"]:
                    taken[g, t, : own + 1] = True
                    continue
                taken[g, t, :init] = True
                local = c["topk"] - init if kind == "sink_window" else c["local"]
                taken[g, t, own + 1 - local : own + 1] = True
                if kind == "random":
                    place = (layer << 44) | (int(self.position[t]) << 12) | g
                    first, end = init, own + 1 - local
                    m = c["topk"] - init - local
                    for id in draw(stream(mode["seed"], place), first, end, m):
                        taken[g, t, id] = True
        return taken[:, :, self.position // B] & self.visible

    def attention(self, x, layer, mode):
        c, w, at = self.c, self.w, f"model.layers.{layer}.self_attn."
        T, d, hq, hkv, di = self.T, c["head_dim"], c["n_q_heads"], c["n_kv_heads"], c["index_dim"]

        def project(name, heads):
            y = x @ w[at + name + "_proj.weight"].T
            return (y + w[at + name + "_proj.bias"] if c["qkv_bias"] else y).view(T, heads, d)

        q, k, v = project("q", hq), project("k", hkv), project("v", hkv)
        if c["qk_norm"]:
            q, k = self.norm(q, w[at + "q_norm.weight"]), self.norm(k, w[at + "k_norm.weight"])
        q, k = self.rope(q), self.rope(k)
        group = hq // hkv
        logits = torch.einsum("thd,jhd->htj", q, k.repeat_interleave(group, 1)) / math.sqrt(d)
        chosen, has_index = self.visible.expand(hkv, T, T), di and layer >= c["n_dense_layers"]
        if has_index:
            xi = x.detach() if mode["detach"] else x
            qi = (xi @ w[at + "index_q_proj.weight"].T).view(T, hkv, di)
            ki = (xi @ w[at + "index_k_proj.weight"].T).view(T, 1, di)
            if c["qk_norm"]:
                qi = self.norm(qi, w[at + "index_q_norm.weight"])
                ki = self.norm(ki, w[at + "index_k_norm.weight"])
            s = torch.einsum("tgd,jd->gtj", self.rope(qi), self.rope(ki)[:, 0])
            if mode["sparse"]:
                kind = mode["selection"]
                chosen = (
                    self.choose(s.detach()) if kind == "index" else self.fixed(kind, layer, mode)
                )
            student = s / math.sqrt(di)
            if mode["lm_index"]:
                logits = logits + student.repeat_interleave(group, 0)
        masked = logits.masked_fill(~chosen.repeat_interleave(group, 0), -math.inf)
        p = masked.softmax(-1)
        if mode["fp8_p"]:
            p = p + (self.through_e4m3(masked) - p).detach()
        out = torch.einsum("htj,jhd->thd", p, v.repeat_interleave(group, 1)).reshape(T, hq * d)
        out = out @ w[at + "o_proj.weight"].T
        if has_index and mode["index_value"]:
            vi = xi @ w[at + "index_v_proj.weight"].T
            pi = student.masked_fill(~chosen, -math.inf).softmax(-1)
            oi = torch.einsum("gtj,jd->tgd", pi, vi).reshape(T, hkv * di)
            out = out + oi @ w[at + "index_o_proj.weight"].T
        if has_index and mode["kl"] != "off":
            support = {"visible": self.visible.expand(hkv, T, T), "selected": chosen}.get(
                mode["kl"]
            )
            if support is None:
                far = ~self.forced()[:, self.position // c["block"]]
                support = (self.visible & far).expand(hkv, T, T)
            self.kl[layer] = self.divergence(logits.detach(), student, support, mode)
        return out

    def through_e4m3(self, logits):
        """Probabilities as E4M3 holds them: 448 at the greatest, the sum not rounded."""
        e = (logits.detach() - logits.detach().amax(-1, keepdim=True)).exp()
        rounded = (448 * e).float().to(torch.float8_e4m3fn).to(self.dtype)
        # How near a value came to the middle between two codes, relative to itself.
        near = (448 * e).double()
        step = 2.0 ** (near.clamp_min(2.0**-6).log2().floor() - 3)
        middle = ((near / step - 0.5) - (near / step - 0.5).round()).abs() * step / near
        self.smallest_gap = min(self.smallest_gap, middle[near > 2.0**-20].min().item() * 50)
        return rounded / 448 / e.sum(-1, keepdim=True)

    def divergence(self, logits, student, support, mode):
        """KL(teacher || student) of each group, mean over the rows that count."""
        hkv, T = support.shape[:2]
        any_row = support.any(-1)
        safe = support | ~any_row[..., None]
        teacher = logits.view(hkv, -1, T, T).masked_fill(~safe[:, None], -math.inf)
        p = teacher.softmax(-1).mean(1)
        log_pi = student.masked_fill(~safe, -math.inf).log_softmax(-1)
        terms = torch.where(p > 0, p * (p.clamp_min(1e-300).log() - log_pi), torch.zeros_like(p))
        rows = mode["rows"] if mode["rows"] is not None else torch.ones(T, dtype=torch.bool)
        kl = torch.where(any_row & rows, terms.sum(-1), torch.zeros((), dtype=p.dtype))
        return kl.sum(-1) / rows.sum()

    def forward(self, ids, targets, mode):
        """(lm, kl, total); kl of each layer and group in self.kl."""
        c, w = self.c, self.w
        self.kl, self.load = {}, {}
        x = w["model.embed_tokens.weight"][ids]
        for layer in range(c["n_layers"]):
            at = f"model.layers.{layer}."
            x = x + self.attention(self.norm(x, w[at + "input_layernorm.weight"]), layer, mode)
            y = self.norm(x, w[at + "post_attention_layernorm.weight"])
            sparse = c["n_experts"] and layer >= c["n_dense_layers"]
            x = x + (self.moe(y, layer) if sparse else self.mlp(y, at + "mlp"))
        head = "model.embed_tokens.weight" if c["tied"] else "lm_head.weight"
        logits = self.norm(x, w["model.norm.weight"]) @ w[head].T
        lm = torch.nn.functional.cross_entropy(logits, targets, ignore_index=-1)
        kl = torch.zeros((), dtype=self.dtype)
        if self.kl:
            kl = torch.stack([k.mean() for k in self.kl.values()]).mean()
        total = (lm if mode["lm"] else 0) + mode["lambda"] * kl
        return lm, kl, total
