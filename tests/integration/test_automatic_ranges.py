"""A sweep with automatic ranges samples computed ones, says what they mean, and keeps them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from service.run import preflight
from service.run.python_api import resume, run
from tests.contract.sweeps import BASE

pytestmark = pytest.mark.usefixtures("without_plots")

SPEC: dict[str, Any] = {
    **BASE,
    "space": {"penalty": {"choice": ["l1", "l2"]}, "lambda": "auto"},
    "search": {"sampler": "random"},
    "training": {"max_epochs": 2},
    "budget": {"trials": 4},
    "resources": {"executor": "local"},
    "confirm": "off",
}


def test_ranges_are_computed_once_and_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GAPSWEEP_MLFLOW_URI", "off")
    swept = run(SPEC, home=tmp_path, progress=False)
    ranges = swept.summary.ranges
    assert [text.partition(":")[0] for text in ranges] == ["l1", "l2"]
    written = json.loads(swept.folder.summary.read_text())
    assert written["ranges"] == list(ranges)
    for text in (str(swept.report()), swept.report().html):
        assert " ".join(ranges[0].split()[:6]) in " ".join(text.split())

    def fail(*_: Any, **__: Any) -> None:
        raise AssertionError("ranges were computed again")

    monkeypatch.setattr(preflight, "compute_ranges", fail)
    longer = resume(swept.id, home=tmp_path, trials=4, progress=False)
    assert longer.summary.ranges == ranges
    space = longer.spec.space
    for trial in longer.records():
        if trial.penalty != "none":
            dimension = space.find_dimension("lambda", {"penalty": trial.penalty})
            assert dimension is not None
            assert dimension.plain.contains(trial.params["lambda"])
    assert {t.penalty for t in longer.records()} == {"none", "l1", "l2"}


def test_a_range_that_cannot_act_is_in_the_report(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GAPSWEEP_MLFLOW_URI", "off")
    space = {"penalty": {"choice": ["l2"]}, "lambda": {"float": [1e-9, 1e-7], "log": True}}
    swept = run({**SPEC, "space": space, "budget": {"trials": 2}}, home=tmp_path, progress=False)
    (warning,) = swept.summary.idle_ranges
    assert "lambda of l2 cannot act" in warning
    for text in (str(swept.report()), swept.report().html):
        assert "lambda of l2 cannot act" in " ".join(text.split())
