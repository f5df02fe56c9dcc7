"""A training whose loop is a user's own function, see :class:`trainables.loops.trial.Trial`."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from torch import Tensor, nn

from search_spaces.values import freeze
from trainables.best_epoch import Keeping
from trainables.build import name_key, name_part
from trainables.config.training import Training
from trainables.config.trial_parameters import EARLY_STOPPING, MODEL_PREFIX
from trainables.devices import autocast
from trainables.distributed.process import derive_seed
from trainables.errors import ContractError, TrainableError, blame, describe_error
from trainables.loops.checkpoints import load_state, take_state
from trainables.loops.evaluation import NO_DATA, LoopEvaluation
from trainables.loops.loop_parts import LoopParts
from trainables.loops.params import Params
from trainables.loops.regularised import Regularised
from trainables.loops.reported_metrics import read_metrics
from trainables.loops.settings import plain_mode, set_generators, take_generators
from trainables.loops.signature import explain_going_on
from trainables.loops.suspended_loop import Handover, LoopControl, TrialEnd
from trainables.loops.trial import Measure, Trial
from trainables.loops.trial_data import TrialData
from trainables.regularisers.weights import Penalised, select_penalised
from trainables.run import EpochResult, Kept

_FEW = 256
"""Samples of a Dataset in a rehearsal, at most."""
_START = 2**23  # no epoch of ours has this number


class OwnRun:
    """The state of a training between the reports of a user's loop."""

    def __init__(self, parts: LoopParts) -> None:
        self.parts, self.training = parts, parts.training
        self._evaluation = found = LoopEvaluation(parts)
        self.trainable, self.subset = found.trainable, found.subset
        self.splits, self.data, self._has_data = found.splits, found.data, found.has_data
        self.keeping = Keeping(parts.stopping, parts.training.max_epochs, parts.runs_to_end)
        self.uses_data = False
        self.evaluates = False
        self.measured = False
        fixed = {f"{MODEL_PREFIX}{name}": freeze(v) for name, v in parts.fixed.items()}
        self.params = Params({**fixed, **parts.params}, varied=parts.params)
        self.folder: Path | None = None
        self._handover: LoopControl | None = None
        self._model: nn.Module | None = None
        self._revealing = False
        self._regularised: list[Regularised] = []
        self._measured: dict[str, float] = {}
        self._entries: dict[str, Any] = {}
        self._samples: TrialData | None = None
        self._offered: Mapping[str, Any] = {}
        self._saved: dict[str, Any] = {}
        self._restored = False
        self._first = True

    @property
    def last_result(self) -> EpochResult | None:
        """The result of the last epoch."""
        return self.keeping.last

    @property
    def control(self) -> Kept | None:
        """What early stopping would have kept."""
        return self.keeping.control

    @property
    def best_state(self) -> dict[str, Tensor]:
        """The weights that are kept; empty if the loop shows no network."""
        return self.keeping.best.state if self.keeping.best else {}

    @property
    def is_baseline(self) -> bool:
        """Whether nothing may regularise."""
        return self.parts.runs_to_end

    def find_folder(self) -> Path:
        """The folder for files of the loop; a temporary one where nothing is kept."""
        if self.folder is None:
            self._temporary = TemporaryDirectory(prefix="gapsweep-")
            self.folder = Path(self._temporary.name)
        self.folder.mkdir(parents=True, exist_ok=True)
        return self.folder

    @property
    def start_seed(self) -> int:
        """The seed of all generators where the loop begins."""
        return derive_seed(self.training.seed, _START)

    @property
    def epochs_done(self) -> int:
        """Epochs that the loop has reported, those before an interruption if it was restored."""
        last = self.keeping.last
        return last.epoch if last and (self._restored or not self._first) else 0

    @property
    def model(self) -> nn.Module:
        """The network that the loop evaluates; the loop is run until it shows it, if need be.

        Raises:
            ContractError: it shows none.
        """
        if self._model is None:
            self._reveal()
        if self._model is None:
            raise ContractError(
                f"{self.parts.loop.path} shows no network; call trial.evaluate(model)", "trainable"
            )
        return self._model

    @property
    def penalised(self) -> list[Penalised]:
        """The weights that penalties act on."""
        if self._regularised:
            return list(self._regularised[0].weights)
        return select_penalised(self.model, self.training.penalised, None)

    @property
    def regularises(self) -> bool:
        """Whether the loop has called ``trial.regularise``."""
        return bool(self._regularised)

    @property
    def untrained(self) -> str | None:
        """Why no penalty can act through an optimiser of the loop; None if all can."""
        texts = (one.untrained for one in self._regularised)
        return next((text for text in texts if text), None)

    @property
    def decays(self) -> list[str]:
        """The weight decay that the loop's optimisers have by themselves, in words."""
        return [decay for one in self._regularised for decay in one.decays]

    @property
    def saves(self) -> bool:
        """Whether the loop has called ``trial.checkpoint``."""
        return bool(self._entries)

    @property
    def shows_network(self) -> bool:
        """Whether the loop has shown its network."""
        return self._model is not None

    def autocast(self) -> AbstractContextManager[object]:
        """That of ``training.precision``."""
        return autocast(self.training.precision, self.parts.device)

    def train(self) -> Iterator[EpochResult]:
        """The remaining epochs; the loop begins with the first one."""
        while not (self.last_result and self.last_result.done):
            yield self._advance()

    def end_after(self, epochs: int) -> None:
        """End the loop at its report of this epoch; ``trial.max_epochs`` stays."""
        self.keeping.end_after(epochs)

    def close(self) -> None:
        """End the loop, so that its ``finally`` blocks run; what they raise is only printed."""
        try:
            self._end()
        except Exception as error:  # of the user's code, at the end of a trial that has ended
            text = str(error) if isinstance(error, TrainableError) else describe_error(error)
            print(f"after the end of a trial: {text}", file=sys.stderr)

    def best_metrics(self) -> dict[str, float]:
        """The metrics at the kept weights, and their ``epoch``."""
        if self.keeping.best is None:
            raise RuntimeError("the training has not finished an epoch")
        return _select(self.keeping.best)

    def control_metrics(self) -> dict[str, float] | None:
        """The metrics at the control's weights."""
        return None if self.control is None else _select(self.control)

    def list_idle(self) -> tuple[str, ...]:
        """The parts that the loop never applied, neither by regularise nor by its own code."""
        kept = self.keeping.best.result.epoch if self.keeping.best else 0
        idle = [name_part(config) for config in self.parts.regularisers]
        for one in self._regularised:
            idle_there = one.hooks.list_idle(kept)
            idle = [part for part in idle if part in idle_there]
        read = {name_part(c) for c in self.parts.regularisers if self._reads(name_key(c), c)}
        stops = self.parts.stopping is not None and not self.parts.runs_to_end
        if stops and kept >= self.training.max_epochs:
            idle.append(EARLY_STOPPING)
        unread = [name for name in self.params if "." in name and name not in self.params.read]
        return (*(part for part in idle if part not in read), *unread)

    def _reads(self, key: str, config: Any) -> bool:
        names = config.names() if hasattr(config, "names") else ()
        return any(name in self.params.read for name in (key, *names))

    def state_dict(self) -> dict[str, Any]:
        """What the worker saves after an epoch."""
        return {
            "regularisers": [one.state_dict() for one in self._regularised],
            "keeping": self.keeping.state_dict(),
            "loop": self._saved,
            "measured": self.measured,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Offer the state to the loop, which continues from it by ``trial.restore``."""
        self.keeping.load_state_dict(state["keeping"])
        self.measured = bool(state["measured"])
        self._offered = state

    def read_training(self) -> Training:
        """The training's options for the loop."""
        self.params.read.update(n for n in self.params if n in Training.model_fields)
        return self.training

    def read_data(self) -> TrialData:
        """The samples for the loop."""
        if not self._has_data:
            raise ContractError(f"trial.data: {NO_DATA}, or load samples in the loop", "data")
        self.uses_data = True
        if self._samples is None:
            few = _FEW if self.parts.few else None
            note, short = self.params.read.add, self.is_short
            self._samples = TrialData(
                self.splits, self.data, self.training, note, few=short, most=few
            )
        return self._samples

    @property
    def is_short(self) -> bool:
        """Whether an epoch may be one batch: nothing is learned."""
        return self.parts.few or self._revealing

    def report(self, metrics: object, named: Mapping[str, Any]) -> None:
        """Hand an epoch's metrics to whoever iterates."""
        assert self._handover is not None
        if named and (metrics is None or isinstance(metrics, Mapping)):
            metrics = {**(metrics or {}), **named}
        self._handover.suspend((metrics,))

    def checkpoint(self, entries: Mapping[str, Any]) -> None:
        """Remember what to save at the next reports."""
        take_state(entries)  # so that an error names the line of the loop
        self._entries.update(entries)

    def restore(self, objects: Mapping[str, Any]) -> Mapping[str, Any]:
        """Load the offered checkpoint, if there is one."""
        saved = self._offered.get("loop") or {}
        if not saved or self._revealing:
            return {}
        load_state(saved["entries"], objects)
        self._restored = True
        self._continue_regularised()
        set_generators(saved["generators"])
        return dict(saved["entries"])

    def _continue_regularised(self) -> None:
        """Give regularisers their states, if the loop continues; it may attach them before."""
        saved = self._offered.get("regularisers") or []
        if self._restored and self._first:
            for one, state in zip(self._regularised, saved, strict=False):
                one.load_state_dict(state)
                one.epoch = self.epochs_done + 1

    def regularise(self, model: nn.Module, optimizer: torch.optim.Optimizer) -> Regularised:
        """Attach the trial's regularisers to a network and its optimiser."""
        made = Regularised(
            model,
            optimizer,
            self.parts.regularisers,
            self.training,
            self.trainable,
            self.splits,
            self.data,
            baseline=self.parts.runs_to_end,
        )
        self._regularised.append(made)
        self._model = self._model or model
        self._continue_regularised()
        return made

    def evaluate(
        self,
        model: nn.Module,
        function: Measure | None,
        train: Iterable[Any] | None,
        val: Iterable[Any] | None,
    ) -> dict[str, float]:
        """Both sides of the gap at the weights of now; the loop's generators stay as they are."""
        if not isinstance(model, nn.Module):
            raise ContractError(
                f"trial.evaluate takes an nn.Module, got {type(model).__name__}", "trainable"
            )
        for one in self._regularised:
            one.end_epoch()
            model = one.evaluated if one.model is model else model
        self._evaluation.require_batches(train, val)
        self.trainable.function = function
        self._show(model)
        self.evaluates = True
        self.measured = train is None and val is None
        self.uses_data = self.uses_data or train is None or val is None
        generators = take_generators()
        try:
            with plain_mode():
                for one in self._regularised:
                    if one.evaluated is model:
                        one.refresh_norms()
                self._measured = self._evaluation.measure(model, train, val, short=self.is_short)
        finally:
            set_generators(generators)
        return dict(self._measured)

    def _show(self, model: nn.Module) -> None:
        """Remember the network that is evaluated."""
        self._model = model
        if self._revealing:
            raise TrialEnd

    def _begin(self) -> LoopControl:
        parts = self.parts
        taken = parts.loop.select_arguments(parts.arguments)
        self.params.read.update(f"{MODEL_PREFIX}{name}" for name in taken)
        trial = Trial(self, self.params, seed=self.training.seed, device=self.parts.device)
        self._regularised, self._entries, self._measured, self._samples = [], {}, {}, None
        self._first, self._restored = True, False

        def body() -> object:
            with blame("trainable", parts.loop.path):
                return parts.loop.call(trial, taken)

        return Handover(body, self.start_seed)

    def _advance(self) -> EpochResult:
        self._handover = self._handover or self._begin()
        found = self._handover.proceed()
        if found is None:
            return self._end_by_itself()
        if self._first and not self._restored:
            self.keeping.forget()  # a loop that begins anew
        epoch = self.epochs_done + 1
        self._first = False
        metrics = read_metrics(
            found[0],
            self._measured,
            self.parts.required,
            epoch,
            tests=not self._has_data or not self.measured,
        )
        self._measured = {}
        for one in self._regularised:
            one.end_epoch()
            one.epoch = epoch + 1
        hooks = [one.hooks for one in self._regularised]
        result = self.keeping.conclude(
            epoch,
            metrics,
            self._model,
            lambda: max((each.count_more_epochs(epoch) for each in hooks), default=0),
        )
        self._save()
        if result.done:
            self._end()
        return result

    def _save(self) -> None:
        assert self._handover is not None
        entries = take_state(self._entries)
        generators = self._handover.generators
        self._saved = {"entries": entries, "generators": generators} if entries else {}

    def _end_by_itself(self) -> EpochResult:
        assert self._handover is not None
        if self._first and not self._restored:
            made = self._handover.returned
            raise ContractError(
                f"{self.parts.loop.path} ended without an epoch: yield its metrics, or call "
                f"trial.report({{…}}), once an epoch{_tell_returned(made)}"
                f"{self._handover.refused}",
                "trainable",
            )
        return self.keeping.end()

    def _end(self) -> None:
        """End the loop where it is suspended, and restore the best weights.

        Raises:
            ContractError: it went on.
        """
        handover = self._handover
        if handover is None:
            return
        try:
            ended = handover.end()
        finally:
            self._handover = None
        if not ended:
            raise ContractError(explain_going_on(self.parts.loop.path), "trainable")
        if self._model is not None and self.best_state:
            self._model.load_state_dict(self.best_state)

    def _reveal(self) -> None:
        """Run the loop until it shows its network, on one batch for each epoch."""
        self._revealing = True
        handover = self._handover = self._begin()
        try:
            handover.proceed()  # to its first report, if it does not evaluate
        except TrialEnd:
            pass
        finally:
            self._end()
            self._revealing = False


def _tell_returned(made: object) -> str:
    return "" if made is None else f"; what it returned, {type(made).__name__}, is not read"


def _select(kept: Kept) -> dict[str, float]:
    metrics = kept.result.metrics
    return {"epoch": float(kept.result.epoch), **metrics}
