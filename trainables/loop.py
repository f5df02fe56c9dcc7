"""One training as a generator of epochs: whoever drives it may stop it, or go on later.

Every epoch seeds torch anew from the training's seed and the epoch's number, so that a training
resumed after any epoch goes on bit for bit as if it had not been interrupted.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from trainables import penalties
from trainables.augmentation import augmentation
from trainables.base import Trainable
from trainables.data import Split, Splits
from trainables.dropout import adopt, set_rate
from trainables.early_stopping import EarlyStopping, Verdict
from trainables.errors import ContractError, DivergedError
from trainables.gap import gaps, measure, train_subset
from trainables.hyper import EarlyStoppingSpec, Regularisation, Training
from trainables.info import Task


@dataclass(frozen=True)
class EpochResult:
    """``epoch`` counts from 1; ``done`` marks the last one."""

    epoch: int
    metrics: Mapping[str, float]
    done: bool


EPOCH_METRICS = ("train_running/loss", "sparsity", "weight_norm", "lr")
_LOSSES = {Task.CLASSIFICATION: "cross_entropy", Task.REGRESSION: "mse"}


class TrainingRun:
    """Everything one training holds between epochs.

    Raises:
        ContractError: the loss does not fit the task, there is no such augmentation for the
            inputs, or the network does not take a batch.
    """

    def __init__(
        self,
        trainable: Trainable,
        splits: Splits,
        training: Training,
        regularisation: Regularisation,
        early_stopping: EarlyStoppingSpec | None,
        *,
        device: str = "cpu",
    ) -> None:
        if training.loss not in (None, _LOSSES[splits.info.task]):
            raise ContractError(
                f"training.loss {training.loss!r} is not for {splits.info.task}; "
                f"{_LOSSES[splits.info.task]!r} is"
            )
        self.trainable, self.training, self.regularisation = trainable, training, regularisation
        self.train_x, self.train_y = _tensors(splits.train, device)
        self.val_x, self.val_y = _tensors(splits.val, device)
        self.subset = train_subset(len(splits.train), len(splits.val), training.seed).to(device)
        seed = training.seed if training.weight_init_seed is None else training.weight_init_seed
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            self.model = adopt(trainable.build(splits.info)).to(device)
            _materialise(self.model, self.train_x[:2])
        if regularisation.dropout is not None:
            set_rate(self.model, regularisation.dropout)
        self.augment = augmentation(
            regularisation.augmentation, regularisation.augmentation_strength, splits.info
        )
        self.penalised = penalties.penalised_parameters(self.model)
        self.optimizer = trainable.optimizer(self.model.parameters(), training)
        l1, l2 = penalties.strengths(
            regularisation.penalty, regularisation.lam, regularisation.l1_ratio
        )
        self.l1, self.l2 = torch.tensor(l1, device=device), torch.tensor(l2, device=device)
        self.watch = EarlyStopping(early_stopping) if early_stopping else None
        self.watched = early_stopping.metric if early_stopping else ""
        self.last_result: EpochResult | None = None
        self.best_state: dict[str, Tensor] = {}
        self._best: EpochResult | None = None

    @property
    def epoch(self) -> int:
        """Epochs trained so far."""
        return self.last_result.epoch if self.last_result else 0

    @property
    def lr(self) -> float:
        """The coming epoch's learning rate; cosine anneals to 0 over ``max_epochs``."""
        if self.training.schedule == "constant":
            return self.training.lr
        return (
            self.training.lr * 0.5 * (1 + math.cos(math.pi * self.epoch / self.training.max_epochs))
        )

    def keep(self, result: EpochResult) -> None:
        """Hold on to this epoch's weights as the best ones."""
        self._best = result
        self.best_state = {k: v.cpu().clone() for k, v in self.model.state_dict().items()}

    def outcome(self) -> dict[str, float]:
        """``best/*`` at the kept weights, and ``stopped_epoch``; after the last epoch."""
        if self._best is None:
            raise RuntimeError("the training has not finished an epoch")
        kept = {
            f"best/{name}": value
            for name, value in self._best.metrics.items()
            if name.partition("/")[0] in ("train", "val", "gap")
        }
        extra = {"best/sparsity": self._best.metrics["sparsity"]}
        return {
            "best/epoch": float(self._best.epoch),
            **kept,
            **extra,
            "stopped_epoch": float(self.epoch),
        }

    def state_dict(self) -> dict[str, Any]:
        """Enough to go on after the epoch just trained, in types ``weights_only`` reads."""
        return {
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "watch": self.watch.state_dict() if self.watch else None,
            "last": _plain(self.last_result),
            "best": _plain(self._best),
            "best_state": self.best_state,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from a state of the same training."""
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(copy.deepcopy(state["optimizer"]))
        if self.watch:
            self.watch.load_state_dict(state["watch"])
        self.last_result = EpochResult(**state["last"]) if state["last"] else None
        self._best = EpochResult(**state["best"]) if state["best"] else None
        self.best_state = dict(state["best_state"])


def train(run: TrainingRun) -> Iterator[EpochResult]:
    """Train from where the run stands; the last result is ``done``, its best weights restored.

    Raises:
        DivergedError: a training or validation loss is not finite.
    """
    while not (run.last_result and run.last_result.done):
        yield _epoch(run)


def _epoch(run: TrainingRun) -> EpochResult:
    epoch, lr = run.epoch + 1, run.lr
    with torch.random.fork_rng():
        sequence = np.random.SeedSequence([run.training.seed, epoch])
        torch.manual_seed(int(sequence.generate_state(1)[0]))
        running = _steps(run, lr)
    train = measure(run.model, run.trainable, run.train_x[run.subset], run.train_y[run.subset])
    val = measure(run.model, run.trainable, run.val_x, run.val_y)
    metrics = {
        **{f"train/{k}": v for k, v in train.items()},
        **{f"val/{k}": v for k, v in val.items()},
        **{f"gap/{k}": v for k, v in gaps(train, val, run.trainable.higher_is_better).items()},
        "train_running/loss": running,
        "sparsity": penalties.sparsity(run.penalised),
        "weight_norm": penalties.weight_norm(run.penalised),
        "lr": lr,
    }
    for name in ("train_running/loss", "val/loss"):
        if not math.isfinite(metrics[name]):
            raise DivergedError(f"{name} is {metrics[name]} in epoch {epoch}")
    return _conclude(run, epoch, metrics)


def _conclude(run: TrainingRun, epoch: int, metrics: Mapping[str, float]) -> EpochResult:
    if run.watch and run.watched not in metrics:
        raise ContractError(f"early stopping watches {run.watched!r}; logged: {', '.join(metrics)}")
    verdict = run.watch.update(epoch, metrics[run.watched]) if run.watch else Verdict.IMPROVED
    done = verdict is Verdict.STOP or epoch >= run.training.max_epochs
    result = EpochResult(epoch, metrics, done)
    run.last_result = result
    if verdict is Verdict.IMPROVED or not run.best_state:
        run.keep(result)
    if done:
        run.model.load_state_dict(run.best_state)
    return result


def _steps(run: TrainingRun, lr: float) -> float:
    """Train one epoch; the mean of its batches' losses, without penalty."""
    run.model.train()
    for group in run.optimizer.param_groups:
        group["lr"] = lr
    step = torch.tensor(lr, device=run.train_x.device)
    order = torch.randperm(len(run.train_x)).to(run.train_x.device)
    total = torch.zeros((), device=run.train_x.device)
    for batch in torch.split(order, run.training.batch_size):
        total += _step(run, run.train_x[batch], run.train_y[batch], step) * len(batch)
    return float(total) / len(order)


def _step(run: TrainingRun, x: Tensor, y: Tensor, step: Tensor) -> Tensor:
    run.optimizer.zero_grad()
    if run.augment is not None:
        x = run.augment(x)
    loss = run.trainable.losses(run.model(x), y).mean()
    loss.backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
    if run.training.l1_update == "subgradient":
        penalties.add_subgradient(run.penalised, run.l1)
    if run.training.l2_update == "coupled":
        penalties.add_coupled_gradient(run.penalised, run.l2)
    run.optimizer.step()
    if run.training.l2_update == "decoupled":
        penalties.decoupled_step(run.penalised, step, run.l2)
    if run.training.l1_update == "proximal":
        penalties.proximal_step(run.penalised, step, run.l1)
    return loss.detach()


@torch.no_grad()
def _materialise(model: nn.Module, x: Tensor) -> None:
    """Lazy layers take their shape from a batch; in eval mode, which changes no statistics."""
    try:
        model.eval()(x)
    except Exception as error:
        raise ContractError(
            f"the network's forward fails on a batch of shape {tuple(x.shape)}: "
            f"{type(error).__name__}: {error}"
        ) from error


def _tensors(split: Split, device: str) -> tuple[Tensor, Tensor]:
    return torch.tensor(split.x, device=device), torch.tensor(split.y, device=device)


def _plain(result: EpochResult | None) -> dict[str, Any] | None:
    if result is None:
        return None
    return {"epoch": result.epoch, "metrics": dict(result.metrics), "done": result.done}
