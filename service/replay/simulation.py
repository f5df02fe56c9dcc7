"""Replays one search on recorded trainings: real session, sampler and pruner, a virtual clock."""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

from service.replay.recorded_trainings import Course, Courses, Standing
from service.spec.model import SweepSpec
from service.study.enough import Enough
from service.study.events import Observer
from service.study.records import Params, Role, Trial, TrialState
from service.study.session import Decision, StudySession
from service.study.study import open_tabular_study
from service.study.trial_flow import NoTrial, TrialFlow
from trainables.config.registry import Custom
from trainables.errors import blame


@dataclass(frozen=True, order=True)
class _Turn:
    """The moment at which a slot ends the next epoch of its trial."""

    at: float
    order: int
    number: int
    epoch: int


@dataclass(frozen=True)
class Improvement:
    """A trial that was the best when it completed: after how many epochs and seconds of all."""

    epochs: int
    seconds: float
    standing: Standing


@dataclass(frozen=True, kw_only=True)
class Replay:
    """What one search came to.

    ``completed`` and ``pruned`` are the places of the configurations that it tried, by their end.
    """

    epochs: int
    seconds: float
    improvements: tuple[Improvement, ...]
    completed: frozenset[int]
    pruned: frozenset[int]


def replay(
    courses: Courses, spec: SweepSpec, *, trials: int, slots: int, until: float | None = None
) -> Replay:
    """One search by a spec's sampler, pruner and seed, of so many trials on so many slots.

    The baseline is one of the trials. With ``until``, it ends when its regret is not larger.

    Raises:
        ContractError: a user-defined class cannot be imported, refuses an option, or fails.
    """
    with _blame(spec):
        return _Search(courses, spec, trials, slots, until).run()


def _blame(spec: SweepSpec) -> AbstractContextManager[None]:
    """Report errors of a user's pruner or sampler as such."""
    search = spec.search
    chosen = {"pruner": tuple(search.pruner.list_chain()), "sampler": (search.sampler,)}
    own = [key for key, found in chosen.items() if any(isinstance(c, Custom) for c in found)]
    return blame(f"search.{own[0]}" if len(own) == 1 else "search") if own else nullcontext()


class _Ends(Observer):
    """How each trial ended, some of them after they were paused."""

    def __init__(self) -> None:
        self.states: dict[int, TrialState] = {}

    def ended(self, trial: Trial) -> None:
        """Note it."""
        self.states[trial.number] = trial.state


class _Search:
    """One search; the clock goes from the end of an epoch to that of the next one of any slot."""

    def __init__(
        self, courses: Courses, spec: SweepSpec, trials: int, slots: int, until: float | None
    ) -> None:
        self._courses, self._slots, self._until = courses, slots, until
        study, self._taken = open_tabular_study(spec, courses.points)
        self._now, self._epochs, self._order = 0.0, 0, 0
        self._improvements: list[Improvement] = []
        self._ends = _Ends()
        self._turns: list[_Turn] = []
        session = StudySession(
            study,
            spec.space,
            metric=spec.objective.metric,
            constraints=spec.constraints,
            max_epochs=spec.training.max_epochs,
            enough=Enough.of(spec, study),
            observers=[self._ends],
            clock=lambda: self._now,
        )
        session.prepare(trials, _list_first(courses))
        self._flow = TrialFlow(session, self._has_arrived, lambda: slots)

    def run(self) -> Replay:
        self._fill()
        while self._turns and not self._has_arrived():
            turn = heapq.heappop(self._turns)
            self._now = turn.at
            self._epochs += 1
            self._end_epoch(turn)
            self._fill()
        return Replay(
            epochs=self._epochs,
            seconds=self._now,
            improvements=tuple(self._improvements),
            completed=self._find_rows(TrialState.COMPLETE),
            pruned=self._find_rows(TrialState.PRUNED),
        )

    def _fill(self) -> None:
        """Give trials to idle slots while there are any."""
        while len(self._turns) < self._slots:
            found = self._flow.ask()
            if isinstance(found, NoTrial):
                return
            self._go_on(found.number, found.recorded + 1)

    def _go_on(self, number: int, epoch: int) -> None:
        seconds = self._find(number).seconds[epoch - 1]
        self._order += 1
        heapq.heappush(self._turns, _Turn(self._now + seconds, self._order, number, epoch))

    def _end_epoch(self, turn: _Turn) -> None:
        course = self._find(turn.number)
        report = course.reports[turn.epoch - 1]
        if report.is_last:
            self._flow.finish(turn.number, report, None)
            self._complete(turn.number, course)
        elif self._flow.report(turn.number, report) is Decision.CONTINUE:
            self._go_on(turn.number, turn.epoch + 1)

    def _complete(self, number: int, course: Course) -> None:
        if number not in self._taken:
            return  # the baseline regularises nothing: it is not what a search finds
        best = self._improvements[-1].standing if self._improvements else None
        if best is None or course.standing < best:
            self._improvements.append(Improvement(self._epochs, self._now, course.standing))

    def _find(self, number: int) -> Course:
        row = self._taken.get(number)
        if row is not None:
            return self._courses.drawn[row]
        assert self._courses.baseline is not None
        return self._courses.baseline

    def _find_rows(self, state: TrialState) -> frozenset[int]:
        """The places of the configurations that came to this end."""
        found = (n for n, end in self._ends.states.items() if end is state)
        return frozenset(self._taken[n] for n in found if n in self._taken)

    def _has_arrived(self) -> bool:
        if self._until is None or not self._improvements:
            return False
        return self._courses.measure_regret(self._improvements[-1].standing) <= self._until


def _list_first(courses: Courses) -> Sequence[tuple[Role, Params]]:
    recorded = courses.history.baseline
    return [] if recorded is None else [(Role.BASELINE, recorded.params)]
