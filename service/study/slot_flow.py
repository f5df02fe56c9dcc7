"""Passes trials from the session to slots of one or several trials, and their answers back.

A slot is a process of an executor. Nothing here decides about trials, but for one thing: which of
a slot's trials was to blame for the end of its process. That is found out by training each of them
alone from then on.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from service.study.messages import Answer, Assignment, EpochReport, SlotOrders, TrialFailure
from service.study.session import Decision, StudySession
from service.study.trial_flow import Loss, NoTrial, TrialFlow


@dataclass(frozen=True)
class Widths:
    """How many trials a slot has at most: of the search, and of what is trained after it.

    The latter learns from no result and is never pruned, so that more of it may run at once.
    """

    search: int = 1
    after: int = 1

    @property
    def most(self) -> int:
        """Of either."""
        return max(self.search, self.after)

    def get(self, session: StudySession) -> int:
        """That of the next trial that a session hands out."""
        return self.after if session.search_is_done else self.search


ALONE = Widths()


@dataclass
class _Open:
    """A slot with its trials by number, and when it last answered."""

    since: float
    trials: dict[int, Assignment] = field(default_factory=dict)


class SlotFlow:
    """A flow of trials for slots of several trials each."""

    def __init__(
        self, flow: TrialFlow, widths: Widths, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.flow, self._widths, self._clock = flow, widths, clock
        self._open: dict[str, _Open] = {}
        self._waiting: deque[tuple[Assignment, float]] = deque()
        self._suspects: set[int] = set()

    @property
    def over(self) -> bool:
        """Whether no slot will get a trial any more."""
        return self.flow.stopping or (not self._waiting and self.flow.session.exhausted)

    def open(self, slot: str) -> Sequence[Assignment] | NoTrial:
        """The trials of a new slot, or the reason why there are none: then there is no slot."""
        opened = _Open(self._clock())
        found = NoTrial.NONE_LEFT if self.flow.stopping else self._fill(opened)
        if not opened.trials:
            return found or NoTrial.NOT_YET
        self._open[slot] = opened
        return tuple(opened.trials.values())

    def report(self, slot: str, rounds: Sequence[Mapping[int, Answer]]) -> SlotOrders:
        """Report the answers of rounds; what the slot does next.

        It has no trials left if none of those that it has remains and it takes none.
        """
        opened = self._open[slot]
        self._share_time(opened)
        before = dict(opened.trials)
        for place, answers in enumerate(rounds):
            if place and self.flow.stopping:
                break
            for number, answer in answers.items():
                if number in opened.trials:
                    self._report(opened, number, answer)
        drop = [number for number in before if number not in opened.trials]
        if self.flow.stopping:
            return SlotOrders(drop=drop)
        self._fill(opened)
        return SlotOrders([a for n, a in opened.trials.items() if n not in before], drop)

    def list_trials(self, slot: str) -> tuple[int, ...]:
        """The numbers of the trials that a slot has."""
        return tuple(self._open[slot].trials)

    def close(self, slot: str, error: Loss | TrialFailure | None) -> None:
        """Count a slot as closed; ``error`` is what ended all its trials, if that was an error.

        The trial is to blame that was alone in the slot. Of several each goes on alone, as if
        nothing had happened.
        """
        opened = self._open.pop(slot)
        self._share_time(opened)
        if error is None:
            return
        is_own = isinstance(error, TrialFailure) or error.own
        if is_own:
            self._suspects.update(opened.trials)
        for number, assignment in opened.trials.items():
            if is_own and len(opened.trials) > 1:
                self._wait(assignment)
            elif isinstance(error, TrialFailure):
                self.flow.finish(number, error, None)
            else:
                self.flow.finish(number, None, error)

    def _report(self, opened: _Open, number: int, answer: Answer) -> None:
        """Report an answer; a trial that ends with it leaves the slot."""
        if isinstance(answer, EpochReport) and not answer.is_last:
            recorded = max(opened.trials[number].recorded, answer.epoch)
            opened.trials[number] = replace(opened.trials[number], recorded=recorded)
            if self.flow.report(number, answer) is Decision.CONTINUE:
                return
        else:
            self.flow.finish(number, answer, None)
        del opened.trials[number]

    def _fill(self, opened: _Open) -> NoTrial | None:
        """Give a slot trials for its free places; returns why it got no more, if that was asked.

        Those that were in a slot whose process died get one of their own.
        """
        if not opened.trials and self._waiting:
            assignment, since = self._waiting.popleft()
            self.flow.session.deduct(assignment.number, self._clock() - since)
            self._add(opened, assignment)
        while self._has_room(opened):
            found = self.flow.ask()
            if isinstance(found, NoTrial):
                return found
            if opened.trials and found.number in self._suspects:
                self._wait(found)
            else:
                self._add(opened, found)
        return None

    def _has_room(self, opened: _Open) -> bool:
        """Whether a slot may have another trial; one that may be to blame is alone."""
        if not self._suspects.isdisjoint(opened.trials):
            return False
        return len(opened.trials) < self._widths.get(self.flow.session)

    def _wait(self, assignment: Assignment) -> None:
        """Let a trial wait for a slot of its own."""
        self._waiting.append((assignment, self._clock()))

    def _add(self, opened: _Open, assignment: Assignment) -> None:
        opened.trials[assignment.number] = assignment

    def _share_time(self, opened: _Open) -> None:
        """Divide the time since a slot's last answer among its trials, in the session's record."""
        now = self._clock()
        others = 1 - 1 / max(1, len(opened.trials))
        for number in opened.trials:
            self.flow.session.deduct(number, others * (now - opened.since))
        opened.since = now
