"""Both sides of the gap of a network that a user's own loop shows."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from itertools import chain, starmap
from typing import Any

import torch
from torch import nn

from trainables.build import choose_subset
from trainables.config.data_info import DataInfo
from trainables.config.training import is_high_by_name
from trainables.contract import Trainable
from trainables.data.batch import Batch
from trainables.data.nests import map_nest
from trainables.data.no_rows import NoSplits
from trainables.data.placing import place
from trainables.data.samples import Pair
from trainables.devices import autocast
from trainables.errors import ContractError, locate
from trainables.forward import read_outputs
from trainables.functions import find_device
from trainables.gap import compute_gaps
from trainables.loops.batches import guess_info, read_batches
from trainables.loops.loop_parts import LoopParts
from trainables.loops.trial import Measure
from trainables.measure import measure
from trainables.squashed import are_of_sigmoid, check_logits

_FEW = 2
NO_DATA = "the spec names no `data`; name it there"


class Measuring(Trainable):
    """How a user's own loop is evaluated: by the spec's loss and metrics, or a function of his."""

    function: Measure | None = None
    _looked = False

    @property
    def _own_names(self) -> frozenset[str]:
        """The metrics of the spec, which say themselves whether more is better."""
        return frozenset(metric.name for metric in self._metrics)

    def build(self, info: DataInfo) -> nn.Module:
        """Not for a loop, which builds its networks itself."""
        raise NotImplementedError

    def evaluate(self, model: nn.Module, batch: Batch) -> Mapping[str, Any]:
        """What the user's function returns for the batch, else as of any trainable.

        Raises:
            ContractError: the network ends in a softmax or sigmoid, and the loss is of logits.
        """
        if self.function is not None:
            return self.function(batch)
        if not self._looked:
            self._look(model, batch)
        return super().evaluate(model, batch)

    def _look(self, model: nn.Module, batch: Batch) -> None:
        """See whether outputs are probabilities, once: by torch's graph of two samples."""
        self._looked = True
        few = Batch(*(map_nest(lambda leaf: leaf[:_FEW], side) for side in (batch.x, batch.y)))
        if self._takes_loss_of(model, few):
            return
        with torch.enable_grad():
            outputs = read_outputs(self.forward(model, few))
        if not self.has_own_loss:
            check_logits(outputs, self.info.task)
        elif are_of_sigmoid(outputs):
            self.threshold = 0.5

    def is_better_high(self, metric: str) -> bool:
        """By the spec's metrics, or by ``higher_is_better`` of the user's function."""
        named = getattr(self.function, "higher_is_better", ())
        if metric in named or super().is_better_high(metric):
            return True
        return is_high_by_name(metric) and metric not in self._own_names


class LoopEvaluation:
    """Evaluates the networks of a loop on the rows of the sweep, or on batches of the loop."""

    def __init__(self, parts: LoopParts) -> None:
        self._parts, self._training = parts, parts.training
        self.trainable = Measuring()
        self.splits = parts.splits or NoSplits()
        self.data = parts.data or place(self.splits, parts.device)
        self.has_data = not isinstance(self.splits, NoSplits)
        if self.has_data:
            self.trainable.setup(self.splits.info, parts.training)
        self.subset = choose_subset(self.splits.train, self.splits.val, parts.training.seed)

    def require_batches(self, train: object, val: object) -> None:
        """Check that both sides have rows of the sweep or batches of the loop.

        Raises:
            ContractError: one has neither.
        """
        if not self.has_data and (train is None or val is None):
            raise ContractError(
                f"trial.evaluate: {NO_DATA}, or give batches as `train` and `val`", "data"
            )

    def measure(
        self,
        model: nn.Module,
        train: Iterable[Any] | None,
        val: Iterable[Any] | None,
        *,
        short: bool,
    ) -> dict[str, float]:
        """Loss and metrics of both sides, and their gaps; with ``short`` on one batch of each."""
        device = find_device(list(model.parameters()))
        sides: dict[str, Mapping[str, float]] = {}
        for side, given in (("val", val), ("train", train)):
            with locate(side), autocast(self._training.precision, self._parts.device):
                if given is not None:
                    batches = read_batches(given, device, few=short)
                    if not self.has_data and self.trainable.function is None:
                        batches = self._guess_task(model, batches)
                else:
                    batches = starmap(Batch, self._read(side, short))
                sides[side] = measure(model, self.trainable, batches)
        gap = compute_gaps(sides["train"], sides["val"], self.trainable.is_better_high)
        sides["gap"] = gap
        found = {s: sides[s] for s in ("train", "val", "gap")}
        return {f"{side}/{k}": v for side, values in found.items() for k, v in values.items()}

    def _read(self, side: str, short: bool) -> Iterator[Pair]:
        """The samples that are measured of one side; with ``short`` some from all over it."""
        size = self._training.eval_batch_size
        samples = self.data.measured if side == "train" else self.data.val
        if short:
            return iter([samples.spread(size)])
        return samples.read(size, subset=self.subset if side == "train" else None)

    def _guess_task(self, model: nn.Module, batches: Iterator[Batch]) -> Iterator[Batch]:
        """The same batches, after the task of the first one has chosen loss and metrics."""
        first = next(batches, None)
        if first is None:
            raise ContractError("there is no batch", "trainable")
        info = guess_info(model, first)
        self.trainable.setup(info, self._training)
        return chain([first], batches)
