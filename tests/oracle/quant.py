"""Weight formats as the gguf Python package has them.

golden/quant.golden:
    sizes            i32 [types, 3]   number of the format, weights in a block, bytes in a block
    NAME.bytes       u8               rows of NAME, made by the package from random numbers; of the
                                      K formats, which it can't make, random bytes (halves finite)
    NAME.weights     f32              what the package widens them to
    NAME.extreme.*                    the same from random bytes (halves finite)
    NAME.special.*                    from Q5_0 on: blocks of random bytes whose halves are zeros,
                                      subnormals, the greatest, infinities, NaN

The package widens in f32, in the order of the formulas of nn/quant.h; why that is the exact value
rounded once is said there.
"""

import gguf
import numpy as np
from gguf.quants import dequantize, quantize

from golden import write

TYPES = ["F32", "F16", "BF16", "Q4_0", "Q4_1", "Q8_0", "Q5_0", "Q5_1", "Q4_K", "Q5_K", "Q6_K"]
HALVES = {"Q4_1": [0, 2], "Q5_1": [0, 2], "Q4_K": [0, 2], "Q5_K": [0, 2], "Q6_K": [208]}
SPECIAL = [0x0000, 0x8000, 0x0001, 0x83FF, 0x0400, 0x7BFF, 0xFBFF, 0x7C00, 0xFC00, 0x7E00]
N, N_K = 256, 1024

rng = np.random.default_rng(7)
arrays = {
    "sizes": np.array(
        [[int(t), elems, size] for t, (elems, size) in sorted(gguf.GGML_QUANT_SIZES.items())],
        dtype=np.int32,
    )
}


def random_codes(name, n_bytes, block_bytes):
    codes = rng.integers(0, 256, n_bytes, dtype=np.uint8)
    if name.startswith("Q"):
        halves = HALVES.get(name, [0])
        for block in range(0, n_bytes, block_bytes):
            scales = rng.normal(0, 1, len(halves)).astype(np.float16)
            for at, scale in zip(halves, scales):
                codes[block + at : block + at + 2] = np.frombuffer(scale.tobytes(), np.uint8)
    elif name == "F16":
        codes[1::2] &= 0xBB  # no infinity, no NaN
    else:
        codes[name == "F32" and 3 or 1 :: 4 if name == "F32" else 2] &= 0xBF
    return codes


for name in TYPES:
    kind = gguf.GGMLQuantizationType[name]
    elems, size = gguf.GGML_QUANT_SIZES[kind]
    n = N_K if name.endswith("_K") else N
    if name.endswith("_K"):
        data = random_codes(name, 2 * n // elems * size, size).reshape(2, -1)
    else:
        data = np.ascontiguousarray(quantize(rng.normal(0, 1, (2, n)).astype(np.float32), kind))
    arrays[f"{name}.bytes"] = data.view(np.uint8).reshape(-1)
    arrays[f"{name}.weights"] = dequantize(data, kind).astype(np.float32).reshape(-1)
    codes = random_codes(name, 2 * n // elems * size, size)
    stored = codes.view({"F32": np.float32, "F16": np.float16}.get(name, np.uint8))
    arrays[f"{name}.extreme.bytes"] = codes
    arrays[f"{name}.extreme.weights"] = (
        dequantize(stored.reshape(2, -1), kind).astype(np.float32).reshape(-1)
    )

for name in TYPES[TYPES.index("Q5_0") :]:
    kind = gguf.GGMLQuantizationType[name]
    size = gguf.GGML_QUANT_SIZES[kind][1]
    codes = rng.integers(0, 256, (len(SPECIAL), size), dtype=np.uint8)
    for i in range(len(SPECIAL)):
        for j, at in enumerate(HALVES.get(name, [0])):
            half = SPECIAL[(i * (1 + 2 * j) + j) % len(SPECIAL)]
            codes[i, at : at + 2] = [half & 255, half >> 8]
    with np.errstate(all="ignore"):
        weights = dequantize(codes.reshape(1, -1), kind)
    arrays[f"{name}.special.bytes"] = codes.reshape(-1)
    arrays[f"{name}.special.weights"] = weights.astype(np.float32).reshape(-1)

write("quant", "weight formats of the gguf package", {}, arrays)
