"""Random numbers of reading samples, apart from those of training.

A user's ``Dataset`` draws from the generators of Python, NumPy or torch. Each read is seeded, so
that it does not depend on the process that reads, nor on what was read or trained before.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch
from numpy.random import mtrand


class ReadingState:
    """States of Python's, NumPy's and torch's generators on the CPU, seeded from some numbers.

    NumPy's is a bit generator of its own, because to copy its state would take as long as to read a
    small batch.
    """

    def __init__(self, *numbers: int) -> None:
        self._numpy = np.random.MT19937()
        with self.seeded(*numbers):
            self._keep()

    @contextmanager
    def seeded(self, *numbers: int) -> Iterator[None]:
        """Use generators seeded from some numbers while the block runs."""
        with _put_in_place(self._numpy):
            first, second = (int(n) for n in np.random.SeedSequence(numbers).generate_state(2))
            random.seed(first)
            np.random.seed(second)
            torch.default_generator.manual_seed(first)
            yield

    @contextmanager
    def active(self) -> Iterator[None]:
        """Use these states while the block runs, and keep what they became."""
        with _put_in_place(self._numpy):
            random.setstate(self._python)
            torch.default_generator.set_state(self._torch)
            try:
                yield
            finally:
                self._keep()

    def _keep(self) -> None:
        self._python, self._torch = random.getstate(), torch.default_generator.get_state()


@contextmanager
def _put_in_place(numpy: np.random.BitGenerator) -> Iterator[None]:
    """Put all generators back afterwards; NumPy's forgets the second of two normal numbers."""
    python, bits, state = random.getstate(), mtrand.get_bit_generator(), torch.get_rng_state()
    mtrand.set_bit_generator(numpy)
    try:
        yield
    finally:
        random.setstate(python)
        mtrand.set_bit_generator(bits)
        torch.default_generator.set_state(state)
