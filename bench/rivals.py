"""What the comparisons share: a folder of their own under build/, medians, tables, the machine."""

import os
import statistics
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
FOLDER = ROOT / "build" / "rivals"
MODEL = ROOT / "models" / "SmolLM2-135M-Instruct.Q4_1.gguf"


def use_packages(name, *requirements):
    """Goes on in build/rivals/NAME, a virtual environment with these packages, made if missing.

    Asked for help, the script prints its own page and installs nothing."""
    if {"-h", "--help"} & set(sys.argv[1:]):
        print(sys.modules["__main__"].__doc__)
        sys.exit()
    home = FOLDER / name
    if Path(sys.prefix) == home:
        return
    python = home / "bin" / "python"
    if not (home / "complete").exists():
        print(f"will install {', '.join(requirements)} into {home}", file=sys.stderr)
        subprocess.run([sys.executable, "-m", "venv", home], check=True)
        subprocess.run([python, "-m", "pip", "install", "--quiet", *requirements], check=True)
        (home / "complete").touch()
    os.execv(python, [str(python), *sys.argv])


def machine():
    with open("/proc/cpuinfo") as info:
        names = [line.split(":", 1)[1].strip() for line in info if line.startswith("model name")]
    return f"{names[0] if names else 'unknown CPU'}, {os.cpu_count()} threads"


def median(values):
    return statistics.median(values)


def table(header, rows):
    """Prints Markdown: the first column to the left, numbers to the right."""
    cells = [header] + [[str(cell) for cell in row] for row in rows]
    widths = [max(len(row[i]) for row in cells) for i in range(len(header))]
    pad = lambda row: [
        c.ljust(w) if i == 0 else c.rjust(w) for i, (c, w) in enumerate(zip(row, widths))
    ]
    rule = ["-" * w if i == 0 else "-" * (w - 1) + ":" for i, w in enumerate(widths)]
    for row in [pad(cells[0]), rule] + [pad(row) for row in cells[1:]]:
        print("| " + " | ".join(row) + " |")
