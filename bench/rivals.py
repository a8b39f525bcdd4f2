"""What the comparisons share: a folder of their own under build/, llama.cpp, medians, tables."""

import hashlib
import os
import statistics
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
FOLDER = ROOT / "build" / "rivals"
MODEL = ROOT / "models" / "SmolLM2-135M-Instruct.Q4_1.gguf"
INDEX = ROOT / "weights" / "smollm2-135m-index.gguf"

LLAMA = FOLDER / "llama.cpp"
LLAMA_NAME, LLAMA_VERSION = "llama-cpp-python", "0.3.36"
LLAMA_SHA256 = "832db0699007f1be95a7e41ef12e88926b02ba836461e36a36372db2760c1a2e"


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


def fetch_llama():
    """The folder of llama.cpp's source, of the pinned release, downloaded if missing."""
    LLAMA.mkdir(parents=True, exist_ok=True)
    archive = LLAMA / f"llama_cpp_python-{LLAMA_VERSION}.tar.gz"
    if not archive.exists():
        print(f"will download {LLAMA_NAME} {LLAMA_VERSION} (77 MB) into {LLAMA}", file=sys.stderr)
        fetch = ["pip", "download", "--quiet", "--no-deps", "--no-binary", ":all:", "--dest", LLAMA]
        fetch.append(f"{LLAMA_NAME}=={LLAMA_VERSION}")
        subprocess.run([sys.executable, "-m", *fetch], check=True)
    if hashlib.sha256(archive.read_bytes()).hexdigest() != LLAMA_SHA256:
        sys.exit(f"{archive} is not {LLAMA_NAME} {LLAMA_VERSION} as published; delete it")
    source = LLAMA / archive.name.removesuffix(".tar.gz") / "vendor" / "llama.cpp"
    if not source.exists():
        with tempfile.TemporaryDirectory(dir=LLAMA) as half:  # whole, or not at all
            with tarfile.open(archive) as tar:
                tar.extractall(half)
            (Path(half) / source.parents[1].name).rename(source.parents[1])
    return source


def build_llama(target):
    """Builds a target of llama.cpp with this machine's instructions, OpenMP and flash attention,
    its own fastest configuration. Gives the folders of its source and its build."""
    source, build = fetch_llama(), LLAMA / "build"
    quiet = {"stdout": subprocess.DEVNULL, "check": True}
    if not (build / "build.ninja").exists():
        off = "LLAMA_CURL BUILD_SHARED_LIBS LLAMA_BUILD_TESTS LLAMA_BUILD_EXAMPLES"
        flags = [f"-D{name}=OFF" for name in f"{off} LLAMA_BUILD_SERVER".split()]
        where = ["-G", "Ninja", "-S", source, "-B", build, "-DCMAKE_BUILD_TYPE=Release"]
        subprocess.run(["cmake", *where, *flags], **quiet)
    print(f"building {target} of llama.cpp in {build}, unless it is there", file=sys.stderr)
    subprocess.run(["cmake", "--build", build, "--target", target], **quiet)
    return source, build


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
