"""One process's part in the trials of a slot, an epoch at a time. Imports no Ray."""

from __future__ import annotations

import gc
import sys
import traceback
from bdb import BdbQuit
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from service.base.files import replace_file
from service.spec.model import SweepSpec
from service.study.messages import Answer, Assignment, EpochReport, TrialFailure
from service.sweep.home import SweepFolder
from trainables.build import build_run
from trainables.data.samples import Placed, place
from trainables.data.splits import Splits
from trainables.devices import get_device_name, limit_memory
from trainables.distributed.process import Process
from trainables.loop import EpochResult, TrainingRun, train


@dataclass(frozen=True)
class TrialContext:
    """What every trial of a sweep shares.

    ``import_paths`` lead to the user's own modules.
    """

    spec: SweepSpec
    splits: Splits
    folder: Path
    import_paths: tuple[str, ...]


class Worker:
    """Trains the trials it is given; a failing trial is a value, not an exception.

    A process whose trial raised is as good as new for the next one, and starting another costs
    seconds; only a CUDA context that an error has poisoned must go with its process. The data are
    put on the device once, for all trials. Of a group, the first alone reads and writes files.
    """

    def __init__(self, context: TrialContext) -> None:
        resources = context.spec.resources
        self._context, self._device = context, resources.device
        self._folder = SweepFolder(context.folder)
        sys.path[:0] = [p for p in context.import_paths if p not in sys.path]
        torch.set_num_threads(max(1, int(resources.worker_cpus)))
        if 0 < resources.worker_gpus < 1:
            limit_memory(resources.worker_gpus)
        self.process = Process()
        self._placed: Placed | None = None
        self._run: TrainingRun | None = None

    def take(self, assignment: Assignment) -> None:
        """Forget the last trial, its memory too, and be ready for the next."""
        self._forget()
        self._trial, self._recorded = assignment, assignment.recorded

    def close(self) -> None:
        """Let go of the trial and of the data on the device."""
        self._placed = None
        self._forget()

    def advance(self) -> Answer:
        """Train one epoch and return its result; after a resumption, the last one's again.

        Raises:
            torch.AcceleratorError: the device cannot be used any more; nor can this process.
            BdbQuit: a person has quit a debugger inside of the trial.
        """
        try:
            return self._advance()
        except BdbQuit:  # a person has left the debugger: no trial's failure
            raise
        except (torch.OutOfMemoryError, MemoryError) as error:
            return self._fail(f"out of memory: {error}")
        except torch.AcceleratorError as error:
            if "out of memory" not in str(error):
                raise
            return self._fail(str(error))
        except Exception as error:
            return self._fail(_describe(error))

    def _fail(self, reason: str) -> TrialFailure:
        """The trial's end; what it held of the device is its neighbours' from here on."""
        failure = TrialFailure(reason=reason, ran_on=self._describe_device())
        self._forget()
        return failure

    def _forget(self) -> None:
        self._run = None
        self._results: Iterator[EpochResult] = iter(())
        if self._device == "cuda":
            gc.collect()
            torch.cuda.empty_cache()

    def _describe_device(self) -> dict[str, str]:
        """The device, and the precision where the training got so far as to have one."""
        precision = {} if self._run is None else {"precision": self._run.training.precision}
        return {"device": get_device_name(self._device), **precision}

    def _advance(self) -> EpochReport:
        run = self._run = self._run or self._begin()
        result = run.last_result
        if result is None or (result.epoch <= self._recorded and not result.done):
            result = next(self._results)
            self._save(run.state_dict(), self._folder.checkpoint(self._trial.number))
        self._recorded = result.epoch
        if result.done:
            self._save(run.best_state, self._folder.best_weights(self._trial.number))
        return EpochReport(
            epoch=result.epoch,
            metrics=dict(result.metrics),
            best=run.best_metrics() if result.done else None,
            ran_on=self._describe_device(),
        )

    def _begin(self) -> TrainingRun:
        spec = self._context.spec
        self._placed = self._placed or place(self._context.splits, self._device)
        run = build_run(
            spec,
            self._trial.params,
            self._context.splits,
            baseline=self._trial.baseline,
            seed=self._trial.seed,
            device=self._device,
            process=self.process,
            placed=self._placed,
        )
        state = self.process.broadcast(self._read_checkpoint())
        if state is not None:
            run.load_state_dict(state)
        self._results = train(run)
        return run

    def _read_checkpoint(self) -> dict[str, Any] | None:
        """What a session or a process before this one left of the trial, if it left anything."""
        checkpoint = self._folder.checkpoint(self._trial.number)
        if self.process.rank or not checkpoint.exists():
            return None
        state: dict[str, Any] = torch.load(checkpoint, weights_only=True, map_location="cpu")
        return state if "regularisers" in state else None  # of an older gapsweep: start over

    def _save(self, state: Mapping[str, Any], path: Path) -> None:
        """Write a checkpoint whole or not at all."""
        if self.process.rank:
            return
        path.parent.mkdir(parents=True, exist_ok=True)
        with replace_file(path, path.with_suffix(".tmp")) as temporary:
            torch.save(state, temporary)


def _describe(error: Exception) -> str:
    """The error's own words and where in the user's code it was raised."""
    frames = traceback.extract_tb(error.__traceback__)
    where = f" ({frames[-1].filename}:{frames[-1].lineno})" if frames else ""
    return f"{type(error).__name__}: {error}{where}"
