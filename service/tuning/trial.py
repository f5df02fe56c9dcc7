"""One trial in a worker process: a reused Tune actor that drives one training at a time."""

from __future__ import annotations

import sys
import traceback
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from ray.tune import Trainable as TuneTrainable

from service.home import SweepFolder
from service.records import Params
from service.spec import SweepSpec
from trainables.data import Splits
from trainables.loop import EpochResult, TrainingRun, train


@dataclass(frozen=True)
class TrialContext:
    """What every trial of a sweep shares. It reaches a worker once, through the object store.

    ``import_paths`` lead to the user's own modules.
    """

    spec: SweepSpec
    splits: Splits
    folder: Path
    import_paths: tuple[str, ...]


class TrialActor(TuneTrainable):
    """Trains what its config says, an epoch a step; a failing trial is a value, not an exception.

    An actor whose trial raised is as good as new for the next one, and starting another costs
    seconds; only a CUDA context that an error has poisoned must go with its process.
    """

    def setup(self, config: dict[str, Any], context: TrialContext) -> None:  # type: ignore[override]  # tune.with_parameters hands it over
        """Prepare the process once; trials come through :meth:`reset_config`."""
        self._context = context
        self._folder = SweepFolder(context.folder)
        sys.path[:0] = [p for p in context.import_paths if p not in sys.path]
        torch.set_num_threads(max(1, int(context.spec.resources.cpus)))
        self.reset_config(config)

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """Take the next trial; True, or Tune would start a new process for it."""
        self._number = int(new_config["number"])
        self._params: Params = new_config["params"]
        self._recorded = int(new_config["recorded"])
        self._seed: int | None = new_config["seed"]
        self._baseline = bool(new_config["unregularised"])
        self._run: TrainingRun | None = None
        self._results: Iterator[EpochResult] | None = None
        return True

    def step(self) -> dict[str, Any]:
        """Train one epoch and say how it went."""
        try:
            return self._advance()
        except (torch.OutOfMemoryError, MemoryError) as error:
            return {"done": True, "failure": f"out of memory: {error}"}
        except torch.AcceleratorError:
            raise
        except Exception as error:
            return {"done": True, "failure": _describe(error)}

    def cleanup(self) -> None:
        """Nothing outlives the process."""

    def _advance(self) -> dict[str, Any]:
        if self._run is None or self._results is None:
            self._run = self._begin()
            self._results = train(self._run)
        run, checkpoint = self._run, self._folder.checkpoint(self._number)
        result = run.last_result
        if result is None or (result.epoch <= self._recorded and not result.done):
            result = next(self._results)
            _save(run.state_dict(), checkpoint)
        self._recorded = result.epoch
        answer: dict[str, Any] = {"epoch": result.epoch, "metrics": dict(result.metrics)}
        if result.done:
            _save(run.best_state, self._folder.best_weights(self._number))
            answer |= {"done": True, "outcome": dict(run.outcome())}
        return answer

    def _begin(self) -> TrainingRun:
        spec, checkpoint = self._context.spec, self._folder.checkpoint(self._number)
        run = spec.training_run(
            self._params,
            self._context.splits,
            baseline=self._baseline,
            seed=self._seed,
            device="cuda" if spec.resources.gpus else "cpu",
        )
        if self._recorded and checkpoint.exists():
            run.load_state_dict(torch.load(checkpoint, weights_only=True))
        return run


def _save(state: Any, path: Path) -> None:
    """Write a checkpoint whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_suffix(".tmp")
    torch.save(state, temporary)
    temporary.replace(path)


def _describe(error: Exception) -> str:
    """The error's own words and where in the user's code it was raised."""
    frames = traceback.extract_tb(error.__traceback__)
    where = f" ({frames[-1].filename}:{frames[-1].lineno})" if frames else ""
    return f"{type(error).__name__}: {error}{where}"
