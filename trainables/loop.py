"""A training as a generator of epochs, which its caller may stop and resume later.

Every epoch seeds torch from the training's seed and the epoch's number, so that a training resumed
after any epoch continues bit for bit as if it had not been interrupted.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from itertools import islice, starmap
from typing import Any

import torch
from torch import Tensor, nn

from trainables.best_epoch import Keeping
from trainables.compat import seed_torch
from trainables.config.training import HALF_LIFE, Training
from trainables.config.trial_parameters import EARLY_STOPPING
from trainables.contract import Trainable
from trainables.data.batch import Batch
from trainables.data.nests import count_samples
from trainables.data.placing import Placed
from trainables.data.samples import Fed, Pair, Plan, Samples
from trainables.devices import list_generators, set_precision
from trainables.distributed.process import Process, Share, derive_seed
from trainables.errors import DivergedError, locate
from trainables.gap import compute_gaps
from trainables.measure import measure
from trainables.norm_statistics import differentiate_as, find_norms, recompute_statistics
from trainables.rates import LR, Rates
from trainables.regularisers.base import Hooks, Now
from trainables.regularisers.penalty_steps import measure_sparsity, measure_weight_norm
from trainables.regularisers.weights import Penalised
from trainables.run import EpochResult, Kept
from trainables.stepping import Marked, Stepper, mark_last

_NOISE, _READ, _NORMS = 2**20, 2**21, 2**22  # larger than the rank of any process
_NORM_BATCHES = 100
"""Batches from which statistics of batch norms are computed, at most."""
EPOCH_METRICS = ("train_running/loss", "sparsity", "weight_norm", LR)


@dataclass(frozen=True, kw_only=True)
class Parts:
    """The parts of a training in one process, made by ``build_training``.

    ``subset`` holds the indices of the training samples that train metrics are measured on; None
    measures all that ``data.measured`` has.
    ``compiled`` is the network for measurements, ``parallel`` the one for steps: both share the
    weights of ``model``. ``rebuild`` makes the same training anew, not compiled, for another
    process.
    """

    trainable: Trainable
    training: Training
    data: Placed
    subset: Tensor | None
    model: nn.Module
    compiled: nn.Module
    parallel: nn.Module
    penalised: list[Penalised]
    optimizer: torch.optim.Optimizer
    rates: Rates
    regularisers: Hooks
    keeping: Keeping
    process: Process
    rebuild: Callable[[Process], TrainingRun]


class TrainingRun:
    """The state of a training between epochs: its parts, last result and best weights."""

    def __init__(self, parts: Parts) -> None:
        self.parts = parts
        self.training, self.model, self.data = parts.training, parts.model, parts.data
        self.trainable, self.penalised = parts.trainable, parts.penalised
        self.rates = parts.rates
        self.stepper = Stepper(
            trainable=parts.trainable,
            training=parts.training,
            model=parts.model,
            network=parts.parallel,
            penalised=parts.penalised,
            optimizer=parts.optimizer,
            hooks=parts.regularisers,
            process=parts.process,
            rates=parts.rates,
            device=parts.data.device,
        )
        self.keeping = parts.keeping
        self.steps = 0

    @property
    def best_state(self) -> dict[str, Tensor]:
        """The weights that are kept so far; empty before the first epoch."""
        return self.keeping.best.state if self.keeping.best else {}

    @property
    def last_result(self) -> EpochResult | None:
        """The result of the last epoch; None before the first."""
        return self.keeping.last

    @property
    def control(self) -> Kept | None:
        """What early stopping would have kept of a training that runs to its end."""
        return self.keeping.control

    @property
    def subset(self) -> Tensor | None:
        """The training samples that are measured; None for all of ``data.measured``."""
        return self.parts.subset

    @property
    def measured(self) -> bool:
        """Always."""
        return True

    def train(self) -> Iterator[EpochResult]:
        """See :func:`train`."""
        return train(self)

    def close(self) -> None:
        """Do nothing: a training that nobody iterates over holds nothing."""

    @property
    def evaluated(self) -> nn.Module:
        """The network to evaluate: the average of the weights as soon as there is one."""
        return self.parts.regularisers.evaluated(self.model)

    @property
    def epoch(self) -> int:
        """Epochs trained so far."""
        return self.last_result.epoch if self.last_result else 0

    @property
    def evaluated_weights(self) -> list[Penalised]:
        """The penalised weights of :attr:`evaluated`."""
        if self.evaluated is self.model:
            return self.penalised
        averaged = dict(self.evaluated.named_parameters())
        return [replace(w, weight=averaged[w.name]) for w in self.penalised]

    def end_after(self, epochs: int) -> None:
        """End after so many epochs, and let averages of the weights plan for them."""
        self.keeping.end_after(epochs)
        self.parts.regularisers.end_after(self.keeping.ends_at)

    def autocast(self) -> AbstractContextManager[object]:
        """The autocast context of the forward pass."""
        return self.stepper.autocast()

    def plan(self) -> Plan:
        """Draw the order of an epoch from torch's generator."""
        training = self.training
        balanced = training.sampling == "balanced"
        return self.data.train.plan(
            training.batch_size, drop_last=training.drop_last, balanced=balanced
        )

    @property
    def batches_per_epoch(self) -> int | None:
        """The most batches of an epoch, where the spec says so."""
        steps = self.training.steps_per_epoch
        return None if steps is None else steps * self.training.accumulate

    def best_metrics(self) -> dict[str, float]:
        """The metrics at the kept weights, and their ``epoch``; call it after the last epoch.

        Raises:
            RuntimeError: no epoch has finished.
        """
        if self.keeping.best is None:
            raise RuntimeError("the training has not finished an epoch")
        return {**self._metrics_of(self.keeping.best), **self._measure_decay()}

    def list_idle(self) -> tuple[str, ...]:
        """The parts without any effect on the kept weights; call it after the last epoch.

        Of a training that is not regularised there are none. Every process of a group calls it.
        """
        kept = self.keeping.best.result.epoch if self.keeping.best else 0
        idle = self.parts.regularisers.list_idle(kept)
        stopping = self.keeping.rule is not None and not self.keeping.runs_to_end
        if stopping and kept >= self.training.max_epochs:
            idle = (*idle, EARLY_STOPPING)
        by_rank = self.parts.process.gather(idle)
        return tuple(part for part in idle if all(part in others for others in by_rank))

    def control_metrics(self) -> dict[str, float] | None:
        """The metrics at the control's weights; None for a training without a control."""
        return None if self.control is None else self._metrics_of(self.control)

    def _measure_decay(self) -> dict[str, float]:
        """The half-life of a weight under decay, over the epochs that ran; empty without decay."""
        strength = sum(r.decay for r in self.parts.regularisers.all)
        shrunk = 2 * strength * self.rates.decayed / max(self.epoch, 1)
        return {HALF_LIFE: math.log(2) / shrunk} if shrunk else {}

    def _metrics_of(self, kept: Kept) -> dict[str, float]:
        metrics = dict(kept.result.metrics)
        if "train/loss" not in metrics:
            self.model.load_state_dict(kept.state)
            metrics |= _measure_sides(self, self.model, measure_samples, train_side=True)
            self.model.load_state_dict(self.best_state)
        sides = ("train", "val", "gap", "sparsity")
        found = {name: v for name, v in metrics.items() if name.partition("/")[0] in sides}
        return {"epoch": float(kept.result.epoch), **found}

    def state_dict(self) -> dict[str, Any]:
        """The state needed to resume after the last epoch, in types that ``weights_only`` loads."""
        return {
            "model": self.model.state_dict(),
            "optimizer": self.parts.optimizer.state_dict(),
            "rates": self.rates.state_dict(),
            "scaler": self.stepper.scaler.state_dict(),
            "regularisers": self.parts.regularisers.state_dict(),
            "steps": self.steps,
            **self.keeping.state_dict(),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore the state of the same training.

        Raises:
            ContractError: a scheduler of the user's cannot continue from its state.
        """
        self.model.load_state_dict(state["model"])
        self.parts.optimizer.load_state_dict(copy.deepcopy(state["optimizer"]))
        self.rates.load_state_dict(state["rates"])
        self.stepper.scaler.load_state_dict(dict(state["scaler"]))
        self.parts.regularisers.load_state_dict(state["regularisers"])
        self.steps = int(state.get("steps", 0))
        self.keeping.load_state_dict(state)
        self.stepper.forget()


def train(run: TrainingRun) -> Iterator[EpochResult]:
    """Train the remaining epochs; the last result is ``done``, with the best weights restored.

    Raises:
        DivergedError: a training or validation loss is not finite.
    """
    while not (run.last_result and run.last_result.done):
        yield _train_epoch(run)


def try_step(run: TrainingRun, part: tuple[Share, Pair] | None = None) -> Tensor:
    """Run one step with all hooks of the regularisers, to find errors of user-defined code.

    ``part`` is this process's share of a batch and its samples; by default a whole batch of the
    first ones. Returns the loss. The run is not usable afterwards.
    """
    hooks, now = run.parts.regularisers, build_now(run, epoch=1)
    share, (x, y) = part or (Share(), run.data.train.head(run.training.batch_size))
    fed = Fed(count_samples(y), share, x, y)
    run.model.train()
    with torch.random.fork_rng(list_generators(run.data.device)):
        for before in hooks.before_epoch:
            before(now)
        loss = run.stepper.add(fed, last=True)
        run.steps += run.stepper.step(now)
        for after in hooks.after_epoch:
            after(1)
    return loss


def _train_epoch(run: TrainingRun) -> EpochResult:
    set_precision(run.training.precision)
    with torch.random.fork_rng(list_generators(run.data.device)):
        begun = begin_epoch(run)
        while (taken := take_step(run, begun.batches, begun.number, begun.now)) is not None:
            begun.add(taken)
    end_steps(run, begun.number)
    return end_epoch(run, begun)


def end_steps(run: TrainingRun, epoch: int) -> None:
    """Do what follows the last step of an epoch, before it is measured."""
    for hook in run.parts.regularisers.after_epoch:
        hook(epoch)
    _refresh_norms(run)
    for network in dict.fromkeys((run.model, run.evaluated)):  # in the same order on every rank
        run.parts.process.broadcast_buffers(network)


def measures_train(run: TrainingRun, epoch: int) -> bool:
    """Whether the training side is measured after an epoch."""
    return epoch >= run.keeping.ends_at or epoch % run.training.measure_every == 0


def end_epoch(run: TrainingRun, begun: Begun, measure: Measure | None = None) -> EpochResult:
    """Measure an epoch whose steps are done, by ``measure``, and keep what is to be kept.

    Raises:
        DivergedError: a loss is not finite.
    """
    epoch = begun.number
    network = run.parts.compiled if run.evaluated is run.model else run.evaluated
    train_side = measures_train(run, epoch)
    metrics = {
        **_measure_sides(run, network, measure or measure_samples, train_side=train_side),
        "train_running/loss": _average_loss(run, begun),
        "sparsity": measure_sparsity(run.evaluated_weights),
        "weight_norm": measure_weight_norm(run.evaluated_weights),
        **run.rates.measure(),
    }
    for name in ("train_running/loss", "val/loss"):
        if not math.isfinite(metrics[name]):
            raise DivergedError(f"{name} is {metrics[name]} in epoch {epoch}")
    run.rates.after_epoch(_agree(run, metrics))
    return _conclude(run, epoch, metrics)


def _agree(run: TrainingRun, metrics: Mapping[str, float]) -> Mapping[str, float]:
    """The metrics of the first process, where rates depend on them."""
    return run.parts.process.broadcast(metrics) if run.rates.monitors else metrics


def _refresh_norms(run: TrainingRun) -> None:
    """Compute the statistics of batch norms anew where the network to measure is an average."""
    network = run.evaluated
    if not run.parts.regularisers.recomputes_norms or not find_norms(network):
        return
    generators = list_generators(run.data.device)
    with torch.random.fork_rng(generators), differentiate_as(network, run.model):
        recompute_statistics(network, _pass_batches(run, network))


def _pass_batches(run: TrainingRun, network: nn.Module) -> Iterator[Tensor]:
    """The losses of training steps of a network that are not taken, on the same batches each time.

    The batches are regularised as those of steps, on which usual statistics are.
    """
    parts, seed = run.parts, derive_seed(run.training.seed, _NORMS)
    seed_torch(seed)
    plan = run.plan()
    parts.process.seed_rank(seed)
    most = min(_NORM_BATCHES, run.batches_per_epoch or _NORM_BATCHES)
    for fed in islice(run.data.train.feed(plan, parts.process, seed), most):
        parts.process.begin_step(fed.share)
        with run.autocast():
            loss = run.trainable.step(network, parts.regularisers.on_batch(fed.x, fed.y))
        yield loss.detach()


def _measure_sides(
    run: TrainingRun, network: nn.Module, measure: Measure, *, train_side: bool
) -> dict[str, float]:
    """``val/*``, and with ``train_side`` also ``train/*`` and ``gap/*``."""
    with locate("val"):
        val = measure(run, network, run.data.val, None)
    metrics = {f"val/{k}": v for k, v in val.items()}
    if train_side:
        with locate("train"):
            train = measure(run, network, run.data.measured, run.parts.subset)
        gap = compute_gaps(train, val, run.trainable.is_better_high)
        metrics |= {f"train/{k}": v for k, v in train.items()}
        metrics |= {f"gap/{k}": v for k, v in gap.items()}
    return metrics


def measure_samples(
    run: TrainingRun, network: nn.Module, samples: Samples, subset: Tensor | None = None
) -> dict[str, float]:
    """``loss`` and metrics of all samples, or of those at the indices ``subset``."""
    process = run.parts.process
    own = starmap(Batch, samples.read(run.training.eval_batch_size, process, subset))
    with run.autocast():
        return measure(network, run.trainable, own, process)


def _conclude(run: TrainingRun, epoch: int, metrics: Mapping[str, float]) -> EpochResult:
    hooks, process = run.parts.regularisers, run.parts.process
    result = run.keeping.conclude(
        epoch, metrics, run.evaluated, lambda: hooks.count_more_epochs(epoch), process.broadcast
    )
    if result.done:
        run.model.load_state_dict(run.best_state)
    return result


def begin_epoch(run: TrainingRun) -> Begun:
    """Seed the generators for the next epoch, draw its order, and call the hooks before it."""
    epoch, parts, seed = run.epoch + 1, run.parts, run.training.seed
    run.model.train()
    seed_torch(derive_seed(seed, epoch))
    plan = run.plan()
    parts.process.seed_rank(seed, epoch)
    now = build_now(run, epoch)
    for hook in parts.regularisers.before_epoch:
        hook(now)
    fed = run.data.train.feed(plan, parts.process, derive_seed(seed, epoch, _READ))
    batches = mark_last(islice(fed, run.batches_per_epoch), run.training.accumulate)
    return Begun(epoch, now, plan, batches, torch.zeros((), device=run.data.device))


def _average_loss(run: TrainingRun, begun: Begun) -> float:
    """The mean loss of an epoch's batches, without penalty."""
    process = run.parts.process
    running = process.sum({"loss": float(begun.loss)})["loss"]
    return running / (begun.count * process.world)


def build_now(run: TrainingRun, epoch: int) -> Now:
    """The values that the steps of an epoch read, on the device of the weights."""
    device, training = run.data.device, run.training
    run.rates.begin(epoch, run.steps)
    return Now(
        lr=run.rates.lr,
        rates=run.rates.each,
        lambda_factor=training.lambda_factor(epoch),
        noise=torch.Generator(device).manual_seed(derive_seed(training.seed, epoch, _NOISE)),
        step=run.steps,
    )


@dataclass(frozen=True)
class Taken:
    """The loss of a step's batches, summed over their ``count`` samples, 0-dim."""

    loss: Tensor
    count: int


@dataclass
class Begun:
    """An epoch whose steps are being taken, with the loss of those that were, as of a step.

    ``batches`` are read by ``plan``.
    """

    number: int
    now: Now
    plan: Plan
    batches: Marked
    loss: Tensor
    count: int = 0

    def add(self, taken: Taken) -> None:
        """Count a step in."""
        self.loss += taken.loss
        self.count += taken.count


Measure = Callable[[TrainingRun, nn.Module, Samples, Tensor | None], dict[str, float]]
"""Measures samples, or those at some indices, as :func:`measure_samples` does."""


def take_step(run: TrainingRun, batches: Marked, epoch: int, now: Now) -> Taken | None:
    """Take the next step of a training; None if there is no batch any more."""
    loss, count = torch.zeros((), device=run.data.device), 0
    for fed, last in batches:
        loss += run.stepper.add(fed, last=last) * fed.count
        count += fed.count
        if last:
            break
    if not count:
        return None
    finish_step(run, epoch, now)
    return Taken(loss, count)


def finish_step(run: TrainingRun, epoch: int, now: Now) -> None:
    """Step by the gradients that were added, at the rates of this step."""
    set_rates(run, epoch, now)
    run.steps += run.stepper.step(now)


def set_rates(run: TrainingRun, epoch: int, now: Now) -> None:
    """Set the rates of the next step."""
    run.rates.begin(epoch, run.steps)
    now.lr, now.rates, now.step = run.rates.lr, run.rates.each, run.steps
