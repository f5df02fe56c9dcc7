"""A training whose loop runs elsewhere and calls: each of its reports is an epoch."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from trainables.gap import compute_gaps
from trainables.loops.loop_parts import LoopParts
from trainables.loops.own import OwnRun
from trainables.loops.reported_metrics import REPORTED, read_metrics
from trainables.loops.settings import take_generators
from trainables.loops.signature import OwnLoop
from trainables.loops.suspended_loop import LoopControl
from trainables.run import EpochResult

GAP_REPORTED = "gap_reported/"
"""The gap between a reported metric of training samples and that of validation samples."""


def _refuse() -> None:
    raise NotImplementedError("a loop elsewhere is not called")


ELSEWHERE = OwnLoop("the loop", _refuse, "trial")


class _Inbox:
    """Holds what the loop has reported, until it is read."""

    def __init__(self) -> None:
        self._value: object = None
        self.returned: object = None
        self.refused = ""

    @property
    def generators(self) -> Mapping[str, Any]:
        """Those of this process, in which the loop runs."""
        return take_generators()

    def suspend(self, value: object) -> None:
        """Take what the loop reports."""
        self._value = value

    def proceed(self) -> Any:
        """What was reported, once; None if the loop has ended."""
        value, self._value = self._value, None
        return value

    def end(self) -> bool:
        """Do nothing: whoever reports is told to stop."""
        return True


class RunElsewhere(OwnRun):
    """The state of a training between the reports of a loop that is not called from here.

    ``better_high`` says of a metric whether higher values are better.
    """

    def __init__(self, parts: LoopParts, better_high: Callable[[str], bool]) -> None:
        super().__init__(parts)
        self._inbox = _Inbox()
        self._handover = self._inbox
        self._better_high = better_high

    @property
    def finished(self) -> bool:
        """Whether the loop continued a training that had had its last epoch."""
        return self._restored and self.last_result is not None and self.last_result.done

    def train(self) -> Iterator[EpochResult]:
        """One epoch for each report; it is for the loop to end."""
        while True:
            yield self._advance()

    def read(self, metrics: object) -> tuple[dict[str, Any], dict[str, float]]:
        """What to report, and the metrics that the next epoch then has.

        The gap of a metric that is reported of both sides is added, labelled as reported.

        Raises:
            ContractError: something is no metric, or a required one is missing.
            DivergedError: a required one, or a loss, is not finite.
        """
        epoch = self.epochs_done + 1
        known = read_metrics(metrics, self._measured, {}, epoch)
        train = {
            name.removeprefix(REPORTED): value
            for name, value in known.items()
            if name.startswith(REPORTED) and f"val/{name.removeprefix(REPORTED)}" in known
        }
        val = {name: known[f"val/{name}"] for name in train}
        gaps = compute_gaps(train, val, self._better_high)
        added = {f"{GAP_REPORTED}{name}": gap for name, gap in gaps.items()}
        reported = {**(metrics if isinstance(metrics, Mapping) else {}), **added}
        return reported, read_metrics(reported, self._measured, self.parts.required, epoch)

    def _begin(self) -> LoopControl:
        return self._inbox

    def _reveal(self) -> None:
        """Do nothing: the loop cannot be called."""
