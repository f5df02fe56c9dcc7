"""Passes trials from the session to an executor, and epochs and results back.

An executor (the adapters of Ray Tune, the loop in this process) calls these methods and makes no
decisions of its own.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum

from service.base.errors import DiskFullError
from service.study.messages import Answer, Assignment, EpochReport, TrialFailure
from service.study.session import Decision, StudySession

DIED = "the trial's process died (killed, or out of memory)"


@dataclass(frozen=True)
class Loss:
    """The end of a trial's process before the trial's: its reason, whether it was its own fault.

    A process that is lost with its node is nobody's fault.
    """

    reason: str
    own: bool = True


class NoTrial(Enum):
    """The reason why no trial can be started."""

    NOT_YET = "ask again: the running trials decide whether more follow"
    NONE_LEFT = "the budget is used up, or the sweep must stop"


@dataclass
class TrialFlow:
    """A session with its stop condition and the current limit of concurrent trials.

    ``error`` is an error outside of trials, after which the sweep cannot continue.
    """

    session: StudySession
    should_stop: Callable[[], bool]
    slots: Callable[[], int]
    error: Exception | None = None

    @property
    def stopping(self) -> bool:
        """Whether no trial may start and every running one must end."""
        return self.error is not None or self.should_stop()

    def ask(self) -> Assignment | NoTrial:
        """Return the next trial, or the reason why there is none."""
        if self.stopping:
            return NoTrial.NONE_LEFT
        if len(self.session.open_trials) >= self.slots():
            return NoTrial.NOT_YET
        assignment = self.session.ask()
        if assignment is not None:
            return assignment
        return NoTrial.NONE_LEFT if self.session.exhausted else NoTrial.NOT_YET

    def report(self, number: int, report: EpochReport) -> Decision:
        """Record an epoch of a trial, and do in the study what follows: prune or pause it."""
        self.session.locate(number, report.ran_on)
        decision = self.session.report(number, report.epoch, report.metrics, report.fold)
        if decision is Decision.PRUNE:
            self.session.prune(number)
        elif decision is Decision.PAUSE:
            self.session.pause(number)
        return decision

    def finish(self, number: int, last: Answer | None, lost: Loss | None) -> None:
        """End a trial in the study, unless it has ended already or was interrupted by a stop.

        ``last`` is the last answer of its worker, if any; ``lost`` is set if its process died: the
        trial is then handed out again, unless its process has died too often.
        """
        if number not in self.session.open_trials:
            return
        if isinstance(last, TrialFailure) and last.disk_full:
            self.error = self.error or DiskFullError(last.reason)
            return  # it stays open, and is resumed with the sweep
        if last is not None:
            self.session.locate(number, last.ran_on)
        if isinstance(last, TrialFailure):
            self.session.fail(number, last.reason)
        elif last is not None and last.best is not None:
            self.session.complete(
                number,
                last.best,
                last.epoch,
                last.control,
                last=last.metrics,
                fold=last.fold,
                not_acting=last.not_acting,
            )
        elif lost is not None and lost.own:
            self.session.crash(number, lost.reason)
        elif lost is not None:
            self.session.release(number)
