"""What this machine computes with, what its devices can do, and how one of them is set."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from dataclasses import asdict, dataclass
from typing import Any

import torch

from trainables.config.precision import Precision

_AMPERE = (8, 0)
"""The first compute capability whose tensor cores take TF32 and BF16."""
_CONTEXT = 600 * 2**20
"""Bytes that a process takes on a GPU before its first tensor, which no cap counts."""


@dataclass(frozen=True)
class Gpu:
    """``memory`` is bytes, ``capability`` the compute capability."""

    name: str
    memory: int
    capability: tuple[int, int]

    def can(self, precision: Precision) -> bool:
        """Whether it has the instructions."""
        return precision == "fp32" or self.capability >= _AMPERE


@dataclass(frozen=True)
class Machine:
    """``memory`` is bytes; ``compiler`` is the C++ compiler that torch.compile finds."""

    cpus: int
    memory: int
    cpu_has_bf16: bool
    compiler: str | None = None
    gpus: tuple[Gpu, ...] = ()

    @classmethod
    def from_dict(cls, raw: dict[str, Any]) -> Machine:
        """From what ``asdict`` and JSON made of one."""
        gpus = (Gpu(**{**g, "capability": tuple(g["capability"])}) for g in raw["gpus"])
        return cls(**{**raw, "gpus": tuple(gpus)})

    def can(self, precision: Precision) -> bool:
        """Whether its CPUs have the instructions."""
        return precision == "fp32" or (precision == "bf16" and self.cpu_has_bf16)


def this_machine() -> Machine:
    """Found out without leaving anything on a GPU."""
    return looked_at_from_outside() if torch.cuda.device_count() else machine_of(())


def looked_at_from_outside() -> Machine:
    """What another process sees that no list of visible devices is empty for.

    Raises:
        RuntimeError: that process failed.
    """
    environment = {k: v for k, v in os.environ.items() if (k, v) != ("CUDA_VISIBLE_DEVICES", "")}
    looked = subprocess.run(
        [sys.executable, "-m", __name__], capture_output=True, text=True, env=environment
    )
    if looked.returncode:
        raise RuntimeError(f"the devices could not be looked at: {looked.stderr.strip()[-300:]}")
    return Machine.from_dict(json.loads(looked.stdout.splitlines()[-1]))


def machine_of(gpus: tuple[Gpu, ...]) -> Machine:
    """This machine with these GPUs."""
    instructions = torch.cpu.get_capabilities()
    return Machine(
        cpus=os.cpu_count() or 1,
        memory=os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        cpu_has_bf16=any("bf16" in name and has is True for name, has in instructions.items()),
        compiler=_compiler(),
        gpus=gpus,
    )


def _compiler() -> str | None:
    """Where torch looks for one: CXX, else the platform's usual name."""
    usual = "clang++" if sys.platform == "darwin" else "g++"
    return shutil.which(os.environ.get("CXX") or usual)


def describe(device: str) -> str:
    """The device as a person calls it."""
    if device == "cpu":
        return "CPU"
    return str(torch.cuda.get_device_name())


def generators_on(device: str) -> list[int]:
    """The GPUs whose random generators a training on a device draws from, for `fork_rng`."""
    return [] if device == "cpu" else [torch.cuda.current_device()]


def set_precision(precision: Precision) -> None:
    """What products of float32 are computed in, for the whole process; bf16 is autocast's."""
    tf32 = precision == "tf32"
    torch.set_float32_matmul_precision("high" if tf32 else "highest")
    torch.backends.cudnn.allow_tf32 = tf32


def limit_memory(share: float) -> None:
    """Let this process take no more than its share of its GPU's memory."""
    total = torch.cuda.mem_get_info()[1]
    own = max(share - _CONTEXT / total, share / 2)
    torch.cuda.set_per_process_memory_fraction(own)


def free_memory() -> int:
    """Bytes of its GPU that this process may still take."""
    free, total = torch.cuda.mem_get_info()
    cap = int(total * torch.cuda.get_per_process_memory_fraction())
    return min(free, cap - torch.cuda.memory_allocated())


def _gpus() -> tuple[Gpu, ...]:
    properties = [torch.cuda.get_device_properties(i) for i in range(torch.cuda.device_count())]
    return tuple(Gpu(p.name, p.total_memory, (p.major, p.minor)) for p in properties)


if __name__ == "__main__":
    print(json.dumps(asdict(machine_of(_gpus()))))
