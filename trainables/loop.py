"""One training as a generator of epochs: whoever drives it may stop it, or go on later.

Every epoch seeds torch anew from the training's seed and the epoch's number, so that a training
resumed after any epoch goes on bit for bit as if it had not been interrupted.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from trainables import penalties
from trainables.averaging import weight_average
from trainables.base import Trainable
from trainables.batches import Pipeline
from trainables.data import Split, Splits
from trainables.dropout import adopt, set_depth_rate, set_rate
from trainables.early_stopping import EarlyStopping, Verdict
from trainables.errors import ContractError, DivergedError
from trainables.gap import gaps, measure, train_subset
from trainables.hyper import EarlyStoppingSpec, Regularisation, Training
from trainables.penalties import Penalised
from trainables.selection import last_layer, penalised_weights
from trainables.suitability import misfits
from trainables.updates import Now, Updates, lambda_factor


@dataclass(frozen=True)
class EpochResult:
    """``epoch`` counts from 1; ``done`` marks the last one."""

    epoch: int
    metrics: Mapping[str, float]
    done: bool


EPOCH_METRICS = ("train_running/loss", "sparsity", "weight_norm", "lr")


class TrainingRun:
    """Everything one training holds between epochs.

    Raises:
        ContractError: the loss does not fit the task, a regulariser does not fit the network or
            its data, or the network does not take a batch or has nothing to train.
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
        self.trainable, self.training, self.regularisation = trainable, training, regularisation
        self.train_x, self.train_y = _tensors(splits.train, device)
        self.val_x, self.val_y = _tensors(splits.val, device)
        self.subset = train_subset(len(splits.train), len(splits.val), training.seed).to(device)
        self.model = _build(trainable, splits, training, device)
        outputs = _last_layer(self.model, self.train_x[:2])
        for name, text in misfits(regularisation, splits.info, self.model):
            raise ContractError(f"{name}: {text}")
        if regularisation.dropout is not None:
            set_rate(self.model, regularisation.dropout)
        if regularisation.stochastic_depth is not None:
            set_depth_rate(self.model, regularisation.stochastic_depth)
        self.pipeline = Pipeline(regularisation, splits.info)
        self.penalised = penalised_weights(self.model, training.penalised, outputs)
        self.optimizer = trainable.optimizer(self.model.parameters(), training)
        self.updates = Updates(self.penalised, self.optimizer, training, regularisation)
        self.average = weight_average(self.model, regularisation, training.max_epochs)
        self.strengths = penalties.strengths(
            regularisation.penalty, regularisation.lam, regularisation.l1_ratio
        )
        self.watch = EarlyStopping(early_stopping) if early_stopping else None
        self.watched = early_stopping.metric if early_stopping else ""
        self.last_result: EpochResult | None = None
        self.best_state: dict[str, Tensor] = {}
        self._best: EpochResult | None = None

    @property
    def evaluated(self) -> nn.Module:
        """The network whose metrics count: the average's as soon as there is one."""
        if self.average is not None and self.average.started:
            return self.average.model
        return self.model

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

    @property
    def evaluated_weights(self) -> list[Penalised]:
        """The penalised weights of :attr:`evaluated`."""
        if self.evaluated is self.model:
            return self.penalised
        averaged = dict(self.evaluated.named_parameters())
        return [replace(w, weight=averaged[w.name]) for w in self.penalised]

    def keep(self, result: EpochResult) -> None:
        """Hold on to this epoch's weights as the best ones."""
        self._best = result
        state = self.evaluated.state_dict()
        self.best_state = {k: v.cpu().clone() for k, v in state.items()}

    def outcome(self) -> dict[str, float]:
        """``best/*`` at the kept weights, and ``stopped_epoch``; after the last epoch."""
        if self._best is None:
            raise RuntimeError("the training has not finished an epoch")
        metrics = dict(self._best.metrics)
        if "train/loss" not in metrics:
            metrics |= _sides(self, self.model, train_side=True)
        kept = {
            f"best/{name}": value
            for name, value in metrics.items()
            if name.partition("/")[0] in ("train", "val", "gap", "sparsity")
        }
        return {
            "best/epoch": float(self._best.epoch),
            **kept,
            "stopped_epoch": float(self.epoch),
        }

    def state_dict(self) -> dict[str, Any]:
        """Enough to go on after the epoch just trained, in types ``weights_only`` reads."""
        return {
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "average": self.average.state_dict() if self.average else None,
            "watch": self.watch.state_dict() if self.watch else None,
            "last": _plain(self.last_result),
            "best": _plain(self._best),
            "best_state": self.best_state,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from a state of the same training."""
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(copy.deepcopy(state["optimizer"]))
        if self.average:
            self.average.load_state_dict(state["average"])
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
        running = _steps(run, epoch, lr)
    if run.average is not None:
        run.average.after_epoch(epoch)
    last = epoch >= run.training.max_epochs
    train_side = last or epoch % run.training.measure_every == 0
    metrics = {
        **_sides(run, run.evaluated, train_side=train_side),
        "train_running/loss": running,
        "sparsity": penalties.sparsity(run.evaluated_weights),
        "weight_norm": penalties.weight_norm(run.evaluated_weights),
        "lr": lr,
    }
    for name in ("train_running/loss", "val/loss"):
        if not math.isfinite(metrics[name]):
            raise DivergedError(f"{name} is {metrics[name]} in epoch {epoch}")
    return _conclude(run, epoch, metrics)


def _sides(run: TrainingRun, model: nn.Module, *, train_side: bool) -> dict[str, float]:
    """``val/*``, and with the train side ``train/*`` and ``gap/*``."""
    val = measure(model, run.trainable, run.val_x, run.val_y)
    metrics = {f"val/{k}": v for k, v in val.items()}
    if train_side:
        train = measure(model, run.trainable, run.train_x[run.subset], run.train_y[run.subset])
        gap = gaps(train, val, run.trainable.is_better_high)
        metrics |= {f"train/{k}": v for k, v in train.items()}
        metrics |= {f"gap/{k}": v for k, v in gap.items()}
    return metrics


def _conclude(run: TrainingRun, epoch: int, metrics: Mapping[str, float]) -> EpochResult:
    if run.watch and run.watched not in metrics:
        raise ContractError(f"early stopping watches {run.watched!r}; logged: {', '.join(metrics)}")
    verdict = Verdict.IMPROVED
    if run.watch:
        verdict = run.watch.update(epoch, metrics[run.watched], metrics.get("gap/loss"))
    done = verdict is Verdict.STOP or epoch >= run.training.max_epochs
    result = EpochResult(epoch, metrics, done)
    run.last_result = result
    if verdict is Verdict.IMPROVED or not run.best_state:
        run.keep(result)
    if done:
        run.model.load_state_dict(run.best_state)
    return result


def _steps(run: TrainingRun, epoch: int, lr: float) -> float:
    """Train one epoch; the mean of its batches' losses, without penalty."""
    run.model.train()
    for group in run.optimizer.param_groups:
        group["lr"] = lr
    device = run.train_x.device
    order = torch.randperm(len(run.train_x)).to(device)
    batches = torch.split(order, run.training.batch_size)
    factor = lambda_factor(run.training, epoch)
    s = run.strengths
    values = torch.tensor([lr, factor * s.l1, factor * s.l2, factor * s.group], device=device)
    step, l1, l2, units = values.unbind()
    now = Now(step, l1, l2, units, step=(epoch - 1) * len(batches))
    total = torch.zeros((), device=device)
    for batch in batches:
        total += _step(run, run.train_x[batch], run.train_y[batch], now) * len(batch)
        now.step += 1
    return float(total) / len(order)


def _step(run: TrainingRun, x: Tensor, y: Tensor, now: Now) -> Tensor:
    run.optimizer.zero_grad()
    loss = run.trainable.step(run.model, run.pipeline(x, y))
    loss.backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
    for update in run.updates.before:
        update(now)
    run.optimizer.step()
    for update in run.updates.after:
        update(now)
    if run.average is not None:
        run.average.after_step()
    return loss.detach()


def _build(trainable: Trainable, splits: Splits, training: Training, device: str) -> nn.Module:
    """The network, its weights drawn from the training's own seed."""
    trainable.meet(splits.info, training)
    seed = training.seed if training.weight_init_seed is None else training.weight_init_seed
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = adopt(trainable.build(splits.info)).to(device)
        x, _ = _tensors(splits.train.head(2), device)
        _last_layer(model, x)  # lazy layers draw their weights now
    if not any(p.requires_grad for p in model.parameters()):
        raise ContractError(
            "the network has no parameters to train; assign its layers to attributes of the "
            "module, or keep them in nn.ModuleList or nn.Sequential"
        )
    return model


def _last_layer(model: nn.Module, x: Tensor) -> str | None:
    try:
        return last_layer(model, x)
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
