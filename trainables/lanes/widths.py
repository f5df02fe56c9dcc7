"""How many trainings should share their steps, from what groups of some widths were measured to do.

Widths 1, 2, 4, 8, … are measured one after the other, until a wider group gains too little or would
not fit in memory.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

_GROWTH = 1.10
"""A width is worth while if it takes so many times the steps of half of it."""
_GAIN = 1.15
"""A group is worth while if it takes so many times the steps of its trainings alone."""
_MEMORY = 0.85
"""The share of free memory that a group may take, by prediction."""


@dataclass(frozen=True)
class Measured:
    """A width, its steps in a second, of all its trainings together, and its memory in bytes."""

    width: int
    steps: float
    memory: int


def find_next_width(measured: Sequence[Measured], *, free: int, most: int) -> int | None:
    """The next width to measure; None if no wider one is to be.

    ``free`` are the bytes that a group may take, ``most`` is the largest width that is wanted.
    """
    if not measured:
        return 1
    last = measured[-1]
    grew = len(measured) < 2 or last.steps >= _GROWTH * measured[-2].steps
    width = 2 * last.width
    fits = width <= most and predict_memory(measured, width) <= _MEMORY * free
    return width if grew and fits else None


def predict_memory(measured: Sequence[Measured], width: int) -> int:
    """The bytes of a wider group, in a line through the two widest that were measured.

    The narrowest say too little: a step also takes memory that does not grow with the lanes.
    """
    if len(measured) < 2:
        return measured[-1].memory * width // measured[-1].width
    before, last = measured[-2:]
    slope = (last.memory - before.memory) / (last.width - before.width)
    return round(last.memory + slope * (width - last.width))


def choose_width(measured: Sequence[Measured]) -> int:
    """The widest one up to which each doubling was worth while; 1 if all gain too little.

    ``measured`` begins with a width of 1.
    """
    chosen = measured[0]
    for wider in measured[1:]:
        if wider.steps < _GROWTH * chosen.steps:
            break
        chosen = wider
    return chosen.width if chosen.steps >= _GAIN * measured[0].steps else 1
