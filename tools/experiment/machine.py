"""The machine and the files of an experiment, as a report names them."""

import os
import platform
import shutil
import subprocess
from pathlib import Path


def processor():
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def system():
    try:
        return platform.freedesktop_os_release()["PRETTY_NAME"]
    except (AttributeError, KeyError, OSError):
        return platform.system()


def package_of(path):
    """The Debian package a file came with, and its version; "" where there is none."""
    if not shutil.which("dpkg-query"):
        return ""
    path = str(Path(path).resolve())
    owner = subprocess.run(["dpkg-query", "-S", path], capture_output=True, text=True, check=False)
    names = owner.stdout.partition(": /")[0].split(", ")
    if owner.returncode or not names[0]:
        return ""
    asked = ["dpkg-query", "-W", "-f=${Package} ${Version}", names[0]]
    return subprocess.run(asked, capture_output=True, text=True, check=False).stdout


def describe(files):
    """files: {name: path}."""
    return {
        "cpu": processor(),
        "cores": len(os.sched_getaffinity(0)),
        "memory_gb": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9),
        "system": system(),
        "files": {name: {"path": p, "package": package_of(p)} for name, p in files.items()},
    }
