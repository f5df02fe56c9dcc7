"""What this machine has for trainings. Imports torch only to list GPUs."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from trainables.config.precision import Precision

_AMPERE = (8, 0)
"""The lowest compute capability whose tensor cores support TF32 and BF16."""
_PASCAL = (6, 0)
"""The lowest compute capability that computes in FP16 faster than in FP32."""
_CPUS = Path("/proc/cpuinfo")
_MEMORY = Path("/proc/meminfo")
_GROUPS = Path("/sys/fs/cgroup")
_OF_GROUP = (
    ("memory.max", "memory.current"),
    ("memory/memory.limit_in_bytes", "memory/memory.usage_in_bytes"),
)
"""The files of a control group's limit and use, of its second and of its first version."""


@dataclass(frozen=True)
class Gpu:
    """``memory`` is in bytes, ``capability`` is the compute capability."""

    name: str
    memory: int
    capability: tuple[int, int]

    def can(self, precision: Precision) -> bool:
        """Whether the GPU supports the precision in hardware."""
        least = _PASCAL if precision == "fp16" else _AMPERE
        return precision == "fp32" or self.capability >= least


@dataclass(frozen=True)
class Machine:
    """``memory`` is in bytes; ``compiler`` is the C++ compiler that torch.compile finds."""

    cpus: int
    memory: int
    cpu_has_bf16: bool
    compiler: str | None = None
    gpus: tuple[Gpu, ...] = ()

    @classmethod
    def from_dict(cls, raw: dict[str, Any]) -> Machine:
        """The inverse of ``asdict``, after a round trip through JSON."""
        gpus = (Gpu(**{**g, "capability": tuple(g["capability"])}) for g in raw["gpus"])
        return cls(**{**raw, "gpus": tuple(gpus)})

    def can(self, precision: Precision) -> bool:
        """Whether the CPUs support the precision in hardware; fp16 is computed by any of them."""
        return precision in ("fp32", "fp16") or (precision == "bf16" and self.cpu_has_bf16)


def describe_machine() -> Machine:
    """This machine's devices, found without creating a CUDA context in this process."""
    import torch

    return inspect_in_subprocess() if torch.cuda.device_count() else build_machine(())


def inspect_in_subprocess() -> Machine:
    """This machine's devices as another process sees them, even if none is visible here.

    Raises:
        RuntimeError: the other process failed.
    """
    environment = {k: v for k, v in os.environ.items() if (k, v) != ("CUDA_VISIBLE_DEVICES", "")}
    looked = subprocess.run(
        [sys.executable, "-P", "-m", __name__], capture_output=True, text=True, env=environment
    )
    if looked.returncode:
        raise RuntimeError(f"the devices could not be listed: {looked.stderr.strip()[-300:]}")
    return Machine.from_dict(json.loads(looked.stdout.splitlines()[-1]))


def build_machine(gpus: tuple[Gpu, ...]) -> Machine:
    """A description of this machine with these GPUs."""
    return Machine(
        cpus=os.cpu_count() or 1,
        memory=os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        cpu_has_bf16=_has_bf16(),
        compiler=_find_compiler(),
        gpus=gpus,
    )


def find_free_memory() -> int:
    """The bytes that processes here may still take: of the machine, or of its container."""
    return min(_find_available(), *_list_left_of_groups())


def _find_available() -> int:
    try:
        lines = _MEMORY.read_text(encoding="utf-8", errors="replace").splitlines()
        found = next(line for line in lines if line.startswith("MemAvailable:"))
        return int(found.split()[1]) * 1024
    except (OSError, StopIteration, ValueError, IndexError):  # not Linux
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def _list_left_of_groups() -> Iterator[int]:
    """What is left of the limit of the control group that a container sees as its own."""
    yield sys.maxsize
    for limit, used in _OF_GROUP:
        try:
            most, taken = (int((_GROUPS / name).read_text()) for name in (limit, used))
            yield max(0, most - taken)
        except (OSError, ValueError):  # no such group, or "max"
            continue


def _has_bf16() -> bool:
    """Whether the CPUs have instructions for bfloat16: what Linux says, elsewhere what torch does.

    To ask torch would take a second in each process that has not imported it.
    """
    try:
        return "bf16" in _CPUS.read_text(encoding="utf-8", errors="replace")
    except OSError:
        import torch

        found = torch.cpu.get_capabilities()
        return any("bf16" in name and has is True for name, has in found.items())


def _find_compiler() -> str | None:
    """The compiler that torch uses: $CXX, or the default of the platform."""
    usual = "clang++" if sys.platform == "darwin" else "g++"
    return shutil.which(os.environ.get("CXX") or usual)


def _list_gpus() -> tuple[Gpu, ...]:
    import torch

    properties = [torch.cuda.get_device_properties(i) for i in range(torch.cuda.device_count())]
    return tuple(Gpu(p.name, p.total_memory, (p.major, p.minor)) for p in properties)


if __name__ == "__main__":
    print(json.dumps(asdict(build_machine(_list_gpus()))))
