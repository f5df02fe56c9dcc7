"""How trials go from the session to whoever runs them and back: asked for, reported, ended.

An executor (Ray Tune's adapters, the loop in this process) calls these and decides nothing itself.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import Enum

from service.study.messages import Answer, Assignment, EpochReport, TrialFailure
from service.study.session import Decision, StudySession

DIED = "the trial's process died (killed, or out of memory)"


class NoTrial(Enum):
    """Why there is no trial to run."""

    NOT_YET = "ask again: trials that run now decide whether there are more"
    NONE_LEFT = "the budget is used up, or the sweep is to stop"


@dataclass
class TrialFlow:
    """The session, whether to stop, how many trials may run at once now, what went wrong.

    ``error`` is one that no trial caused; the sweep cannot continue after it.
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
        """The next trial, or why there is none."""
        if self.stopping:
            return NoTrial.NONE_LEFT
        if len(self.session.open_trials) >= self.slots():
            return NoTrial.NOT_YET
        assignment = self.session.ask()
        if assignment is not None:
            return assignment
        return NoTrial.NONE_LEFT if self.session.exhausted else NoTrial.NOT_YET

    def report(self, number: int, report: EpochReport) -> Decision:
        """Record an epoch of a trial; one to prune has ended in the study when this returns."""
        self.session.locate(number, report.ran_on)
        decision = self.session.report(number, report.epoch, report.metrics)
        if decision is Decision.PRUNE:
            self.session.prune(number)
        return decision

    def finish(self, number: int, last: Answer | None, crashes: Sequence[str] | None) -> None:
        """End a trial in the study, unless it has ended there, or is only cut short by a stop.

        ``last`` is what its worker answered last, if anything; ``crashes`` are why its process
        broke, each time, None where it did not.
        """
        if number not in self.session.open_trials:
            return
        if last is not None:
            self.session.locate(number, last.ran_on)
        if isinstance(last, TrialFailure):
            self.session.fail(number, last.reason)
        elif last is not None and last.best is not None:
            self.session.report(number, last.epoch, last.metrics)
            self.session.complete(number, last.best, last.epoch)
        elif crashes is not None:
            times = f", {len(crashes)} times" if len(crashes) > 1 else ""
            self.session.fail(number, (crashes[-1] if crashes else DIED) + times)
