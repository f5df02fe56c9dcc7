"""A sweep's study as the sweep sees it: ask for a trial, report an epoch, finish. Knows no Ray.

Truth is the study: what a trial runs, why it exists and how it ended are stored with it, so that a
session opened after a crash goes on where the last one stood. One session writes to a study.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import Enum
from typing import Any, Protocol

import optuna
from optuna.trial import FrozenTrial
from optuna.trial import TrialState as StudyTrialState

from search_spaces.points import representable
from search_spaces.sampling import suggest
from search_spaces.space import SearchSpace, Value
from service.spec.model import Constraint
from service.study.confirmation import Confirmation, queue_confirmations, unconfirmed
from service.study.records import Epoch, Metrics, Params, Role, Trial
from service.study.trial_reader import frozen_trials, read_trial, read_trials
from trainables.analysis.anatomy import Anatomy

MAX_ATTEMPTS = 3


class Decision(Enum):
    """What to do with a trial after an epoch."""

    CONTINUE = "continue"
    PRUNE = "prune"


@dataclass(frozen=True)
class Assignment:
    """A trial to run; ``recorded`` epochs of it are known already, 0 for a new one.

    ``seed`` is the training's where it is not the spec's; ``unregularised`` marks the baseline,
    and the baseline again.
    """

    number: int
    params: Params
    role: Role
    recorded: int = 0
    seed: int | None = None
    unregularised: bool = False


class Observer(Protocol):
    """Is told what happens, in order, on the driver's thread; must neither block nor raise."""

    def started(self, trial: Trial) -> None:
        """A trial starts, or goes on after an interruption."""

    def epoch(self, epoch: Epoch) -> None:
        """A running trial finished an epoch."""

    def ended(self, trial: Trial) -> None:
        """A trial came to its end: complete, pruned or failed."""


class StudySession:
    """The only writer of a study while a sweep runs."""

    def __init__(
        self,
        study: optuna.Study,
        space: SearchSpace,
        *,
        metric: str,
        constraints: Sequence[Constraint] = (),
        max_epochs: int,
        confirm: Confirmation | None = None,
        search_over: Callable[[], bool] = lambda: False,
        observers: Sequence[Observer] = (),
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.study = study
        self._space = space
        self._metric = metric
        self._constraints = constraints
        self._max_epochs = max_epochs
        self._observers = observers
        self._clock = clock
        self._open: dict[int, _Open] = {}
        self._interrupted = [t for t in frozen_trials(study) if t.state is StudyTrialState.RUNNING]
        self._confirm = confirm
        self._search_over = search_over
        started = [t for t in frozen_trials(study) if t.state is not StudyTrialState.WAITING]
        self._searched = sum("confirms" not in t.user_attrs for t in started)

    @property
    def budget(self) -> int:
        """How many trials the search may start, its extensions included."""
        return int(self.study.user_attrs["budget"])

    @property
    def planned(self) -> int:
        """How many trials there will be in all if the search uses its budget."""
        if self._confirm is None:
            return self.budget
        return self.budget + len(self._confirm.seeds) * (self._confirm.top_k + 1)

    @property
    def exhausted(self) -> bool:
        """Whether every trial was handed out."""
        if self._interrupted or not self._search_is_done():
            return False
        return not self._confirmations_left()

    @property
    def unfinished(self) -> bool:
        """Whether a trial of the budget has not run to its end, be it for want of time."""
        if self._interrupted or self._open or self._searched < self.budget:
            return True
        return self._confirmations_left()

    @property
    def open_trials(self) -> tuple[int, ...]:
        """Numbers of the trials handed out and not finished."""
        return tuple(self._open)

    def prepare(self, budget: int, points: Sequence[tuple[Role, Params]]) -> None:
        """Set a new study's budget and queue the points that come before the sampler's own."""
        if "budget" in self.study.user_attrs:
            return
        for role, point in points:
            self.study.enqueue_trial(
                representable(self._space, point),
                user_attrs={"role": role.value, "fixed": dict(point)},
                skip_if_exists=True,
            )
        self.study.set_user_attr("budget", budget)

    def record_finalist(self, number: int, metrics: Metrics, anatomy: Anatomy) -> None:
        """Keep what the end of the sweep found; a finished trial takes no more attributes."""
        finalists = self.study.user_attrs.get("finalists", {})
        found = {"metrics": dict(metrics), "anatomy": anatomy.to_dict()}
        self.study.set_user_attr("finalists", {**finalists, str(number): found})

    def extend(self, budget: int) -> None:
        """Let the search start ``budget`` trials in all."""
        self.study.set_user_attr("budget", budget)

    def ask(self) -> Assignment | None:
        """The next trial to run, interrupted ones first; None where there is none now.

        Finalists are known when the search's last trial has ended, and not before.
        """
        while self._interrupted:
            assignment = self._resume(self._interrupted.pop(0))
            if assignment is not None:
                return assignment
        if not self._search_is_done():
            self._searched += 1
            return self._start(self.study.ask())
        if self._confirm is not None and not self._open and not self._waiting():
            queue_confirmations(self.study, self._space, self._confirm)
        return self._start(self.study.ask()) if self._waiting() else None

    def report(self, number: int, epoch: int, metrics: Metrics) -> Decision:
        """Record an epoch of an open trial and say whether it should go on.

        An epoch reported before (a resumed trial's) changes nothing. The baseline is never
        pruned, nor is a confirmation, whose mean would then be that of the lucky seeds, nor a
        trial at its last epoch.
        """
        handle = self._open[number]
        if epoch in handle.reported:
            return Decision.CONTINUE
        handle.reported.add(epoch)
        record = Epoch(trial=number, epoch=epoch, time=self._clock(), metrics=dict(metrics))
        for observer in self._observers:  # before the study: what it knows, every record knows
            observer.epoch(record)
        handle.trial.report(metrics[self._metric], epoch)
        if not handle.prunable or epoch >= self._max_epochs:
            return Decision.CONTINUE
        return Decision.PRUNE if handle.trial.should_prune() else Decision.CONTINUE

    def locate(self, number: int, ran_on: Mapping[str, str]) -> None:
        """Keep what an open trial runs on, the first time it is said."""
        handle = self._open[number]
        if ran_on and not handle.located:
            handle.trial.set_user_attr("ran_on", dict(ran_on))
            handle.located = True

    def complete(self, number: int, best: Metrics, stopped_epoch: int) -> None:
        """End a trial that ran to its own end: its value is the objective at the kept weights.

        It fails if that, or what a constraint bounds, is not a finite number.
        """
        handle = self._open[number]
        judged = (self._metric, *(c.metric for c in self._constraints))
        strange = [m for m in judged if m in best and not math.isfinite(best[m])]
        if strange:  # Optuna takes neither as a value nor as a constraint
            self.fail(number, f"{strange[0]} is {best[strange[0]]} at the kept weights")
            return
        handle.trial.set_user_attr("best", dict(best))
        handle.trial.set_user_attr("stopped_epoch", stopped_epoch)
        for constraint in self._constraints:
            if constraint.metric in best:
                for name, excess in constraint.excesses(best[constraint.metric]):
                    handle.trial.set_constraint(name, excess)
        self._finish(number, StudyTrialState.COMPLETE, value=best[self._metric])

    def prune(self, number: int, reason: str = "pruned by the study") -> None:
        """End a trial that was stopped before its end."""
        self._finish(number, StudyTrialState.PRUNED, reason=reason)

    def fail(self, number: int, reason: str) -> None:
        """End a trial that went wrong, with what it said."""
        self._finish(number, StudyTrialState.FAIL, reason=reason)

    def interrupt(self) -> None:
        """Let go of the open trials: they stay RUNNING in the study and are resumed later."""
        for handle in self._open.values():
            handle.trial.set_user_attr("seconds", handle.seconds(self._clock()))
            attempts = int(handle.trial.user_attrs.get("attempts", 1))
            handle.trial.set_user_attr("attempts", attempts - 1)  # this end was nobody's fault
        self._open.clear()

    def trials(self, epochs: Mapping[int, Sequence[Epoch]] | None = None) -> tuple[Trial, ...]:
        """Every trial of the study as a record, by number."""
        return read_trials(self.study, epochs)

    def _search_is_done(self) -> bool:
        return self._searched >= self.budget or self._search_over()

    def _confirmations_left(self) -> bool:
        """Whether finalists are not known yet, or one of their runs was not handed out."""
        if self._confirm is None:
            return False
        return bool(self._open or self._waiting() or unconfirmed(self.study, self._confirm))

    def _waiting(self) -> bool:
        """Whether a queued confirmation was not handed out yet."""
        return any(
            t.state is StudyTrialState.WAITING and "confirms" in t.user_attrs
            for t in frozen_trials(self.study)
        )

    def _start(self, trial: optuna.Trial) -> Assignment:
        role = Role(trial.user_attrs.get("role", Role.SEARCH.value))
        if role is Role.BASELINE:
            trial.set_user_attr("unregularised", True)
        fixed: Mapping[str, Value] = trial.user_attrs.get("fixed", {})
        params = suggest(self._space, trial, fixed)
        trial.set_user_attr("params", params)
        trial.set_user_attr("role", role.value)
        return self._hand_out(trial, _assignment(trial.number, params, role, trial.user_attrs))

    def _resume(self, frozen: FrozenTrial) -> Assignment | None:
        trial = optuna.Trial(self.study, frozen._trial_id)
        attempts = int(frozen.user_attrs.get("attempts", 1)) + 1
        trial.set_user_attr("attempts", attempts)
        if "params" not in frozen.user_attrs:
            return self._start(trial)
        role, params = Role(frozen.user_attrs["role"]), frozen.user_attrs["params"]
        assignment = replace(
            _assignment(trial.number, params, role, frozen.user_attrs),
            recorded=len(frozen.intermediate_values),
        )
        self._hand_out(trial, assignment)
        if attempts > MAX_ATTEMPTS:
            self.fail(trial.number, f"interrupted {MAX_ATTEMPTS} times, not tried again")
            return None
        return assignment

    def _hand_out(self, trial: optuna.Trial, assignment: Assignment) -> Assignment:
        frozen = self.study.get_trials(deepcopy=False)[trial.number]
        self._open[trial.number] = _Open(
            trial,
            assignment.role in (Role.SEARCH, Role.ENQUEUED),
            set(frozen.intermediate_values),
            self._clock() - float(frozen.user_attrs.get("seconds", 0.0)),
        )
        record = read_trial(frozen)
        for observer in self._observers:
            observer.started(record)
        return assignment

    def _finish(
        self,
        number: int,
        state: StudyTrialState,
        *,
        value: float | None = None,
        reason: str | None = None,
    ) -> None:
        handle = self._open.pop(number)
        handle.trial.set_user_attr("seconds", handle.seconds(self._clock()))
        if reason is not None:
            handle.trial.set_user_attr("reason", reason)
        frozen = self.study.tell(number, value, state=state)
        for observer in self._observers:
            observer.ended(read_trial(frozen))


@dataclass
class _Open:
    trial: optuna.Trial
    prunable: bool
    reported: set[int]
    since: float
    located: bool = False

    def seconds(self, now: float) -> float:
        return max(0.0, now - self.since)


def _assignment(number: int, params: Params, role: Role, attrs: Mapping[str, Any]) -> Assignment:
    return Assignment(
        number,
        params,
        role,
        seed=attrs.get("seed"),
        unregularised=bool(attrs.get("unregularised")),
    )
