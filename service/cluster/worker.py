"""Trains the trials of a slot in one process, one epoch at a time. Imports no Ray."""

from __future__ import annotations

from bdb import BdbQuit
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch

from service.base.disk import is_disk_full
from service.base.files import replace_file
from service.cluster.checkpoint import Checkpoint
from service.cluster.code_access import enter_policy
from service.cluster.divisions import Division, Divisions, TrialContext, collect_garbage
from service.study.messages import Answer, Assignment, EpochReport, TrialFailure
from service.study.ranking import CONTROL_PREFIX
from service.study.records import Role
from service.sweep.home import SweepFolder
from service.sweep.inspected_files import BEST, CONTROL, write_inspected
from service.sweep.torch_files import save_tensors
from trainables.analysis.held_out import compare_test, measure_test_rows
from trainables.analysis.inspect_network import inspect_weights
from trainables.config.trial_parameters import list_parts
from trainables.data.splits import Splits
from trainables.devices import get_device_name, limit_memory
from trainables.distributed.process import Process
from trainables.errors import TrainableError, describe_error
from trainables.folded_run import FoldedRun
from trainables.loops.opening import open_run
from trainables.loops.own import OwnRun
from trainables.run import EpochResult, Run

T = TypeVar("T")


class Worker:
    """Trains assigned trials; returns the failure of a trial as a value.

    A process is reused after a trial that raised, because starting another takes seconds; only an
    error that makes the CUDA context unusable ends the process. The data are moved to the device
    once, for all trials. In a group, only the first worker reads and writes files.
    """

    def __init__(self, context: TrialContext, divisions: Divisions | None = None) -> None:
        """Several workers of a process may share its ``divisions`` of the samples."""
        resources = context.spec.resources
        self._context, self._device = context, resources.device
        self._folder = SweepFolder(context.folder)
        enter_policy(context.policy)
        torch.set_num_threads(max(1, int(resources.worker_cpus)))
        if 0 < resources.worker_gpus < 1:
            limit_memory(resources.worker_gpus)
        self.process = Process()
        self._divisions = divisions or Divisions(context, self._device)
        self._checkpoint, self._is_ahead, self._is_midway = Checkpoint(), False, False
        self._run: Run | None = None
        self._division: Division | None = None

    def take(self, assignment: Assignment) -> None:
        """Release the last trial and its memory, and take the next one."""
        self._let_go()
        self._trial, self._recorded, self._reported_folds = assignment, assignment.recorded, 0
        self._is_own = self._is_ahead = self._is_midway = False

    def close(self) -> None:
        """Let go of the trial and of the data on the device."""
        self._let_go()
        self._divisions.clear()

    def advance(self) -> Answer:
        """Train one epoch and return its result; after a resumption, first the last result again.

        Raises:
            torch.AcceleratorError: the device, and so this process, is unusable.
            BdbQuit: the user quit a debugger inside of the trial.
        """
        return self._guard(self._advance)

    def _guard(self, act: Callable[[], T]) -> T | TrialFailure:
        """Do something for the trial; what fails is the trial's failure, and ends it."""
        try:
            return act()
        except BdbQuit:  # the user quit the debugger: the trial did not fail
            raise
        except (torch.OutOfMemoryError, MemoryError) as error:
            return self._fail(f"out of memory: {error}")
        except torch.AcceleratorError as error:
            if "out of memory" not in str(error):
                raise
            return self._fail(str(error))
        except Exception as error:
            return self._fail(_describe(error), disk_full=is_disk_full(error))

    def _fail(self, reason: str, *, disk_full: bool = False) -> TrialFailure:
        """End the trial as failed, and free its device memory for the trials beside it."""
        ran_on = self._describe_device()
        failure = TrialFailure(reason=reason, ran_on=ran_on, disk_full=disk_full)
        self._forget()
        return failure

    def _let_go(self) -> None:
        """Forget a trial that may go on in another process."""
        if self._run is not None and not self._is_ahead and not self._is_midway:
            self._checkpoint.end(self._get_state)
        self._forget()

    def _forget(self) -> None:
        if self._run is not None:
            self._run.close()
        self._run = self._division = None
        self._results: Iterator[EpochResult] = iter(())
        collect_garbage(self._device)

    def _describe_device(self) -> dict[str, str]:
        """Return the device, and the precision if the training has begun."""
        precision = {} if self._run is None else {"precision": self._run.training.precision}
        return {"device": get_device_name(self._device), **precision}

    def _advance(self) -> EpochReport:
        result = self._prepare()
        while result is None:  # a training that began anew has recorded epochs first
            self._is_midway = True
            trained = next(self._results)
            self._is_midway = False
            result = self._note(trained)
        return self._answer(result)

    def _prepare(self) -> EpochResult | None:
        """Open the training or go on; its last result if the session does not know that yet."""
        run = self._run = self._run or self._begin()
        if not self._is_ahead:
            self._checkpoint.save_if_due(self._get_state)
        result = run.last_result
        return None if result is None or self._is_recorded(result) else result

    def _answer(self, result: EpochResult) -> EpochReport:
        """The report of an epoch, with what follows from the last one."""
        assert self._run is not None, "it has begun"
        self._recorded = max(self._recorded, result.epoch)
        if result.fold is not None and result.fold.ends:
            self._reported_folds = result.fold.fold
        report = EpochReport(
            epoch=result.epoch,
            metrics=dict(result.metrics),
            ran_on=self._describe_device(),
            fold=result.fold,
        )
        return self._conclude(self._run, report) if result.done else report

    def _is_recorded(self, result: EpochResult) -> bool:
        """Whether the session knows an epoch, and nothing that follows from it."""
        if result.done or result.epoch > self._recorded:
            return False
        fold = result.fold
        return fold is None or not fold.ends or fold.fold <= self._reported_folds

    def _note(self, result: EpochResult) -> EpochResult | None:
        """Keep the state after an epoch; None if the session knows the epoch."""
        if self._saves_each_epoch():
            state = self._get_state()  # every process of a group takes part
            if not self.process.rank:
                self._checkpoint.save(state)
        else:
            self._checkpoint.note(done=result.done)
        return None if self._is_recorded(result) else result

    def _get_state(self) -> Mapping[str, Any]:
        assert self._run is not None, "it has begun"
        return self._run.state_dict()

    def _saves_each_epoch(self) -> bool:
        """Whether the state is written before an epoch is reported.

        It is where an epoch that is trained again may come out otherwise, as in a loop of the
        user's own, and where a trial may be paused.
        """
        return self._is_own or self.process.world > 1 or self._context.spec.search.pruner.pauses

    def _conclude(self, run: Run, report: EpochReport) -> EpochReport:
        """The last report of a training, with the metrics at its kept weights.

        Replicates are measured on the test samples here. All processes of a group take part in
        metrics of the other samples; the first one does the rest.
        """
        number = self._trial.number
        best, control = run.best_metrics(), run.control_metrics() or {}
        if run.best_state:
            self._save(run.best_state, self._folder.best_weights(number))
        if run.control is not None and run.control.state:
            self._save(run.control.state, self._folder.control_weights(number))
        if self._trial.replicate and not self.process.rank and run.measured:
            best, control = self._test(run, best, control)
        return replace(report, best=best, control=control, not_acting=self._list_idle(run))

    def _list_idle(self, run: Run) -> tuple[str, ...]:
        """The parts of the trial without any effect; every process of a group takes part."""
        parts, idle = list_parts(self._context.spec, self._trial.params), run.list_idle()
        return tuple(part for part in parts if part in idle)

    def _test(
        self, run: Run, best: dict[str, float], control: dict[str, float]
    ) -> tuple[dict[str, float], dict[str, float]]:
        """Both metrics with ``test/*`` and ``test_gap/*``; the samples' own go to a file."""
        splits = self._divide().splits
        rows = measure_test_rows(run, splits, run.best_state)
        best = {**best, **compare_test(run, best, rows)}
        if run.control is not None:
            also = measure_test_rows(run, splits, run.control.state)
            control = {**control, **compare_test(run, control, also)}
            rows = {**rows, **{f"{CONTROL_PREFIX}{name}": values for name, values in also.items()}}
        self._inspect(run, splits)
        path = self._folder.test_rows(self._trial.number)
        path.parent.mkdir(parents=True, exist_ok=True)
        with replace_file(path, path.with_suffix(".tmp")) as part, part.open("wb") as file:
            np.savez(file, **rows)  # type: ignore[arg-type]  # its stub takes no mapping of arrays
        return best, control

    def _inspect(self, run: Run, splits: Splits) -> None:
        """Write what is found of the weights beside their scores, of an arm that is reported."""
        trial, confirm = self._trial, self._context.spec.confirm
        may_be_picked = confirm is not None and confirm.pick == "simplest"
        is_reported = trial.role is not Role.REMOVAL or trial.baseline or may_be_picked
        if trial.redraws_test or not is_reported:
            return
        states = {BEST: run.best_state}
        if run.control is not None:
            states[CONTROL] = run.control.state
        found = {name: inspect_weights(run, splits, state) for name, state in states.items()}
        write_inspected(self._folder, self._trial.number, found)

    def _begin(self) -> Run:
        folds = None if self._trial.replicate else self._context.spec.search.folds
        run = self._open_training() if folds is None else FoldedRun(folds, self._open_training)
        state = self.process.broadcast(self._read_checkpoint())
        if state is not None:
            run.load_state_dict(state)
        self._results = run.train()
        return run

    def _open_training(self, fold: int | None = None) -> Run:
        """The training on the trial's division, or on one of its folds."""
        division = self._divide(fold)
        run = open_run(
            self._context.spec,
            self._trial.params,
            division.splits,
            baseline=self._trial.baseline,
            without=self._trial.without,
            seed=self._trial.seed,
            device=self._device,
            process=self.process,
            placed=division.placed,
        )
        self._is_own = isinstance(run, OwnRun)
        if isinstance(run, OwnRun):
            files = self._folder.files(self._trial.number)
            run.folder = files if fold is None else files / f"fold{fold + 1}"
        return run

    def _divide(self, fold: int | None = None) -> Division:
        """The trial's division of the samples on the device."""
        self._division = None  # that of its last fold
        self._division = self._divisions.get(self._trial, fold)
        return self._division

    def _read_checkpoint(self) -> dict[str, Any] | None:
        """Read the trial's checkpoint from an earlier session or process, if there is one."""
        if self.process.rank:
            return None
        self._checkpoint.begin(self._folder.checkpoint(self._trial.number))
        return self._checkpoint.read()

    def _save(self, state: Mapping[str, Any], path: Path) -> None:
        """Write weights atomically."""
        if self.process.rank:
            return
        save_tensors(state, path)


def _describe(error: Exception) -> str:
    """An error for people: a sentence of ours, or type, text and the line that raised it."""
    return str(error) if isinstance(error, TrainableError) else describe_error(error)
