"""Gives a sampler that exists another seed, whatever it is made of.

Optuna's ``reseed_rng`` takes no seed. A sampler keeps its random state in generators of NumPy,
Python or PyTorch, often inside of objects that it shares them with.
"""

from __future__ import annotations

import random
import sys
from collections.abc import Iterator, Mapping
from types import FunctionType, ModuleType
from typing import Any

import numpy as np

_DEPTH = 6
_GENERATORS = (np.random.RandomState, np.random.Generator, random.Random)


def reseed(sampler: object, seed: int) -> None:
    """Seed every random generator in the attributes of ``sampler`` from ``seed``, each its own.

    Equal seeds give equal draws afterwards, whatever was drawn before. Other state is kept, and so
    are generators that the sampler does not hold, such as NumPy's global one.
    """
    for index, generator in enumerate(_find_generators(sampler, _DEPTH, set())):
        sequence = np.random.SeedSequence([seed, index])
        own = int(sequence.generate_state(1)[0])
        match generator:
            case np.random.RandomState() | random.Random():
                generator.seed(own)
            case np.random.Generator():
                bits = generator.bit_generator
                bits.state = type(bits)(sequence).state
            case _:
                generator.manual_seed(own)


def _find_generators(found: Any, depth: int, seen: set[int]) -> Iterator[Any]:
    """The generators in an object, each once, in the order of its attributes."""
    if id(found) in seen or depth < 0:
        return
    seen.add(id(found))
    if isinstance(found, _GENERATORS) or _is_torch_generator(found):
        yield found
    else:
        for inner in _list_parts(found):
            yield from _find_generators(inner, depth - 1, seen)


def _is_torch_generator(found: Any) -> bool:
    torch = sys.modules.get("torch")  # not imported for this: a generator of it would have done so
    return torch is not None and isinstance(found, torch.Generator)


def _list_parts(found: Any) -> Iterator[Any]:
    if isinstance(found, (type, ModuleType, FunctionType, str, bytes, int, float, np.ndarray)):
        return
    if isinstance(found, Mapping):
        yield from found.values()
    elif isinstance(found, (list, tuple)):
        yield from found
    else:
        yield from getattr(found, "__dict__", {}).values()
