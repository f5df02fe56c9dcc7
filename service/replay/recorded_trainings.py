"""What a replay hands to the session of each recorded training, prepared once."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from service.answer.strong_trials import find_strong
from service.base.errors import InputError
from service.replay.recorded_sweep import History, Recording
from service.spec.model import SweepSpec
from service.study.messages import EpochReport
from service.study.ranking import Ranking
from service.study.records import Metrics, Params, Role, Trial, TrialState
from trainables.config.stopping import StoppingConfig, Verdict

Standing = tuple[float, float]
"""How good a training is, low is good: how far it is outside of the constraints, then its cost."""


@dataclass(frozen=True, kw_only=True)
class Course:
    """A training as it is replayed: a report and the seconds of each epoch, and its standing."""

    reports: tuple[EpochReport, ...]
    seconds: tuple[float, ...]
    standing: Standing


@dataclass(frozen=True, kw_only=True)
class Courses:
    """The courses of a history, of its baseline and of what a search may draw."""

    history: History
    drawn: tuple[Course, ...]
    baseline: Course | None

    @cached_property
    def points(self) -> tuple[Params, ...]:
        """The drawn configurations."""
        return tuple(r.params for r in self.history.drawn)

    @cached_property
    def best(self) -> Standing:
        """The standing of the best of all drawn configurations."""
        return min(c.standing for c in self.drawn)

    @cached_property
    def strong(self) -> frozenset[int]:
        """The places of the half that is more strongly regularised."""
        trials = [
            Trial(number=n, state=TrialState.COMPLETE, role=Role.SEARCH, params=point)
            for n, point in enumerate(self.points)
        ]
        return find_strong(trials, self.history.spec.neutral)

    def measure_regret(self, standing: Standing) -> float:
        """By how much the objective is worse than the best; infinite outside of constraints."""
        if standing[0] > self.best[0]:
            return math.inf
        return standing[1] - self.best[1]


def prepare(history: History, rule: StoppingConfig | None = None) -> Courses:
    """The courses of a history; with a ``rule``, ended by it where the recorded ones go on.

    Raises:
        InputError: the rule watches a metric that the history lacks.
        ContractError: the rule's class cannot be imported or does not accept an option.
    """
    rows = history.drawn
    if rule is not None and rule.metric not in rows[0].metrics:
        known = ", ".join(rows[0].metrics)
        raise InputError(
            f"{history.name} has no {rule.metric}, which early stopping is to watch; it has {known}"
        )
    settled = None if rule is None else rule.settle(history.spec.training.max_epochs)
    baseline = history.baseline
    return Courses(
        history=history,
        drawn=tuple(_build(history.spec, r, settled) for r in rows),
        baseline=None if baseline is None else _build(history.spec, baseline, None),
    )


def _build(spec: SweepSpec, recording: Recording, rule: StoppingConfig | None) -> Course:
    epochs, best = recording.epochs, recording.best
    if rule is not None:
        epochs, kept = _stop(recording, rule)
        best = {m: float(column[kept - 1]) for m, column in recording.metrics.items()}
    objective = recording.metrics[spec.objective.metric]
    reports = [
        EpochReport(
            epoch=epoch,
            metrics={spec.objective.metric: float(objective[epoch - 1])},
            best=best if epoch == epochs else None,
        )
        for epoch in range(1, epochs + 1)
    ]
    return Course(
        reports=tuple(reports),
        seconds=tuple(map(float, recording.seconds[:epochs])),
        standing=_judge(spec, best),
    )


def _stop(recording: Recording, config: StoppingConfig) -> tuple[int, int]:
    """The last epoch under an early-stopping rule, and the one whose weights it keeps."""
    rule, kept = config.build(), 1
    values, gaps = recording.metrics[config.metric], recording.metrics.get("gap/loss")
    for epoch, value in enumerate(values, start=1):
        gap = None if gaps is None else float(gaps[epoch - 1])
        verdict = rule.update(epoch, float(value), gap)
        if verdict is Verdict.IMPROVED:
            kept = epoch
        elif verdict is Verdict.STOP:
            return epoch, kept
    return recording.epochs, kept


def _judge(spec: SweepSpec, best: Metrics) -> Standing:
    excesses = [
        max(0.0, excess)
        for constraint in spec.constraints
        if constraint.metric in best
        for _, excess in constraint.excesses(best[constraint.metric])
    ]
    return sum(excesses), Ranking.of(spec).sign * best[spec.objective.metric]


def count_epochs(courses: Sequence[Course]) -> int:
    """The epochs of some trainings."""
    return int(np.sum([len(c.reports) for c in courses]))
