"""A sweep whose trials a loop elsewhere asks for, as one process has it."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from types import TracebackType
from typing import TYPE_CHECKING, Any

from service.base.errors import InputError, TrialEndedError, TrialLostError, TrialNotFoundError
from service.cluster.divisions import TrialContext
from service.run.asked_start import conclude, has_ended, open_data
from service.run.asked_trial import AskedTrial
from service.run.asked_worker import AskedWorker
from service.run.evidence import Asked
from service.run.session_log import open_runs
from service.run.study_turns import Handed, Turn, Turns
from service.run.sweep import Report, Sweep
from service.study.events import Observer, TrialEvent
from service.study.trial_flow import NoTrial
from service.sweep.asked import Claim
from service.sweep.history import read_history
from service.sweep.home import Home, SweepFolder
from service.sweep.load import load_stored_spec, read_sampled_spec
from service.tracking.outbox import Outbox
from trainables.config.code_policy import get_policy
from trainables.errors import TrainableError
from trainables.loops.settings import seed_all

if TYPE_CHECKING:
    from service.tracking.late_runs import LateRuns

LOST_AFTER = 1800.0
"""Seconds without a sign of life after which a trial is handed out again."""
_POLL = 1.0
_LOG_PATIENCE = 10.0


class AskedSweep:
    """A sweep that a loop of yours trains: it asks for a trial, reports its epochs and tells it.

    Several processes may have the same sweep at once. As a context manager it gives back, at its
    end, the trials that were asked for and not told.
    """

    def __init__(
        self,
        folder: SweepFolder,
        home: Home,
        lost_after: float = LOST_AFTER,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.folder, self._home = folder, home
        self._lost_after = lost_after
        self._spec = load_stored_spec(folder)
        try:
            self.rows = open_data(self._spec)
        except TrainableError as error:
            raise InputError(f"{folder.sweep_id}: data: {error}") from None
        self._log = _Log(self)
        self._turns = Turns(self._spec, folder, [self._log], clock)
        self._held: dict[int, AskedTrial] = {}

    @property
    def id(self) -> str:
        """The id, for commands and for other processes."""
        return self.folder.sweep_id

    @property
    def ended(self) -> bool:
        """Whether the sweep has its answer."""
        return has_ended(self.folder)

    @property
    def sweep(self) -> Sweep:
        """The sweep as it is now, with its trials, its answer and its best trial."""
        return Sweep(self.folder)

    def report(self) -> Report:
        """The report on the trials so far."""
        return self.sweep.report()

    def ask(self, timeout: float | None = None) -> AskedTrial | None:
        """The next trial to train; None if none is left, or none came within ``timeout`` seconds.

        While trials of other processes decide whether more follow, it waits. The random generators
        of torch, numpy and Python are seeded by the trial's seed, as for a loop that
        :func:`gapsweep.run` calls.

        Raises:
            InputError: only trials that this process has asked for, and not told, are running.
            SweepBusyError: another process holds the sweep for long.
        """
        deadline = None if timeout is None else time.monotonic() + timeout
        while not self.ended:
            self._log.open()
            with self._turns.take() as turn:
                found, over = turn.ask(self._lost_after), turn.over
                elsewhere = set(turn.session.open_trials) - set(self._held)
            if isinstance(found, Handed):
                return self._open(found)
            if over:
                self.conclude()
            if found is NoTrial.NONE_LEFT:
                return None
            self._check_waiting(bool(elsewhere))
            if deadline is not None and time.monotonic() >= deadline:
                return None
            time.sleep(_POLL * random.uniform(0.5, 1.5))
        return None

    def tell(
        self,
        trial: AskedTrial | int,
        metrics: Mapping[str, Any] | None = None,
        *,
        control: Mapping[str, Any] | None = None,
        failed: str | None = None,
    ) -> None:
        """End a trial. One that a report has ended is only let go of.

        Args:
            trial: the trial, or its number.
            metrics: what was not reported, at the weights that were kept: ``test/loss`` of a
                replicate, for example. A trial without a report has these as its only epoch.
            control: the same at the weights that early stopping would have kept, of a training
                that is not regularised.
            failed: why the trial failed.

        Raises:
            TrialNotFoundError: this process has no such trial.
            TrialEndedError: it was told already.
            TrialLostError: it was handed out again after too long without a sign of life.
            InputError: a metric is not a finite number, was reported otherwise, or is missing.
        """
        found = self._find(trial)
        if failed is not None:
            found.fail(failed)
        else:
            found.tell(metrics, control)
        self._conclude_if_over()

    def abandon(self, trial: AskedTrial | int) -> None:
        """Give a trial back, so that it is handed out again.

        Raises:
            TrialNotFoundError, TrialEndedError, TrialLostError: as :meth:`tell`.
        """
        self._find(trial).abandon()

    def close(self) -> None:
        """Give back what was not told, and write to MLflow what is known."""
        for trial in tuple(self._held.values()):
            try:
                trial.abandon()
            except (TrialEndedError, TrialLostError):
                self.forget(trial)
        self._log.close()

    def conclude(self) -> None:
        """Write the answer and the report, if nothing is left to train."""
        self._log.close()
        conclude(self.folder, self._home, self.rows)

    def take_turn(self, trial: int, claim: Claim) -> AbstractContextManager[Turn]:
        """A turn at the study of the holder of a trial, see :class:`Turns`."""
        return self._turns.take(trial, claim)

    def renew(self, trial: int, claim: Claim) -> None:
        """Give a sign of life of a trial, see :class:`Turns`."""
        self._turns.renew(trial, claim)

    def forget(self, trial: AskedTrial) -> None:
        """Let go of a trial that was told."""
        self._held.pop(trial.number, None)

    def open_runs(self) -> LateRuns | None:
        """The sweep's runs in MLflow; None where nothing is logged."""
        evidence = Asked(self.rows)
        return open_runs(self._spec, evidence, self.folder, self._home, reopens=False)

    def _open(self, handed: Handed) -> AskedTrial:
        number = handed.assignment.number
        spec = read_sampled_spec(self._spec, self.folder)
        context = TrialContext(spec, self.rows, self.folder.path, get_policy())
        try:
            worker = AskedWorker(context, handed.assignment)
        except BaseException:
            with self.take_turn(number, handed.claim) as turn:
                turn.give_back(number)
            raise
        trial = AskedTrial(self, worker, handed)
        self._held[trial.number] = trial
        seed_all(trial.start_seed)
        return trial

    def _check_waiting(self, elsewhere: bool) -> None:
        if not elsewhere and self._held:
            numbers = ", ".join(map(str, sorted(self._held)))
            raise InputError(
                f"this process has trials that it has not told: {numbers}; what follows depends on "
                "them: tell or abandon them first"
            )

    def _find(self, trial: AskedTrial | int) -> AskedTrial:
        if isinstance(trial, AskedTrial):
            return trial
        if trial not in self._held:
            held = ", ".join(map(str, sorted(self._held))) or "none"
            raise TrialNotFoundError(
                f"this process has no trial {trial!r} of {self.id}; it has {held}"
            )
        return self._held[trial]

    def _conclude_if_over(self) -> None:
        if self._held:
            return
        with self._turns.take() as turn:
            over = turn.over
        if over:
            self.conclude()

    def __enter__(self) -> AskedSweep:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def __iter__(self) -> Iterator[AskedTrial]:
        """Ask until none is left."""
        while (trial := self.ask()) is not None:
            yield trial

    def __repr__(self) -> str:
        return f"<sweep {self.id}, trials asked for: {sorted(self._held) or 'none'}>"


class _Log(Observer):
    """Writes this process's trials to MLflow, which it opens with the first one."""

    def __init__(self, sweep: AskedSweep) -> None:
        self._sweep = sweep
        self._outbox: Outbox | None = None

    def open(self) -> None:
        """Open MLflow, which takes a second, unless it is open."""
        if self._outbox is None:
            runs = self._sweep.open_runs()
            if runs is not None:
                folder = self._sweep.folder
                self._outbox = Outbox(runs, "mlflow", reread=lambda: read_history(folder))

    def on(self, event: TrialEvent) -> None:
        """Pass the event on."""
        if self._outbox is not None:
            self._outbox.on(event)

    def close(self) -> None:
        """Write what is left, for some seconds; the end of the sweep logs everything again."""
        outbox, self._outbox = self._outbox, None
        if outbox is not None:
            outbox.close(lambda: None, _LOG_PATIENCE)
