"""Random numbers of reading samples, apart from those of training.

A user's ``Dataset`` draws from the generators of Python, NumPy or torch. Each read is seeded, so
that it does not depend on the process that reads, nor on what was read or trained before.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor


@contextmanager
def seeded(*numbers: int) -> Iterator[None]:
    """Seed all three generators from some numbers; afterwards they go on as before."""
    before = ReadingState.current()
    _seed(*numbers)
    try:
        yield
    finally:
        before.restore()


@dataclass
class ReadingState:
    """The states of Python's, NumPy's and torch's generators on the CPU."""

    python: Any
    numpy: Any
    torch: Tensor

    @classmethod
    def current(cls) -> ReadingState:
        """The states as they are."""
        return cls(random.getstate(), np.random.get_state(), torch.default_generator.get_state())

    @classmethod
    def from_seed(cls, *numbers: int) -> ReadingState:
        """The states of generators that were seeded from some numbers."""
        with seeded(*numbers):
            return cls.current()

    def restore(self) -> None:
        """Give the generators these states."""
        random.setstate(self.python)
        np.random.set_state(self.numpy)
        torch.default_generator.set_state(self.torch)

    @contextmanager
    def active(self) -> Iterator[None]:
        """Use these states while the block runs, and keep what they became."""
        before = ReadingState.current()
        self.restore()
        try:
            yield
        finally:
            after = ReadingState.current()
            self.python, self.numpy, self.torch = after.python, after.numpy, after.torch
            before.restore()


def _seed(*numbers: int) -> None:
    first, second = (int(n) for n in np.random.SeedSequence(numbers).generate_state(2))
    random.seed(first)
    np.random.seed(second)
    torch.default_generator.manual_seed(first)
