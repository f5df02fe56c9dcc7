"""Every sampler and pruner runs a real sweep; budgets end it; a finished one can be extended."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from service.sweep.home import SweepFolder
from tests.commands import DIGITS, Ran, gapsweep, settings

PAIRS = [
    ("random", "percentile"),
    ("grid", "{name: patient, patience: 1, pruner: median}"),
    ("gp", "hyperband"),
    ("cmaes", "successive_halving"),
    ("qmc", "{name: threshold, upper: 0.5, warmup_epochs: 1}"),
    ("tpe", "wilcoxon"),
    ("tpe", "none"),
]


@pytest.mark.slow
@pytest.mark.parametrize(("sampler", "pruner"), PAIRS)
def test_a_sampler_and_a_pruner_of_optunas(sampler: str, pruner: str, tmp_path: Path) -> None:
    changes = (f"search.sampler={sampler}", f"search.pruner={pruner}")
    small = settings("training.max_epochs=3", "budget.trials=6", *changes)
    done = gapsweep("run", str(DIGITS), "--json", "--home", str(tmp_path), *small)
    assert done.returncode == 0, done.stderr
    trials = json.loads(done.stdout)["trials"]
    assert trials["complete"] + trials["pruned"] == 6
    assert trials["failed"] == 0


@pytest.mark.slow
def test_the_time_budget_ends_a_sweep(tmp_path: Path) -> None:
    home = ("--home", str(tmp_path), "--json")
    changes = settings("budget.trials=10000", "budget.minutes=0.4", "training.max_epochs=5")
    done = gapsweep("run", str(DIGITS), *home, *changes)
    assert done.returncode == 0, done.stderr
    assert "time budget" in done.stderr
    first = json.loads(done.stdout)
    assert first["state"] == "succeeded"
    assert 0 < sum(first["trials"].values()) < 10000
    assert first["trials"]["running"] == 0


@pytest.mark.slow
def test_a_finished_sweep_is_extended(tmp_path: Path) -> None:
    home = ("--home", str(tmp_path), "--json")
    small = settings("training.max_epochs=3", "budget.trials=3")
    done = gapsweep("run", str(DIGITS), *home, *small)
    assert done.returncode == 0, done.stderr
    more = gapsweep("resume", "latest", "--trials", "2", *home)
    assert more.returncode == 0, more.stderr
    first, second = json.loads(done.stdout), json.loads(more.stdout)
    assert first["sweep_id"] == second["sweep_id"]
    assert sum(second["trials"].values()) == 5
    assert second["baseline"] == first["baseline"]


def test_of_two_at_once_the_second_is_refused(ran: Ran) -> None:
    before = (ran.folder / "summary.json").read_text(encoding="utf-8")
    with SweepFolder(ran.folder).locked():
        refused = gapsweep("resume", ran.folder.name, "--home", str(ran.home))
        listed = gapsweep("list", "--home", str(ran.home))
    assert refused.returncode == 2
    assert "run by another process" in refused.stderr
    assert "running" in listed.stdout
    assert (ran.folder / "summary.json").read_text(encoding="utf-8") == before
