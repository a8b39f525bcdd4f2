"""Weight formats as the gguf Python package has them.

golden/quant.golden:
    sizes            i32 [types, 3]   number of the format, weights in a block, bytes in a block
    NAME.bytes       u8               rows of NAME, made by the package from random numbers
    NAME.weights     f32              what the package widens them to
    NAME.extreme.*                    the same from random bytes (scales made finite)
"""

import gguf
import numpy as np
from gguf.quants import dequantize, quantize

from golden import write

TYPES = ["F32", "F16", "BF16", "Q4_0", "Q4_1", "Q8_0"]
N = 256

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
        halves = 2 if name == "Q4_1" else 1
        for block in range(0, n_bytes, block_bytes):
            scales = rng.normal(0, 1, halves).astype(np.float16)
            codes[block : block + 2 * halves] = scales.view(np.uint8)
    elif name == "F16":
        codes[1::2] &= 0xBB  # no infinity, no NaN
    else:
        codes[name == "F32" and 3 or 1 :: 4 if name == "F32" else 2] &= 0xBF
    return codes


for name in TYPES:
    kind = gguf.GGMLQuantizationType[name]
    elems, size = gguf.GGML_QUANT_SIZES[kind]
    data = np.ascontiguousarray(quantize(rng.normal(0, 1, (2, N)).astype(np.float32), kind))
    arrays[f"{name}.bytes"] = data.view(np.uint8).reshape(-1)
    arrays[f"{name}.weights"] = dequantize(data, kind).astype(np.float32).reshape(-1)
    codes = random_codes(name, 2 * N // elems * size, size)
    stored = codes.view({"F32": np.float32, "F16": np.float16}.get(name, np.uint8))
    arrays[f"{name}.extreme.bytes"] = codes
    arrays[f"{name}.extreme.weights"] = (
        dequantize(stored.reshape(2, -1), kind).astype(np.float32).reshape(-1)
    )

write("quant", "weight formats of the gguf package", {"n": 2 * N}, arrays)
