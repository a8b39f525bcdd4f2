"""Golden files: named arrays that the C tests read (tests/support/golden.h).

One line of JSON, padded with blanks to a multiple of 64 bytes, then the arrays, little-endian, each
at a multiple of 64 from the end of that line:

    {"about": "...", "facts": {"block": 16},
     "arrays": {"q": {"dtype": "f32", "shape": [3, 4], "offset": 0}}}
"""

import json
from pathlib import Path

import numpy as np

FOLDER = Path(__file__).parent / "golden"
NAMES = {"float32": "f32", "int32": "i32", "uint16": "u16", "uint8": "u8"}


def write(name, about, facts, arrays):
    """Writes golden/NAME.golden; `arrays`: name to tensor or array of f32, i32, u16 or u8."""
    header, body = {}, b""
    for key, value in arrays.items():
        value = np.ascontiguousarray(value.numpy() if hasattr(value, "numpy") else value)
        header[key] = {
            "dtype": NAMES[value.dtype.name],
            "shape": list(value.shape),
            "offset": len(body),
        }
        body += value.tobytes()
        body += b"\0" * (-len(body) % 64)
    line = json.dumps({"about": about, "facts": facts, "arrays": header}).encode()
    line += b" " * (-(len(line) + 1) % 64) + b"\n"
    path = FOLDER / f"{name}.golden"
    path.write_bytes(line + body)
    print(f"{path}: {path.stat().st_size} bytes")
