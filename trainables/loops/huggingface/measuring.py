"""Measures samples by a Trainer's own evaluation: its loss, and its ``compute_metrics``."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from typing import Any

from trainables.data.batch import Batch
from trainables.errors import ContractError, blame
from trainables.loops.huggingface.samples import Form
from trainables.return_checks import describe_returned, read_number

_PADDING = -100
_PREFIX = "eval_"


class Measuring:
    """The evaluation of a Trainer as a measure of batches, for ``trial.evaluate``.

    ``find_model`` gives the network to measure. Losses are without label smoothing.
    ``higher_is_better`` names the metrics of which more is better.
    """

    def __init__(self, trainer: Any, find_model: Callable[[], Any]) -> None:
        self._trainer, self._find_model = trainer, find_model
        self._form = Form.of(trainer.model)
        self._names: tuple[str, ...] | None = None
        self._predicted: _Predicted | None = None
        self._values: Mapping[str, float] | None = None
        self.higher_is_better: set[str] = set()
        if trainer.args.greater_is_better and trainer.args.metric_for_best_model:
            best = trainer.args.metric_for_best_model
            self.higher_is_better.add(best.removeprefix(_PREFIX))

    def __call__(self, batch: Batch) -> Mapping[str, Any]:
        """The loss of a batch, and metrics that have taken it into account."""
        trainer, count = self._trainer, len(batch)
        inputs = self._form.join(batch.x, batch.y)
        only_loss = trainer.compute_metrics is None
        with _without_smoothing(trainer), blame("trainable", f"{type(trainer).__name__}"):
            loss, logits, labels = trainer.prediction_step(self._find_model(), inputs, only_loss)
        if loss is None:
            names = ", ".join(trainer.label_names) or "labels"
            raise ContractError(
                f"{type(trainer).__name__} computes no loss of a batch without {names}; the data "
                "need them for both sides of the gap",
                "trainable",
            )
        found = {"loss": (loss * count, count)}
        if only_loss:
            return found
        if trainer.preprocess_logits_for_metrics is not None:
            logits = trainer.preprocess_logits_for_metrics(logits, labels)
        if self._predicted is None:
            self._predicted = _Predicted()
        self._predicted.add(logits, labels)
        self._names = self._names or tuple(self._compute())
        return {**found, **{name: _Computed(self, name) for name in self._names}}

    def compute(self, name: str) -> float:
        """A metric of all batches.

        Raises:
            ContractError: ``compute_metrics`` gives it of some samples only.
        """
        self._values = self._values or self._compute()
        if name not in self._values:
            raise ContractError(f"compute_metrics gives {name!r} at times only", "trainable")
        return self._values[name]

    def reset(self) -> None:
        """Forget all batches."""
        self._predicted = self._values = None

    def _compute(self) -> Mapping[str, float]:
        assert self._predicted is not None
        with blame("trainable", "compute_metrics"):
            made = self._trainer.compute_metrics(self._predicted.join())
        if not isinstance(made, Mapping):
            raise ContractError(
                f"compute_metrics returned {describe_returned(made)}; expected: a dict of numbers",
                "trainable",
            )
        return {
            str(name).removeprefix(_PREFIX): read_number(value, f"compute_metrics' {name!r}")
            for name, value in made.items()
        }


@dataclass(frozen=True)
class _Computed:
    """One metric of all batches, as an object that collects them."""

    measuring: Measuring
    name: str

    def update(self, outputs: Any, targets: Any) -> None:
        """Do nothing: the batch was taken."""

    def compute(self) -> float:
        """The value of all batches."""
        return self.measuring.compute(self.name)

    def reset(self) -> None:
        """Forget all batches."""
        self.measuring.reset()


class _Predicted:
    """Predictions and labels of the batches so far, joined as a Trainer does."""

    def __init__(self) -> None:
        container: Any = import_module("transformers.trainer_pt_utils").EvalLoopContainer
        self._logits = container(padding_index=_PADDING)
        self._labels = container(padding_index=_PADDING)

    def add(self, logits: Any, labels: Any) -> None:
        """Add a batch's."""
        self._logits.add(logits)
        if labels is not None:
            self._labels.add(labels)

    def join(self) -> Any:
        """What ``compute_metrics`` takes."""
        package: Any = import_module("transformers.trainer_pt_utils")
        logits, labels = (package.nested_numpify(c.tensors) for c in (self._logits, self._labels))
        made: Any = import_module("transformers").EvalPrediction
        return made(predictions=logits, label_ids=labels)


@contextmanager
def _without_smoothing(trainer: Any) -> Iterator[None]:
    """Leave out label smoothing, which is regularisation."""
    smoother, trainer.label_smoother = trainer.label_smoother, None
    try:
        yield
    finally:
        trainer.label_smoother = smoother
