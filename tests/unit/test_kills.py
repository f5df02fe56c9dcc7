"""A study whose driver is killed between any two of its writes ends as the undisturbed one.

No process is killed here: a write to the journal raises, and nothing of that session is used again.
``tests/faults/kills.py`` kills real sweeps.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from search_spaces.grid import iterate_grid
from service.answer.audit import AfterSearch, Auditor
from service.spec.model import SweepSpec
from service.study import study as studies
from service.study.confirmation import ReplicateRun
from service.study.journal_file import JournalFile
from service.study.messages import Assignment
from service.study.records import Params, Role, Trial, TrialState
from service.study.session import Decision, StudySession
from service.study.study import open_study
from tests.specs import parse

TRIALS, EPOCHS = 16, 6
FEW_TRIALS = 5
"""Those of a sweep that is killed again and again after one of its first writes."""
SPACE: dict[str, Any] = {
    "penalty": {"choice": ["none", "l1"]},
    "lambda": {"float": [1e-4, 1e-1], "log": True, "when": {"penalty": "l1"}},
    "dropout": {"float": [0.0, 0.7]},
    "label_smoothing": {"float": [0.0, 0.9]},
}
HALVING: dict[str, Any] = {"name": "successive_halving", "min_epochs": 1, "reduction_factor": 2}
MEDIAN: dict[str, Any] = {"name": "median", "startup_trials": 2, "warmup_epochs": 1}
HYPERBAND: dict[str, Any] = {"name": "hyperband", "min_epochs": 2}
FEW = {"n_startup_trials": 3}
PAIRS: list[tuple[Any, Any]] = [
    ({"name": "tpe", **FEW}, HALVING),
    ({"name": "tpe", "multivariate": False, **FEW}, {"name": "hyperband", "reduction_factor": 2}),
    ("random", {"name": "percentile", "startup_trials": 2, "warmup_epochs": 1}),
    ("grid", MEDIAN),
    ({"name": "gp", **FEW}, "wilcoxon"),
    ("cmaes", "none"),
    ("qmc", HALVING),
    ("qmc", HYPERBAND),
    ({"name": "qmc", "qmc_type": "halton"}, "none"),
    ({"name": "optuna.samplers:NSGAIISampler", "population_size": 4}, HALVING),
]


class Killed(BaseException):
    """The end of a driver, which nothing in it may catch."""


@dataclass
class Fuse:
    """How many writes are left until the driver is killed."""

    left: float = float("inf")


class Mortal(JournalFile):
    """A journal whose driver is killed when its fuse has burnt down."""

    def __init__(self, path: Path, fuse: Fuse) -> None:
        super().__init__(path)
        self._fuse = fuse

    def append_logs(self, logs: list[dict[str, Any]]) -> None:
        if self._fuse.left <= 0:
            raise Killed
        self._fuse.left -= 1
        super().append_logs(logs)


class TwoStages:
    """A confirmation: three replicates of the best trial, then two that depend on them."""

    trainings = 5

    def next_runs(self, trials: Sequence[Trial]) -> Sequence[ReplicateRun]:
        done = [t for t in trials if t.replicate]
        best = min((t for t in trials if t.value is not None), key=lambda t: t.value or 0.0)
        first = [self._run(best, n) for n in range(1, 4)]
        if len(done) < 3:
            return first[len(done) :]
        better = min(done[:3], key=lambda t: t.value or 0.0)
        return [self._run(best, 10 * n + better.replicate) for n in (1, 2)][len(done) - 3 :]

    def _run(self, best: Trial, replicate: int) -> ReplicateRun:
        return ReplicateRun(
            confirms=best.number,
            params=best.params,
            role=Role.REPLICATE,
            seed=replicate,
            replicate=replicate,
        )


def value_of(params: Params, epoch: int, seed: int) -> float:
    """The loss of a training after an epoch: it follows from its parameters and seed."""
    dropout, strength = params.get("dropout", 0.0), params.get("label_smoothing", 0.5)
    assert isinstance(dropout, float)
    assert isinstance(strength, float)
    penalty = 0.1 * (params.get("penalty") == "l1")
    distance = abs(dropout - 0.3) + abs(strength - 0.6)
    return 0.1 + distance + (0.4 + penalty + 0.01 * seed) / (epoch + 10 * distance)


def train(session: StudySession, asked: Assignment) -> None:
    """Go on after the last recorded epoch; a training with much dropout stops early."""
    seed = asked.seed or 0
    stops = float(asked.params.get("dropout", 0.0)) > 0.4 and not asked.baseline
    last = EPOCHS - 2 if stops else EPOCHS
    for epoch in range(min(asked.recorded + 1, last), last + 1):
        value = value_of(asked.params, epoch, seed) + asked.baseline
        metrics = {"val/loss": value}
        if epoch == last:
            session.complete(asked.number, metrics, last, last=metrics)
        elif session.report(asked.number, epoch, metrics) is Decision.PRUNE:
            session.prune(asked.number)
            return


def live(spec: SweepSpec, path: Path, trials: int = TRIALS) -> tuple[Trial, ...]:
    """One session, from opening the study to its end."""
    study = open_study(spec, path)
    session = StudySession(
        study,
        spec.space,
        metric="val/loss",
        max_epochs=EPOCHS,
        confirm=AfterSearch(Auditor(spec, study), TwoStages()) if spec.audit else TwoStages(),
    )
    grid = spec.search.sampler.name == "grid"
    points: list[tuple[Role, Params]] = [(Role.BASELINE, spec.neutral_point())]
    points.append((Role.ENQUEUED, {"penalty": "l1", "lambda": 0.01, "dropout": 0.25}))
    points.append((Role.CONTROL, {"penalty": "none"}))
    if grid:
        points += [(Role.SEARCH, p) for p in list(iterate_grid(spec.space, 4))[: trials - 3]]
    session.prepare(trials, points)
    while (asked := session.ask()) is not None:
        train(session, asked)
    return tuple(replace(t, seconds=0.0, started=None, ended=None) for t in session.trials())


def spec_of(sampler: Any, pruner: Any, audit: Any = "off") -> SweepSpec:
    return parse(
        space=SPACE,
        audit=audit,
        search={"sampler": sampler, "pruner": pruner},
        training={"max_epochs": EPOCHS},
    )


@pytest.fixture
def fuse(monkeypatch: pytest.MonkeyPatch) -> Fuse:
    found = Fuse()
    monkeypatch.setattr(studies, "JournalFile", lambda path: Mortal(path, found))
    return found


def name(value: Any) -> str:
    return str(value["name"] if isinstance(value, dict) else value).rpartition(":")[2]


@pytest.mark.parametrize(("sampler", "pruner"), PAIRS, ids=name)
def test_kills_between_any_writes_change_no_trial(
    sampler: Any, pruner: Any, tmp_path: Path, fuse: Fuse
) -> None:
    spec = spec_of(sampler, pruner)
    whole = live(spec, tmp_path / "whole")
    assert len(whole) == TRIALS + TwoStages.trainings
    if pruner != "none":
        assert {t.state for t in whole} == {TrialState.COMPLETE, TrialState.PRUNED}
    assert live_between_kills(spec, tmp_path / "killed", fuse) == whole


def live_between_kills(spec: SweepSpec, path: Path, fuse: Fuse) -> tuple[Trial, ...]:
    """Sessions that are killed, until one comes to the end."""
    chance = random.Random(0)
    kills, found = 0, None
    while found is None:
        fuse.left = chance.randint(3, 30)
        try:
            found = live(spec, path)
        except Killed:
            kills += 1
    assert kills > 10
    return found


def test_kills_change_no_audit(tmp_path: Path, fuse: Fuse) -> None:
    spec = spec_of({"name": "tpe", **FEW}, HALVING, {"trials": 4})
    whole = live(spec, tmp_path / "whole")
    audits = [t for t in whole if t.role is Role.AUDIT]
    assert len(audits) == 4
    assert [t.number for t in audits] == list(range(TRIALS, TRIALS + 4))  # before the replicates
    assert len(whole) == TRIALS + 4 + TwoStages.trainings
    by_number = {t.number: t for t in whole}
    for trial in audits:
        assert trial.confirms is not None
        again = by_number[trial.confirms]
        assert (again.state, trial.state) == (TrialState.PRUNED, TrialState.COMPLETE)
        assert trial.params == again.params
    assert live_between_kills(spec, tmp_path / "killed", fuse) == whole


@pytest.mark.parametrize(("sampler", "pruner"), [("random", "none"), ("qmc", HYPERBAND)], ids=name)
def test_a_kill_after_any_of_the_first_writes_changes_no_trial(
    sampler: Any, pruner: Any, tmp_path: Path, fuse: Fuse
) -> None:
    spec = spec_of(sampler, pruner)
    whole = live(spec, tmp_path / "whole", FEW_TRIALS)
    for writes in range(25):
        fuse.left = writes
        with pytest.raises(Killed):
            live(spec, tmp_path / f"{writes}", FEW_TRIALS)
        fuse.left = float("inf")
        found = live(spec, tmp_path / f"{writes}", FEW_TRIALS)
        assert found == whole, f"killed after {writes} writes"


def test_an_extended_sweep_is_not_cut_short_by_confirmations_that_were_queued(
    tmp_path: Path,
) -> None:
    spec = spec_of("random", "none")
    live(spec, tmp_path / "study")
    study = open_study(spec, tmp_path / "study")
    study.optuna.enqueue_trial({}, user_attrs={"confirms": 1, "replicate": 9, "role": "replicate"})
    session = StudySession(
        study, spec.space, metric="val/loss", max_epochs=EPOCHS, confirm=TwoStages()
    )
    session.extend(TRIALS + 2)
    asked = [session.ask() for _ in range(4)]
    assert [a.role for a in asked if a] == [Role.REPLICATE, Role.SEARCH, Role.SEARCH]
