"""Every augmentation keeps what a batch is and changes what is in it."""

from __future__ import annotations

import pytest
import torch

from trainables.config.augmentations import list_augmentations
from trainables.config.data_info import DataInfo, Kind, Task
from trainables.config.regularisers import read_regularisers
from trainables.errors import ContractError
from trainables.regularisers.augmentation import build_augmentation
from trainables.regularisers.base import Hooks

GREY = DataInfo((1, 12, 12), Task.CLASSIFICATION, 3, Kind.IMAGE)
COLOUR = DataInfo((3, 12, 12), Task.CLASSIFICATION, 3, Kind.IMAGE)
TABLE = DataInfo((12,), Task.CLASSIFICATION, 3, Kind.TABLE)
CASES = [
    (info, name) for info in (GREY, COLOUR, TABLE) for name in list_augmentations(info.kind)[1:]
]


def batch(info: DataInfo) -> torch.Tensor:
    return torch.rand(16, *info.input_shape, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize(("info", "name"), CASES)
def test_shape_and_type_stay_and_values_change(info: DataInfo, name: str) -> None:
    augment = build_augmentation(name, 1.0, info)
    torch.manual_seed(1)
    x = batch(info)
    before = x.clone()
    got = [augment(x) for _ in range(4)]
    assert all(g.shape == x.shape and g.dtype == x.dtype and g.isfinite().all() for g in got)
    assert any(not torch.equal(g, before) for g in got)
    assert torch.equal(x, before)


@pytest.mark.parametrize(("info", "name"), CASES)
def test_the_same_seed_gives_the_same_batch(info: DataInfo, name: str) -> None:
    augment, x = build_augmentation(name, 0.7, info), batch(info)
    torch.manual_seed(3)
    first = augment(x)
    torch.manual_seed(3)
    assert torch.equal(augment(x), first)


def test_none_and_no_strength_are_nothing() -> None:
    assert read_regularisers({"augmentation": "none", "augmentation_strength": 1.0}) == ()
    assert read_regularisers({"augmentation": "noise", "augmentation_strength": 0.0}) == ()


def test_more_strength_changes_more() -> None:
    x, changes = batch(TABLE), []
    for strength in (0.1, 0.5, 1.0):
        augment = build_augmentation("noise", strength, TABLE)
        torch.manual_seed(0)
        changes.append(float((augment(x) - x).abs().mean()))
    assert changes == sorted(changes)
    assert changes[0] < changes[2] / 5


def test_what_does_not_fit_the_inputs_is_refused_with_what_does() -> None:
    with pytest.raises(ContractError, match="none, noise, mask"):
        build_augmentation("shift", 0.5, TABLE)
    two = DataInfo((2, 8, 8), Task.CLASSIFICATION, 3, Kind.IMAGE)
    with pytest.raises(ContractError, match="1 or 3 channels, not 2"):
        build_augmentation("randaugment", 0.5, two)


def test_erasing_zeroes_a_box_in_as_many_images_as_asked() -> None:
    torch.manual_seed(0)
    x = torch.ones(400, 1, 12, 12)
    hooks = Hooks([config.build() for config in read_regularisers({"random_erasing": 0.25})])
    erased = (hooks.on_batch(x, torch.ones(400)).x == 0).flatten(1).any(1)
    assert 0.15 < float(erased.float().mean()) < 0.35
