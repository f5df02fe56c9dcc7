"""A sweep's folder has a format: an old one is read, a newer one is refused by name."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from service.base.errors import InputError
from service.run.create_sweep import create_sweep
from service.spec.file import load_spec
from service.study.records import Role, TrialState
from service.sweep.home import FORMAT, Home
from service.sweep.load import read_sweep
from service.sweep.sweep_record import SweepState

OLD = Path(__file__).parents[1] / "data" / "sweep_of_format_1"
"""Written by version 0.1.0, before folders had a number: four trials, two arms confirmed twice."""


@pytest.fixture
def home(tmp_path: Path) -> Home:
    shutil.copytree(OLD, tmp_path / "sweeps" / "old-1")
    return Home(tmp_path)


def test_a_folder_from_before_there_were_formats_opens_with_all_that_it_holds(home: Home) -> None:
    _, study, found = read_sweep(home.find("old"))
    kept = json.loads((OLD / "summary.json").read_text(encoding="utf-8"))
    assert found.state is SweepState.SUCCEEDED
    assert [t.state for t in found.trials] == [TrialState.COMPLETE] * 8
    roles = [Role.BASELINE, Role.ENQUEUED, Role.SEARCH, Role.SEARCH, *[Role.CONFIRM] * 4]
    assert [t.role for t in found.trials] == roles
    assert [(t.confirms, t.seed) for t in found.trials[4:]] == [(0, 1), (1, 1), (0, 2), (1, 2)]
    for trial, summary in ((found.baseline, kept["baseline"]), (found.best, kept["best"])):
        assert trial is not None
        assert trial.number == summary["number"]
        assert dict(trial.params) == summary["params"]
        assert dict(trial.best) == summary["metrics"]
        assert "test/loss" in trial.best
        assert trial.anatomy is not None
        assert trial.stopped_epoch == 3
        assert trial.ran_on == {"device": "CPU", "precision": "fp32"}
    assert study.attributes.budget == 4
    assert found.seconds == pytest.approx(kept["seconds"], abs=0.001)
    assert [len(t.epochs) for t in found.trials] == [3] * 8


def test_a_new_folder_says_its_format(tmp_path: Path) -> None:
    folder = create_sweep(load_spec(OLD / "spec.yaml"), Home(tmp_path), [])
    assert folder.format_file.read_text(encoding="utf-8") == f"{FORMAT}\n"
    folder.check_format()


def test_a_folder_of_a_newer_gapsweep_is_refused_by_name(home: Home) -> None:
    folder = home.sweep("old-1")
    folder.format_file.write_text(f"{FORMAT + 1}\n", encoding="utf-8")
    words = rf"old-1 was written by a newer gapsweep.*format {FORMAT + 1}.*upgrade gapsweep"
    with pytest.raises(InputError, match=words):
        home.find("old-1")
    with pytest.raises(InputError, match=words):
        read_sweep(folder)


def test_a_format_that_is_no_number_is_an_input_error(home: Home) -> None:
    home.sweep("old-1").format_file.write_text("two", encoding="utf-8")
    with pytest.raises(InputError, match="must hold a number, not 'two'"):
        home.find("old-1")
