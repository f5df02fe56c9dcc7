"""Changes of inputs draw before they apply: a lane of many has its bits; geometry is kornia's.

The lanes are made from the registries: a new augmentation that is no policy, or a new regulariser
that changes inputs, fails here unless it is an ``InputChange``.
"""

from __future__ import annotations

from typing import Any

import kornia.augmentation as kornia
import pytest
import torch
from torch import Tensor

from trainables.config.augmentations import ImagePolicy, augmentations, list_augmentations
from trainables.config.data_info import DataInfo, Kind, Task
from trainables.config.imports import load_object
from trainables.config.regularisers import BUILT_IN, Augmentation, read_regularisers
from trainables.regularisers.augmentation import build_augmentation
from trainables.regularisers.base import Regulariser
from trainables.regularisers.geometry import Affine, CropFlip, Shift
from trainables.regularisers.input_changes import AtStrength, InputChange
from trainables.regularisers.input_regulariser import InputRegulariser
from trainables.regularisers.pixels import Erasing

IMAGES = DataInfo((3, 9, 14), Task.CLASSIFICATION, 3, Kind.IMAGE)
TABLE = DataInfo((11,), Task.CLASSIFICATION, 3, Kind.TABLE)
OF_WHOLE_BATCHES = {"mixup", "label_smoothing"}
"""Regularisers that change more of a batch than each sample's inputs by themselves."""
SIZES, STRENGTHS = (37, 5, 64, 1), (0.3, 1.0, 1 / 3, 0.07)


def change(key: str, info: DataInfo, strength: float, name: str) -> AtStrength:
    """What a regulariser does to its inputs."""
    if name:
        made: Any = build_augmentation(name, strength, info)
    else:
        (config,) = read_regularisers({key: strength})
        made = config.build()
        assert isinstance(made, InputRegulariser), f"{key} changes batches: make it one"
        made = made.changes[""]
    assert isinstance(made, AtStrength), f"{key} {name} does not draw apart from applying"
    return made


def list_cases() -> list[tuple[str, DataInfo, str]]:
    """Keys, inputs and names of all that changes the inputs of batches, but for policies."""
    cases = []
    for config in BUILT_IN:
        made, key = load_object(config.implementation), config.names()[0]
        changes = isinstance(made, type) and made.on_batch is not Regulariser.on_batch  # type: ignore[attr-defined]  # a Regulariser
        if changes and config is not Augmentation and key not in OF_WHOLE_BATCHES:
            cases.append((key, IMAGES, ""))
    kinds = augmentations.built_in()
    for info in (IMAGES, TABLE):
        names = [n for n in list_augmentations(info.kind)[1:] if kinds[n] is not ImagePolicy]
        cases += [("augmentation", info, name) for name in names]
    return cases


CASES = list_cases()
IDS = [f"{name or key}-{info.kind}" for key, info, name in CASES]


def make_batch(size: int, info: DataInfo, seed: int = 0) -> Tensor:
    return torch.rand(size, *info.input_shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
@pytest.mark.parametrize(("key", "info", "name"), CASES, ids=IDS)
def test_a_lane_of_many_has_the_bits_of_the_lane_alone(
    key: str, info: DataInfo, name: str, dtype: torch.dtype
) -> None:
    inputs, draws, alone = [], [], []
    for lane, (size, strength) in enumerate(zip(SIZES, STRENGTHS, strict=True)):
        x = make_batch(size, info, lane).to(dtype)
        torch.manual_seed(lane)
        whole = change(key, info, strength, name)
        alone.append(whole(x))
        inputs.append(x)
        draws.append(whole.change.draw(x, torch.Generator().manual_seed(lane)))
    strengths = torch.tensor(STRENGTHS, dtype=torch.float64).repeat_interleave(torch.tensor(SIZES))
    together = whole.change.apply(torch.cat(inputs), torch.cat(draws), strengths)
    assert together.dtype == dtype
    starts = [sum(SIZES[:lane]) for lane in range(len(SIZES))]
    for start, expected in zip(starts, alone, strict=True):
        assert torch.equal(together[start : start + len(expected)], expected)
    assert not torch.equal(together, torch.cat(inputs))


@pytest.mark.parametrize(("key", "info", "name"), CASES, ids=IDS)
def test_draws_are_a_row_a_sample_and_know_no_strength(key: str, info: DataInfo, name: str) -> None:
    x = make_batch(13, info)
    weak, strong = (
        change(key, info, s, name).change.draw(x, torch.Generator().manual_seed(5))
        for s in (0.1, 0.9)
    )
    assert len(weak) == 13
    assert torch.equal(weak, strong)
    assert weak.std() > 0.1


@pytest.mark.parametrize(("key", "info", "name"), CASES, ids=IDS)
def test_the_applied_change_is_a_function_of_its_arguments_and_leaves_the_batch(
    key: str, info: DataInfo, name: str
) -> None:
    x = make_batch(13, info)
    before, whole = x.clone(), change(key, info, 0.8, name)
    draws = whole.change.draw(x)
    state = torch.get_rng_state()
    first, second = (whole.change.apply(x, draws, 0.8) for _ in range(2))
    assert torch.equal(first, second)
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(x, before)
    assert first.data_ptr() != x.data_ptr()


def draw(change: InputChange, x: Tensor) -> Tensor:
    return change.draw(x, torch.Generator().manual_seed(2))


def give_kornia(module: Any, x: Tensor, **params: Tensor) -> Tensor:
    """What kornia makes of images with parameters of ours in place of those that it drew."""
    module(x)
    made: Tensor = module(x, params={**module._params, **params})
    return made


def test_a_shift_is_kornias() -> None:
    x = make_batch(37, IMAGES)
    right, down = (0.25 * 0.7 * draw(Shift(), x)).unbind(1)
    moved = torch.stack((right * 14, down * 9), 1)
    module = kornia.RandomAffine(0.0, translate=(0.2, 0.2), p=1.0)
    expected = give_kornia(module, x, translations=moved)
    assert torch.allclose(Shift().apply(x, draw(Shift(), x), 0.7), expected, atol=1e-5)


def test_an_affine_transformation_is_kornias() -> None:
    x = make_batch(37, IMAGES)
    angle, right, down, scale, shear_x, shear_y = (0.7 * draw(Affine(), x)).unbind(1)
    expected = give_kornia(
        kornia.RandomAffine(30.0, (0.1, 0.1), (0.8, 1.2), 15.0, p=1.0),
        x,
        angle=30 * angle,
        translations=0.15 * torch.stack((right * 14, down * 9), 1),
        scale=(1 + 0.25 * scale)[:, None].repeat(1, 2),
        shear_x=15 * shear_x,
        shear_y=15 * shear_y,
    )
    assert torch.allclose(Affine().apply(x, draw(Affine(), x), 0.7), expected, atol=1e-5)


def test_crops_and_flips_are_kornias() -> None:
    x, padding = make_batch(37, IMAGES), (2, 3)  # a quarter of 9 and 14, times 0.7, rounded up
    top, left, flip = draw(CropFlip(), x).unbind(1)
    top, left = (top * 5).floor(), (left * 7).floor()
    corners = torch.tensor([[0, 0], [13, 0], [13, 8], [0, 8]])
    crop = kornia.RandomCrop((9, 14), padding=padding[::-1])
    cropped = give_kornia(crop, x, src=torch.stack((left, top), 1)[:, None] + corners)
    expected = torch.where((flip < 0.5)[:, None, None, None], cropped.flip(-1), cropped)
    assert torch.equal(CropFlip().apply(x, draw(CropFlip(), x), 0.7), expected)
    assert {*top.tolist()} == {*range(5)}, "every offset occurs"
    assert {*left.tolist()} == {*range(7)}


def test_erased_boxes_have_kornias_size_and_place() -> None:
    x = make_batch(64, IMAGES) + 1
    chosen, share, by, top, left = draw(Erasing(), x).unbind(1)
    ratio = torch.where(by < 0.5, 0.3 + 1.4 * by, 4.6 * by - 1.3)
    area = (0.02 + 0.31 * share) * 9 * 14
    heights = (area * ratio).sqrt().round().clamp(1, 9)
    widths = (area / ratio).sqrt().round().clamp(1, 14)
    expected = give_kornia(
        kornia.RandomErasing((0.02, 0.33), (0.3, 3.3), p=1.0),
        x,
        heights=heights,
        widths=widths,
        ys=(top * (10 - heights)).floor(),
        xs=(left * (15 - widths)).floor(),
    )
    expected = torch.where((chosen < 0.6)[:, None, None, None], expected, x)
    assert torch.equal(Erasing().apply(x, draw(Erasing(), x), 0.6), expected)


def test_a_padding_that_is_a_whole_number_is_not_rounded_up() -> None:
    x = torch.ones(1, 1, 100, 100)  # a quarter of it, times 0.28, is 7.000000000000001
    corner = torch.tensor([[1 - 2**-24, 0.0, 0.9]])
    assert CropFlip().apply(x, corner, 0.28).sum() == 93 * 93
