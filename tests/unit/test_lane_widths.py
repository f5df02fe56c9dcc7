"""How wide a group should be."""

from __future__ import annotations

import pytest

from trainables.lanes.group import divide
from trainables.lanes.widths import Measured, choose_width, find_next_width, predict_memory

FREE = 1000


def measure(*steps: float, memory: int = 10) -> list[Measured]:
    """Widths 1, 4, 8, … with these steps a second."""
    widths = (1, 4, 8, 16, 32)
    return [Measured(w, s, memory * w) for w, s in zip(widths, steps, strict=False)]


@pytest.mark.parametrize(
    ("steps", "expected"),
    [
        ((100,), 1),
        ((100, 80, 70), 1),
        ((100, 112), 1),
        ((100, 120, 125), 4),
        ((100, 150, 200, 230, 235), 16),
        ((100, 105, 300), 8),
        ((100, 114), 1),
        ((100, 105, 114, 116), 8),
    ],
)
def test_the_narrowest_group_next_to_the_fastest_is_chosen(
    steps: tuple[float, ...], expected: int
) -> None:
    assert choose_width(measure(*steps)) == expected


def test_wider_groups_are_measured_while_they_gain() -> None:
    assert find_next_width([], free=FREE, most=16) == 1
    assert find_next_width(measure(100), free=FREE, most=16) == 4
    assert find_next_width(measure(100, 150), free=FREE, most=16) == 8
    assert find_next_width(measure(100, 95), free=FREE, most=16) == 8
    assert find_next_width(measure(100, 85), free=FREE, most=16) is None
    assert find_next_width(measure(100, 105, 110), free=FREE, most=16) is None


def test_no_width_is_measured_beyond_the_most_or_the_memory() -> None:
    assert find_next_width(measure(100, 150), free=FREE, most=6) == 6
    assert find_next_width(measure(100, 150), free=FREE, most=4) is None
    assert find_next_width(measure(100, 150, memory=106), free=FREE, most=16) == 8
    assert find_next_width(measure(100, 150, memory=107), free=FREE, most=16) is None


def test_memory_is_predicted_from_the_two_widest() -> None:
    measured = [Measured(1, 1, 25), Measured(2, 1, 46), Measured(4, 1, 92)]
    assert predict_memory(measured, 8) == 184


@pytest.mark.parametrize(
    ("width", "sizes"), [(1, [1]), (2, [2]), (3, [2, 1]), (13, [8, 4, 1]), (16, [16])]
)
def test_a_width_is_made_of_powers_of_two(width: int, sizes: list[int]) -> None:
    parts = divide(width)
    assert [part.stop - part.start for part in parts] == sizes
    assert [n for part in parts for n in range(width)[part]] == list(range(width))
