"""The stack in Docker: how soon it is ready, what a rebuild takes, what its parts take when idle.

    python -m tests.benchmarks.docker_stack

The image is built first, which is not counted, and its layers are printed. Then, each three times,
the stack comes up with no volumes, from `up` to an API that is ready, and the image is built again
after a line was added to a source file. Memory is looked at a minute after the last start, as
Docker counts it: caches of files left out, shared memory included.
"""

from __future__ import annotations

import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tests.commands import REPOSITORY
from tests.docking import IMAGE, Docked, docker, why_not

UP_AIM, REBUILD_AIM, IDLE_AIM, SIZE_AIM = 60.0, 20.0, 3.0, 2.5
_ROUNDS = 3
_SETTLED = 60
_UNITS = {"GiB": 1.0, "MiB": 1 / 1024, "KiB": 1 / 1024**2, "B": 1 / 1024**3}


def main() -> None:
    """Print every figure beside its aim."""
    if why_not() is not None:
        sys.exit(str(why_not()))
    stack = Docked()
    stack.down("-v")
    stack.compose("build")
    try:
        size()
        starts(stack)
        idle()
    finally:
        stack.down("-v")
    rebuilds()


def size() -> None:
    """What takes the image's place."""
    layers = docker("history", "--format", "{{.Size}}\t{{.CreatedBy}}", IMAGE).stdout
    for line in (x for x in layers.splitlines() if "MB" in x or "GB" in x):
        print("  " + line[:90])
    total = int(docker("image", "inspect", "-f", "{{.Size}}", IMAGE).stdout) / 1e9
    print(f"image {total:.2f} GB, at most {SIZE_AIM}: {_met(total <= SIZE_AIM)}\n")


def starts(stack: Docked) -> None:
    """From nothing to a ready API."""
    took = []
    for _ in range(_ROUNDS):
        stack.down("-v")
        took.append(stack.up())
        print(f"  up {took[-1]:.1f} s")
    middle = statistics.median(took)
    print(f"up to a ready API {middle:.1f} s, at most {UP_AIM:.0f}: {_met(middle <= UP_AIM)}\n")


def idle() -> None:
    """What each part holds when nothing is asked of it."""
    time.sleep(_SETTLED)
    stats = docker("stats", "--no-stream", "--format", "{{.Name}}\t{{.MemUsage}}").stdout
    total = 0.0
    for line in sorted(stats.splitlines()):
        name, used = line.split("\t")
        if name.startswith("gapsweep-tests"):
            print(f"  {name.removeprefix('gapsweep-tests')[1:]:14} {used.split(' / ')[0]}")
            total += _gib(used.split(" / ")[0])
    print(f"idle {total:.2f} GiB, at most {IDLE_AIM:.0f}: {_met(total <= IDLE_AIM)}\n")


def rebuilds() -> None:
    """In a copy of the sources, one line more each time."""
    with tempfile.TemporaryDirectory() as scratch:
        copy = Path(scratch) / "gapsweep"
        left_out = shutil.ignore_patterns(".*", "tests")
        shutil.copytree(REPOSITORY, copy, ignore=left_out)
        shutil.copy(REPOSITORY / ".dockerignore", copy)
        took = []
        for number in range(_ROUNDS + 1):
            with (copy / "service" / "errors.py").open("a", encoding="utf-8") as file:
                file.write(f"# {number}\n")
            began = time.monotonic()
            words = ["docker", "build", "-q", "-t", IMAGE, "-f", "docker/Dockerfile", "."]
            subprocess.run(words, cwd=copy, check=True, capture_output=True, env=_buildkit())
            took.append(time.monotonic() - began)
            print(f"  rebuild {took[-1]:.1f} s")
    middle = statistics.median(took[1:])  # the first one may find other layers
    print(f"rebuild {middle:.1f} s, at most {REBUILD_AIM:.0f}: {_met(middle <= REBUILD_AIM)}")


def _buildkit() -> dict[str, str]:
    return Docked().environment


def _gib(text: str) -> float:
    unit = next(u for u in _UNITS if text.endswith(u))
    return float(text.removesuffix(unit)) * _UNITS[unit]


def _met(reached: bool) -> str:
    return "met" if reached else "missed"


if __name__ == "__main__":
    main()
