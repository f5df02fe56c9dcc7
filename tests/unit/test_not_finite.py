"""Metrics that are NaN or infinite: every file, page, table and answer shows them and is read."""

from __future__ import annotations

import io
import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from service.base.number_format import MISSING, duration, number
from service.cli.remote_report import status_table, sweeps_table, trials_table
from service.client.api_models import EpochOut, TrialOut
from service.report.console import open_console
from service.report.page import render
from service.report.png import save_png
from service.report.report_data import build_report
from service.study.importance import Importances
from service.study.records import Epoch, Trial
from service.sweep.answer import Answer, Arm, Claim, Mean, Measured, Part, PartState
from service.sweep.home import Home
from service.sweep.load import read_current_summary
from service.sweep.summary import Summary, summarise
from tests.hostile_texts import details
from tests.reports import shown, sweep, trial

STRANGE = (math.nan, math.inf, -math.inf)
METRICS = ("gap/loss", "gap/mine", "train/loss", "val/mine", "test/loss", "test_gap/loss", "epoch")


def is_same(one: float, two: float) -> bool:
    return one == two or (math.isnan(one) and math.isnan(two))


def with_strange(made: Trial, value: float) -> Trial:
    """All metrics but the objective have this value, at the kept weights and in every epoch."""
    metrics = dict.fromkeys(METRICS, value)
    epochs = tuple(replace(e, metrics={**e.metrics, **metrics}) for e in made.epochs)
    errors = {"gap/loss": value}
    return replace(made, best={**made.best, **metrics}, epochs=epochs, errors=errors)


def make_sweep(value: float, *, answered: bool) -> Any:
    trials = (
        with_strange(trial(0, 0.5, 0.4), value),
        with_strange(trial(1, 0.3, 0.1, penalty="l2", **{"lambda": 0.1}), value),
    )
    return replace(sweep(*trials), answer=make_answer(value) if answered else None)


def make_answer(value: float) -> Answer:
    mean = Mean(mean=value, half=value)
    metrics = dict.fromkeys(("val/loss", "test/loss", "gap/loss"), mean)
    arms = [
        Arm(name=n, trial=0, replicates=2, failed=0, metrics=metrics) for n in ("pick", "control")
    ]
    part = Part(name="penalty", state=PartState.UNCLEAR, effect=value, interval=(value, value))
    return Answer(
        claim=Claim.UNDECIDED,
        metric="test/loss",
        mode="min",
        pick=1,
        control=0,
        effect=value,
        interval=(-math.inf, math.inf),
        level=0.95,
        p=value,
        replicates=2,
        min_effect=value,
        excluded_above=value,
        early_stopping=Measured(effect=value, interval=(value, value)),
        sensitivity=Measured(effect=value, interval=(value, value)),
        parts=(part,),
        arms=tuple(arms),
        target_scale=value,
    )


def read_strictly(text: str) -> Any:
    """As a parser reads it that knows no NaN."""

    def refuse(word: str) -> float:
        raise AssertionError(f"{word} is not JSON")

    return json.loads(text, parse_constant=refuse)


@pytest.mark.parametrize("value", STRANGE, ids=str)
@pytest.mark.parametrize("answered", [True, False])
def test_a_summary_is_strict_json_and_read_as_it_was(
    tmp_path: Path, value: float, answered: bool
) -> None:
    folder = Home(tmp_path).create().sweep("mine-abc123")
    folder.path.mkdir()
    made = summarise(make_sweep(value, answered=answered), folder)
    text = made.model_dump_json(indent=2)
    assert read_strictly(text)["best"]["metrics"]["gap/mine"] in ("NaN", "Infinity", "-Infinity")
    folder.write_format()
    folder.summary.write_text(text, encoding="utf-8")
    again = read_current_summary(folder)
    assert again.model_dump_json() == made.model_dump_json()
    assert again.best is not None
    assert is_same(again.best.metrics["gap/mine"], value)
    json.dumps(made.model_dump(mode="json"), allow_nan=False)


def test_a_summary_of_an_older_version_has_null_for_such_a_number(tmp_path: Path) -> None:
    folder = Home(tmp_path).create().sweep("mine-abc123")
    folder.path.mkdir()
    made = summarise(make_sweep(math.nan, answered=False), folder)
    again = Summary.model_validate_json(made.model_dump_json().replace('"NaN"', "null"))
    assert again.best is not None
    assert math.isnan(again.best.metrics["gap/mine"])


@pytest.mark.parametrize("value", STRANGE, ids=str)
def test_a_report_shows_such_numbers(tmp_path: Path, value: float) -> None:
    data = build_report(make_sweep(value, answered=True), Importances({}, {}))
    text = shown(data, width=120)
    assert str(value) in text
    assert str(value) in render(data)
    save_png(data, tmp_path / "plots.png")
    assert (tmp_path / "plots.png").stat().st_size


@pytest.mark.parametrize("value", STRANGE, ids=str)
def test_the_api_and_its_tables_have_such_numbers(value: float) -> None:
    out = TrialOut.of(with_strange(trial(1, 0.3, 0.1), value))
    assert read_strictly(out.model_dump_json())["best"]["gap/loss"] in (
        "NaN",
        "Infinity",
        "-Infinity",
    )
    again = TrialOut.model_validate_json(out.model_dump_json())
    assert is_same(again.best["gap/loss"], value)
    epoch = EpochOut.of(Epoch(trial=1, epoch=1, time=0, metrics={"gap/loss": value}))
    assert is_same(EpochOut.model_validate_json(epoch.model_dump_json()).metrics["gap/loss"], value)
    assert trials_table([again]).row_count == 1


@pytest.mark.parametrize(
    "progress",
    [
        {"best": {"value": "nan", "gap/loss": "inf"}, "planned": 3},
        {"best": "none", "planned": 3},
        {"best": {"value": [1]}, "planned": "x"},
        {"planned": 3, "complete": "many"},
        {"baseline": [1], "best": {"trial": 1}, "planned": None},
    ],
)
def test_a_damaged_progress_is_one_damaged_row(progress: dict[str, Any]) -> None:
    damaged = details().model_copy(update={"progress": progress})
    console = open_console(io.StringIO(), width=200)
    console.print(sweeps_table([details(), damaged, details()]))
    console.print(status_table(damaged))
    assert sweeps_table([details(), damaged]).row_count == 2


def test_numbers_are_shown_as_they_are() -> None:
    assert [number(v) for v in (*STRANGE, None, 0.5)] == ["nan", "inf", "-inf", MISSING, "0.5000"]
    assert duration(math.nan) == duration(math.inf) == MISSING
