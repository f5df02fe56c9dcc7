"""Writes to a sweep whose trials loops elsewhere ask for: one process at a time, in short turns.

A turn opens a session on the sweep's study, in which the trials that others have are open too, and
closes it. Whatever a process does between two turns, nobody waits for it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace

from service.answer.reported import SAMPLES, ReportedScores, find_unequal
from service.base.errors import InputError, TrialLostError
from service.run.evidence import Asked
from service.run.session_plan import build_planner, plan_after_search, reserve
from service.run.sweep_control import Control, Stop
from service.spec.model import SweepSpec
from service.study.enough import Enough
from service.study.events import Observer
from service.study.messages import Answer, Assignment, EpochReport
from service.study.ranking import Shortlist
from service.study.records import OUT_OF_BUDGET, Trial, TrialState
from service.study.session import Decision, StudySession
from service.study.study import SweepStudy, open_study, repair_journal
from service.study.trial_flow import NoTrial, TrialFlow
from service.sweep.asked import Claim, Claims
from service.sweep.gpu_budget import GpuBudget
from service.sweep.history import History
from service.sweep.home import SweepFolder
from service.sweep.kept_weights import FinalistWeights

PATIENCE = 120.0
"""Seconds for which a turn waits for those of other processes."""
_NO_LIMIT = 1_000_000


@dataclass(frozen=True)
class Handed:
    """A trial that was handed out, and the claim of its holder."""

    assignment: Assignment
    claim: Claim


class Turns:
    """The turns of this process at one sweep's study."""

    def __init__(
        self,
        spec: SweepSpec,
        folder: SweepFolder,
        observers: Sequence[Observer] = (),
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.claims = Claims(folder, clock)
        self._spec, self._folder = spec, folder
        self._observers, self._clock = observers, clock
        self._study: SweepStudy | None = None
        self._file: int | None = None

    @contextmanager
    def take(self, trial: int | None = None, claim: Claim | None = None) -> Iterator[Turn]:
        """Hold the sweep's lock, and open a session on its study; renew a ``claim`` on a trial.

        Raises:
            SweepBusyError: other processes hold the lock for long.
            TrialLostError: the trial is not the holder's any more.
        """
        folder = self._folder
        with folder.lock(PATIENCE), History(folder.history) as history:
            if trial is not None and claim is not None:
                self.renew(trial, claim)
            study = self._open_study()
            observers = [history, _Weights(folder, self._spec, study), *self._observers]
            try:
                turn = Turn(self._spec, folder, study, self.claims, observers, self._clock())
                yield turn
                turn.close()
            finally:  # on a network's file system, others see what is in a file that was closed
                study.close()

    def renew(self, trial: int, claim: Claim) -> None:
        """Give a sign of life of a trial.

        Raises:
            TrialLostError: the trial is not the holder's any more.
        """
        if self.claims.renew(trial, claim) is None:
            raise TrialLostError(
                f"trial {trial} is not in this process's hands any more: it was handed out again "
                f"after {claim.limit:g} seconds without a report or trial.heartbeat(); what it "
                "reports now is not recorded"
            )

    def _open_study(self) -> SweepStudy:
        """The study, opened anew only where another file took the place of its journal."""
        path = self._folder.journal
        repair_journal(path)
        file = path.stat().st_ino
        if self._study is None or file != self._file:
            self._study, self._file = open_study(self._spec, path), file
        return self._study


class Turn:
    """One session on the study; what it does to a trial is for the holder of its claim."""

    def __init__(
        self,
        spec: SweepSpec,
        folder: SweepFolder,
        study: SweepStudy,
        claims: Claims,
        observers: Sequence[Observer],
        now: float,
    ) -> None:
        self._claims, self._study, self._now = claims, study, now
        spec, trials = spec.with_space(study.space), study.trials()
        running = {t.number for t in trials if t.state is TrialState.RUNNING}
        held = {n: claim for n, claim in claims.list_held().items() if n in running}
        self._count_time(held)
        self._control = Control(
            self._find_seconds_left(spec),
            reserve(spec),
            gpus=_build_gpu_budget(spec, study, trials, held, now),
        )
        self._tested = ReportedScores.of_spec(spec, lambda _: {})
        planner = build_planner(spec, Asked(), folder, study)
        self.session = StudySession(
            study,
            spec.space,
            metric=spec.objective.metric,
            constraints=spec.constraints,
            max_epochs=spec.training.max_epochs,
            confirm=plan_after_search(spec, planner, study),
            search_over=self._control.is_search_over,
            enough=Enough.of(spec, study),
            retries=spec.resources.retries,
            held={n: claim.since for n, claim in held.items()},
            observers=observers,
        )
        self._flow = TrialFlow(self.session, lambda: self.stop is not None, lambda: _NO_LIMIT)

    @property
    def stop(self) -> Stop | None:
        """Why no trial may start, and every running one must end."""
        return self._control.reason

    @property
    def over(self) -> bool:
        """Whether nothing is left to train, or the budget is used up, and nobody has a trial."""
        if self.session.open_trials:
            return False
        return self.stop is not None or self.session.exhausted

    def ask(self, limit: float) -> Handed | NoTrial:
        """Hand out the next trial; its claim is over after ``limit`` seconds without a sign."""
        found = self._flow.ask()
        if isinstance(found, NoTrial):
            return found
        return Handed(found, self._claims.make(found.number, limit))

    def report(self, number: int, report: EpochReport) -> Decision:
        """Record an epoch; a trial that is pruned, paused or out of budget is not its holder's."""
        decision = self._flow.report(number, report)
        if decision is Decision.CONTINUE and self.stop is not None:
            self.session.prune(number, OUT_OF_BUDGET)
            decision = Decision.PRUNE
        if decision is not Decision.CONTINUE:
            self._claims.drop(number)
        return decision

    def finish(self, number: int, last: Answer) -> None:
        """End a trial."""
        self._flow.finish(number, last, None)
        if self._flow.error is not None:
            raise self._flow.error
        self._claims.drop(number)

    def give_back(self, number: int) -> None:
        """Give a trial back, to be handed out again."""
        self.session.give_back(number)
        self._claims.drop(number)

    def check_comparable(self, given: Assignment, final: EpochReport) -> None:
        """Check that a replicate was tested as the other ones were.

        Raises:
            InputError: it was not.
        """
        if not given.replicate:
            return
        others = [t for t in self.session.trials() if t.replicate and t.value is not None]
        name, samples = self._tested.metric, final.ran_on.get(SAMPLES, "")
        problem = find_unequal(name, final.best or {}, samples, others)
        if final.control and problem is None:
            problem = find_unequal(name, final.control, samples, others, "its control")
        if problem is not None:
            raise InputError(problem)

    def close(self) -> None:
        """Store how long the sweep has been trained."""
        attributes = self._study.attributes
        if attributes.clocked != self._now:
            self._study.store(replace(attributes, clocked=self._now))

    def _count_time(self, held: Mapping[int, Claim]) -> None:
        """Count the time since the last turn, if somebody has trained meanwhile."""
        attributes = self._study.attributes
        if held and attributes.clocked is not None:
            passed = max(0.0, self._now - attributes.clocked)
            total = attributes.seconds + passed
            self._study.store(replace(attributes, seconds=total, clocked=self._now))

    def _find_seconds_left(self, spec: SweepSpec) -> float | None:
        if spec.budget.minutes is None:
            return None
        attributes = self._study.attributes
        used = attributes.seconds - attributes.seconds_before_extension
        return 60 * spec.budget.minutes - used


class _Weights(Observer):
    """Deletes the files of trials that no answer needs, when a trial has ended."""

    def __init__(self, folder: SweepFolder, spec: SweepSpec, study: SweepStudy) -> None:
        self._folder, self._spec, self._study = folder, spec, study

    def ended(self, trial: Trial) -> None:
        """Look at all trials that have ended."""
        FinalistWeights(self._folder, Shortlist.of(self._spec), self._study.trials())


def _build_gpu_budget(
    spec: SweepSpec,
    study: SweepStudy,
    trials: Sequence[Trial],
    held: Mapping[int, Claim],
    now: float,
) -> GpuBudget | None:
    if spec.budget.gpu_hours is None:
        return None
    known = [
        replace(t, seconds=t.seconds + now - held[t.number].since) if t.number in held else t
        for t in trials
    ]
    return GpuBudget(spec.budget.gpu_hours, spec.resources.gpus, study, known)
