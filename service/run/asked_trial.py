"""A trial in the hands of a loop that asked for it."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from service.base.errors import InputError, TrialEndedError
from service.run.asked_advice import describe_task
from service.study.messages import EpochReport, TrialFailure
from service.study.session import Decision
from trainables.errors import DivergedError, TrainableError
from trainables.loops.trial import Measure, Trial

if TYPE_CHECKING:
    from service.run.asked_sweep import AskedSweep
    from service.run.asked_worker import AskedWorker
    from service.run.study_turns import Handed
    from trainables.loops.regularised import Regularised
    from trainables.loops.trial_data import TrialData

PRUNED, STOPPED, LAST = "pruned", "early stopping", "the last epoch"
PAUSED = "paused: it is handed out again when it ranks among the best"


@dataclass(frozen=True)
class Signal:
    """What follows from an epoch.

    ``stop`` says that the trial ends here, and ``reason`` why; the loop tells it then. With
    ``keep`` the weights of this epoch are those to keep so far, with ``keep_control`` those that
    early stopping would keep of a training that is not regularised.
    """

    stop: bool
    reason: str = ""
    keep: bool = False
    keep_control: bool = False

    def __bool__(self) -> bool:
        """Whether the trial ends here."""
        return self.stop


class AskedTrial(Trial):
    """One trial of a sweep, in the hands of a loop that asked for it.

    The loop reports every epoch, ends where a report says ``stop``, and tells the trial. Beside
    what every trial has (``params``, ``seed``, ``training``, ``data``, ``evaluate``,
    ``regularise``, ``checkpoint``, ``restore``, ``folder``):

    Attributes:
        number: its number in the sweep.
        role: why it exists: ``baseline``, ``control``, ``enqueued``, ``search``, ``replicate``,
            ``removal`` or ``audit``.
        replicate: the number of the replicate, 0 in the search.
        without: the parts that are left out.
        task: what to do, in words.
    """

    def __init__(self, sweep: AskedSweep, worker: AskedWorker, handed: Handed) -> None:
        run, given = worker.run, handed.assignment
        super().__init__(run, run.params, seed=run.training.seed, device=run.parts.device)
        self._sweep, self._worker, self._claim = sweep, worker, handed.claim
        self._elsewhere = run
        self._given = given
        self._final: EpochReport | None = None
        self._ended = ""
        self._told = False
        self.number, self.role = given.number, given.role.value
        self.replicate, self.without = given.replicate, given.without
        self.task = describe_task(given, self.seed, self.max_epochs)

    @property
    def sweep(self) -> AskedSweep:
        """The sweep that it is of."""
        return self._sweep

    @property
    def start_seed(self) -> int:
        """The seed of the random generators where the loop begins."""
        return self._elsewhere.start_seed

    @property
    def data(self) -> TrialData:
        """The replicate's division of the spec's data, without its test samples."""
        with _as_input():
            return super().data

    def checkpoint(self, **entries: Any) -> None:
        """See :meth:`Trial.checkpoint`."""
        with _as_input():
            super().checkpoint(**entries)

    def restore(self, **objects: Any) -> Mapping[str, Any]:
        """See :meth:`Trial.restore`."""
        with _as_input():
            return super().restore(**objects)

    def regularise(self, model: nn.Module, optimizer: torch.optim.Optimizer) -> Regularised:
        """See :meth:`Trial.regularise`."""
        with _as_input():
            return super().regularise(model, optimizer)

    def evaluate(
        self,
        model: nn.Module,
        measure: Measure | None = None,
        *,
        train: Iterable[Any] | None = None,
        val: Iterable[Any] | None = None,
    ) -> dict[str, float]:
        """See :meth:`Trial.evaluate`."""
        with _as_input():
            return super().evaluate(model, measure, train=train, val=val)

    @property
    def told(self) -> bool:
        """Whether it is not in this process's hands any more."""
        return self._told

    def report(  # type: ignore[override]  # it returns what follows; a called loop is ended
        self, metrics: Mapping[str, Any] | None = None, *, epoch: int | None = None, **named: Any
    ) -> Signal:
        """Record an epoch with its metrics, those of :meth:`evaluate` in this epoch among them.

        Metrics are numbers by names such as ``val/loss``. ``train/*`` that were not measured by
        :meth:`evaluate` are logged as ``train_reported/*``, with a ``gap_reported/*``. An epoch
        that was recorded before an interruption stays as it was. ``epoch`` may be given as a check
        of the order; it counts from 1.

        Raises:
            TrialEndedError: the trial has ended, or a report has said ``stop``.
            TrialLostError: it was handed out again after too long without a sign of life.
            InputError: a metric is no number, or one that the spec names is missing; the epoch is
                not the next one.
        """
        self._check_open()
        if self._final is not None:
            raise TrialEndedError(
                f"trial {self.number} has had its last epoch, {self._final.epoch}; tell it now"
            )
        self._check_order(epoch)
        if self._elsewhere.finished:
            return self._end(self._worker.finish(), LAST)
        given = {**(metrics or {}), **named} if metrics is None or named else metrics
        with _as_input():
            try:
                reported, _ = self._elsewhere.read(given)
            except DivergedError as error:
                return self._fail(str(error))
        self._elsewhere.report(reported, {})
        return self._advance()

    def heartbeat(self) -> None:
        """Give a sign of life, in an epoch that takes long.

        Raises:
            TrialEndedError, TrialLostError: as :meth:`report`.
        """
        self._check_open()
        self._sweep.renew(self.number, self._claim)

    def _advance(self) -> Signal:
        answer = self._worker.advance()
        if isinstance(answer, TrialFailure):
            return self._fail(answer.reason)
        keep, control = self._is_kept(answer.epoch), self._is_control(answer.epoch)
        if answer.is_last:
            is_last = answer.epoch >= self.max_epochs
            return replace(
                self._end(answer, LAST if is_last else STOPPED), keep=keep, keep_control=control
            )
        with self._sweep.take_turn(self.number, self._claim) as turn:
            decision = turn.report(self.number, answer)
            stop = turn.stop
        if decision is Decision.CONTINUE:
            return Signal(False, keep=keep, keep_control=control)
        if decision is Decision.PAUSE:
            self._ended = PAUSED
        else:
            self._ended = PRUNED if stop is None else f"{PRUNED}: {stop.value}"
        return Signal(True, self._ended)

    def _is_kept(self, epoch: int) -> bool:
        best = self._elsewhere.keeping.best
        return best is not None and best.result.epoch == epoch

    def _is_control(self, epoch: int) -> bool:
        control = self._elsewhere.control
        return control is not None and control.result.epoch == epoch

    def _end(self, last: EpochReport, reason: str) -> Signal:
        self._final = last
        self._sweep.renew(self.number, self._claim)
        return Signal(True, reason)

    def _fail(self, reason: str) -> Signal:
        with self._sweep.take_turn(self.number, self._claim) as turn:
            turn.finish(self.number, TrialFailure(reason=reason))
        self._ended = f"failed: {reason}"
        return Signal(True, self._ended)

    def tell(
        self, metrics: Mapping[str, Any] | None = None, control: Mapping[str, Any] | None = None
    ) -> None:
        """See :meth:`AskedSweep.tell`."""
        self._check_told()
        if self._ended:  # by its last report
            self._release()
            return
        given = dict(metrics or {})
        if self._final is None:
            given = self._conclude(given)
            if self._ended:
                self._release()
                return
        assert self._final is not None
        final = replace(
            self._final,
            best=self._add(self._final.best or {}, given, "the kept epoch"),
            control=self._add(self._final.control, control or {}, "the control's epoch"),
        )
        with self._sweep.take_turn(self.number, self._claim) as turn:
            turn.check_comparable(self._given, final)
            turn.finish(self.number, final)
        self._release()

    def _conclude(self, given: dict[str, Any]) -> dict[str, Any]:
        """End a loop that stopped by itself; returns the metrics that are not of an epoch."""
        if self._elsewhere.last_result is None or not self.epoch:
            tested = {n: v for n, v in given.items() if str(n).startswith("test/")}
            rest = {n: v for n, v in given.items() if n not in tested}
            if not rest:
                raise InputError(
                    f"trial {self.number} has no epoch: report its metrics, or tell them, such as "
                    '{"val/loss": 0.5}'
                )
            self.report(rest)
            given = tested
        if self._final is None and not self._ended:
            self._final = self._worker.finish()
        return given

    def fail(self, reason: str) -> None:
        """End the trial as failed, with the reason.

        Raises:
            TrialEndedError, TrialLostError: as :meth:`report`.
        """
        self._check_open()
        self._fail(str(reason) or "its loop failed")
        self._release()

    def abandon(self) -> None:
        """Give the trial back: it is handed out again, and goes on from its checkpoint.

        Raises:
            TrialEndedError, TrialLostError: as :meth:`report`.
        """
        self._check_told()
        if not self._ended:
            with self._sweep.take_turn(self.number, self._claim) as turn:
                turn.give_back(self.number)
        self._release()

    def _release(self) -> None:
        self._told = True
        self._worker.close()
        self._sweep.forget(self)

    def _check_told(self) -> None:
        if self._told:
            how = f" ({self._ended})" if self._ended else ""
            raise TrialEndedError(f"trial {self.number} was told already{how}")

    def _check_open(self) -> None:
        self._check_told()
        if self._ended:
            raise TrialEndedError(
                f"trial {self.number} has ended ({self._ended}); its loop must not go on"
            )

    def _check_order(self, epoch: int | None) -> None:
        if epoch is not None and epoch != self.epoch + 1:
            done = f"epoch {self.epoch} was the last one" if self.epoch else "none was reported yet"
            raise InputError(
                f"trial {self.number} reported epoch {epoch}, but {done}; report every epoch once, "
                f"in order: epoch {self.epoch + 1} is the next"
            )

    def _add(
        self, known: Mapping[str, float], given: Mapping[str, Any], what: str
    ) -> dict[str, float]:
        """The metrics at some weights, with what is told of them beside."""
        found = dict(known)
        for name, value in given.items():
            number = _read_number(name, value)
            if name in known:
                raise InputError(
                    f"{name} = {number:g} was told, but it was reported as {known[name]:g} for "
                    f"{what}; tell only what was not reported, such as test/loss"
                )
            found[str(name)] = number
        return found

    def __repr__(self) -> str:
        return f"<trial {self.number} of {self._sweep.id}: {self.task}>"


def _read_number(name: object, value: Any) -> float:
    try:
        number = float(value)
    except (TypeError, ValueError):
        raise InputError(f"{name} is {value!r:.60}; tell a number") from None
    if not math.isfinite(number):
        raise InputError(f"{name} is {number}; tell a finite number, or tell the trial as failed")
    return number


@contextmanager
def _as_input() -> Iterator[None]:
    """Turn what the loop does wrong into an error of the input."""
    try:
        yield
    except TrainableError as error:
        raise InputError(str(error)) from None
