"""Which way a metric improves comes from the metric."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

import pytest
import yaml

from service.base.errors import SpecError
from service.run.preflight import run_preflight
from service.spec.file import dump_spec, parse_spec
from tests.specs import parse
from trainables.config.training import MetricSpec, prefers_high

MINE = "mine:score"


@pytest.mark.parametrize(
    ("metric", "metrics", "mode"),
    [
        ("val/accuracy", [], "max"),
        ("val/loss", [], "min"),
        ("val/mae", [], "min"),
        ("gap/accuracy", [], "min"),
        ("val/score", [MINE], "max"),
        ("gap/score", [MINE], "min"),
        ("val/score", [{"path": MINE, "higher_is_better": False}], "min"),
        ("val/auc", [{"path": "torchmetrics:AUROC", "name": "auc", "task": "binary"}], "max"),
        ("val/MeanSquaredError", ["torchmetrics:MeanSquaredError"], "min"),
    ],
)
def test_a_mode_that_is_not_given_is_that_of_the_metric(
    metric: str, metrics: list[Any], mode: str
) -> None:
    spec = parse(
        objective={"metric": metric},
        early_stopping={"metric": metric, "patience": 3},
        training={"metrics": metrics},
    )
    assert spec.objective.mode == mode
    assert spec.early_stopping is not None
    assert spec.early_stopping.mode == mode


def test_the_mode_of_an_objective_says_how_its_gap_counts() -> None:
    spec = parse(objective={"metric": "val/score", "mode": "min"}, training={"metrics": [MINE]})
    assert spec.objective.mode == "min"
    assert spec.training.metrics[0].higher_is_better is False


def test_a_spec_stays_what_it_is_when_it_is_read_again() -> None:
    spec = parse(objective={"metric": "val/score"}, training={"metrics": [MINE]})
    assert parse_spec(yaml.safe_load(dump_spec(spec)), "again", Path()) == spec


@pytest.mark.parametrize(
    "broken", [{"objective": 3}, {"objective": {"metric": 3}}, {"training": {"metrics": [3]}}]
)
def test_what_is_invalid_is_still_refused_by_name(broken: dict[str, Any]) -> None:
    with pytest.raises(SpecError, match=next(iter(broken))):
        parse(**broken)


@pytest.mark.parametrize("kind", ["classification", "regression"])
def test_the_name_of_a_torchmetrics_class_tells_its_direction(kind: str) -> None:
    module = importlib.import_module(f"torchmetrics.{kind}")
    known = {
        name: high
        for name in module.__all__
        if isinstance(high := getattr(getattr(module, name), "higher_is_better", None), bool)
    }
    assert len(known) > 10
    for name, high in known.items():
        if name not in SAID_ELSEWHERE:
            assert prefers_high(MetricSpec(path=f"torchmetrics:{name}")) is high, name


SAID_ELSEWHERE = {"BinaryFairness", "BinaryGroupStatRates", "ContinuousRankedProbabilityScore"}
"""Those whose names tell nothing: an objective of them is refused until its mode is given."""


def test_an_objective_against_the_metrics_own_direction_is_refused() -> None:
    spec = parse(
        objective={"metric": "val/accuracy", "mode": "min"},
        data={"name": "breast_cancer"},
    )
    with pytest.raises(SpecError, match=r"objective\.mode: min, but higher values of val/acc"):
        run_preflight(spec, "the spec")
