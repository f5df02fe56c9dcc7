"""Checks of a training before its first step, and a rehearsal of its steps."""

from __future__ import annotations

import io
import math
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from trainables.analysis.last_batch import LastBatch
from trainables.analysis.random_draws import find_random_modules
from trainables.data.array_samples import move_nest
from trainables.data.batch import Batch
from trainables.data.lazy import StreamSplit
from trainables.data.nests import Nest, count_samples, list_leaves
from trainables.data.samples import Pair
from trainables.data.splits import Splits
from trainables.devices import list_generators
from trainables.distributed.group_rehearsal import Rehearsal
from trainables.distributed.process import Process, Share
from trainables.errors import ContractError, blame, describe_error, locate, name_error
from trainables.forward import call_network, computes_loss, read_outputs
from trainables.loop import EPOCH_METRICS, TrainingRun, try_step
from trainables.losses import check_outputs
from trainables.measure import measure
from trainables.memory_meter import MemoryMeter
from trainables.optimizers import list_decays, make_optimizer
from trainables.squashed import check_logits

_FEW = 8
Part = tuple[Share, Pair]
"""A process's share of a batch, and its samples."""


@dataclass(frozen=True)
class Examination:
    """What a rehearsal found: two steps on the first batch of an epoch, then an evaluation.

    ``step_memory`` and ``eval_memory`` are in bytes, at their peaks: weights, gradients, the
    optimiser's state, the batch and activations, of one worker. ``seconds`` is the time of a step,
    of which an epoch has ``steps`` (None: not known). ``hidden`` is regularisation that acts
    although every strength is neutral, in words. ``rates`` says who sets the learning rate, and
    ``follows`` whether that is the spec's schedule.
    """

    metrics: tuple[str, ...]
    seconds: float
    steps: int | None
    step_memory: int
    eval_memory: int
    hidden: tuple[str, ...]
    rates: str
    follows: bool


def examine(
    run: TrainingRun, splits: Splits, workers: int = 1, smallest: LastBatch | None = None
) -> Examination:
    """Rehearse a training, built anew, as each of several ``workers`` would train it.

    ``smallest`` is the smallest batch that any other trial will have. A stream's last batch is not
    known before it is read.

    Raises:
        ContractError: the contract is violated; the message says what to change.
    """
    with blame("trainable"):
        _check_network(run, splits)
        practice = run.parts.rebuild(Rehearsal(workers) if workers > 1 else Process())
        sizes = _list_sizes(practice)
        first = _take_part(practice, practice.parts.process.share(torch.arange(sizes[0])))
        meter = MemoryMeter((*practice.model.parameters(), *practice.model.buffers()))
        with meter:
            for number in ("first", "second"):
                _rehearse(practice, number, first)
            step_memory = meter.take_peak()
            names = _evaluate(practice)
            eval_memory = meter.take_peak()
        _check_gradients(practice.model)
        start = time.perf_counter()
        _rehearse(practice, "third", first)
        seconds = time.perf_counter() - start
        own = LastBatch(min(sizes), sum(sizes), practice.training.batch_size)
        _rehearse_smallest(practice, own if smallest is None else min(own, smallest), first)
        _check_resuming(practice)
        run.rates.simulate()
        accumulate = run.training.accumulate
        return Examination(
            metrics=names,
            seconds=seconds * accumulate,
            steps=_count_steps(run, splits, len(sizes)),
            step_memory=step_memory,
            eval_memory=eval_memory,
            hidden=tuple(_list_hidden(run)),
            rates=practice.rates.describe(),
            follows=practice.rates.follows,
        )


def _count_steps(run: TrainingRun, splits: Splits, batches: int) -> int | None:
    if isinstance(splits.train, StreamSplit):
        return run.training.steps_per_epoch
    return math.ceil(batches / run.training.accumulate)


def _check_resuming(run: TrainingRun) -> None:
    """Check that the states of users' code can be saved, and be read without running code."""
    states: dict[str, Any] = {
        f"{type(own.scheduler).__name__} of the optimizer": own.scheduler.state_dict()
        for own in run.rates.own
    }
    optimizer = run.parts.optimizer
    if not type(optimizer).__module__.startswith("torch."):
        states[type(optimizer).__name__] = optimizer.state_dict()
    rule = run.keeping.rule
    if rule is not None:
        states[type(rule).__name__] = rule.state_dict()
    for name, state in states.items():
        file = io.BytesIO()
        try:
            torch.save(state, file)
            file.seek(0)
            torch.load(file, weights_only=True)
        except Exception as error:  # of users' objects
            raise ContractError(
                f"the state of {name} cannot be saved and read again, so that a resumed trial "
                f"could not restore it: {name_error(error).splitlines()[0]}; let its state_dict "
                "return numbers, texts, tensors, and lists and dicts of them"
            ) from error


def _list_sizes(run: TrainingRun) -> list[int]:
    """The sizes of the batches of an epoch; of a stream that of its first one."""
    with torch.random.fork_rng(list_generators(run.data.device)):
        plan = run.plan()
    if isinstance(plan, int):
        _, y = run.data.train.head(plan)
        return [count_samples(y)]
    return [len(batch) for batch in plan][: run.batches_per_epoch]


def _take_part(run: TrainingRun, share: Share) -> Part:
    return share, run.data.train.spread(len(share.samples))


def _rehearse(run: TrainingRun, number: str, part: Part) -> None:
    subject = f"the {number} training step"
    try:
        with blame("", subject):
            loss = _step(run, part)
    except ContractError as error:
        several = run.parts.process.world > 1
        if several and isinstance(error.__cause__, AttributeError | TypeError):
            error.args = (f"{error}; with several workers a step must call the whole network",)
        raise
    if not loss.isfinite():
        raise ContractError(f"the loss of {subject} is {float(loss)}")


def _step(run: TrainingRun, part: Part) -> Tensor:
    """The loss of a step on a copy of its samples, which it may write to."""
    share, pair = part
    return try_step(run, (share, move_nest(pair, Tensor.clone)))


def _rehearse_smallest(run: TrainingRun, last: LastBatch, first: Part) -> None:
    """Run a step on the smallest part of the smallest batch, if it is smaller than the first."""
    process = run.parts.process
    share: Share = process.share_least(torch.arange(last.size))
    if len(share.samples) >= len(first[0].samples):
        return
    try:
        with blame(""):
            loss = _step(run, _take_part(run, share))
            if not loss.isfinite():
                raise ContractError(f"the loss is {float(loss)}")
    except ContractError as error:
        part = len(share.samples)
        whose = f", {part} of them on a worker" if process.world > 1 else ""
        varied = last.batch_size != run.training.batch_size
        raise ContractError(
            f"no step can be trained on {last}{whose}: {error}; {last.advise()}",
            "space.batch_size" if varied else "training.batch_size",
        ) from error


def _evaluate(run: TrainingRun) -> tuple[str, ...]:
    """The names of all metrics that an epoch of this training logs, by measuring some samples."""
    batch = Batch(*run.data.val.spread(run.training.eval_batch_size))
    with locate("val"), run.autocast():
        values = measure(run.model, run.trainable, [batch], run.parts.process)
    if values["loss"] != values["loss"]:
        raise ContractError("the loss of the first validation samples is NaN")
    sides = [f"{side}/{name}" for side in ("train", "val", "gap") for name in values]
    return (*sides, *EPOCH_METRICS, *run.rates.names[1:])


def _list_hidden(run: TrainingRun) -> Iterator[str]:
    """Regularisation of step, network and optimiser that no strength of a space reaches."""
    batch = Batch(*run.data.train.head(_FEW))
    try:
        drawing = find_random_modules(run.trainable, run.model, batch)
    except Exception as error:  # a copy of users' code may fail in any way
        drawing = ()
        why = describe_error(error)
        yield f"random numbers, maybe: two runs of the training step cannot be compared ({why})"
    for name in drawing:
        if name is None:
            yield f"random numbers in the training step of {type(run.trainable).__name__} itself"
        elif not name:
            yield "random numbers in the network's own forward (dropout as a function?)"
        else:
            yield f"random numbers in {name} ({type(run.model.get_submodule(name)).__name__})"
    own = make_optimizer(run.trainable, run.model, run.training)
    for decay in list_decays(own.optimizer):
        yield f"{decay} of the optimizer, in every trial but the baseline"


def _check_network(run: TrainingRun, splits: Splits) -> None:
    """Check the outputs of the network in eval mode."""
    x, y = run.data.train.head(_FEW)
    made = _forward(run.model, x)
    built_in = not run.trainable.has_own_loss and not computes_loss(run.model, x)
    if built_in:
        check_outputs(read_outputs(made), y, splits.info)
    again = _forward(run.model, x)
    if not all(map(_is_same, _list_tensors(made), _list_tensors(again))):
        raise ContractError(
            "the network returns different outputs for the same batch in eval mode: it keeps state "
            "between batches or draws random numbers; reset the state in forward, or draw only if "
            "self.training is true"
        )
    if built_in:
        check_logits(read_outputs(call_network(run.model, x)), splits.info.task)


def _check_gradients(model: nn.Module) -> None:
    lacking = [n for n, p in model.named_parameters() if p.requires_grad and p.grad is None]
    if lacking:
        raise ContractError(
            f"no gradient reaches {', '.join(lacking[:6])}{', …' if len(lacking) > 6 else ''}: "
            "use them in forward, or set requires_grad to False for parameters that are not trained"
        )


@torch.no_grad()
def _forward(model: nn.Module, x: Nest) -> Any:
    return call_network(model.eval(), x)


def _is_same(a: Tensor, b: Tensor) -> bool:
    """Whether all values are equal, or both NaN."""
    return a.shape == b.shape and bool(((a == b) | ((a != a) & (b != b))).all())


def _list_tensors(made: Any) -> list[Tensor]:
    return [leaf for leaf in list_leaves(read_outputs(made)) if isinstance(leaf, Tensor)]
