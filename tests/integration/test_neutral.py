"""A sweep whose baseline is not neutral says so, wherever its results are read."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import optuna
import pytest
from torch import Tensor, nn
from torch.nn import functional

from search_spaces.points import select_representable
from search_spaces.sampling import suggest
from service.run.first_points import plan_search
from service.run.python_api import run
from tests.contract.sweeps import BASE
from tests.specs import parse, problems
from trainables.config.regularisers import BUILT_IN, read_regularisers
from trainables.config.trial_parameters import list_parts, remove_parts

pytestmark = pytest.mark.usefixtures("without_plots")


class Net(nn.Module):
    """Drops by a rate of its own, and by a function."""

    def __init__(
        self, outputs: int, hidden: list[int], rate: float = 0.0, shrink: float | None = 1.0
    ) -> None:
        super().__init__()
        sizes = [30, *hidden, outputs]
        self.layers = nn.Sequential(*map(nn.Linear, sizes[:-1], sizes[1:]))
        self.rate, self.shrink = rate, shrink

    def forward(self, x: Tensor) -> Tensor:
        x = functional.dropout(x, self.rate, self.training)
        out: Tensor = self.layers(functional.dropout(x, 0.2, self.training))
        return out if self.shrink is None else out * self.shrink


SPEC: dict[str, Any] = {
    **BASE,
    "trainable": f"{__name__}:Net",
    "model": {},
    "space": {
        "model.hidden": {"choice": [[4], [3, 3]]},
        "model.shrink": {"choice": [0.5, None], "neutral": None},
        "model.rate": {"float": [0.1, 0.5], "neutral": 0.0},
        "lambda": {"float": [0.1, 0.2]},
        "penalty": "l2",
    },
    "training": {"max_epochs": 1},
    "budget": {"trials": 3},
    "resources": {"executor": "local"},
    "confirm": "off",
}
ON = {"float": [0.1, 0.5]}
SAMPLED = "model.hidden is sampled in the baseline too"
DRAWS = "random numbers in the network's own forward"


def test_it_is_said_in_the_report_and_the_summary(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GAPSWEEP_MLFLOW_URI", "off")
    swept = run(SPEC, home=tmp_path, progress=False)
    assert swept.baseline is not None
    assert {k: swept.baseline.params[k] for k in ("model.rate", "model.shrink")} == {
        "model.rate": 0.0,
        "model.shrink": None,
    }
    hidden = {t.params["model.hidden"] for t in swept.records()}
    assert hidden <= {(4,), (3, 3)}
    written = json.loads(swept.folder.summary.read_text())
    assert written["baseline"]["params"]["model.hidden"] in ([4], [3, 3])
    assert written["not_neutral"] == list(swept.summary.not_neutral)
    for text in (str(swept.report()), swept.report().html, *[" ".join(written["not_neutral"])]):
        said = " ".join(text.replace("&#39;", "'").split())
        assert SAMPLED in said
        assert DRAWS in said
    assert swept.best_model() is not None


def test_a_neutral_value_makes_an_argument_a_part_that_regularises() -> None:
    spec = parse(**{**SPEC, "model": {"hidden": [4]}, "confirm": {"top_k": 1}, "budget": {}})
    neutral = {"model.rate": 0.0, "model.shrink": None}
    assert {k: spec.neutral_point()[k] for k in neutral} == neutral
    assert spec.neutral_point()["model.hidden"] == (4,)
    _, points = plan_search(spec)
    assert all({**point, **neutral} == point for _, point in points)
    params = {"model.rate": 0.3, "model.shrink": None, "model.hidden": (3, 3)}
    assert list_parts(spec, params) == ("model.rate",)
    assert remove_parts(params, ["model.rate"], spec.neutral) == {**params, "model.rate": 0.0}


ALL = {
    "penalty": {"choice": ["l1", "l2"]},
    "lambda": ON,
    "augmentation": {"choice": ["shift", "affine"]},
    "augmentation_strength": ON,
    **dict.fromkeys(("dropout", "stochastic_depth", "max_norm", "random_erasing"), ON),
    **dict.fromkeys(("input_noise", "mixup", "cutmix", "label_smoothing"), ON),
    **dict.fromkeys(("gradient_noise", "ema"), ON),
}


def test_a_baseline_has_every_regulariser_of_the_space_off() -> None:
    spec = parse(space=ALL)
    on = {**dict.fromkeys(ALL, 0.3), "penalty": "l1", "augmentation": "shift"}
    assert [type(config) for config in read_regularisers(on)] == list(BUILT_IN)
    study = optuna.create_study()
    for _, point in plan_search(spec)[1]:
        study.enqueue_trial(select_representable(spec.space, point))
        trained = suggest(spec.space, study.ask(), point)
        active = read_regularisers(trained)
        assert {c.key: list(c.model_dump().values()) for c in active} == {
            "dropout": [0.0],
            "stochastic_depth": [0.0],
        }


def test_neutral_values_are_for_arguments_of_the_trainable_alone() -> None:
    (found,) = problems(space={"dropout": {"float": [0.1, 0.5], "neutral": 0.0}}).items()
    words = "`neutral` is only for `model.NAME`; the neutral value of this key is known"
    assert found == ("space.dropout", words)
