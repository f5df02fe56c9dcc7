"""Regularisers are refused by name where they do not fit, and act on named parts of nests."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from service.base.errors import SpecError
from service.run.preflight import run_preflight
from tests.specs import parse
from trainables.config.data_info import DataInfo
from trainables.config.regularisers import read_regularisers
from trainables.contract import Trainable
from trainables.data.batch import Batch
from trainables.regularisers.base import Hooks, Subject
from trainables.regularisers.input_parts import change_parts, describe_part, list_parts

N = 40


def draw(*shape: int) -> np.ndarray[Any, np.dtype[np.float32]]:
    return np.random.default_rng(0).random((N, *shape), dtype=np.float32)


def split_up(x: Any, y: Any) -> Any:
    def cut(part: slice) -> Any:
        parts = {k: v[part] for k, v in x.items()} if isinstance(x, dict) else None
        inputs = parts or (tuple(v[part] for v in x) if isinstance(x, tuple) else x[part])
        return inputs, y[part]

    return {"train": cut(slice(0, 30)), "val": cut(slice(30, N))}


LABELS = np.arange(N) % 2


def ids() -> Any:
    return split_up(np.random.default_rng(0).integers(0, 9, (N, 5)), LABELS)


def series() -> Any:
    return split_up(draw(12, 3), LABELS)


def images() -> Any:
    return split_up(draw(3, 8, 8), LABELS)


def two_channels() -> Any:
    return split_up(draw(2, 8, 8), LABELS)


def masks() -> Any:
    x = draw(3, 8, 8)
    return split_up(x, (x.mean(1) > 0.5).astype(np.int64))


def numbers() -> Any:
    return split_up(draw(4), draw())


def rows() -> Any:
    return split_up(draw(4), LABELS)


def codes() -> Any:
    return split_up(np.random.default_rng(0).integers(0, 9, (N, 4)), LABELS)


def both() -> Any:
    return split_up({"image": draw(3, 8, 8), "table": draw(4)}, LABELS)


def pair() -> Any:
    return split_up((draw(3, 8, 8), draw(4)), LABELS)


def with_codes() -> Any:
    x = {"codes": np.random.default_rng(0).integers(0, 9, (N, 4)), "table": draw(4)}
    return split_up(x, LABELS)


class Flat(nn.Module):
    """Any inputs, each flattened, into one linear layer."""

    def __init__(self, outputs: int = 2) -> None:
        super().__init__()
        self.layer, self.drop = nn.LazyLinear(outputs), nn.Dropout(0.1)

    def forward(self, *args: Tensor, **named: Tensor) -> Tensor:
        out: Tensor = self.layer(
            self.drop(torch.cat([x.float().flatten(1) for x in (*args, *named.values())], 1))
        )
        return out


class Pixels(nn.Module):
    """A class for each pixel."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Conv2d(3, 2, 1)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.layer(x)
        return out


class Fails(Trainable):
    """A step that fails where targets are smoothed or mixed."""

    def build(self, info: DataInfo) -> nn.Module:
        return Flat()

    def step(self, model: nn.Module, batch: Batch) -> Tensor:
        if batch.smoothing or batch.other_y is not None:
            raise ValueError("no")
        return super().step(model, batch)


class OwnStep(Trainable):
    """A step that knows nothing of mixing and smoothing."""

    def build(self, info: DataInfo) -> nn.Module:
        return Flat()

    def step(self, model: nn.Module, batch: Batch) -> Tensor:
        drawn = random.random() + np.random.rand() + torch.rand(())
        return self.losses(self.forward(model, batch), batch.y).mean() + drawn


def refused(
    data: Callable[[], Any], space: dict[str, Any], network: str = "Flat", **changes: Any
) -> dict[str, str]:
    """What a preflight says against a spec, by key."""
    spec = parse(
        data={"name": f"{__name__}:{data.__name__}", "allow_overlap": True, "test": 0},
        trainable=f"{__name__}:{network}",
        space=space,
        confirm="off",
        **changes,
    )
    try:
        run_preflight(spec, "spec")
    except SpecError as error:
        return {problem.path: problem.message for problem in error.problems}
    return {}


ON = {"float": [0.1, 0.5]}
WHOLE = "whole numbers may be ids or codes"


@pytest.mark.parametrize(
    ("data", "space", "words"),
    [
        (
            ids,
            {"input_noise": ON},
            f"inputs of floats; the inputs are int64 (5,): {WHOLE}",
        ),
        (codes, {"mixup": ON}, WHOLE),
        (codes, {"augmentation": {"choice": ["mask", "none"]}}, WHOLE),
        (ids, {"augmentation": {"choice": ["none", "noise"]}}, WHOLE),
        (ids, {"random_erasing": ON}, WHOLE),
        (
            series,
            {"augmentation": "affine"},
            "images of floats, (channels, height, width)",
        ),
        (series, {"augmentation": "noise"}, "valid: none, or one of your own, module:Name"),
        (
            series,
            {"cutmix": ON},
            "images of floats, (channels, height, width); the inputs",
        ),
        (series, {"random_erasing": {"choice": [0.5, 0.0]}}, "the inputs are float32 (12, 3)"),
        (rows, {"augmentation": "shift"}, "'shift' is not one of none, noise, mask"),
        (two_channels, {"augmentation": "trivial"}, "need images with 1 or 3 channels, not 2"),
        (rows, {"cutmix": ON}, "requires images of floats"),
        (numbers, {"label_smoothing": ON}, "requires classes as targets; the task is regression"),
        (rows, {"stochastic_depth": ON}, "no layer of class StochasticDepth or DropPath"),
        (rows, {"augmentation": "noise", "augmentation_on": "x"}, "the inputs are one array"),
        (both, {"augmentation": "shift"}, "set `augmentation_on` to image (of image float32 (3,"),
        (both, {"input_noise": ON}, "set `input_noise_on` to image or table (of"),
        (both, {"mixup": ON}, "set `mixing_on` to image or table"),
        (pair, {"random_erasing": ON}, "set `random_erasing_on` to 0 (of 0 float32 (3, 8, 8), 1 "),
        (both, {"cutmix": ON, "mixing_on": "table"}, "images of floats, (channels, height, width)"),
        (both, {"input_noise": ON, "input_noise_on": "tables"}, "did you mean 'table'?"),
        (pair, {"input_noise": ON, "input_noise_on": 2}, "'2' is not one of 0, 1"),
        (both, {"augmentation": "shift", "augmentation_on": "table"}, "one of none, noise, mask"),
        (with_codes, {"mixup": ON, "mixing_on": "codes"}, f"the part codes is int64 (4,): {WHOLE}"),
        (with_codes, {"cutmix": ON}, "the inputs have none: codes int64 (4,), table float32 (4,)"),
    ],
)
def test_what_does_not_fit_is_refused_at_its_key(
    data: Callable[[], Any], space: dict[str, Any], words: str
) -> None:
    names = [n for n in space if not n.endswith("_on")]
    found = refused(data, space)
    assert list(found) == [f"space.{names[0]}"]
    assert words in found[f"space.{names[0]}"]


@pytest.mark.parametrize(
    ("space", "words"),
    [
        (
            {"augmentation": "affine"},
            "one target for a whole sample; those of a sample are",
        ),
        ({"cutmix": ON}, "requires one target for a whole sample"),
        ({"augmentation": "noise"}, ""),
        ({"random_erasing": ON}, ""),
        ({"mixup": ON}, ""),
        ({"label_smoothing": ON}, ""),
    ],
)
def test_what_moves_pixels_does_not_fit_targets_for_pixels(
    space: dict[str, Any], words: str
) -> None:
    found = refused(masks, space, "Pixels")
    assert [*found] == ([f"space.{next(iter(space))}"] if words else [])
    assert all(words in text for text in found.values())


@pytest.mark.parametrize("key", ["mixup", "label_smoothing"])
def test_a_step_that_ignores_what_a_regulariser_changes_is_named(key: str) -> None:
    (found,) = refused(rows, {key: ON}, "OwnStep").items()
    assert found[0] == f"space.{key}"
    assert "that of OwnStep ignores it: it is an override that does not use it" in found[1]
    (text,) = refused(rows, {key: ON}, "Fails").values()
    assert "the training step of Fails with such a batch raised ValueError: no (" in text
    assert not refused(rows, {key: ON})
    loss = {"loss": "torch.nn:CrossEntropyLoss"}
    assert not refused(rows, {key: ON}, training=loss)


@pytest.mark.parametrize(
    ("preset", "data", "keys"),
    [
        ("tables", ids, {"space.augmentation"}),
        ("tables", series, {"space.augmentation"}),
        ("regularisation", series, {"space.augmentation"}),
        ("augmentation", ids, {"space.augmentation"}),
        ("tables", rows, set()),
        ("regularisation", images, set()),
        ("penalties", ids, set()),
        ("dropout", both, set()),
    ],
)
def test_a_preset_is_refused_by_its_keys(
    preset: str, data: Callable[[], Any], keys: set[str]
) -> None:
    assert set(refused(data, {"preset": preset})) == keys


@dataclass(frozen=True)
class Views:
    """Inputs as a dataclass."""

    image: Any
    table: Any


NESTS: list[tuple[Any, str, str]] = [
    ({"image": torch.rand(6, 3, 8, 8), "table": torch.rand(6, 4)}, "image", "table"),
    ((torch.rand(6, 3, 8, 8), torch.rand(6, 4)), "0", "1"),
    (Views(torch.rand(6, 3, 8, 8), torch.rand(6, 4)), "image", "table"),
    ({"a": {"b": (torch.rand(6, 3, 8, 8),)}, "ids": torch.arange(6)}, "a.b.0", "ids"),
]


@pytest.mark.parametrize(("inputs", "part", "other"), NESTS)
@pytest.mark.parametrize(
    "options",
    [
        {"augmentation": "shift", "augmentation_on": ...},
        {"augmentation": "noise", "augmentation_on": ...},
        {"random_erasing": 1.0, "random_erasing_on": ...},
        {"input_noise": 0.5, "input_noise_on": ...},
        {"mixup": 0.5, "mixing_on": ...},
        {"cutmix": 0.5, "mixing_on": ...},
    ],
)
def test_a_regulariser_acts_on_the_named_part_alone(
    inputs: Any, part: str, other: str, options: dict[str, Any]
) -> None:
    torch.manual_seed(1)
    shapes = change_parts(inputs, list(list_parts(inputs)), lambda _, x: tuple(x.shape[1:]))
    info = DataInfo(shapes, "classification", 2, "other")  # type: ignore[arg-type]  # equal to the enums
    named = {k: part if v is ... else v for k, v in options.items()}
    (config,) = read_regularisers(named)
    hooks, layer = Hooks([config.build()]), nn.Linear(1, 1)
    optimizer = torch.optim.SGD(layer.parameters(), lr=0.1)
    hooks.attach(Subject(info, layer, [], optimizer, None))  # type: ignore[arg-type]  # it reads no training
    before = {k: v.clone() for k, v in list_parts(inputs).items()}
    batch = hooks.on_batch(inputs, torch.arange(6))
    after = list_parts(batch.x)
    assert type(batch.x) is type(inputs)
    assert not torch.equal(after[part], before[part])
    assert after[part].shape == before[part].shape
    assert torch.equal(after[other], before[other])
    assert torch.equal(list_parts(inputs)[part], before[part])
    assert (batch.other_y is not None) == ("mixing_on" in options)


def test_several_parts_are_mixed_by_one_share() -> None:
    x = {"a": torch.arange(6.0).reshape(6, 1), "b": 10 * torch.arange(6.0).reshape(6, 1)}
    (config,) = read_regularisers({"mixup": 1.0, "mixing_on": ["a", "b"]})
    torch.manual_seed(0)
    batch = config.build().on_batch(Batch(x, torch.arange(6)))
    assert torch.allclose(10 * batch.x["a"], batch.x["b"])
    assert not torch.equal(batch.x["a"], x["a"])


def test_two_networks_with_an_image_and_a_table_train_with_all_of_them(tmp_path: Path) -> None:
    space = {
        "augmentation": {"choice": ["none", "shift"]},
        "augmentation_strength": {"float": [0.1, 1.0], "when": {"augmentation": "shift"}},
        "augmentation_on": {"choice": ["image"], "when": {"augmentation": "shift"}},
        "input_noise": ON,
        "input_noise_on": {"choice": [["image", "table"]]},
        "random_erasing": ON,
        "random_erasing_on": "image",
        "mixup": ON,
        "mixing_on": {"choice": ["table"]},
    }
    assert refused(both, space) == {}
    assert refused(pair, {"input_noise": ON, "input_noise_on": 1}) == {}


def test_a_key_for_parts_alone_has_no_effect() -> None:
    with pytest.raises(SpecError, match=r"has no effect without `mixup` or `cutmix`"):
        parse(space={"mixing_on": "image", "dropout": ON})
    with pytest.raises(SpecError, match="must be a key, an index, or a list of them"):
        parse(space={"mixing_on": {"choice": [1.5]}, "mixup": ON})


def test_off_stays_off_with_a_part() -> None:
    assert read_regularisers({"mixup": 0.0, "mixing_on": "image", "random_erasing_on": 0}) == ()


def test_a_part_is_an_image_or_a_row_by_its_shape() -> None:
    info = DataInfo({"a": (3, 8, 8), "b": (4,), "c": (12, 3), "d": (32, 8, 8)}, None, 2, None)  # type: ignore[arg-type]  # not read
    assert [describe_part(info, n).kind for n in "abcd"] == ["image", "table", "other", "other"]
