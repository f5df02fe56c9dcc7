"""One training as a generator of epochs: whoever drives it may stop it, or go on later.

Every epoch seeds torch anew from the training's seed and the epoch's number, so that a training
resumed after any epoch goes on bit for bit as if it had not been interrupted.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from typing import Any, cast

import torch
from torch import Tensor, nn

from trainables.config.training import EarlyStoppingSpec, Regularisation, Training, scaled
from trainables.contract import Trainable
from trainables.data.feed import Index, Placed, Samples, place
from trainables.data.splits import Splits
from trainables.devices import generators_on, set_precision
from trainables.distributed.process import Process, seed_of
from trainables.errors import ContractError, DivergedError
from trainables.gap import MEASURED_AT_ONCE, gaps, measure, train_subset
from trainables.regularisers import penalties
from trainables.regularisers.averaging import weight_average
from trainables.regularisers.batches import Pipeline
from trainables.regularisers.dropout import adopt, set_depth_rate, set_rate
from trainables.regularisers.early_stopping import EarlyStopping, Verdict
from trainables.regularisers.penalties import Penalised
from trainables.regularisers.selection import last_layer, penalised_weights
from trainables.regularisers.suitability import misfits
from trainables.regularisers.updates import Now, Updates, lambda_factor


@dataclass(frozen=True)
class EpochResult:
    """``epoch`` counts from 1; ``done`` marks the last one."""

    epoch: int
    metrics: Mapping[str, float]
    done: bool


_NOISE = 2**20  # no group has a rank of this number
EPOCH_METRICS = ("train_running/loss", "sparsity", "weight_norm", "lr")


class TrainingRun:
    """Everything one training holds between epochs, in one process of those that share it.

    ``placed`` holds the splits on their device, where they are there already.

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
        process: Process | None = None,
        placed: Placed | None = None,
    ) -> None:
        self.process = process or Process()
        training = scaled(training, self.process.world)
        self.trainable, self.training, self.regularisation = trainable, training, regularisation
        self.data = placed or place(splits, device)
        sizes = len(splits.train), len(splits.val)
        self.subset = self.data.train.here(train_subset(*sizes, training.seed))
        few, _ = self.data.train.head(2)
        self.model = _build(trainable, splits, training, few)
        outputs = _last_layer(self.model, few)
        for name, text in misfits(regularisation, splits.info, self.model):
            raise ContractError(f"{name}: {text}")
        if regularisation.dropout is not None:
            set_rate(self.model, regularisation.dropout)
        if regularisation.stochastic_depth is not None:
            set_depth_rate(self.model, regularisation.stochastic_depth)
        self.model = self.process.synchronised(self.model)
        self.pipeline = Pipeline(regularisation, splits.info)
        self.penalised = penalised_weights(self.model, training.penalised, outputs)
        self.optimizer = trainable.optimizer(self.model.parameters(), training)
        self.updates = Updates(self.penalised, self.optimizer, training, regularisation)
        self.average = weight_average(self.model, regularisation, training.max_epochs)
        self.compiled = _compiled(self.model) if training.compile else self.model
        self.parallel = self.process.parallel(self.compiled)
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

    def autocast(self) -> AbstractContextManager[object]:
        """What the network computes in, gradients apart."""
        if self.training.precision != "bf16":
            return nullcontext()
        return torch.autocast(torch.device(self.data.device).type, torch.bfloat16)

    def keep(self, result: EpochResult) -> None:
        """Hold on to this epoch's weights as the best ones."""
        self._best = result
        state = self.evaluated.state_dict()
        self.best_state = {k: v.cpu().clone() for k, v in state.items()}

    def best_metrics(self) -> dict[str, float]:
        """What was measured at the kept weights, and their ``epoch``; after the last epoch.

        Raises:
            RuntimeError: no epoch has ended.
        """
        if self._best is None:
            raise RuntimeError("the training has not finished an epoch")
        metrics = dict(self._best.metrics)
        if "train/loss" not in metrics:
            metrics |= _sides(self, self.model, train_side=True)
        kept = ("train", "val", "gap", "sparsity")
        found = {name: v for name, v in metrics.items() if name.partition("/")[0] in kept}
        return {"epoch": float(self._best.epoch), **found}

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
    set_precision(run.training.precision)
    with torch.random.fork_rng(generators_on(run.data.device)):
        running = _steps(run, epoch, lr)
    if run.average is not None:
        run.average.after_epoch(epoch)
    for network in dict.fromkeys((run.model, run.evaluated)):  # in one order on every rank
        run.process.align(network)
    last = epoch >= run.training.max_epochs
    train_side = last or epoch % run.training.measure_every == 0
    network = run.compiled if run.evaluated is run.model else run.evaluated
    metrics = {
        **_sides(run, network, train_side=train_side),
        "train_running/loss": running,
        "sparsity": penalties.sparsity(run.evaluated_weights),
        "weight_norm": penalties.weight_norm(run.evaluated_weights),
        "lr": lr,
    }
    for name in ("train_running/loss", "val/loss"):
        if not math.isfinite(metrics[name]):
            raise DivergedError(f"{name} is {metrics[name]} in epoch {epoch}")
    return _conclude(run, epoch, metrics)


def _sides(run: TrainingRun, network: nn.Module, *, train_side: bool) -> dict[str, float]:
    """``val/*``, and with the train side ``train/*`` and ``gap/*``."""
    val = measured(run, network, run.data.val)
    metrics = {f"val/{k}": v for k, v in val.items()}
    if train_side:
        train = measured(run, network, run.data.train, run.subset)
        gap = gaps(train, val, run.trainable.is_better_high)
        metrics |= {f"train/{k}": v for k, v in train.items()}
        metrics |= {f"gap/{k}": v for k, v in gap.items()}
    return metrics


def measured(
    run: TrainingRun, network: nn.Module, samples: Samples, subset: Tensor | None = None
) -> dict[str, float]:
    """``loss`` and metrics of samples, all of them or a ``subset``'s indices."""
    starts = range(0, len(samples), MEASURED_AT_ONCE)
    batches: list[Index] = [slice(start, start + MEASURED_AT_ONCE) for start in starts]
    if subset is not None:
        batches = [*torch.split(subset, MEASURED_AT_ONCE)]
    own = samples.batches(run.process.turns(batches))
    with run.autocast():
        return measure(network, run.trainable, own, run.process)


def _conclude(run: TrainingRun, epoch: int, metrics: Mapping[str, float]) -> EpochResult:
    if run.watch and run.watched not in metrics:
        raise ContractError(f"early stopping watches {run.watched!r}; logged: {', '.join(metrics)}")
    verdict = Verdict.IMPROVED
    if run.watch:
        verdict = run.watch.update(epoch, metrics[run.watched], metrics.get("gap/loss"))
    verdict = run.process.agree(verdict)
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
    torch.manual_seed(seed_of(run.training.seed, epoch))
    order = run.data.train.here(torch.randperm(len(run.data.train)))
    run.process.draw_apart(run.training.seed, epoch)
    batches = torch.split(order, run.training.batch_size)
    shares = [run.process.share(batch) for batch in batches]
    now = _now(run, epoch, lr, len(batches))
    total = torch.zeros((), device=run.data.device)
    fed = run.data.train.batches(share.samples for share in shares)
    for batch, share, (x, y) in zip(batches, shares, fed, strict=True):
        run.process.begin(share)
        total += _step(run, x, y, share.weight, now) * len(batch)
        now.step += 1
    running = run.process.sum({"loss": float(total)})["loss"]
    return running / (len(order) * run.process.world)


def _now(run: TrainingRun, epoch: int, lr: float, steps: int) -> Now:
    """The values of an epoch's steps, on the weights' device."""
    device = run.data.device
    s, factor = run.strengths, lambda_factor(run.training, epoch)
    values = torch.tensor([lr, factor * s.l1, factor * s.l2, factor * s.group], device=device)
    step, l1, l2, units = values.unbind()
    noise = torch.Generator(device).manual_seed(seed_of(run.training.seed, epoch, _NOISE))
    return Now(step, l1, l2, units, noise, step=(epoch - 1) * steps)


def _step(run: TrainingRun, x: Tensor, y: Tensor, weight: float, now: Now) -> Tensor:
    """One step on this process's part of a batch; the part's mean loss times its weight."""
    run.optimizer.zero_grad()
    with run.autocast():
        loss = run.trainable.step(run.parallel, run.pipeline(x, y))
    loss = loss * weight
    loss.backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
    for update in run.updates.before:
        update(now)
    run.optimizer.step()
    for update in run.updates.after:
        update(now)
    if run.average is not None:
        run.average.after_step()
    return loss.detach()


def _build(trainable: Trainable, splits: Splits, training: Training, few: Tensor) -> nn.Module:
    """The network, its weights drawn from the training's own seed, on the device of a few inputs.

    Weights are drawn on the CPU, so that a GPU starts from the same.
    """
    trainable.meet(splits.info, training)
    seed = training.seed if training.weight_init_seed is None else training.weight_init_seed
    with torch.random.fork_rng(generators_on("cpu")):
        torch.manual_seed(seed)
        model = adopt(trainable.build(splits.info))
        _last_layer(model, few.cpu())  # lazy layers draw their weights now
    model = model.to(few.device)
    if few.is_cuda and any(p.ndim == 4 for p in model.parameters()):
        model = model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # torch's stub knows no format alone
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


def _compiled(model: nn.Module) -> nn.Module:
    return cast(nn.Module, torch.compile(model))  # torch says it were a function


def _plain(result: EpochResult | None) -> dict[str, Any] | None:
    if result is None:
        return None
    return {"epoch": result.epoch, "metrics": dict(result.metrics), "done": result.done}
