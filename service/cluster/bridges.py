"""What Tune's adapters ask and tell, by Tune's ids: of trials, or of slots with several trials.

A bridge decides nothing: it passes on what the study's flows say.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ray.tune.schedulers import TrialScheduler
from ray.tune.search import Searcher

from service.cluster.tune_messages import (
    ends_trial,
    from_result,
    from_slot_result,
    to_config,
    to_slot_config,
)
from service.study.messages import Answer, EpochReport, SlotOrders
from service.study.session import Decision
from service.study.slot_flow import SlotFlow
from service.study.trial_flow import DIED, Loss, NoTrial, TrialFlow

NONE_LEFT: Any = Searcher.FINISHED
Send = Callable[[SlotOrders], object]
_CONTINUE, _STOP = str(TrialScheduler.CONTINUE), str(TrialScheduler.STOP)


class Bridge(ABC):
    """The state that the adapters share: the flow of trials, and losses by Tune's ids."""

    def __init__(self, flow: TrialFlow) -> None:
        self.flow = flow
        self.losses: dict[str, Loss] = {}

    def __deepcopy__(self, memo: object) -> Bridge:
        """Return itself: Tune copies its arguments, but there is only one study and one bridge."""
        return self

    def __reduce__(self) -> tuple[type[str], tuple[str]]:
        """Pickle a placeholder: Tune pickles its arguments for a restore that is never done."""
        return str, ("the study is the truth",)

    @property
    @abstractmethod
    def over(self) -> bool:
        """Whether no trial may start any more."""

    @abstractmethod
    def ask(self, tune_id: str) -> Any:
        """A config for Tune, FINISHED if nothing is left to train, None to be asked again."""

    @abstractmethod
    def report(self, tune_id: str, result: Mapping[str, Any], send: Send) -> str:
        """Report a result of a process that goes on; returns Tune's decision for it.

        ``send`` hands orders to the process, which has them before its next step.
        """

    @abstractmethod
    def finish(self, tune_id: str, result: Mapping[str, Any] | None, crashed: bool) -> None:
        """Count something of Tune's as ended; ``result`` is its last one."""

    def record_loss(self, tune_id: str, loss: Loss) -> None:
        """Record why a process ended before what it trained."""
        self.losses[tune_id] = loss


class TrialBridge(Bridge):
    """A trial of Tune's is a trial."""

    def __init__(self, flow: TrialFlow) -> None:
        super().__init__(flow)
        self.numbers: dict[str, int] = {}

    @property
    def over(self) -> bool:
        """Whether no trial may start any more; the last one's process may have died."""
        return self.flow.stopping or self.flow.session.exhausted

    def ask(self, tune_id: str) -> Any:
        """Return the config of the next trial, see :class:`Bridge`."""
        found = self.flow.ask()
        if isinstance(found, NoTrial):
            return NONE_LEFT if found is NoTrial.NONE_LEFT else None
        self.numbers[tune_id] = found.number
        return to_config(found)

    def report(self, tune_id: str, result: Mapping[str, Any], send: Send) -> str:
        """Report epochs, none of which ends the trial; return Tune's decision for it."""
        answers = from_result(result)
        if not answers:
            raise TypeError("a running trial returned no epoch report")
        return _CONTINUE if self._report_all(self.numbers[tune_id], answers) else _STOP

    def _report_all(self, number: int, answers: Sequence[Answer]) -> bool:
        """Report epochs up to one after which the trial does not go on; whether it does.

        A stop of the sweep counts between two epochs, as it would if they came one by one.
        """
        for place, answer in enumerate(answers):
            if place and self.flow.stopping:
                return False
            if not isinstance(answer, EpochReport):
                raise TypeError(f"a running trial returned {answer!r} instead of an epoch report")
            if self.flow.report(number, answer) is not Decision.CONTINUE:
                return False
        return True

    def finish(self, tune_id: str, result: Mapping[str, Any] | None, crashed: bool) -> None:
        """End a trial of Tune: in the study too, unless it was interrupted by a stop or a loss.

        Tune shows the scheduler no result that ends a trial: its earlier epochs are reported here.
        """
        answers = from_result(result)
        number, loss = self.numbers.pop(tune_id), self.losses.pop(tune_id, Loss(DIED))
        last, earlier = (answers[-1], answers[:-1]) if answers else (None, ())
        new = ends_trial(answers) and not crashed and number in self.flow.session.open_trials
        if not new or self._report_all(number, earlier):
            self.flow.finish(number, last, loss if crashed else None)


class SlotBridge(Bridge):
    """A trial of Tune's is a slot, which takes other trials when those that it has end."""

    def __init__(self, slots: SlotFlow) -> None:
        super().__init__(slots.flow)
        self._slots = slots

    @property
    def over(self) -> bool:
        """Whether no slot will get a trial any more."""
        return self._slots.over

    def ask(self, tune_id: str) -> Any:
        """Return the config of a slot with its first trials, see :class:`Bridge`."""
        found = self._slots.open(tune_id)
        if isinstance(found, NoTrial):
            return NONE_LEFT if found is NoTrial.NONE_LEFT else None
        return to_slot_config(found)

    def report(self, tune_id: str, result: Mapping[str, Any], send: Send) -> str:
        """Report what trials answered, and send orders; STOP if the slot has none left."""
        orders = self._slots.report(tune_id, from_slot_result(result))
        if not self._slots.list_trials(tune_id):
            return _STOP
        if orders.take or orders.drop:
            send(orders)
        return _CONTINUE

    def finish(self, tune_id: str, result: Mapping[str, Any] | None, crashed: bool) -> None:
        """Count a slot as closed: it has no trials left, a stop ended it, or its process died."""
        loss = self.losses.pop(tune_id, Loss(DIED))
        self._slots.close(tune_id, loss if crashed else None)
