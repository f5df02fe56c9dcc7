"""The settings of this process's device, and its memory."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

import torch

from trainables.config.precision import Precision

_CONTEXT = 600 * 2**20
"""Bytes that a process takes on a GPU before its first tensor, outside of torch's limit."""


def get_device_name(device: str) -> str:
    """The display name of a device."""
    if device == "cpu":
        return "CPU"
    return str(torch.cuda.get_device_name())


def list_generators(device: str) -> list[int]:
    """The GPUs whose random generators a training on ``device`` uses, for ``fork_rng``."""
    return [] if device == "cpu" else [torch.cuda.current_device()]


def uses_gpu() -> bool:
    """Whether this process has used a GPU."""
    return bool(torch.cuda.is_initialized())  # type: ignore[no-untyped-call]  # torch leaves it untyped


def list_used_generators() -> list[int]:
    """The GPUs whose random generators this process may have used, for ``fork_rng``."""
    return list_generators("cuda" if uses_gpu() else "cpu")


def set_precision(precision: Precision) -> None:
    """Set the precision of float32 products for the process; autocast handles 16 bits."""
    tf32 = precision == "tf32"
    torch.set_float32_matmul_precision("high" if tf32 else "highest")
    torch.backends.cudnn.allow_tf32 = tf32


def autocast(precision: Precision, device: str) -> AbstractContextManager[object]:
    """The autocast context of a forward pass.

    Torch keeps the casts of weights as long as any such context is open, and users' code may have
    left one open: casts of older weights are forgotten.
    """
    dtype = {"bf16": torch.bfloat16, "fp16": torch.float16}.get(precision)
    if dtype is None:
        return nullcontext()
    torch.clear_autocast_cache()
    return torch.autocast(torch.device(device).type, dtype)


def limit_memory(share: float) -> None:
    """Limit this process to a fraction of its GPU's memory."""
    total = torch.cuda.mem_get_info()[1]
    own = max(share - _CONTEXT / total, share / 2)
    torch.cuda.set_per_process_memory_fraction(own)


def get_free_memory() -> int:
    """Bytes of GPU memory that this process may still allocate."""
    free, total = torch.cuda.mem_get_info()
    cap = int(total * torch.cuda.get_per_process_memory_fraction())
    return min(free, cap - torch.cuda.memory_allocated())
