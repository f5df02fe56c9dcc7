"""Budgets end a sweep; a finished one can be extended; two at once are refused."""

from __future__ import annotations

import functools
import itertools
import json
from pathlib import Path

import pytest

from service.run import sweep_session
from service.run.sweep_control import Control
from service.sweep.home import SweepFolder
from tests.commands import DIGITS, LOCAL, Ran, gapsweep, settings
from tests.plotless import no_plots

OFF = {"GAPSWEEP_MLFLOW_URI": "off"}


def test_the_time_budget_ends_a_sweep(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a clock that goes on by a second whenever it is looked at."""
    clock = functools.partial(next, itertools.count())
    monkeypatch.setattr(sweep_session, "Control", functools.partial(Control, clock=clock))
    home = ("--home", str(tmp_path), "--json")
    budget = ("budget.trials=10000", "budget.minutes=1")
    changes = settings(*budget, "training.max_epochs=5", LOCAL)
    with no_plots():
        done = gapsweep("run", str(DIGITS), *home, *changes, env=OFF)
    assert done.returncode == 0, done.stderr
    assert "time budget" in done.stderr
    first = json.loads(done.stdout)
    assert first["state"] == "succeeded"
    assert 0 < sum(first["trials"].values()) < 10000
    assert first["trials"]["running"] == 0


def test_a_finished_sweep_is_extended(tmp_path: Path) -> None:
    home = ("--home", str(tmp_path), "--json")
    small = settings("training.max_epochs=3", "budget.trials=3", "confirm=off", LOCAL)
    with no_plots():
        done = gapsweep("run", str(DIGITS), *home, *small, env=OFF)
        assert done.returncode == 0, done.stderr
        more = gapsweep("resume", "latest", "--trials", "2", *home, env=OFF)
    assert more.returncode == 0, more.stderr
    first, second = json.loads(done.stdout), json.loads(more.stdout)
    assert first["sweep_id"] == second["sweep_id"]
    assert sum(second["trials"].values()) == 5
    assert second["baseline"] == first["baseline"]


def test_of_two_at_once_the_second_is_refused(ran: Ran) -> None:
    before = (ran.folder / "summary.json").read_text(encoding="utf-8")
    with SweepFolder(ran.folder).lock():
        refused = gapsweep("resume", ran.folder.name, "--home", str(ran.home))
        listed = gapsweep("list", "--home", str(ran.home))
    assert refused.returncode == 2
    assert "run by another process" in refused.stderr
    assert "running" in listed.stdout
    assert (ran.folder / "summary.json").read_text(encoding="utf-8") == before
