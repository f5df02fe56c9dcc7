"""What `validate` says of optimisers, schedulers and sampling, each mistake at its key."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from torch import nn
from torch.optim import lr_scheduler as torchs

from service.base.errors import SpecError
from service.cli.spec_tables import build_spec_table
from service.run.preflight import Preflight, run_preflight
from service.spec.file import dump_spec
from service.spec.model import SweepSpec
from service.spec.stored import parse_stored_spec
from tests.commands import REPOSITORY
from tests.documents import example
from tests.specs import parse
from trainables.config.data_info import DataInfo
from trainables.config.training import Training
from trainables.contract import Trainable

HERE = f"{__name__}:"
READ = REPOSITORY / "trainables" / "README.md"


class Rated(Trainable):
    """A linear model; how its optimiser is made is its argument."""

    def __init__(self, how: str = "groups") -> None:
        self._how = how

    def build(self, info: DataInfo) -> nn.Module:
        (features,) = info.input_shape
        return nn.Sequential(nn.Linear(features, 4), nn.Linear(4, info.outputs))

    def optimizer(self, parameters: Any, training: Training) -> Any:
        parameters = list(parameters)
        made = torch.optim.SGD(parameters, lr=training.lr)
        match self._how:
            case "fixed":
                return torch.optim.SGD(parameters, lr=0.01)
            case "spec":
                return super().optimizer(parameters, training)
            case "mode":
                return made, torchs.ReduceLROnPlateau(made, mode="max")
            case "monitor":
                plateau = torchs.ReduceLROnPlateau(made)
                return {"optimizer": made, "lr_scheduler": plateau, "monitor": "val_loss"}
            case "sometimes":
                plateau = torchs.ReduceLROnPlateau(made)
                return {"optimizer": made, "lr_scheduler": plateau, "monitor": "gap/loss"}
            case "short":
                return made, torchs.OneCycleLR(made, training.lr, total_steps=5)
            case "fits":
                assert self.steps_per_epoch is not None
                steps = self.steps_per_epoch * training.max_epochs
                return made, torchs.OneCycleLR(made, training.lr, total_steps=steps)
            case "unsaved":
                return made, Unsaved(made, 0.5)
        return made


class Unsaved(torchs.ExponentialLR):
    def state_dict(self) -> dict[str, Any]:
        return {"rule": lambda: 0.5, "self": self}


def spec_of(how: str, **changes: Any) -> SweepSpec:
    training = {"max_epochs": 3, "batch_size": 64, **changes.pop("training", {})}
    own = {"trainable": f"{HERE}Rated", "model": {"how": how}} if how else {}
    base = {
        "data": "breast_cancer",
        "space": {"penalty": {"choice": ["none", "l2"]}, "lambda": {"float": [0.1, 1.0]}},
        "confirm": "off",
    }
    base["space"]["lambda"]["when"] = {"penalty": "l2"}  # type: ignore[index]  # a nested dict
    space = changes.pop("space", {})
    base["space"].update(space)  # type: ignore[attr-defined]  # a dict
    return parse(**{**base, **own, **changes, "training": training})


def validated(how: str, **changes: Any) -> Preflight:
    return run_preflight(spec_of(how, **changes), "spec.yaml", measure_ranges=False)


def mistakes(how: str, **changes: Any) -> dict[str, str]:
    with pytest.raises(SpecError) as caught:
        validated(how, **changes)
    return {p.path: p.message for p in caught.value.problems}


@pytest.mark.parametrize(
    ("how", "changes", "path", "words"),
    [
        (
            "fits",
            {"training": {"schedule": "linear"}},
            "training.schedule",
            "has no effect: the learning rate is 4e-05, set by OneCycleLR, every step",
        ),
        (
            "fits",
            {"training": {"warmup_steps": 5}},
            "training.warmup_steps",
            "remove it, or the code of Rated.optimizer that sets the rate",
        ),
        (
            "fits",
            {"space": {"schedule": {"choice": ["cosine", "linear"]}}},
            "space.schedule",
            "has no effect",
        ),
        (
            "fits",
            {"space": {"swa": {"float": [0.1, 0.5]}}},
            "space.swa",
            "sets the learning rate, which OneCycleLR of Rated.optimizer sets too",
        ),
        (
            "fixed",
            {"training": {"scale_lr": "linear"}, "resources": {"workers": 2}},
            "training.scale_lr",
            "Rated.optimizer has groups with rates of their own",
        ),
        (
            "fixed",
            {"space": {"lr": {"float": [0.001, 0.1]}}},
            "space.lr",
            "has no effect: Rated.optimizer does not read training.lr",
        ),
        (
            "groups",
            {"space": {"optimizer": {"choice": ["adam", "sgd"]}}},
            "space.optimizer",
            "has no effect: Rated.optimizer does not read training.optimizer",
        ),
        ("monitor", {}, "trainable", "ReduceLROnPlateau: 'val_loss' is not one of train/loss"),
        ("mode", {}, "trainable", "mode is max, but lower values of val/loss are better"),
        (
            "sometimes",
            {"training": {"measure_every": 2}},
            "trainable",
            "gap/loss is needed every epoch, and training.measure_every is not 1",
        ),
        ("short", {}, "trainable", "OneCycleLR of Rated.optimizer raised ValueError: Tried to"),
        (
            "unsaved",
            {},
            "trainable",
            "the state of Unsaved of the optimizer cannot be saved and read again, so that a "
            "resumed trial could not restore it",
        ),
        (
            "",
            {"training": {"schedule": {"name": "plateau", "metric": "val/f1", "patience": 0}}},
            "training.schedule",
            "'val/f1' is not one of train/loss",
        ),
        (
            "",
            {
                "training": {
                    "max_epochs": 20,
                    "schedule": {"name": "plateau", "metric": "val/accuracy", "mode": "min"},
                }
            },
            "training.schedule",
            "mode is min, but higher values of val/accuracy are better",
        ),
        (
            "",
            {"training": {"warmup_steps": 18}},
            "training.warmup_steps",
            "18 leaves no step for the schedule: a training has 18",
        ),
        (
            "",
            {"data": f"{HERE}regression", "training": {"sampling": "balanced"}},
            "training.sampling",
            "balanced needs one class for each sample: the task is regression",
        ),
        (
            "",
            {
                "data": f"{HERE}regression",
                "space": {"sampling": {"choice": ["shuffled", "balanced"]}},
            },
            "space.sampling",
            "balanced needs one class for each sample",
        ),
    ],
)
def test_what_contradicts_the_optimizer_is_said_at_its_key(
    how: str, changes: dict[str, Any], path: str, words: str
) -> None:
    found = mistakes(how, **changes)
    assert words in found[path]


def regression() -> dict[str, Any]:
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(90, 3, generator=generator)
    y = x.sum(1) + 0.1 * torch.randn(90, generator=generator)
    parts = {"train": slice(0, 50), "val": slice(50, 70), "test": slice(70, 90)}
    return {name: (x[part], y[part]) for name, part in parts.items()}


@pytest.mark.parametrize(
    ("how", "changes", "words"),
    [
        ("", {}, "0.001, cosine"),
        (
            "",
            {"training": {"schedule": "one_cycle", "warmup_epochs": 1}},
            "0.001, one_cycle, warm-up of 1 epochs",
        ),
        ("fits", {}, "4e-05, set by OneCycleLR, every step; training.schedule is not used"),
        ("spec", {"space": {"optimizer": {"choice": ["adam", "sgd"]}}}, "0.001, cosine"),
        ("", {"space": {"optimizer": {"choice": ["radam", "rmsprop"]}}}, "0.001, cosine"),
        (
            "",
            {
                "space": {
                    "schedule": {"choice": ["one_cycle", "plateau", "step"]},
                    "warmup_epochs": {"int": [0, 2]},
                    "accumulate": {"choice": [1, 4]},
                    "sampling": {"choice": ["shuffled", "balanced"]},
                    "precision": {"choice": ["fp32", "fp16"]},
                }
            },
            "0.001, cosine",
        ),
    ],
)
def test_validate_says_who_sets_the_learning_rate(
    how: str, changes: dict[str, Any], words: str
) -> None:
    found = validated(how, **changes)
    assert found.examination is not None
    assert found.examination.rates == words
    table = build_spec_table(spec_of(how, **changes), found)
    assert words in list(table.columns[1].cells)


def test_the_examples_of_the_readme(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    keys = yaml.safe_load(example(READ, "optimisation", "yaml"))["training"]
    found = validated("", training={**keys, "max_epochs": 3}).examination
    assert found is not None
    assert found.rates == "0.003, cosine, warm-up of 2 epochs"
    code = example(READ, "groups of parameters", "python")
    (tmp_path / "tuned.py").write_text(code)
    monkeypatch.syspath_prepend(str(tmp_path))
    tuned, cycled = (
        run_preflight(spec_of("", trainable=f"tuned:{name}"), "spec.yaml").examination
        for name in ("Tuned", "Cycled")
    )
    assert tuned is not None
    assert cycled is not None
    assert tuned.rates == "2 groups from 1e-05 and 0.001, cosine"
    assert {"lr/body", "lr/head"} <= set(tuned.metrics)
    assert "set by OneCycleLR, every step" in cycled.rates


def test_a_stored_spec_with_own_schedulers_stays_valid(tmp_path: Any) -> None:
    stored = parse_stored_spec(dump_spec(spec_of("fits")), "stored", tmp_path)
    assert run_preflight(stored, "stored", measure_ranges=False).examination is not None


def test_steps_of_several_batches_are_counted_as_one() -> None:
    one, four = (
        validated("", training={"batch_size": 16, "accumulate": n}).examination for n in (1, 4)
    )
    assert one is not None
    assert four is not None
    assert (one.steps, four.steps) == (22, 6)  # of 342 samples
