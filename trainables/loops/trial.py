"""The object that a user's training loop gets: ``def train(trial): …``."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from trainables.config.training import Training
from trainables.data.batch import Batch
from trainables.loops.params import Params
from trainables.loops.regularised import Regularised
from trainables.loops.trial_data import TrialData

if TYPE_CHECKING:
    from trainables.loops.own import OwnRun

Measure = Callable[[Batch], Mapping[str, Any]]
"""A function of a batch that returns ``loss`` and metrics, as ``Trainable.evaluate`` does."""


class Trial:
    """One trial of a sweep, in the hands of a training loop of the user's.

    The loop yields, or passes to :meth:`report`, the metrics of each epoch. It runs with the random
    generators of torch, numpy and Python seeded by the trial's seed.

    Attributes:
        params: what the space varies, by name.
        seed: the trial's seed; a replicate has another one.
        device: ``cpu`` or ``cuda``, where to train.
        epoch: epochs that are done: 0, or as many as before an interruption after :meth:`restore`.
        max_epochs: the number of epochs after which the trial ends in any case.
        training: the options of ``training`` in the spec, with the trial's parameters.
        is_baseline: whether this trial must not regularise.
    """

    def __init__(self, run: OwnRun, params: Params, *, seed: int, device: str) -> None:
        self._run = run
        self.params, self.seed, self.device = params, seed, device

    @property
    def training(self) -> Training:
        """The options of ``training``, with the trial's parameters (``lr``, ``batch_size`` …)."""
        return self._run.read_training()

    @property
    def max_epochs(self) -> int:
        """The number of epochs after which the trial ends in any case."""
        return self._run.training.max_epochs

    @property
    def epoch(self) -> int:
        """How many epochs are done, those before an interruption too if they were restored."""
        return self._run.epochs_done

    @property
    def is_baseline(self) -> bool:
        """Whether the trial is one without any regularisation."""
        return self._run.is_baseline

    @property
    def is_rehearsal(self) -> bool:
        """Whether nothing is learned, so that an epoch of your own samples may be one batch."""
        return self._run.is_short

    @property
    def data(self) -> TrialData:
        """The replicate's division of the spec's data, without its test samples."""
        return self._run.read_data()

    @property
    def folder(self) -> Path:
        """A folder for files of this trial, kept until no answer needs them."""
        return self._run.find_folder()

    def report(self, metrics: Mapping[str, Any] | None = None, **named: Any) -> None:
        """End an epoch with its metrics, those of :meth:`evaluate` in this epoch among them.

        Metrics are numbers by names such as ``val/loss``. ``train/*`` that were not measured by
        :meth:`evaluate` are logged as ``train_reported/*``; ``gap/*`` come from there only.

        Raises:
            TrialEnd: the trial ends here: it was stopped early, pruned, or has had all its epochs.
            ContractError: a metric is no number, or one that the spec names is missing.
        """
        self._run.report(metrics, named)

    def checkpoint(self, **entries: Any) -> None:
        """Say what a resumed trial needs: objects with ``state_dict``, or plain values.

        They are saved at each following report, objects in the state that they then have.
        """
        self._run.checkpoint(entries)

    def restore(self, **objects: Any) -> Mapping[str, Any]:
        """Continue an interrupted trial: load its checkpoint into objects, by name.

        Returns all entries of the checkpoint, empty for a trial that begins. A loop that never
        calls it begins anew after an interruption. The random generators continue, too.

        Raises:
            ContractError: the checkpoint has no such entry, or the object does not accept it.
        """
        return self._run.restore(objects)

    def regularise(self, model: nn.Module, optimizer: torch.optim.Optimizer) -> Regularised:
        """Apply the trial's penalties, dropout and other regularisers to a network in training.

        Penalties act whenever ``optimizer.step`` is called; batches are augmented and mixed by the
        result's ``batch(x, y)``.

        Raises:
            ContractError: a regulariser does not fit the network, its optimiser or the data.
        """
        return self._run.regularise(model, optimizer)

    def evaluate(
        self,
        model: nn.Module,
        measure: Measure | None = None,
        *,
        train: Iterable[Any] | None = None,
        val: Iterable[Any] | None = None,
    ) -> dict[str, float]:
        """Measure ``train/*``, ``val/*`` and ``gap/*`` in eval mode, without any regularisation.

        The samples are those of the data, or batches ``(x, y)`` of your own as ``train`` and
        ``val``. ``measure`` is called with a :class:`Batch` where the network is not called with
        its ``x``, or its loss is not that of the spec. The weights of ``model`` are kept.

        Raises:
            ContractError: the network, a loss or a metric fails.
        """
        return self._run.evaluate(model, measure, train, val)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("suggest"):
            raise AttributeError(
                f"trial.{name} does not exist: parameters are declared under `space` in the spec, "
                "for example `lr: {float: [1.0e-5, 1.0e-1], log: true}`, and read as "
                'trial.params["lr"]'
            )
        if name == "should_prune":
            raise AttributeError(
                "trial.should_prune does not exist: trial.report ends a trial that is pruned"
            )
        raise AttributeError(f"a trial has no attribute {name!r}")
