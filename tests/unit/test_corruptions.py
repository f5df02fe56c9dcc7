"""Corrupted inputs: equal at level 0, and further away the higher the level."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Generator, Tensor

from trainables.analysis.corruptions import add_noise, blur, drop_values, measure_deviation, shift
from trainables.data.preprocessing import Column, Preprocessing
from trainables.data.table_columns import name_columns, read_columns


def seeded() -> Generator:
    return Generator().manual_seed(0)


IMAGES = torch.rand(40, 2, 9, 7, generator=seeded())
ROWS = torch.randn(400, 5, generator=seeded()) * torch.tensor([1.0, 10.0, 0.1, 1.0, 0.0])
SERIES = torch.randn(300, 6, 3, generator=seeded())
COLUMNS = name_columns(5, torch.full((5,), -9.0))

CORRUPTIONS: dict[str, tuple[Tensor, Callable[[Tensor, float], Tensor], tuple[float, ...]]] = {
    "noise in images": (
        IMAGES,
        lambda x, level: add_noise(x, level, measure_deviation([x]), seeded()),
        (0.1, 0.5, 1.0),
    ),
    "noise in tables": (
        ROWS,
        lambda x, level: add_noise(x, level, measure_deviation([x]), seeded()),
        (0.1, 0.5, 1.0),
    ),
    "noise in series": (
        SERIES,
        lambda x, level: add_noise(x, level, measure_deviation([x]), seeded()),
        (0.1, 0.5, 1.0),
    ),
    "blur": (IMAGES, blur, (0.5, 1.0, 2.0, 8.0)),
    "missing values": (ROWS, lambda x, level: drop_values(x, level, COLUMNS, seeded()), (0.1, 0.4)),
}


@pytest.mark.parametrize("name", CORRUPTIONS)
def test_a_corruption_is_nothing_at_level_0_and_grows(name: str) -> None:
    x, corrupt, levels = CORRUPTIONS[name]
    before = x.clone()
    assert torch.equal(corrupt(x, 0.0), x)
    distances = [float((corrupt(x, level) - x).norm()) for level in (0.0, *levels)]
    assert distances == sorted(distances)
    assert len(set(distances)) == len(distances)
    assert torch.equal(corrupt(x, levels[0]), corrupt(x, levels[0]))
    assert torch.equal(x, before)
    assert corrupt(x, levels[0]).dtype == x.dtype


def test_noise_is_in_deviations_of_each_column_and_nothing_where_nothing_varies() -> None:
    noisy = add_noise(ROWS, 0.5, measure_deviation(ROWS.split(70)), seeded())
    shares = (noisy - ROWS).std(0)[:4] / ROWS.std(0)[:4]
    assert shares.tolist() == pytest.approx([0.5] * 4, rel=0.1)
    assert torch.equal(noisy[:, 4], ROWS[:, 4])


def test_noise_in_images_is_in_deviations_of_all_pixels() -> None:
    images = torch.zeros(50, 1, 4, 4)
    images[:, :, :2] = torch.rand(50, 1, 2, 4, generator=seeded())
    noisy = add_noise(images, 0.5, measure_deviation([images]), seeded())
    assert float((noisy - images)[:, :, 2:].std()) == pytest.approx(
        0.5 * float(images.std()), rel=0.1
    )


def test_blur_keeps_constant_images_and_the_sum_of_a_dot() -> None:
    constant = torch.full((2, 3, 8, 8), 0.7)
    assert torch.allclose(blur(constant, 2.0), constant)
    dot = torch.zeros(1, 1, 15, 15)
    dot[0, 0, 7, 7] = 1.0
    spread = blur(dot, 1.0)
    assert float(spread.sum()) == pytest.approx(1.0, abs=1e-5)
    variance = (spread[0, 0].sum(0) * (torch.arange(15.0) - 7) ** 2).sum()
    assert float(variance) == pytest.approx(1.0, rel=0.03)


def test_blur_is_as_exact_in_a_training_of_low_precision() -> None:
    with torch.autocast("cpu", torch.bfloat16):
        inside = blur(IMAGES, 1.0)
    assert torch.equal(inside, blur(IMAGES, 1.0))


def test_a_shift_moves_each_image_whole_and_repeats_its_border() -> None:
    assert torch.equal(shift(IMAGES, 0, seeded()), IMAGES)
    ramp = torch.arange(7.0).expand(400, 1, 5, 7)
    moved = shift(ramp, 2, seeded())
    wanted = {
        (0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0),  # up or down
        (0.0, 0.0, 0.0, 1.0, 2.0, 3.0, 4.0),
        (2.0, 3.0, 4.0, 5.0, 6.0, 6.0, 6.0),
    }
    assert {tuple(row) for row in moved[:, 0, 0].tolist()} == wanted
    tall = shift(ramp.transpose(2, 3), 2, seeded())
    assert {tuple(row) for row in tall[:, 0, :, 0].tolist()} == wanted


def test_missing_values_are_filled_as_the_preprocessing_fills_them() -> None:
    columns = read_columns(
        Preprocessing(
            columns=(
                Column("colour", categories=("(missing)", "blue", "red")),
                Column("age", mean=40.0, scale=10.0, fill=35.0),
                Column("town", categories=("a", "b")),
            )
        )
    )
    assert columns is not None
    assert columns.names == ("colour", "age", "town")
    assert columns.owner.tolist() == [1, 0, 0, 0, 2, 2]
    assert columns.numeric.tolist() == [True, *[False] * 5]
    rows = torch.tensor([[2.0, 0.0, 1.0, 0.0, 1.0, 0.0]]).repeat(2000, 1)
    found = drop_values(rows, 0.3, columns, seeded())
    assert set(found[:, 0].tolist()) == {2.0, -0.5}
    assert {tuple(r) for r in found[:, 1:4].tolist()} == {(0.0, 1.0, 0.0), (1.0, 0.0, 0.0)}
    assert {tuple(r) for r in found[:, 4:].tolist()} == {(1.0, 0.0), (0.0, 0.0)}
    shares = [(found[:, i] != rows[:, i]).float().mean().item() for i in (0, 1, 4)]
    assert shares == pytest.approx([0.3] * 3, abs=0.04)
