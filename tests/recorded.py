"""Sweeps whose trainings are formulas, in folders that the real study and history wrote."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from search_spaces.values import Value
from service.spec.file import dump_spec
from service.spec.model import SweepSpec
from service.study.records import Role
from service.study.session import Decision, StudySession
from service.study.study import open_study
from service.sweep.history import History
from service.sweep.home import Home, SweepFolder
from tests.specs import parse

EPOCHS = 6
Formula = Callable[[float, int], float]


def fall(dropout: float, epoch: int) -> float:
    """val/loss: 0.1 at best, at a dropout of 0.4; the more dropout, the later."""
    return 0.1 + (dropout - 0.4) ** 2 + (0.2 + dropout) / epoch - (0.2 + dropout) / EPOCHS


def make_spec(**changes: Any) -> SweepSpec:
    """A spec of one parameter, by random search and without pruning."""
    base = {
        "name": "formula",
        "training": {"max_epochs": EPOCHS},
        "space": {"dropout": {"float": [0.0, 0.8]}},
        "search": {"sampler": "random", "pruner": "none"},
        "early_stopping": "off",
        "confirm": "off",
    }
    return parse(**{**base, **changes})


def record(
    home: Path, trials: int = 31, formula: Formula = fall, **changes: Any
) -> tuple[SweepFolder, SweepSpec]:
    """Run a sweep of formulas: a baseline, then the sampler's trials, an epoch in two seconds."""
    spec = make_spec(**changes)
    folder = Home(home).create().new_sweep(spec.name)
    folder.spec.write_text(dump_spec(spec), encoding="utf-8")
    folder.write_format()
    now = 0.0
    with History(folder.history) as history:
        session = StudySession(
            open_study(spec, folder.journal),
            spec.space,
            metric="val/loss",
            max_epochs=EPOCHS,
            observers=[history],
            clock=lambda: now,
        )
        session.prepare(trials, [(Role.BASELINE, spec.neutral_point())])
        while (assignment := session.ask()) is not None:
            dropout = assignment.params["dropout"]
            for epoch in range(1, EPOCHS + 1):
                now += 2.0
                values = {"val/loss": formula(_number(dropout), epoch)}
                if session.report(assignment.number, epoch, values) is Decision.PRUNE:
                    session.prune(assignment.number)
                    break
            else:
                session.complete(assignment.number, {**values, "epoch": EPOCHS}, EPOCHS)
    return folder, spec


def _number(value: Value) -> float:
    assert isinstance(value, float)
    return value
