"""Settings and random generators of the process, which a user's loop has for itself."""

from __future__ import annotations

import os
import random
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch

from trainables.compat import seed_torch


def seed_all(seed: int) -> None:
    """Seed the generators of torch, numpy and Python."""
    seed_torch(seed)
    np.random.seed(seed % 2**32)
    random.seed(seed)


def take_generators() -> dict[str, Any]:
    """The states of all generators, in types that ``weights_only`` loads."""
    name, keys, position, has_gauss, gauss = cast(tuple[Any, ...], np.random.get_state())
    version, numbers, spare = random.getstate()
    on_gpus = torch.cuda.is_available() and torch.cuda.is_initialized()  # type: ignore[no-untyped-call]  # torch leaves it untyped
    return {
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state_all() if on_gpus else [],
        "numpy": (name, torch.from_numpy(keys.astype(np.int64)), position, has_gauss, gauss),
        "python": (version, list(numbers), spare),
    }


def set_generators(states: Mapping[str, Any]) -> None:
    """Restore states of :func:`take_generators`; those of GPUs that are not here are left out."""
    torch.set_rng_state(states["torch"])
    if len(states["cuda"]) == torch.cuda.device_count():
        torch.cuda.set_rng_state_all(states["cuda"])
    name, keys, *rest = states["numpy"]
    np.random.set_state((name, keys.numpy().astype(np.uint32), *rest))
    version, numbers, spare = states["python"]
    random.setstate((version, tuple(numbers), spare))


@dataclass(frozen=True)
class Settings:
    """Process-wide and thread-wide settings that a training loop may change."""

    generators: Mapping[str, Any]
    gradients: bool
    dtype: torch.dtype
    device: torch.device
    deterministic: tuple[bool, bool]
    matmul: str
    cudnn: tuple[bool, bool, bool]
    folder: str | None
    threads: int

    @classmethod
    def take(cls) -> Settings:
        """Those of now."""
        cudnn = torch.backends.cudnn
        return cls(
            generators=take_generators(),
            gradients=torch.is_grad_enabled(),
            dtype=torch.get_default_dtype(),
            device=torch.get_default_device(),
            deterministic=(
                torch.are_deterministic_algorithms_enabled(),
                torch.is_deterministic_algorithms_warn_only_enabled(),
            ),
            matmul=torch.get_float32_matmul_precision(),
            cudnn=(cudnn.benchmark, cudnn.deterministic, cudnn.allow_tf32),
            folder=_find_folder(),
            threads=torch.get_num_threads(),
        )

    def apply(self) -> None:
        """Make them those of the process again."""
        now = Settings.take()
        set_generators(self.generators)
        torch.set_grad_enabled(self.gradients)
        if now.dtype != self.dtype:
            torch.set_default_dtype(self.dtype)
        if now.device != self.device:
            torch.set_default_device(None if self.device.type == "cpu" else self.device)
        if now.deterministic != self.deterministic:
            mode, warn_only = self.deterministic
            torch.use_deterministic_algorithms(mode, warn_only=warn_only)
        if now.matmul != self.matmul:
            torch.set_float32_matmul_precision(self.matmul)
        if now.cudnn != self.cudnn:
            cudnn = torch.backends.cudnn
            cudnn.benchmark, cudnn.deterministic, cudnn.allow_tf32 = self.cudnn
        if now.threads != self.threads:
            torch.set_num_threads(self.threads)
        if self.folder is not None and now.folder != self.folder:
            os.chdir(self.folder)


def _find_folder() -> str | None:
    try:
        return str(Path.cwd())
    except OSError:  # it was deleted
        return None


@contextmanager
def plain_mode() -> Iterator[None]:
    """Leave inference mode and autocast, in which a loop may report, while the block runs."""
    with torch.inference_mode(False), torch.enable_grad():
        kind = "cuda" if torch.is_autocast_enabled("cuda") else "cpu"
        with torch.autocast(kind, enabled=False):
            yield
