"""Every sampler and every pruner drives a study session to its end; no trial is trained."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import optuna
import pytest

from search_spaces.grid import iterate_grid
from service.spec.model import SweepSpec
from service.study.records import Params, Role, TrialState
from service.study.session import Decision, StudySession
from service.study.study import open_study
from tests.specs import parse

optuna.logging.set_verbosity(optuna.logging.ERROR)

TRIALS, EPOCHS = 14, 6
SPACE: dict[str, Any] = {
    "penalty": {"choice": ["none", "l1"]},
    "lambda": {"float": [1e-4, 1e-1], "log": True, "when": {"penalty": "l1"}},
    "dropout": {"float": [0.0, 0.7]},
}
MEDIAN: dict[str, Any] = {"name": "median", "startup_trials": 2, "warmup_epochs": 1}
PAIRS: list[tuple[str, Any]] = [
    ("tpe", MEDIAN),
    ("random", {"name": "percentile", "startup_trials": 2}),
    ("grid", {"name": "patient", "patience": 1, "pruner": MEDIAN}),
    ("gp", "hyperband"),
    ("cmaes", "successive_halving"),
    ("qmc", {"name": "threshold", "upper": 0.75, "warmup_epochs": 1}),
    ("tpe", "wilcoxon"),
    ("tpe", {"name": "top_k", "epochs": 2, "k": 4}),
    ("random", {"name": "forecast", "startup_trials": 2}),
    ("tpe", {"name": "pause_and_promote", "reduction_factor": 2}),
    ("random", {"name": "by_strength", "pruner": {"name": "successive_halving"}}),
    ("tpe", "none"),
]


def name(value: object) -> str:
    return str(value["name"]) if isinstance(value, dict) else str(value)


def loss(params: Params, epoch: int) -> float:
    """What a trial with these parameters has after an epoch: a bad one learns nothing."""
    dropout = params["dropout"]
    assert isinstance(dropout, float)
    distance = abs(dropout - 0.3)
    return 0.1 + distance + (0.5 / epoch if distance < 0.2 else 0.5 + 0.001 * epoch)


def drive(session: StudySession) -> None:
    """Every trial that the session gives, until it gives none."""
    while (asked := session.ask()) is not None:
        losses = [loss(asked.params, epoch) for epoch in range(1, EPOCHS + 1)]
        for epoch, value in enumerate(losses, start=1):
            decision = session.report(asked.number, epoch, {"val/loss": value})
            if decision is Decision.PRUNE:
                session.prune(asked.number)
                break
            if decision is Decision.PAUSE:
                session.pause(asked.number)
                break
        else:
            session.complete(asked.number, {"val/loss": min(losses)}, EPOCHS)


def searched(folder: Path, sampler: str, pruner: Any) -> StudySession:
    """A session that has used up its budget, over a study as a sweep has it."""
    spec: SweepSpec = parse(
        space=SPACE,
        search={"sampler": sampler, "pruner": pruner},
        training={"max_epochs": EPOCHS},
    )
    study = open_study(spec, folder / "study.journal")
    made = StudySession(study, spec.space, metric="val/loss", max_epochs=EPOCHS)
    grid = list(iterate_grid(spec.space, 4)) if sampler == "grid" else []
    made.prepare(TRIALS, [(Role.ENQUEUED, point) for point in grid[:TRIALS]])
    drive(made)
    return made


@pytest.mark.parametrize(("sampler", "pruner"), PAIRS, ids=name)
def test_a_sampler_and_a_pruner_of_optunas(sampler: str, pruner: Any, tmp_path: Path) -> None:
    trials = searched(tmp_path, sampler, pruner).trials()
    states = [t.state for t in trials]
    assert len(states) == TRIALS
    assert set(states) <= {TrialState.COMPLETE, TrialState.PRUNED}
    assert TrialState.COMPLETE in states
    assert (TrialState.PRUNED in states) == (pruner != "none")
    assert len({tuple(sorted(t.params.items(), key=str)) for t in trials}) == TRIALS
